"""The figure of all probes shows every accuracy of the tables."""

import pandas as pd
import pytest

from stages.render.figures.probes import of_probes, probes_alt, probes_caption, probes_figure
from stages.render.figures.style import palette
from stages.render.sections.accuracies import all_probes
from tests.render.synthetic import study_of

STUDY = study_of({"random": "random", "cl": "contrastive"}, labels={"random": "Random init", "cl": "CL"})


def accuracies() -> pd.DataFrame:
    rows = [
        {"label": label, "evaluation": evaluation, "labels": labels, "chance": 0.1, "trainings": 2}
        | {
            "mean": mean,
            "low": mean - 0.05,
            "high": mean + 0.05,
            "seed_0": mean - 0.01,
            "seed_1": mean + 0.01,
        }
        for labels in ("shape", "texture")
        for place, evaluation in enumerate(("knn", "linear", "attentive", "fine-tuned"))
        for label, mean in (("Random init", 0.2 + 0.1 * place), ("CL", 0.4 + 0.1 * place))
    ]
    return pd.DataFrame(rows)


def test_one_group_per_probe_and_one_dot_per_arm() -> None:
    probed = of_probes(accuracies())
    figure = probes_figure(probed, inks=palette(STUDY))
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["Shape", "Texture"]
    axis = figure.axes[0]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == [
        "nearest neighbours",
        "linear",
        "attentive",
    ]
    dots = {bar.get_label(): bar.lines[0].get_xydata() for bar in axis.containers}
    assert dots["CL"][:, 0] == pytest.approx([40, 50, 60])
    assert all(abs(dots[label][:, 1] - [0, 1, 2]).max() < 0.5 for label in dots)
    assert (dots["CL"][:, 1] > dots["Random init"][:, 1]).all()
    ticks = [
        line.get_xdata() for line in axis.lines if line.get_marker() == "|" and len(line.get_xdata()) == 2
    ]
    assert sorted(map(list, ticks))[0] == pytest.approx([19, 21])
    assert "Dots: mean over 2 trainings" in probes_caption(probed)
    assert probes_alt(probed).endswith("Arms: Random init and CL. Numbers: the CSV file below the figure.")


@pytest.mark.filterwarnings("error")
def test_accuracies_of_0_are_drawn_on_the_whole_scale() -> None:
    nothing = accuracies().assign(mean=0.0, low=0.0, high=0.0, seed_0=0.0, seed_1=0.0)
    figure = probes_figure(of_probes(nothing), inks=palette(STUDY))
    assert {axis.get_xlim() for axis in figure.axes} == {(0, 100)}


def test_intervals_that_rounding_moves_past_the_mean_are_drawn() -> None:
    full = accuracies().assign(mean=1.0, low=0.9, high=1 - 1e-16)
    assert probes_figure(of_probes(full), inks=palette(STUDY)).axes


def test_the_table_beside_it_has_the_probes_that_are_not_in_sight() -> None:
    html = all_probes(accuracies(), inks=palette(STUDY))
    assert 'id="fig-probes"' in html and "attentive (%)" in html and "linear (%)" not in html
    short = accuracies()
    html = all_probes(short[short["evaluation"] != "attentive"], inks=palette(STUDY))
    assert 'id="fig-probes"' in html and "<table>" not in html
