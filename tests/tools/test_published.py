from pathlib import Path

import pytest

from stages.study.errors import StudyError
from stages.study.paths import read_json, write_json
from stages.tools.published import PAGES, filled, rows_of, studies, write_accuracies
from stages.tools.published_tables import (
    PUBLISHED,
    accuracy_table,
    agreement,
    cell,
    cell_of,
    markdown,
    public_table,
    reruns,
    runs,
    verdicts,
)
from tests.tracked_study import make_study


def study(**claims):
    entries = [
        {"name": name, "statement": f"{name} holds.", "section": "§2"} for name in claims
    ]  # as claims.json lists them
    return {"claims": claims, "entries": entries}


def claim(verdict, *, effect=0.06, margin=0.03, family="headline", **more):
    return {"verdict": verdict, "effect": effect, "margin": margin, "family": family} | more


def test_a_cell_gives_the_effect_in_margins():
    assert cell(claim("supported")) == "supported (+2.0)"
    assert cell(claim("contradicted", effect=-0.045, fragile=True)) == "contradicted, fragile (−1.5)"
    against = claim("undecided", effect=-0.045, corrected_low=-0.09, corrected_high=-0.01)
    assert cell(against) == "undecided, below 0 (−1.5)"
    assert cell({"verdict": "not tested", "family": "headline"}) == "not tested"
    assert cell(None) == "–"


def test_an_effect_in_a_margin_that_follows_the_arms_has_a_dagger():
    one = study(a=claim("supported"), b=claim("supported"))
    one["entries"][0]["margin_reason"] = "a tenth of the narrow range of all arms, 0.0057"
    one["entries"][1]["margin_reason"] = "a tenth of the range of MoCo v3 over its blocks"
    for table in (verdicts({"default": one}), runs({"default": one})):
        assert table.count("supported (+2.0 †)") == 1 and table.count("supported (+2.0) |") == 1


def test_the_reason_of_a_narrow_margin_is_that_of_the_claims():
    published = studies(PUBLISHED)
    assert cell_of(published["replicates"], "attention_collapse").endswith(" †)")
    assert not cell_of(published["cifar10"], "attention_collapse").endswith(" †)")


def test_a_claim_whose_specification_changed_later_is_marked():
    """A run whose file gives no date has no mark, nor has a claim that it lacks."""
    new, old, dateless = (study(a=claim("supported"), b=claim("undecided")) for _ in range(3))
    new["entries"][0]["frozen"], old["entries"][0]["frozen"] = "2026-11-30", "2026-11-28"
    new["entries"][1]["frozen"] = old["entries"][1]["frozen"] = "2026-11-28"
    columns = {"new": new, "old": old, "dateless": dateless, "other": study(b=claim("undecided"))}
    for table in (verdicts(columns), runs(columns)):
        cells = "| supported (+2.0) | supported (+2.0) ‡ | supported (+2.0) | – |"
        assert cells in table and table.count("‡") == 1


def test_only_headline_and_hybrid_claims_are_in_the_table_of_verdicts():
    one = study(
        a=claim("supported"), b=claim("undecided", family="ours"), c=claim("negligible", family="hybrid")
    )
    table = verdicts({"default": one})
    assert "a holds |" in table and "c holds |" in table and "b holds" not in table


def test_runs_are_compared_with_the_first():
    untested = {"verdict": "not tested", "family": "headline"}
    first = study(
        a=claim("supported", family="ours"),
        b=claim("undecided"),
        c=claim("contradicted", effect=-1),
        d=untested,
        e=claim("undecided"),
    )
    changed = study(
        a=claim("supported", family="ours"),
        b=claim("supported"),
        c=claim("supported"),
        d=untested,
        e=claim("undecided"),
    )
    studies = {"float32": first, "bf16": changed}
    text = runs(studies) + "\n" + agreement(studies)
    assert "| run | same verdict as `float32` | of the claims that either run decides | reversed |" in text
    assert "| `bf16` | 2 of 4 (50 %) | 1 of 3 (33 %) | `c` |" in text
    assert [text.index(f"| `{name}`: ") for name in "bcdea"] == sorted(
        text.index(f"| `{name}`: ") for name in "abcde"
    )  # ours last
    assert "| `c`: c holds | headline | contradicted (−33.3) | supported (+2.0) |" in text


def test_claims_with_another_main_specification_are_not_compared():
    first, second = (
        study(a=claim("supported"), b=claim(verdict)) for verdict in ("supported", "contradicted")
    )
    assert "1 of 2 (50 %)" in agreement({"one": first, "other": second})
    second["entries"][1]["frozen"] = "2026-11-30"
    assert "| `other` | 1 of 1 (100 %) | 1 of 1 (100 %) | none |" in agreement(
        {"one": first, "other": second}
    )


