"""Figures and sentences stay readable with ten arms."""

from itertools import pairwise, product

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from stages.render.figures.comparison import comparison_figure
from stages.render.figures.depth import depth_figure
from stages.render.figures.dot_charts import dot_figure, grouped_figure
from stages.render.figures.line_charts import same_limits
from stages.render.figures.losses import loss_figure
from stages.render.figures.lost_blocks import losses_findings
from stages.render.figures.name_placing import lines_of
from stages.render.figures.style import new_figure, palette
from stages.render.figures.token_embedding import APART, number_places, planes_figure
from stages.render.figures.trajectories import in_thousands
from tests.render.figures.made_up import curves_of
from tests.render.synthetic import study_of

LABELS = [f"Hybrid, gradients 1 : {number}" for number in range(10)]
STUDY = study_of(
    {f"a{number}": {"objective": "hybrid", "gradient_ratio": 1.0 + number} for number in range(10)},
    labels={f"a{number}": label for number, label in enumerate(LABELS)},
)


def test_names_of_a_large_matrix_do_not_overlap() -> None:
    places = list(product(LABELS, (0, 1, 2)))
    index = pd.MultiIndex.from_tuples(places)
    alike = pd.DataFrame(np.full((30, 30), 0.5), index=index, columns=index)
    figure = comparison_figure(alike, inks=palette(STUDY))
    figure.draw_without_rendering()
    axis = figure.axes[0]
    for names in (axis.get_xticklabels(), axis.get_yticklabels()):
        boxes = [name.get_window_extent() for name in names]
        assert len(boxes) == 10 and not any(one.overlaps(other) for one, other in pairwise(boxes))


def test_groups_of_ten_dots_do_not_overlap_and_share_a_scale() -> None:
    rows = [
        {"group": group, "label": label, "mean": 10.0 + place, "low": 5.0, "high": 45.0}
        for group in ("clean", "edges")
        for place, label in enumerate(LABELS)
    ]
    table = pd.DataFrame(rows)
    figure = grouped_figure(
        {"A": table, "B": table.assign(high=30.0)}, inks=palette(STUDY), xlabel="accuracy (%)"
    )
    assert all(axis.get_xlim() == pytest.approx((0, 1.05 * 45)) for axis in figure.axes)
    heights = sorted(y for bar in figure.axes[0].containers for y in bar.lines[0].get_ydata())
    assert np.diff(heights).min() > 0.05 and max(heights[:10]) < 0.5 < min(heights[10:])


def test_a_name_that_starts_with_an_underscore_is_in_the_legend() -> None:
    named = study_of({"a": "masked", "b": "contrastive"}, labels={"a": "_base"})
    rows = [
        {"group": "clean", "label": name, "mean": 9.0, "low": 5.0, "high": 12.0} for name in ("_base", "b")
    ]
    figure = grouped_figure({"A": pd.DataFrame(rows)}, inks=palette(named), xlabel="accuracy (%)")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["_base", "b"]


def test_long_names_leave_room_for_the_dots_and_do_not_overlap() -> None:
    names = ["MoCo v3 with 0.2 temperature and no blur augmentation", "SimMIM with mask ratio 0.6, unit 4"]
    named = study_of({"a": "masked", "b": "contrastive"}, labels=dict(zip("ab", names, strict=True)))
    rows = [{"label": name, "mean": 9.0, "low": 5.0, "high": 12.0} for name in names]
    dots = dot_figure(dict.fromkeys("ABC", pd.DataFrame(rows)), inks=palette(named), xlabel="mIoU (%)")
    history = pd.DataFrame({"seed": 0, "epoch": [1, 2], "loss": [0.5, 0.4]})
    losses = loss_figure(dict.fromkeys(names, history), inks=palette(named))
    for figure in (dots, losses):
        figure.draw_without_rendering()
        assert all(axis.get_position().width * figure.get_figwidth() > 0.9 for axis in figure.axes)  # inches
        panels = [axis.get_tightbbox() for axis in figure.axes]
        assert panels[0].x0 >= 0 and all(one.x1 <= other.x0 for one, other in pairwise(panels))
    first, second = (text.get_window_extent() for text in dots.axes[0].get_yticklabels())
    assert not first.overlaps(second)


def test_planes_of_many_arms_stand_in_rows_of_four() -> None:
    tokens = pd.DataFrame({"image": [1, 1, 2, 2], "class": 0, "index": 1, "x": [0, 1, 5, 6], "y": 0.5})
    figure = planes_figure(dict.fromkeys(LABELS, tokens), inks=palette(STUDY))
    assert len(figure.axes) == 20 and figure.get_figwidth() < 10


def test_numbers_of_mixed_images_keep_apart() -> None:
    generator = np.random.default_rng(0)
    places = generator.random((90, 2))  # three images that cover the same area
    tokens = pd.DataFrame(places, columns=["x", "y"]).assign(image=np.arange(90) % 3)
    numbers = np.array(list(number_places(tokens).values()))
    width = np.ptp(places, axis=0)
    gaps = [np.hypot(*((one - other) / width)) for one, other in pairwise(numbers)]
    assert min(gaps) >= APART
    assert all(((places - number) == 0).all(axis=1).any() for number in numbers)  # each at a token
    alone = number_places(tokens.query("image == 1"))[1]
    assert np.hypot(*(np.array(alone) - tokens.query("image == 1")[["x", "y"]].median())) < 0.2


def test_a_sentence_on_ten_arms_names_the_extremes() -> None:
    losses = pd.DataFrame(
        [
            {"labels": "shape", "label": label, "block": block, "mean": -1.0 * place - 5 * (block == 2)}
            for place, label in enumerate(LABELS)
            for block in (1, 2)
        ]
    )
    assert losses_findings(losses) == (
        "Block whose reset costs the most accuracy on shape: block 2 for 10 of 10 arms; largest change: "
        f"{LABELS[9]} after the reset of block 2, −14.0 points."
    )


def test_panels_with_the_same_limits_show_all_values() -> None:
    left, right = new_figure().subplots(1, 2)
    left.plot([0, 1], [0, 1])
    right.plot([5, 9], [2, 3])
    same_limits([left, right], both=True)
    assert left.get_xlim() == right.get_xlim() and left.get_ylim() == right.get_ylim()
    assert left.get_xlim()[0] <= 0 and left.get_xlim()[1] >= 9
    same_limits([])


@pytest.mark.parametrize(
    ("seen", "words"), [(1600, "1.6k"), (5280, "5.3k"), (16000, "16k"), (2_560_000, "2.6M"), (60, "60")]
)
def test_images_are_counted_in_thousands(seen: int, words: str) -> None:
    assert in_thousands(seen) == words


def test_names_of_several_lines_have_room_at_the_ends_of_lines() -> None:
    labels = [f"Arm {number}: " + "a label of eighty characters " * 2 + "and some" for number in range(6)]
    assert lines_of(labels) == 30 and lines_of(["Short", "Short", "CL"]) == 2
    arms = {f"a{number}": "masked" for number in range(6)}
    inks = palette(study_of(arms, labels={f"a{number}": label for number, label in enumerate(labels)}))
    figure = depth_figure(curves_of(labels), inks=inks, ylabel="y")
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in figure.axes[0].texts]
    assert len(boxes) == 6
    for place, box in enumerate(boxes):
        assert box.y0 >= 0 and box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])
