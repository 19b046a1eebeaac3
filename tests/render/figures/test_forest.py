"""The forest plot draws every claim in units of its margin, readable on any screen."""

from typing import Any

import numpy as np
import pytest

from stages.render.figures.captions import NUMBERS
from stages.render.figures.forest import EDGE, forest_alt, forest_caption, forest_figure
from stages.render.figures.forest_rows import (
    by_seed,
    comparison,
    forest_rows,
    forest_table,
    paper_effects,
)
from stages.render.page.figure_card import drawn, image_bytes

BY_SEED = {
    "contrastive": {"0": 3.0, "1": 5.0, "2": 4.0},
    "masked": {"0": 1.0, "1": 2.0, "7": 9.0},
    "random": {"0": 2.5, "1": 2.5},
}


def claim(name: str = "frequency", **changes: Any) -> dict[str, Any]:
    """Return a decided claim about methods."""
    whole = {
        "name": name, "family": "headline", "statement": f"CL has more {name}.", "unit": "log",
        "comparison": "contrastive over masked", "verdict": "supported",
        "effect": 0.6, "low": 0.4, "high": 0.8,
        "corrected_low": 0.3, "corrected_high": 0.9, "margin": 0.2, "by_seed": BY_SEED, "fragile": False,
        "specifications": {"count": 4, "agree": 0.75}, "scope": "methods",
    }  # fmt: skip
    return whole | changes


def test_effects_are_in_margins_and_seeds_are_differences_of_shared_seeds() -> None:
    one = comparison(claim(), margin=None)
    assert one is not None
    np.testing.assert_allclose((one.effect, one.low, one.high, *one.outer), (3, 2, 4, 1.5, 4.5))
    np.testing.assert_allclose(one.seeds, (10, 15))  # (3 − 1) / .2 and (5 − 2) / .2; no other seed is shared
    assert one.agreement == "3 of 4"
    assert comparison({"verdict": "not tested"}, margin=1.0) is None
    bare = comparison({"effect": 1.0, "low": 0.5, "high": 1.5, "verdict": "undecided"}, margin=0.5)
    assert bare is not None and bare.outer == (1, 3) and bare.seeds == () and bare.agreement == ""


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("contrastive over masked and random", [0.5, 2.5]),  # random has the larger mean of the seeds 0 and 1
        ("contrastive over 0", [3.0, 5.0, 4.0]),
        ("masked over contrastive", [-2.0, -3.0]),
        ("hybrid over masked", []),
        ("", []),
    ],
)
def test_the_lower_side_that_decides_is_the_closest(words: str, values: list[float]) -> None:
    lower = BY_SEED | {"masked": {"0": 1.0, "1": 2.0}}
    assert list(by_seed({"by_seed": lower, "comparison": words}).values()) == values


def test_rows_are_ordered_by_family_with_other_studies_and_the_paper() -> None:
    claims = [
        claim("a", family="ours"),
        claim("b", family="exploratory"),
        claim(),
        claim("c", verdict="not tested", effect=None),
    ]
    theirs = [claim(effect=1.0, low=0.9, high=1.1, margin=None), claim("b", unit="px")]
    rows = forest_rows(claims, others={"CIFAR-10": theirs})
    assert [row.name for row in rows] == ["frequency", "c", "b", "a"]
    assert rows[0].others["CIFAR-10"].effect == pytest.approx(5) and not rows[2].others  # of another unit
    assert rows[0].paper == pytest.approx(1.0, abs=1e-6) and rows[1].paper is None and rows[1].main is None
    table = forest_table(rows)
    assert table["study"].tolist() == ["this study", "CIFAR-10", "paper", "this study", "this study"]


def test_the_papers_effects_follow_from_its_published_numbers() -> None:
    effects = paper_effects()
    assert effects["linear_probing"] == pytest.approx(0.20) and effects["finetuning"] == pytest.approx(0.006)
    assert effects["frequency"] == pytest.approx(0.20) and effects["implicit_decoder"] == pytest.approx(0.115)
    assert effects["explicit_decoder"] == pytest.approx(0.107) and effects["hybrid_linear"] == pytest.approx(
        0.035
    )
    assert effects["late_blocks"] == pytest.approx(0.1675) and effects["model_size"] == pytest.approx(
        0.042, abs=5e-4
    )


@pytest.mark.parametrize("narrow", [False, True])
def test_large_effects_are_arrows_at_the_edge_with_their_number(narrow: bool) -> None:
    far = claim("far", effect=9.4, low=9.2, high=9.6, corrected_low=9.1, corrected_high=9.7)
    wrong = claim("b", verdict="contradicted", effect=-0.6, low=-0.7, high=-0.5, fragile=True)
    figure = forest_figure(forest_rows([claim(), far, wrong], others={"Ours": [claim()]}), narrow=narrow)
    words = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert "47" in words and any(word.startswith("✗ contradicted, fragile") for word in words)
    assert any(word.startswith("✓ supported") for word in words) and "Headline claims" in words
    (axis,) = figure.axes
    drawn_points = np.concatenate(
        [line.get_xdata() for line in axis.get_lines() if line.get_transform() == axis.transData]
    )
    assert np.abs(drawn_points.astype(float)).max() <= EDGE
    svg = image_bytes(figure, form="svg").decode()
    assert ">CL has more far.</text>" in svg and "Ours" in svg
    assert figure.get_figwidth() == (3.2 if narrow else 11)


def test_a_study_has_one_mark_in_all_rows_and_in_the_legend() -> None:
    others = {"First": [claim()], "Second": [claim(), claim("b")]}
    figure = forest_figure(forest_rows([claim(), claim("b")], others=others))
    lines = figure.axes[0].get_lines()
    assert [sum(line.get_marker() == marker for line in lines) for marker in "vP"] == [1, 2]
    legend = figure.texts[0].get_text()
    assert "▼ First" in legend and "✚ Second" in legend


def test_with_one_training_per_arm_the_caption_says_what_intervals_are_over() -> None:
    single = {"contrastive": {"0": 3.0}, "masked": {"0": 1.0}}
    caption = forest_caption(forest_rows([claim(by_seed=single, scope="encoders")], others={}))
    assert "95 % intervals over images where each arm has one training; " in caption
    assert "seeds" not in caption
    assert len(caption.split()) <= 60
    several = forest_caption(forest_rows([claim()], others={}))
    assert "95 % intervals over trainings; " in several and "small dots: 2 seeds" in several


def test_text_fits_the_figure_and_narrow_screens_have_a_variant() -> None:
    rows = forest_rows(
        [claim(statement="A word " * 30), claim("b", verdict="contradicted", fragile=True)], others={}
    )
    for narrow in (False, True):
        figure = forest_figure(rows, narrow=narrow)
        figure.draw_without_rendering()
        width = figure.bbox.width
        boxes = [text.get_window_extent() for text in [*figure.texts, *figure.axes[0].texts]]
        assert all(box.x0 >= 0 and box.x1 <= width for box in boxes)
    alt, caption = forest_alt(rows), forest_caption(rows)
    assert alt == (
        f"Forest plot of 2 claims in units of their margins: 1 supported and 1 contradicted. {NUMBERS}"
    )
    assert len(caption.split()) <= 60 and len(alt) <= 250
    html = drawn(
        forest_figure(rows), narrow=forest_figure(rows, narrow=True), name="claims", alt=alt, caption=caption
    )
    assert '<source media="(max-width: 40rem)" srcset="data:image/svg+xml,' in html
    assert " " not in html.partition('srcset="')[2].partition('"')[0]
