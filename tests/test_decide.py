"""Verdicts follow the tables: what is put into them comes out."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.claims.entries import CLAIMS
from stages.claims.specification import specifications
from stages.claims.tables import Tables
from stages.decide import about, compare, decide
from stages.results.study_results import CLAIMS as CLAIMS_FILE
from stages.results.study_results import SPECIFICATIONS as SPECIFICATIONS_FILE
from stages.results.study_results import Results
from stages.study.params import load_params
from stages.study.paths import analysis_table, finetune_dir, probe_predictions
from stages.study.settings import Arm

IMAGES, BLOCKS, HEADS = 60, 6, 2
NAMED = {claim.name: claim for claim in CLAIMS}


def attention(distance, nmi, seed):
    rng = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product(
        [range(IMAGES), range(1, BLOCKS + 1), range(1, HEADS + 1)], names=["image", "block", "head"]
    )
    late = index.get_level_values("block") > 4  # what early blocks do must not matter
    return pd.DataFrame(
        {
            "distance": np.where(late, distance, 99) + rng.normal(0, 0.1, len(index)),
            "nmi": np.where(late, nmi, 0.9) + rng.normal(0, 0.01, len(index)),
        },
        index=index,
    ).reset_index()


def answers(share, seed, **columns):
    right = np.random.default_rng(seed).random(IMAGES) < share
    return pd.DataFrame({"image": range(IMAGES), "truth": 1, "predicted": right.astype(int), **columns})


@pytest.fixture
def study(tmp_path):
    """A study in which every claim holds, except that the hybrid probes between its parents and that the
    mutual information of the untrained encoder falls furthest."""
    values = {  # distance, nmi, log amplitude, linear, fine-tuned
        "random": (16.5, 0.01, -1.0, 0.1, 0.1),
        "cl": (15.0, 0.02, -3.0, 0.9, 0.85),
        "mim": (8.0, 0.30, -1.5, 0.1, 0.2),
        "hybrid": (12.0, 0.10, -2.0, 0.5, 1.0),
    }
    for seed, (arm, (distance, nmi, amplitude, linear, tuned)) in enumerate(values.items()):
        rng = np.random.default_rng(100 + seed)
        fourier = pd.DataFrame(
            [
                (i, b, f, amplitude if (b, f) == (6, 0.75) else 5)
                for i in range(IMAGES)
                for b in range(BLOCKS + 1)
                for f in (0.25, 0.75)
            ],
            columns=["image", "block", "frequency", "log_amplitude"],
        )
        fourier["log_amplitude"] += rng.normal(0, 0.1, len(fourier))
        chosen = answers(linear, seed, labels="class", pooling="mean", chosen=True)
        other = answers(0.5, seed, labels="class", pooling="cls", chosen=False)
        tables = {
            analysis_table("attention", arm): attention(distance, nmi, seed),
            analysis_table("fourier", arm): fourier,
            probe_predictions("linear", arm): pd.concat([chosen, other]),
            finetune_dir(arm, 0) / "predictions.csv": answers(tuned, seed, labels="class", pooling="mean"),
        }
        for path, table in tables.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            table.insert(0, "seed", 0)
            table.to_csv(tmp_path / path, index=False)
    return tmp_path


def tables_of(root, params, seeds=(0,)):
    return Tables(Results(params.model_copy(update={"seeds": list(seeds)}), root))


def test_differences_are_those_put_in(study):
    params = load_params()
    expected = {
        "attention_distance": 7.0,
        "attention_collapse": 0.28,
        "frequency": 1.5,
        "linear_probing": 0.8,
    }
    for name, effect in expected.items():
        entry = compare(NAMED[name], tables=tables_of(study, params))
        assert entry["effect"] == pytest.approx(effect, abs=0.12)
        assert entry["low"] < entry["effect"] < entry["high"] and entry["p"] < 0.01
        assert set(entry["values"]) == {"contrastive", "masked", "random"}


def test_the_control_is_compared_with_both_sides(study):
    entry = compare(NAMED["attention_collapse"], tables=tables_of(study, load_params()))
    assert entry["over_random"]["masked"]["low"] > 0.2
    assert entry["over_random"]["contrastive"]["effect"] == pytest.approx(0.01, abs=0.005)


def test_a_claim_over_both_parents_is_decided_by_the_worse(study):
    entry = compare(NAMED["hybrid_linear"], tables=tables_of(study, load_params()))
    assert entry["effect"] == pytest.approx(-0.4, abs=0.12)
    assert compare(NAMED["hybrid_finetuned"], tables=tables_of(study, load_params()))["effect"] > 0


def test_what_is_missing_is_not_tested_and_says_why(study):
    params = load_params()
    (study / analysis_table("fourier", "cl")).unlink()
    entry = compare(NAMED["frequency"], tables=tables_of(study, params))
    assert entry["verdict"] == "not tested" and "fourier/cl.csv" in entry["why"]
    without = params.model_copy(update={"analyses": {"fourier": params.analyses["fourier"]}})
    assert "not among" in compare(NAMED["attention_distance"], tables=tables_of(study, without))["why"]
    fewer = params.model_copy(update={"arms": {k: v for k, v in params.arms.items() if k != "mim"}})
    entry = compare(NAMED["linear_probing"], tables=tables_of(study, fewer))
    assert entry["verdict"] == "not tested" and "masked" in entry["why"]
    wide = params.model_copy(update={"vit": params.vit.model_copy(update={"width": 768, "heads": 12})})
    assert "768 wide" in compare(NAMED["small_models"], tables=tables_of(study, wide))["why"]
    assert "at least 768" in compare(NAMED["large_models"], tables=tables_of(study, params))["why"]
    assert compare(NAMED["large_models"], tables=tables_of(study, wide))["effect"] == pytest.approx(
        -0.65, abs=0.15
    )


def test_seeds_are_averaged_and_other_arms_of_an_objective_left_alone(study):
    params = load_params()
    arms = {**params.arms, "cl_wide": params.arms["cl"]}
    for table in ("attention", "fourier"):  # the second training of CL is as MIM is
        for arm, other in (("cl", "mim"), ("mim", "mim"), ("random", "random")):
            path = study / analysis_table(table, arm)
            again = pd.read_csv(study / analysis_table(table, other)).query("seed == 0").assign(seed=1)
            pd.concat([pd.read_csv(path), again]).to_csv(path, index=False)
    tables = tables_of(study, params.model_copy(update={"arms": arms}), seeds=(0, 1))
    entry = compare(NAMED["attention_distance"], tables=tables)
    assert entry["values"]["contrastive"] == pytest.approx((15 + 8) / 2, abs=0.1)
    assert entry["arms"]["contrastive"] == ["cl"] and entry["trainings"]["contrastive"] == 2
    # The two trainings disagree, so another pair of them could have shown no difference at all.
    assert entry["high"] > 6.5 and entry["low"] < 0.5


def test_an_earlier_checkpoint_is_a_choice_where_the_study_has_its_arms(study):
    params = load_params()
    arms = dict(params.arms)
    for arm, other in (("cl", "mim"), ("mim", "cl")):  # after three epochs it was the other way round
        arms[f"{arm}_3"] = params.arms[arm].model_copy(update={"stop_epoch": 3})
        (study / analysis_table("attention", f"{arm}_3")).write_bytes(
            (study / analysis_table("attention", other)).read_bytes()
        )
    tables = tables_of(study, params.model_copy(update={"arms": arms}))
    claim = NAMED["attention_distance"]
    assert compare(claim, tables=tables)["arms"]["contrastive"] == ["cl"]
    found = specifications(claim, tables=tables)
    for epoch, verdict in (("the last epoch", "supported"), ("epoch 3", "contradicted")):
        of_epoch = {item.verdict for item in found if item.choices["epoch"] == epoch}
        assert of_epoch == {verdict}, epoch
    told = about(claim, tables=tables)
    assert {"name": "epoch", "options": ["the last epoch", "epoch 3"]} in told["choices"]
    told = about(claim, tables=tables_of(study, params))
    assert "epoch" not in [choice["name"] for choice in told["choices"]]
    assert told["fixed"] == ["the last epoch"]


def test_a_claim_of_one_arm_compares_its_blocks(study):
    entry = compare(NAMED["frequency_falls"], tables=tables_of(study, load_params()))
    # The highest bin is 5 in every block but the last, where it is -1.5: the last third has lost half of 6.5.
    over_zero, over_random = entry["differences"]
    assert over_zero.effect == pytest.approx(3.25, abs=0.1) and over_zero.p < 0.01
    assert entry["values"] == {"masked": pytest.approx(3.25, abs=0.1), "random": pytest.approx(3.0, abs=0.1)}
    # It is decided by what is less certain: that it falls more than in an untrained encoder.
    assert entry["effect"] == over_random.effect == pytest.approx(0.25, abs=0.1)
    assert "over_random" not in entry
    entry = compare(NAMED["collapse_with_depth"], tables=tables_of(study, load_params()))
    assert entry["differences"][0].effect == pytest.approx(0.88, abs=0.01)
    assert entry["differences"][0].d_z > 5
    assert entry["effect"] == pytest.approx(-0.01, abs=0.005)  # the untrained one falls further
    again = compare(NAMED["collapse_beyond_untrained"], tables=tables_of(study, load_params()))
    assert again["effect"] == pytest.approx(-0.01, abs=0.005) and "over_random" not in again


def test_other_methods_of_a_family_are_replications_and_decide_nothing(study):
    params = load_params()
    others = {"dino": ("dino", "cl"), "mae": ("autoencoder", "mim")}
    for name, (_, like) in others.items():
        (study / analysis_table("attention", name)).write_bytes(
            (study / analysis_table("attention", like)).read_bytes()
        )
    arms = {**params.arms, **{name: Arm(objective=objective) for name, (objective, _) in others.items()}}
    alone = compare(NAMED["attention_distance"], tables=tables_of(study, params))
    tables = tables_of(study, params.model_copy(update={"arms": arms}))
    entry = compare(NAMED["attention_distance"], tables=tables)
    again = entry.pop("replications")
    assert entry == alone and set(again) == {
        "contrastive over autoencoder",
        "dino over masked",
        "dino over autoencoder",
    }
    assert all(item["verdict"] == "supported" for item in again.values())
    assert again["dino over autoencoder"]["effect"] == pytest.approx(entry["effect"])
    assert "replications" not in compare(NAMED["hybrid_attention"], tables=tables)
    # Without the paper's own method nothing is decided, but the replication is there.
    fewer = params.model_copy(update={"arms": {k: v for k, v in arms.items() if k != "mim"}})
    entry = compare(NAMED["attention_distance"], tables=tables_of(study, fewer))
    assert entry["verdict"] == "not tested" and "masked" in entry["why"]
    assert set(entry["replications"]) == {"contrastive over autoencoder", "dino over autoencoder"}


def test_the_two_files_are_the_same_bytes_again_and_agree(study, monkeypatch):
    root = Path(__file__).parents[1]
    for name in ("params.yaml", "dvc.yaml"):
        (study / name).write_bytes((root / name).read_bytes())
    params = (study / "params.yaml").read_text()
    (study / "params.yaml").write_text(params.replace("seeds: [0, 1, 2, 3]", "seeds: [0]"))
    monkeypatch.chdir(study)
    said = decide()
    before = [path.read_bytes() for path in (CLAIMS_FILE, SPECIFICATIONS_FILE)]
    assert decide() == said and "8 supported" in said
    assert [path.read_bytes() for path in (CLAIMS_FILE, SPECIFICATIONS_FILE)] == before
    decided, table = json.loads(before[0]), pd.read_csv(SPECIFICATIONS_FILE)
    names = [claim.name for claim in CLAIMS]
    assert [entry["name"] for entry in decided["entries"]] == names and set(decided["claims"]) == set(names)
    tested = [name for name in names if decided["claims"][name]["verdict"] != "not tested"]
    assert len(tested) == 12 and f"over {len(tested)} tested claims" in decided["rules"]["correction"]
    for name, numbers in decided["claims"].items():
        rows = table[table["claim"] == name]
        if numbers["verdict"] == "not tested":
            assert rows.empty and "specifications" not in numbers
            continue
        found = numbers["specifications"]
        assert found["count"] == len(rows) > 2
        assert found["agree"] == pytest.approx((rows["verdict"] == numbers["verdict"]).mean(), abs=1e-5)
        assert rows["effect"].iloc[0] == pytest.approx(numbers["effect"], rel=1e-4)
    # Of six blocks the last quarter is the last third, and of two heads the median is the mean: 4 × 1 × 3.
    assert decided["claims"]["attention_distance"]["specifications"]["count"] == 12
    assert decided["claims"]["attention_distance"]["specifications"]["agree"] == 1
    chosen = table[table["claim"] == "linear_probing"]
    assert set(chosen["probe"]) == {"linear"} and set(chosen["pooling"]) == {"chosen on validation", "cls"}
