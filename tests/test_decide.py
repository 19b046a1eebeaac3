"""Verdicts follow the tables: what is put into them comes out."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.claims.entries import CLAIMS
from stages.claims.gates import CONVERGED, LEARNT, check_gates
from stages.claims.tables import Tables
from stages.claims.verdicts import beside, corrected, decided, draft
from stages.decide import about, decide
from stages.results.study_results import CLAIMS as CLAIMS_FILE
from stages.results.study_results import SPECIFICATIONS as SPECIFICATIONS_FILE
from stages.results.study_results import Results
from stages.study.params import load_params
from stages.study.paths import analysis_table, finetune_dir, probe_predictions, robustness_table
from stages.study.settings import Arm

IMAGES, BLOCKS, HEADS, SEEDS = 60, 6, 2, (0, 1, 2, 3)
NAMED = {claim.name: claim for claim in CLAIMS}
VALUES = {  # distance, nmi, log amplitude, linear, fine-tuned
    "random": (16.5, 0.01, -1.0, 0.1, 0.1),
    "cl": (15.0, 0.02, -3.0, 0.9, 0.85),
    "mim": (8.0, 0.30, -1.5, 0.3, 0.2),
    "hybrid": (12.0, 0.10, -2.0, 0.6, 1.0),
}


def attention(distance, nmi, generator):
    index = pd.MultiIndex.from_product(
        [range(IMAGES), range(1, BLOCKS + 1), range(1, HEADS + 1)], names=["image", "block", "head"]
    )
    late = index.get_level_values("block") > 4  # what early blocks do must not matter
    more = generator.normal(0, 0.05)  # what this training adds
    return pd.DataFrame(
        {
            "distance": np.where(late, distance, 99) + more + generator.normal(0, 0.1, len(index)),
            "nmi": np.where(late, nmi, 0.9) + more / 100 + generator.normal(0, 0.01, len(index)),
        },
        index=index,
    ).reset_index()


def fourier(amplitude, generator):
    index = pd.MultiIndex.from_product(
        [range(IMAGES), range(BLOCKS + 1), (0.25, 0.75)], names=["image", "block", "frequency"]
    )
    rows = pd.DataFrame(
        {"log_amplitude": 5.0 + generator.normal(0, 0.1, len(index))}, index=index
    ).reset_index()
    highest = (rows["block"] == BLOCKS) & (rows["frequency"] == 0.75)
    rows.loc[highest, "log_amplitude"] += amplitude - 5
    return rows


def answers(share, generator, **columns):
    right = generator.permutation(IMAGES) < round(share * IMAGES)
    return pd.DataFrame({"image": range(IMAGES), "truth": 1, "predicted": right.astype(int), **columns})


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A study of four seeds in which every claim holds, except that the hybrid probes between its parents and
    that the mutual information of the untrained encoder falls furthest."""
    root = tmp_path_factory.mktemp("study")
    for place, (arm, (distance, nmi, amplitude, linear, tuned)) in enumerate(VALUES.items()):
        parts = {}
        for seed in SEEDS:
            generator = np.random.default_rng([place, seed])
            chosen = answers(linear, generator, labels="class", pooling="mean", chosen=True)
            other = answers(0.5, generator, labels="class", pooling="cls", chosen=False)
            tables = {
                analysis_table("attention", arm): attention(distance, nmi, generator),
                analysis_table("fourier", arm): fourier(amplitude, generator),
                probe_predictions("linear", arm): pd.concat([chosen, other]),
                finetune_dir(arm, seed) / "predictions.csv": answers(
                    tuned, generator, labels="class", pooling="mean"
                ),
            }
            for path, table in tables.items():
                table.insert(0, "seed", seed)
                parts.setdefault(path, []).append(table)
        for path, tables in parts.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            pd.concat(tables).to_csv(root / path, index=False)
    return root


