from pathlib import Path

import pytest

from stages.study.errors import StudyError
from stages.tools.published import PAGES, PUBLISHED, cell, filled, markdown, runs, studies, verdicts


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
    assert cell({"verdict": "not tested", "family": "headline"}) == "not tested"
    assert cell(None) == "–"


def test_only_headline_and_hybrid_claims_are_in_the_table_of_verdicts():
    one = study(
        a=claim("supported"), b=claim("undecided", family="ours"), c=claim("negligible", family="hybrid")
    )
    table = verdicts({"default": one})
    assert "a holds |" in table and "c holds |" in table and "b holds" not in table


def test_runs_are_compared_with_the_first():
    first = study(a=claim("supported"), b=claim("undecided"), c=claim("contradicted", effect=-1))
    second = study(a=claim("supported"), b=claim("supported"), c=claim("supported"))
    text = runs({"float32": first, "bf16": second})
    assert "- `bf16` against `float32`: 1 of 3 verdicts are the same (33%), 1 reversed." in text


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
