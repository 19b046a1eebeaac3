"""A specification curve shows every combination once, and its words come from the numbers."""

import io
import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from stages.render.figures.specification import (
    SIGNS,
    options_taken,
    ranked_rows,
    specification_alt,
    specification_caption,
    specification_figure,
    specification_findings,
)
from stages.render.page.figure_card import drawn
from stages.render.sections.claim_details import curves
from stages.study.errors import StudyError
from tests.render.synthetic_claims import claims, specifications

LARGEST = 8_000_000  # bytes of a report


@pytest.fixture
def claim_and_rows():
    """Return the only synthetic claim with several specifications, and the specifications."""
    content = claims()
    entries = [words | content["claims"][words["name"]] for words in content["entries"]]
    pairs = list(curves(entries, specifications()))
    assert [claim["name"] for claim, _ in pairs] == ["claim_0"]
    return pairs[0]


def points(figure: Figure) -> list[tuple[float, float]]:
    """Return the drawn effects in the upper panel, from left to right."""
    lines = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    return sorted((x, y) for line in lines for x, y in line.get_xydata().tolist())


def test_the_effects_rise_and_the_dots_are_their_choices(claim_and_rows):
    claim, rows = claim_and_rows
    figure = specification_figure(rows, claim=claim)
    assert points(figure) == [(0, -0.1), (1, 0.9), (2, 3.2), (3, 4.31)]
    lower = figure.axes[1]
    names = [text.get_text() for text in lower.texts]
    assert names == ["blocks: last third", "last block", "heads: mean", "median"]
    dots = [tuple(dot) for line in lower.lines for dot in line.get_xydata().tolist()]
    places = {text.get_text(): text.xy[1] for text in lower.texts}
    assert sorted(x for x, y in dots if y == places["last block"]) == [0, 1]
    assert sorted(x for x, y in dots if y == places["heads: mean"]) == [1, 3]
    assert len(dots) == 2 * len(rows)
    (note,) = (text for text in figure.axes[0].texts if text.get_text() == "main choices")
    assert note.xy[0] == 3
    shown = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert shown == ["supported (3)", "undecided (1)"]


def test_shares_are_drawn_as_points(claim_and_rows):
    claim, rows = claim_and_rows
    figure = specification_figure(rows, claim=claim | {"unit": "share of images"})
    np.testing.assert_allclose([y for _, y in points(figure)], [-10, 90, 320, 431])
    assert figure.axes[0].get_ylabel() == "difference (points)"


def test_the_findings_follow_the_numbers(claim_and_rows):
    claim, rows = claim_and_rows
    assert "under 4 combinations" in specification_caption(rows, claim=claim)
    assert specification_alt(rows).startswith("4 differences with intervals")
    findings = specification_findings(rows, claim=claim)
    assert "Fixed in all combinations: the last epoch." in findings
    assert "Median effect size: d = 1.9." in findings
    assert "over 70 exchanges of trainings: p = 0.029, the smallest that 70 allow." in findings
    higher = claim | {"joint_test": claim["joint_test"] | {"p_median": 0.5}, "comparison": "masked over 0"}
    assert "over 70 exchanges of signs: p = 0.50. " in specification_findings(rows, claim=higher)
    assert findings.startswith("Verdicts: 3 supported and 1 undecided. 3 of 4 differences are above 0.")
    assert "Agreement with the verdict is lowest for “blocks: last block” (50 %)." in findings
    same = rows.assign(verdict="supported")
    assert "No choice changes the verdict." in specification_findings(same, claim=claim)


def test_choices_that_all_share_are_not_drawn(claim_and_rows):
    claim, rows = claim_and_rows
    assert options_taken(rows.assign(heads="mean"), claim=claim) == {"blocks": ["last third", "last block"]}
    assert ranked_rows(rows)["specification"].tolist() == [4, 3, 2, 1]


def test_the_same_bytes_and_a_sign_for_every_verdict(claim_and_rows, tmp_path):
    claim, rows = claim_and_rows
    assert {"supported", "contradicted", "negligible", "undecided", "higher", "lower"} < set(SIGNS)
    arguments = {"name": "choices", "alt": "what it shows", "caption": "what it is"}
    pages = [
        drawn(specification_figure(rows, claim=claim), folder=tmp_path / str(number), **arguments)
        for number in range(2)
    ]
    assert pages[0] == pages[1] and 'alt="what it shows"' in pages[0]
    images = [(tmp_path / str(number) / "choices.png").read_bytes() for number in range(2)]
    assert images[0] == images[1] and io.BytesIO(images[0]).read(4) == b"\x89PNG"
    with pytest.raises(StudyError, match="needs both alt and caption"):
        drawn(specification_figure(rows, claim=claim), name="choices", alt=" ", caption="x")


def test_thirty_claims_with_many_choices_take_less_than_half_of_a_report(claim_and_rows):
    claim, _ = claim_and_rows
    options = {"blocks": 4, "heads": 2, "images": 4, "probe": 2}
    names = {name: [f"option {n} of {name}" for n in range(count)] for name, count in options.items()}
    rows = pd.DataFrame(itertools.product(*names.values()), columns=list(names))
    effects = np.random.default_rng(0).normal(size=len(rows))
    verdicts = np.where(effects > 0.5, "supported", np.where(effects < -0.5, "contradicted", "undecided"))
    rows = rows.assign(effect=effects, low=effects - 1, high=effects + 1, verdict=verdicts, specification=1)
    claim = claim | {"choices": [{"name": name, "options": values} for name, values in names.items()]}
    figure = specification_figure(rows, claim=claim)
    html = drawn(figure, name="choices", alt="what it shows", caption="what it is", data=rows)
    assert len(rows) == 64 and 30 * len(html.encode()) < LARGEST / 2
