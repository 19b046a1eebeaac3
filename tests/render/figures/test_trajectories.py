"""Effects against images seen match the measurements."""

import pytest

from stages.render.figures.trajectories import (
    followed,
    in_words,
    trajectory_alt,
    trajectory_caption,
    trajectory_figure,
    trajectory_rows,
)
from stages.render.page.figure_card import drawn
from stages.render.sections.trajectories import trajectory_section
from tests.render.synthetic_claims import claims


@pytest.fixture
def measured():
    content = claims()
    first, second, *rest = [words | content["claims"][words["name"]] for words in content["entries"]]
    # The same effects, of a claim in shares, which are shown in points.
    again = first | {"name": "second", "unit": second["unit"], "trajectory_word": "stable"}
    return followed([first, second, *rest, again])


def test_a_panel_shows_effect_interval_zero_and_margin(measured):
    figure = trajectory_figure(measured)
    assert len(figure.axes) == len(measured) == 2
    for axis, scale in zip(figure.axes, (1, 100), strict=True):
        points = axis.containers[0][0].get_xydata()
        assert points.ravel().tolist() == pytest.approx(
            [3008, 0.2 * scale, 9888, 2 * scale, 29952, 4.3 * scale]
        )
        (band,) = axis.patches
        assert (band.get_y(), band.get_height()) == pytest.approx((-0.83 * scale, 1.66 * scale))
        assert any(list(line.get_ydata()) == [0, 0] for line in axis.lines)
    assert figure.axes[1].get_ylabel() == "points" and "stable" in figure.axes[1].get_title(loc="left")


def test_words_and_table_match_the_claims(measured):
    assert in_words(measured) == "1 stable and 1 emerging"
    assert "stable: second; emerging: claim 0" in trajectory_alt(measured).lower()
    assert "10 %, 33 % and 100 %" in trajectory_caption(measured)
    assert len(trajectory_caption(measured).split()) <= 60
    half = {**measured[0], "trajectory": [measured[0]["trajectory"][0] | {"share": 0.5}]}
    assert "10 %, 33 %, 50 % and 100 %" in trajectory_caption([*measured, half])
    rows = trajectory_rows(measured)
    assert len(rows) == 6 and set(rows["trajectory"]) == {"stable", "emerging"}
    page = drawn(trajectory_figure(measured), name="t", alt="a", caption="c", data=rows)
    assert page == drawn(trajectory_figure(measured), name="t", alt="a", caption="c", data=rows)


def test_headline_claims_are_in_sight_and_the_others_folded(measured, monkeypatch, tmp_path):
    shown: list[str] = []
    monkeypatch.setattr("IPython.display.display", lambda html: shown.append(html.data))
    first, second = measured
    unmeasured = first | {"name": "third", "trajectory": []}
    trajectory_section([first, second | {"family": "exploratory"}, unmeasured], folder=str(tmp_path))
    page = "".join(shown)
    assert page.index(
        "1 of 2 headline claims, those on the hybrid included, have a trajectory: 1 emer"
    ) < page.index('id="fig-trajectories"')
    assert page.index("Other claims: 1 stable") < page.index('id="fig-trajectories-others"')
    assert "Claims without a trajectory: third." in page
    assert (tmp_path / "trajectories-others.csv").read_text().startswith("claim,trajectory,unit,share")
    shown.clear()
    trajectory_section([unmeasured])
    assert not shown
