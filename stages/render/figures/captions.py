"""Common parts of captions and alternative texts: uncertainty, n, and where to find the numbers."""

import math
from collections.abc import Iterable, Mapping
from statistics import mode

import pandas as pd

from stages.render.words import any_of, decimals_for, fixed, interval, listed
from stages.study.params import label_of, seeds_of
from stages.study.study import Study

LONGEST_CAPTION = 60  # words
LONGEST_ALT = 250  # characters
NUMBERS = "Numbers: the CSV file below the figure."
# Names of the marks for means, single trainings and intervals, for `bands`.
LINES = ("Lines", "thin lines", "bands")
DOTS = ("Dots", "ticks", "bars")


def alt_text(drawing: str, labels: Iterable[str]) -> str:
    """Return an alternative text: the drawing, its arms, and where to find the numbers.

    drawing: one sentence with the kind of figure, its axes and its panels
    labels:  of the arms; without room for the names, the text has their number
    """
    names = list(dict.fromkeys(map(str, labels)))
    text = f"{drawing} Arms: {listed(names)}. {NUMBERS}"
    return text if len(text) <= LONGEST_ALT else f"{drawing} {len(names)} arms. {NUMBERS}"


def extremes(
    values: pd.DataFrame, *, unit: str = "", least: str = "lowest", decimals: int | None = None
) -> str:
    """Return the labels with the highest and the lowest mean, each with its interval.

    values:   index label; mean, low, high; a mean whose low is nan is shown without an interval
    decimals: None: as many as the widest interval needs
    Returns:  for example "A, 16.3 [16.2, 16.4] px, and lowest for B, 11.9 [11.8, 12.0] px"; it ends with
              "(overlapping other intervals)" if that of the highest or of the lowest does
    """
    parts = []
    if decimals is None:
        decimals = decimals_for([(values["high"] - values["low"]).max()])
    ranked = values.sort_values("mean", ascending=False, kind="stable")
    ends = ranked.iloc[[0, -1] if len(ranked) > 1 else [0]]
    for label, row in ends.iterrows():
        numbers = interval(row["mean"], row["low"], row["high"], unit=unit, decimals=decimals)
        if math.isnan(row["low"]):
            numbers = fixed(row["mean"], decimals=decimals) + (f" {unit}" if unit else "")
        parts.append(f"{label}, {numbers}")
    low, high = ranked["low"], ranked["high"]
    overlap = (low.iloc[0] <= high.iloc[1:]).any() or (low.iloc[:-1] <= high.iloc[-1]).any()
    return f", and {least} for ".join(parts) + (" (overlapping other intervals)" if overlap else "")


def bands(
    curves: pd.DataFrame,
    *,
    marks: tuple[str, str, str] = LINES,
    alone: str = "95 % bootstrap intervals over images",
) -> str:
    """Return what the marks of a figure mean, and over how many trainings and images.

    curves: label, trainings, and images if the values are means over images
    marks:  names of the marks for means, single trainings and intervals
    alone:  the interval of one training, in words
    """
    mean, single, spread = marks
    counts = {
        str(label): int(count)
        for label, count in curves.groupby("label", sort=False)["trainings"].first().items()
    }
    several = replicated(counts)
    once = [label for label, count in counts.items() if count == 1]
    over = ""
    if "images" in curves:
        over = f", {any_of(sorted(curves['images'].unique()))} images"
    if not several:
        return f"One training per arm{over}; {spread}: {alone}."
    text = (
        f"{mean}: mean over {several}{over}; {single}: single trainings; "
        f"{spread}: 95 % t-intervals over trainings"
    )
    if not once:
        return f"{text}."
    alike = once[0] if len(once) == 1 else f"{len(once)} arms"
    return f"{text} ({alike}: one training, {alone})."


def replicated(counts: Mapping[str, int]) -> str:
    """Return the number of trainings of the arms with several, in words: 5 trainings (Hybrid: 3).

    counts:  label -> trainings
    returns: empty if every arm has one training; the arm with another number is named if it is the only one
    """
    several = {label: count for label, count in counts.items() if count > 1}
    if not several:
        return ""
    usual = mode(several.values())
    others = [label for label, count in several.items() if count != usual]
    if len(others) > 1:
        return f"{any_of(sorted(set(several.values())))} trainings"
    return f"{usual} trainings" + (f" ({others[0]}: {several[others[0]]})" if others else "")


def trainings_of(study: Study) -> str:
    """Return over how many trainings the numbers of the arms are averaged, for captions."""
    counts = {label_of(study, name): len(seeds_of(study, name)) for name in study.arms}
    several = replicated(counts)
    once = [label for label, count in counts.items() if count == 1]
    if not several:
        return "one training per arm with 95 % bootstrap intervals over images"
    text = f"mean over {several} with 95 % t-intervals over trainings"
    alike = once[0] if len(once) == 1 else f"{len(once)} arms"
    return text + (f"; {alike}: one training, interval over images" if once else "")