@pytest.fixture
def study(written, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(written, tmp_path / "study")
    return tmp_path / "study"


def tables_of(root, params=None, seeds=SEEDS):
    params = params or load_params()
    return Tables(Results(params.model_copy(update={"seeds": list(seeds)}), root))


def compare(name, tables, gates=()):
    """The numbers of one claim, decided alone."""
    item = draft(NAMED[name], tables=tables, gates=gates)
    entry = decided(item, corrected([item]).get(name), tables=tables, seed=0)
    return entry | {"why": about(item, tables=tables)["why"], "arms": about(item, tables=tables)["arms"]}


def test_differences_are_those_put_in(written):
    expected = {
        "attention_distance": 7.0,
        "attention_collapse": 0.28,
        "frequency": 1.5,
        "linear_probing": 0.6,
    }
    for name, effect in expected.items():
        entry = compare(name, tables_of(written))
        assert entry["effect"] == pytest.approx(effect, abs=0.12)
        assert entry["low"] < entry["effect"] < entry["high"] and entry["p"] < 0.01
        assert entry["verdict"] == "supported" and entry["scope"] == "methods"
        assert entry["corrected_low"] > entry["margin"]
        assert set(entry["values"]) == set(entry["by_seed"]) == {"contrastive", "masked", "random"}
        assert entry["seeds"]["masked"] == list(SEEDS) and entry["trainings"]["masked"] == 4
        squares = [part**2 for part in entry["se_parts"].values()]
        assert entry["se"] ** 2 == pytest.approx(sum(squares)) and len(squares) == 3
        by_seed = [np.mean(list(entry["by_seed"][role].values())) for role in ("contrastive", "masked")]
        assert entry["effect"] == pytest.approx(abs(by_seed[0] - by_seed[1]))


def test_few_seeds_are_these_encoders(written):
    for seeds in ((0,), (0, 1)):
        entry = compare("attention_distance", tables_of(written, seeds=seeds))
        assert (entry["verdict"], entry["scope"]) == ("higher", "these encoders")
    params = load_params()
    arms = params.arms | {"cl": params.arms["cl"].model_copy(update={"seeds": [2]})}
    entry = compare("attention_distance", tables_of(written, params.model_copy(update={"arms": arms})))
    assert entry["scope"] == "these encoders" and entry["trainings"] == {
        "contrastive": 1,
        "masked": 4,
        "random": 4,
    }
    # A single training is no constant: it differs from others like it as those of MIM do.
    assert entry["se_parts"]["contrastive"] == pytest.approx(2 * entry["se_parts"]["masked"])


def test_margins_are_in_the_units_of_the_study(written):
    tables = tables_of(written)
    axis = np.arange(8)
    places = np.array([(row, column) for row in axis for column in axis])
    away = np.linalg.norm(places[:, None] - places, axis=2).mean()
    assert compare("attention_distance", tables)["margin"] == pytest.approx(0.05 * 4 * away)
    assert compare("attention_collapse", tables)["margin"] == 0.03  # the arms span .29
    narrow = draft(NAMED["collapse_with_depth"], tables=tables)
    assert narrow.margin == 0.03 and compare("linear_probing", tables)["margin"] == 0.02


def test_a_narrow_span_has_a_margin_of_its_own(study):
    for arm, level in (("random", 0.0100), ("cl", 0.0020), ("mim", 0.0120), ("hybrid", 0.0060)):
        path = study / analysis_table("attention", arm)
        pd.read_csv(path).assign(nmi=level).to_csv(path, index=False)
    item = draft(NAMED["attention_collapse"], tables=tables_of(study))
    assert item.margin == pytest.approx(0.001) and "narrow range of all arms, 0.01" in item.reason


def test_the_control_is_compared_with_both_sides(written):
    entry = compare("attention_collapse", tables_of(written))
    assert entry["over_random"]["masked"]["low"] > 0.2
    assert entry["over_random"]["contrastive"]["effect"] == pytest.approx(0.01, abs=0.005)
    assert entry["over_random"]["masked"]["verdict"] == "above"
    assert entry["over_random"]["contrastive"]["verdict"] == "within the margin"


def test_a_claim_over_both_parents_is_decided_by_the_worse(written):
    entry = compare("hybrid_linear", tables_of(written))
    assert entry["effect"] == pytest.approx(-0.3, abs=0.02) and entry["verdict"] == "contradicted"
    assert set(entry["se_parts"]) == {"hybrid", "contrastive", "images"}
    assert compare("hybrid_finetuned", tables_of(written))["verdict"] == "supported"


def test_what_is_missing_is_not_tested_and_says_why(study):
    params = load_params()
    (study / analysis_table("fourier", "cl")).unlink()
    entry = compare("frequency", tables_of(study))
    assert entry["verdict"] == "not tested" and "fourier/cl.csv" in entry["why"]
    without = params.model_copy(update={"analyses": {"fourier": params.analyses["fourier"]}})
    assert "not among" in compare("attention_distance", tables_of(study, without))["why"]
    fewer = params.model_copy(update={"arms": {k: v for k, v in params.arms.items() if k != "mim"}})
    entry = compare("linear_probing", tables_of(study, fewer))
    assert entry["verdict"] == "not tested" and "masked" in entry["why"]
    assert "a slope needs 3" in compare("model_size", tables_of(study))["why"]


def test_other_arms_of_an_objective_are_left_alone(written):
    params = load_params()
    arms = {**params.arms, "cl_wide": params.arms["cl"]}
    entry = compare("attention_distance", tables_of(written, params.model_copy(update={"arms": arms})))
    assert entry["arms"]["contrastive"] == ["cl"]


def test_an_arm_that_stops_early_decides_nothing(study):
    params = load_params()
    arms = {"cl_3": params.arms["cl"].model_copy(update={"stop_epoch": 3})} | dict(params.arms)
    entry = compare("attention_distance", tables_of(study, params.model_copy(update={"arms": arms})))
    assert entry["arms"]["contrastive"] == ["cl"] and entry["specifications"]["agree"] == 1


def test_a_claim_of_one_arm_compares_its_blocks(written):
    entry = compare("frequency_falls", tables_of(written))
    # The highest bin is 5 in every block but the last, where it is -1.5: the last third has lost half of 6.5.
    fallen = {"masked": 3.25, "contrastive": 4.0, "random": 3.0}
    assert entry["values"] == {role: pytest.approx(value, abs=0.1) for role, value in fallen.items()}
    assert entry["effect"] == pytest.approx(-0.75, abs=0.1) and entry["verdict"] == "contradicted"
    assert entry["over_random"]["masked"]["effect"] == pytest.approx(0.25, abs=0.1)
    entry = compare("collapse_with_depth", tables_of(written))
    assert entry["effect"] == entry["values"]["contrastive"]  # against 0
    # The untrained encoder, which falls further, stands beside it and decides nothing.
    assert entry["verdict"] == "supported"
    assert entry["over_random"]["contrastive"]["effect"] == pytest.approx(-0.01, abs=0.005)
    again = compare("collapse_beyond_untrained", tables_of(written))
    assert again["effect"] == pytest.approx(-0.01, abs=0.005) and "over_random" not in again


def test_other_methods_are_replications_and_decide_nothing(study):
    params = load_params()
    others = {"dino": ("dino", "cl"), "mae": ("autoencoder", "mim")}
    for name, (_, like) in others.items():
        (study / analysis_table("attention", name)).write_bytes(
            (study / analysis_table("attention", like)).read_bytes()
        )
    arms = {**params.arms, **{name: Arm(objective=objective) for name, (objective, _) in others.items()}}
    tables = tables_of(study, params.model_copy(update={"arms": arms}))
    alone, entry = (compare("attention_distance", one) for one in (tables_of(study), tables))
    again = entry["replications"]
    assert entry["effect"] == alone["effect"] and set(again) == {
        "contrastive over autoencoder",
        "dino over masked",
        "dino over autoencoder",
    }
    assert all(item["verdict"] == "supported" for item in again.values())
    assert again["dino over autoencoder"]["effect"] == pytest.approx(entry["effect"])
    assert "replications" not in compare("hybrid_attention", tables)
    # Without the paper's own method nothing is decided, but the replication is there.
    fewer = params.model_copy(update={"arms": {k: v for k, v in arms.items() if k != "mim"}})
    entry = compare("attention_distance", tables_of(study, fewer))
    assert entry["verdict"] == "not tested" and "masked" in entry["why"]
    assert set(entry["replications"]) == {"contrastive over autoencoder", "dino over autoencoder"}


def test_what_stands_beside_the_shape_bias(study):
    generator = np.random.default_rng(5)
    for arm in VALUES:
        rows = [
            answers(0.5, generator, labels="shape").assign(
                seed=seed, trial="cue_conflict", level=0.0, amplitude=0.0, head="linear", rival=0
            )
            for seed in SEEDS
        ]
        path = study / robustness_table(arm)
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.concat(rows).to_csv(path, index=False)
    parts = beside(NAMED["shape_bias"], tables=tables_of(study))["beside"]
    assert set(parts) == {"classified by shape", "classified by texture"}
    for part in parts.values():
        assert part["masked"]["mean"] == pytest.approx(0.5)


def test_an_arm_that_learnt_nothing_decides_nothing(study):
    path = study / probe_predictions("linear", "mim")
    path.write_bytes((study / probe_predictions("linear", "random")).read_bytes())
    tables = tables_of(study)
    gates = check_gates(tables)
    failed = [gate for gate in gates if gate.status == "failed"]
    assert [(gate.name, gate.arm) for gate in failed] == [(LEARNT, "mim")]
    assert [gate.status for gate in gates if gate.name == CONVERGED] == ["not measured"]
    entry = compare("attention_distance", tables, gates)
    assert entry["verdict"] == "not testable at this budget" and "linear probe of mim" in entry["why"]
    assert entry["effect"] == pytest.approx(7, abs=0.1) and "specifications" not in entry
    # It is about this claim, whose numbers stand; another arm's claims are decided.
    assert compare("collapse_with_depth", tables, gates)["verdict"] == "supported"


def test_the_two_files_are_the_same_bytes_again_and_agree(study, monkeypatch):
    root = Path(__file__).parents[1]
    for name in ("params.yaml", "dvc.yaml"):
        (study / name).write_bytes((root / name).read_bytes())
    monkeypatch.chdir(study)
    message = decide()
    before = [path.read_bytes() for path in (CLAIMS_FILE, SPECIFICATIONS_FILE)]
    assert decide() == message and "headline: 5 not tested, 4 supported" in message
    assert [path.read_bytes() for path in (CLAIMS_FILE, SPECIFICATIONS_FILE)] == before
    content, table = json.loads(before[0]), pd.read_csv(SPECIFICATIONS_FILE)
    names = [claim.name for claim in CLAIMS]
    assert [entry["name"] for entry in content["entries"]] == names and set(content["claims"]) == set(names)
    tested = [name for name in names if content["claims"][name]["verdict"] != "not tested"]
    assert len(tested) == 12
    for name, numbers in content["claims"].items():
        rows = table[table["claim"] == name]
        if numbers["verdict"] == "not tested":
            assert rows.empty and "specifications" not in numbers
            continue
        shares = numbers["specifications"]
        assert shares["count"] == len(rows) >= 1 and numbers["fragile"] == (shares["agree"] < 2 / 3)
        assert shares["agree"] == pytest.approx((rows["verdict"] == numbers["verdict"]).mean(), abs=1e-5)
        assert rows["effect"].iloc[0] == pytest.approx(numbers["effect"], rel=1e-4)
        assert rows["verdict"].iloc[0] == numbers["verdict"]
    # Of six blocks the last quarter is the last third, and of two heads the median is the mean.
    assert content["claims"]["attention_distance"]["specifications"]["count"] == 4
    # Four headline claims are decided: Holm's first step is at a quarter of the level.
    levels = sorted(content["claims"][name]["level"] for name in ("frequency", "linear_probing"))
    assert 0.05 / 4 <= levels[0] <= levels[1] <= 0.05
    chosen = table[table["claim"] == "linear_probing"]
    assert set(chosen["probe"]) == {"linear"} and set(chosen["pooling"]) == {"chosen on validation", "cls"}