def test_a_rerun_stands_beside_the_same_seeds():
    """The side that decides is that of the means of all seeds, though seed 1 alone would name the other."""
    cl, mim = {"0": 0.5, "1": 0.53, "2": 0.6}, {"0": 0.44, "1": 0.5, "2": 0.54}
    sides = {"contrastive": cl, "masked": mim, "random": {"0": 0.4, "1": 0.4, "2": 0.4}}
    both = {"hybrid": {"1": 0.6, "2": 0.6}, "contrastive": cl, "masked": mim | {"1": 0.55}}
    ways = {
        "a": ("contrastive over masked", claim("supported", by_seed=sides)),
        "b": ("masked over 0 and random", claim("negligible", by_seed={"masked": mim}, margin=0.2)),
        "c": ("contrastive over masked", claim("undecided", by_seed=sides, family="ours")),
        "d": ("contrastive over masked", claim("undecided", by_seed=sides)),
        "e": ("contrastive over masked", {"verdict": "not tested", "family": "headline"}),
        "f": ("hybrid over contrastive and masked", claim("undecided", by_seed=both, family="hybrid")),
    }
    first = study(**{name: numbers for name, (_, numbers) in ways.items()})
    for entry in first["entries"]:
        entry["comparison"] = ways[entry["name"]][0]
    other = {"contrastive": {"0": 0.9, "1": 0.9}, "masked": {"0": 0.9, "1": 0.93}, "hybrid": {"1": 0.84}}
    again = study(**{name: claim("undecided", by_seed=other) for name in "abcdef"})
    again["entries"][3]["frozen"] = "2026-11-30"
    table = reruns({"bf16": first, "float32": again}).splitlines()
    assert table[0] == "| claim | `bf16`, all seeds | `bf16`, seeds 0, 1 | `float32`, seeds 0, 1 |"
    assert table[2:] == [
        "| a holds | +1.0 to +2.0 | +2.0, +1.0 | +0.0, −1.0 |",
        "| b holds | +2.2 to +2.7 | +2.2, +2.5 | +4.5, +4.7 |",
        "| f holds | +0.0 to +2.3 | –, +2.3 | –, −2.0 |",
    ]


def test_runs_without_a_tested_claim_are_compared_too():
    one = study(a={"verdict": "not tested", "family": "headline"})
    assert "| `other` | – | – | none |" in agreement({"one": one, "other": one})


def test_accuracies_are_those_of_a_finished_study(tmp_path):
    (tmp_path / "study").mkdir()
    make_study(tmp_path / "study", arms=("cl", "mim"), knn=0.2)
    with pytest.raises(StudyError, match=r"published/claims\.json: not found; copy results/claims\.json"):
        write_accuracies(tmp_path / "published", project=tmp_path / "study")
    write_json(tmp_path / "published/claims.json", {})
    write_accuracies(tmp_path / "published", project=tmp_path / "study")
    rows = rows_of(tmp_path / "published/accuracies.json")
    assert [(row["label"], row["evaluation"], row["mean"]) for row in rows] == [
        (arm, evaluation, mean)
        for arm in ("cl", "mim")
        for evaluation, mean in (("knn", 0.2), ("linear", 0.5), ("fine-tuned", 0.75))
    ]
    text = accuracy_table({"ours": {"accuracies": rows}})
    assert "| arm | knn | linear | fine-tuned |" in text and "| mim | 20.0 | 50.0 | 75.0 |" in text
    assert "`ours`: accuracy in %; means over 2 trainings of each arm." in text
    (tmp_path / "study/results/finetune/mim.json").unlink()
    with pytest.raises(StudyError, match=r"mim\.json"):
        write_accuracies(tmp_path / "published", project=tmp_path / "study")


def test_label_sets_share_a_cell_and_a_study_without_accuracies_is_named():
    row = {"label": "cl", "evaluation": "knn", "trainings": 4}
    rows = [row | {"labels": "shape", "mean": 0.25}, row | {"labels": "texture", "mean": 0.5}]
    text = accuracy_table({"default": {"accuracies": rows}})
    assert "| cl | 25.0 / 50.0 |" in text and "in %; shape / texture labels; means over 4 trainings" in text
    with pytest.raises(
        StudyError, match=r"bf16/accuracies\.json: not found; write it with --accuracies bf16"
    ):
        accuracy_table({"bf16": {"accuracies": []}})


def test_numbers_of_other_authors_stand_above_those_of_a_study():
    other = {"study": "ViT-T", "address": "https://example.org", "arm": "MAE", "linear": 49.1}
    ours = [
        {"label": "mim", "evaluation": name, "mean": 0.5, "labels": "class"} for name in ("knn", "linear")
    ]
    text = public_table({"cifar10": {"public": [other], "accuracies": ours}})
    assert text.splitlines()[2:] == [
        "| [ViT-T](https://example.org) | MAE | – | 49.1 | – |",
        "| `cifar10` | mim | 50.0 | 50.0 | – |",
    ]


def test_the_published_accuracies_are_those_of_the_committed_metrics(tmp_path):
    """Of the published study whose claims results/ holds."""
    claims = read_json(Path("results/claims.json"))
    same = [path.parent for path in PUBLISHED.glob("*/claims.json") if read_json(path) == claims]
    if not same:
        pytest.skip("results/ holds a study that is not published")
    write_json(tmp_path / "claims.json", {})
    write_accuracies(tmp_path, project=Path())
    assert rows_of(tmp_path / "accuracies.json") == rows_of(same[0] / "accuracies.json")


def test_only_what_is_between_the_comments_changes():
    text = "Before\n<!-- table: verdicts default -->\nstale\n<!-- end -->\nAfter\n"
    new = filled(text, studies={"default": study(a=claim("supported"))}, where="README.md")
    assert new.startswith("Before\n") and new.endswith("\nAfter\n") and "stale" not in new
    assert filled(new, studies={"default": study(a=claim("supported"))}, where="README.md") == new


@pytest.mark.parametrize(
    ("comment", "message"),
    [("verdict default", "no table 'verdict'"), ("verdicts cifar", "has no study 'cifar'")],
)
def test_a_comment_that_names_nothing_is_an_error(comment, message):
    with pytest.raises(StudyError, match=message):
        filled(
            f"<!-- table: {comment} --><!-- end -->",
            studies={"default": study(a=claim("supported"))},
            where="README.md",
        )


def test_markdown_has_a_header_and_a_rule():
    assert markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_the_committed_tables_are_those_of_the_committed_results(page):
    text = Path(page).read_text(encoding="utf-8")
    assert filled(text, studies=studies(PUBLISHED), where=str(page)) == text
