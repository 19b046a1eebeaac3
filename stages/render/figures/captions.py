"""What captions and alternative texts have in common: the uncertainty shown, n, and where the numbers are."""

from collections.abc import Iterable

import pandas as pd

from stages.render.words import decimals_for, fixed, interval, listed
from stages.study.params import label_of, seeds_of
from stages.study.study import Study

LONGEST_CAPTION = 60  # words
LONGEST_ALT = 250  # characters
NUMBERS = "Numbers: the CSV file below the figure."
# How means, single trainings and intervals are drawn, for `bands`.
LINES = ("Lines", "thin lines", "bands")
DOTS = ("Dots", "ticks", "bars")


def alt_text(drawing: str, labels: Iterable[str]) -> str:
    """Return an alternative text: what is drawn, of which arms, and where the numbers are.

    drawing: the kind of figure, its axes and its panels, in a sentence
    labels:  of the arms, which are counted where there is no room for their names
    """
    names = list(dict.fromkeys(map(str, labels)))
    said = f"{drawing} Arms: {listed(names)}. {NUMBERS}"
    return said if len(said) <= LONGEST_ALT else f"{drawing} {len(names)} arms. {NUMBERS}"


def extremes(values: pd.DataFrame, *, unit: str = "", least: str = "lowest") -> str:
    """The label with the highest mean and that with the lowest, each with its interval.

    values:  index label; mean, low, high
    returns: for example "A, 16.3 [16.2, 16.4] px, and least far in B, 11.9 [11.8, 12.0] px"
    """
    said = {}
    decimals = decimals_for([(values["high"] - values["low"]).max()])
    ranked = values.sort_values("mean", ascending=False, kind="stable")
    for label, row in ranked.iloc[[0, -1]].iterrows():
        numbers = interval(row["mean"], row["low"], row["high"], unit=unit, decimals=decimals)
        if row["low"] >= 0 and row["high"] < 0.5 * 10**-decimals:  # it would be a row of zeros
            numbers = f"below {fixed(10**-decimals, decimals=decimals)}" + (f" {unit}" if unit else "")
        said[label] = f"{label}, {numbers}"
    return f", and {least} in ".join(said.values())


def bands(
    curves: pd.DataFrame,
    *,
    marks: tuple[str, str, str] = LINES,
    alone: str = "95 % bootstrap intervals over images",
) -> str:
    """What the lines and bands of a figure are, or its dots and bars: over how many trainings and images.

    curves: label, trainings, and images where images were averaged
    marks:  what the means, single trainings and intervals are drawn as
    alone:  what the interval of one training is
    """
    mean, single, spread = marks
    counts = curves.groupby("label", sort=False)["trainings"].first()
    several = sorted({int(count) for count in counts if count > 1})
    once = [str(label) for label, count in counts.items() if count == 1]
    over = ""
    if "images" in curves:
        over = f", {listed(f'{count:,}' for count in sorted(curves['images'].unique()))} images"
    if not several:
        return f"One training an arm{over}; {spread}: {alone}."
    text = (
        f"{mean}: mean of {listed(map(str, several))} trainings{over} ({single}: each); {spread}: 95 % "
        "t-intervals over trainings"
    )
    if not once:
        return f"{text}."
    alike = once[0] if len(once) == 1 else f"{len(once)} arms"
    return f"{text} ({alike}: one training, {alone})."


def trainings_of(study: Study) -> str:
    """How numbers of the arms are put together, for captions: the mean over trainings, or one training."""
    counts = {name: len(seeds_of(study, name)) for name in study.arms}
    several = sorted({count for count in counts.values() if count > 1})
    once = [label_of(study, name) for name, count in counts.items() if count == 1]
    if not several:
        return "one training an arm, with 95 % bootstrap intervals over images"
    said = f"mean over {listed(map(str, several))} trainings with 95 % t-intervals over seeds"
    alike = once[0] if len(once) == 1 else f"{len(once)} arms"
    return said + (f"; {alike}: one training, interval over images" if once else "")
