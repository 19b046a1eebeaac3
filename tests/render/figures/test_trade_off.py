"""Probing against fine-tuning: points, lines and findings."""

import pandas as pd
import pytest
from matplotlib.figure import Figure

from stages.render.figures.paper import layerwise, methods, trade_offs
from stages.render.figures.style import PAPER, palette
from stages.render.figures.trade_off import CIRCLE, THIN, TRIANGLE, both_ways, trade_off_figure
from stages.render.figures.trade_off_words import trade_off_alt, trade_off_caption, trade_off_findings
from stages.render.sections.accuracies import accuracy_rows
from stages.results.accuracies import accuracies, protocols
from stages.results.study_results import AUGMENTED, FINE_TUNED
from tests.render.synthetic import study_of, write_json, write_study
from tests.render.synthetic_tables import score

STUDY = study_of(dict.fromkeys(("one", "two", "three"), "masked"))
NUMBERS = {  # probed as they are, augmented, fine-tuned
    "one": (0.3, 0.42, 0.9),
    "two": (0.5, 0.49, 0.8),
    "three": (0.6, None, 0.85),
}


def table(labels: str = "class") -> pd.DataFrame:
    rows = []
    for label, numbers in NUMBERS.items():
        for evaluation, value in zip(("linear", AUGMENTED, FINE_TUNED), numbers, strict=True):
            if value is not None:
                place = {"label": label, "evaluation": evaluation, "labels": labels, "trainings": 1}
                rows.append(place | score(value) | {"mean": value})
    return pd.DataFrame(rows)


def points(figure: Figure, panel: int, *, marker: str, colour: str) -> list[tuple[float, float]]:
    """Return the places of one kind of marker in one colour."""
    lines = [line for line in figure.axes[panel].lines if line.get_marker() == marker]
    return [
        (round(float(x), 3), round(float(y), 3))
        for line in lines
        if line.get_color() == colour
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


def test_intervals_that_rounding_moves_past_the_mean_are_drawn() -> None:
    rounded = table().assign(high=table()["mean"] - 1e-16)
    figure = trade_off_figure(rounded, inks=palette(STUDY), probe="linear", paper={})
    assert len(figure.axes) == 1


def test_both_protocols_of_an_arm_are_drawn_and_joined() -> None:
    inks = palette(STUDY)
    figure = trade_off_figure(table(), inks=inks, probe="linear", paper=trade_offs())
    for label, (plain, augmented, tuned) in NUMBERS.items():
        colour = inks[label].colour
        assert points(figure, 0, marker=CIRCLE, colour=colour) == [(100 * plain, 100 * tuned)]
        expected = [] if augmented is None else [(100 * augmented, 100 * tuned)]
        assert points(figure, 0, marker=TRIANGLE, colour=colour) == expected
        thin = [line for line in figure.axes[0].lines if line.get_linewidth() == THIN]
        joins = [list(line.get_xdata()) for line in thin if line.get_color() == colour]
        assert joins == ([] if augmented is None else [pytest.approx([100 * plain, 100 * augmented])])


def test_methods_of_the_paper_have_two_probes() -> None:
    figure = trade_off_figure(table(), inks=palette(STUDY), probe="linear", paper=trade_offs())
    published = points(figure, 1, marker=TRIANGLE, colour=PAPER)
    assert published == [(point.linear, point.finetuned) for point in methods()]
    last = {curve.method: curve.values[-1] for curve in layerwise()}
    tuned = {point.method: point.finetuned for point in methods()}
    expected = {(last[name], tuned[name]) for name in ("SimMIM", "MAE", "MoCo v3")}
    assert set(points(figure, 1, marker=CIRCLE, colour=PAPER)) == expected
    assert len(points(figure, 2, marker=CIRCLE, colour=PAPER)) == 5  # the hybrids


def test_the_words_follow_the_numbers() -> None:
    findings = trade_off_findings(table(), probe="linear")
    assert findings.startswith("In the linear probe, accuracy is highest for three, 60")
    assert "After fine-tuning, accuracy is highest for one, 90" in findings
    assert "the probe changes by these points: one +12.0 and two −1.0." in findings
    assert "triangles: probe of augmented images" in trade_off_caption(table(), probe="linear")
    assert "Arms: " in trade_off_alt(table(), probe="linear")


def test_without_augmented_probes_no_words_mention_them() -> None:
    plain = table("shape").query("evaluation != @AUGMENTED")
    assert "In the linear probe on shape, accuracy is" in trade_off_findings(plain, probe="linear")
    assert "ugmented" not in trade_off_caption(plain, probe="linear")
    assert "ugmented" not in trade_off_alt(plain, probe="linear")
    assert both_ways(plain, probe=AUGMENTED) == {}


def test_only_arms_with_augmented_probes_are_read(tmp_path) -> None:
    results = write_study(tmp_path, study_of({"a": "masked", "b": "masked"}))
    each = {seed: {"labels": {"shape": score(value)}} for seed, value in (("0", 0.7), ("1", 0.8))}
    sets = {"labels": {"shape": score(0.75)}, "protocol": "anew", "seeds": each}
    write_json(tmp_path / "results/probe/linear_augmented/b.json", sets)
    scores = accuracies(results, probes=["linear"], augmented=["b"])
    of_probe = scores[scores["evaluation"] == AUGMENTED]
    assert of_probe[["label", "mean", "trainings", "seed_0", "seed_1"]].values.tolist() == [
        ["b", pytest.approx(0.75), 2, 0.7, 0.8]
    ]
    assert protocols(results, probes=["linear"], augmented=["b"])[AUGMENTED] == "anew"
    write_json(tmp_path / "results/probe/linear_augmented/a.json", sets | {"protocol": "anew, but"})
    both = protocols(results, probes=["linear"], augmented=["a", "b"])[AUGMENTED]
    assert both == "a: anew, but; b: anew"
    assert AUGMENTED not in set(accuracies(results, probes=["linear"])["evaluation"])
    rows = accuracy_rows(scores)
    upper = [name for name, _ in rows.columns]
    assert upper == sorted(upper, key=["linear (%)", "linear, augmented (%)", "fine-tuned (%)"].index)
    assert upper.count("linear, augmented (%)") == 1
    named = scores.replace({"label": {"b": "chance"}})  # an arm may have the name of the last row
    assert accuracy_rows(named).index.tolist() == [*rows.index[:-1].str.replace("b", "chance"), "chance"]
    assert accuracy_rows(named).iloc[-2].tolist() == rows.iloc[-2].tolist()
