"""What every caption says: which mean and interval is drawn, who is highest and lowest."""

import pandas as pd

from stages.render.words import decimals_for, fixed, interval, listed
from stages.results.analysis_curves import last_block
from stages.study.params import label_of, seeds_of
from stages.study.study import Study

# How means, single trainings and intervals are drawn, for `bands`.
LINES = ("Lines", "thin lines", "bands")
DOTS = ("Dots", "ticks", "bars")


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


def found_last(curves: pd.DataFrame, *, measure: str, unit: str = "") -> str:
    """The finding of a figure against depth in a sentence: who ends highest and who lowest.

    curves: as `analysis_curves.block_curves` gives them
    """
    return f"In the last block, {measure} is highest in {extremes(last_block(curves), unit=unit)}."


def in_order(values: pd.DataFrame, *, unit: str = "") -> str:
    """The labels from the highest to the lowest mean, each with its interval.

    values: index label; mean, low, high
    """
    ranked = values.sort_values("mean", ascending=False, kind="stable")
    decimals = decimals_for(ranked["high"] - ranked["low"])
    said = []
    for label, row in ranked.iterrows():
        numbers = interval(row["mean"], row["low"], row["high"], unit=unit, decimals=decimals)
        said.append(f"{label} {numbers}")
    return "; ".join(said)


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
    images = ""
    if "images" in curves:
        images = f"{listed(f'{count:,}' for count in sorted(curves['images'].unique()))} held-out images"
    several = sorted({int(count) for count in counts if count > 1})
    once = [str(label) for label, count in counts.items() if count == 1]
    if not several:
        over = f" {images}," if images else ""
        return f"One training an arm;{over} {spread}: {alone}."
    over = f" and {images}" if images else ""
    text = (
        f"{mean}: mean over {listed(map(str, several))} trainings{over} ({single}: each training); {spread}: "
        f"95 % t-intervals over trainings{', cut at the frame' if marks == LINES else ''}."
    )
    return text + (f" {listed(once)}: one training, {spread} are {alone}." if once else "")


def trainings_of(study: Study) -> str:
    """How numbers of the arms are put together, for captions: the mean over trainings, or one training."""
    counts = {name: len(seeds_of(study, name)) for name in study.arms}
    several = sorted({count for count in counts.values() if count > 1})
    once = [label_of(study, name) for name, count in counts.items() if count == 1]
    if not several:
        return "one training an arm, with 95 % bootstrap intervals over images"
    said = f"mean over {listed(map(str, several))} trainings with 95 % t-intervals over seeds"
    return said + (f"; {listed(once)}: one training, interval over images" if once else "")
