"""What stands under and behind each figure, made from the numbers that it shows."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import pandas as pd

from stages.render.outcomes import both_ways
from stages.render.paper import PaperCurve, methods
from stages.render.prose import decimals_for, fixed, interval, listed, number, on_set
from stages.results.curves import last_block
from stages.results.study_results import AUGMENTED
from stages.study.params import label_of, seeds_of
from stages.study.schema import Study

# How means, single trainings and intervals are drawn, for `bands`.
LINES = ("Lines", "thin lines", "bands")
DOTS = ("Dots", "ticks", "bars")
POINTS = ("Points", "small points", "bars")


def depth_caption(curves: pd.DataFrame, *, measure: str, unit: str = "", paper: str = "") -> str:
    """Caption of a figure against depth: what is drawn, the last block's values in order, the paper's panel.

    curves: as `curves.block_curves` gives them
    """
    last = in_order(last_block(curves), unit=unit)
    said = f"{measure} {bands(curves)} Last block, from highest to lowest: {last}."
    return f"{said} Right: {paper}" if paper else said


def depth_alt(curves: pd.DataFrame, *, measure: str, unit: str = "", paper: Sequence[PaperCurve] = ()) -> str:
    """Alternative text of a figure against depth: who ends highest and lowest, then each line's course."""
    said = [found_last(curves, measure=measure, unit=unit)]
    said.append(f"Line chart of {measure} against depth, one line per arm.")
    for label, curve in curves.groupby("label", sort=False):
        said.append(_course(str(label), curve["block"].tolist(), curve["mean"].tolist(), unit))
    for curve in paper:
        places = [12 * depth for depth in curve.depth]
        said.append(_course(f"The paper's {curve.method}", places, list(curve.values), unit))
    return " ".join(said)


def head_caption(heads: pd.DataFrame, *, measure: str, unit: str = "") -> str:
    """Caption of a figure of single heads: what is drawn, and how far apart the heads of the last block are.

    heads: as `curves.head_means` gives them
    """
    spans = listed(f"{label} {span}" for label, span in _spans(heads, unit).items())
    return f"{measure} of every head of every training (dots) and their mean (line). Last block: {spans}."


def head_alt(heads: pd.DataFrame, *, measure: str, unit: str = "") -> str:
    """Alternative text of a figure of single heads: whose heads differ most, then the range of each."""
    spans = listed(f"{label} {span}" for label, span in _spans(heads, unit).items())
    count = heads["head"].nunique()
    last = heads[heads["depth"] == 1].groupby("label", sort=False)["mean"]
    widest = (last.max() - last.min()).idxmax()
    return (
        f"In the last block, the heads of {widest} differ most in {measure}. A panel per arm with "
        f"{measure} of {count} heads against block. Range in the last block: {spans}."
    )


def spectrum_caption(spectra: pd.DataFrame) -> str:
    """Caption of the spectra: what is drawn, and the drop from the lowest to the highest frequency.

    spectra: as `curves.spectra` gives them
    """
    ranked = in_order(_highest(spectra))
    return (
        "Relative log amplitude along the diagonal of the spectrum of the token map, after the first and "
        f"after the last block; zero frequency is 0 by definition. {bands(spectra)} "
        f"Highest frequency ({bins(spectra)}) after the last block, from highest to lowest: {ranked}."
    )


def spectrum_alt(spectra: pd.DataFrame) -> str:
    """Alternative text of the spectra: who keeps most and least, then the ends of each line."""
    kept = extremes(_highest(spectra), least="least")
    said = [f"After the last block the highest frequency is kept most in {kept}."]
    said += ["Two line charts of relative log amplitude against frequency, one line per arm."]
    for (place, label), line in spectra.groupby(["place", "label"], sort=False):
        first, last = line["mean"].iloc[0], line["mean"].iloc[-1]
        said.append(f"{str(place).capitalize()}, {label}: {number(first)} to {number(last)}.")
    return " ".join(said)


def bins(spectra: pd.DataFrame) -> str:
    """The highest frequency of our spectra in units of π; all, if arms differ in their grid."""
    highest = spectra.groupby("label", sort=False)["frequency"].max().unique()
    return listed(f"{frequency:.3g} π" for frequency in sorted(highest))


def trade_off_caption(accuracies: pd.DataFrame, *, probe: str) -> str:
    """Caption of probing against fine-tuning: which arm is best at which, and whether the two agree.

    accuracies: as `accuracies.accuracies` gives them
    """
    shapes = (
        "Circles: features that are probed as they are; triangles: the linear probe of augmented images, "
        "with a thin line to the circle of the same arm. "
    )
    if AUGMENTED not in set(accuracies["evaluation"]):
        shapes = ""
    return (
        f"Frozen features ({probe} probe, across) against fine-tuning (up). "
        f"{bands(accuracies, marks=POINTS)} "
        f"{shapes}{trade_off_findings(accuracies, probe=probe)} "
        "Grey: the paper's own numbers; Fig. 1 compares published ViT-B, each with its own recipes "
        "(triangles; SimMIM probed at block 8) and, joined to them, the last block of three by one probe "
        "(circles, Fig. 10); Fig. 12 the hybrid at five weights λ of its CL part (read off pixels)."
    )


def trade_off_findings(accuracies: pd.DataFrame, *, probe: str) -> str:
    """What probing against fine-tuning shows, on each label set, beside the paper's ViT-B.

    accuracies: as `accuracies.accuracies` gives them
    """
    sets, augmented = (both_ways(accuracies, probe=name) for name in (probe, AUGMENTED))
    said = []
    for labels, points in sets.items():
        where = on_set(labels)
        winners = [
            f"{points[way].idxmax()} ({fixed(100 * points[way].max(), decimals=1)} %)"
            for way in ("probed", "tuned")
        ]
        said.append(f"Best{where}: {winners[0]} in the {probe} probe, {winners[1]} fine-tuned.")
        if len(points) > 1:
            alike = _agreement(points["probed"].tolist(), points["tuned"].tolist())
            said.append(f"Probing and fine-tuning put {alike} of arms in the same order{where}.")
        if labels in augmented:
            gains = 100 * (augmented[labels]["probed"] - points["probed"]).dropna()
            told = listed(f"{label} {_signed(gain)}" for label, gain in gains.items())
            said.append(f"Augmented images change the probe{where} by, in points: {told}.")
    theirs = methods()
    alike = _agreement([point.linear for point in theirs], [point.finetuned for point in theirs])
    return f"{' '.join(said)} In the paper's Fig. 1 left it is {alike} of methods."


def trade_off_alt(accuracies: pd.DataFrame, *, probe: str) -> str:
    """Alternative text of probing against fine-tuning: what the points show, then every one of ours."""
    said = [trade_off_findings(accuracies, probe=probe)]
    said += [f"Scatter charts of fine-tuned accuracy against {probe} probe accuracy, one point per arm."]
    augmented = both_ways(accuracies, probe=AUGMENTED)
    for labels, points in both_ways(accuracies, probe=probe).items():
        for label, row in points.iterrows():
            probed, tuned = (fixed(100 * row[way], decimals=1) for way in ("probed", "tuned"))
            also = ""
            if labels in augmented and label in augmented[labels].index:
                value = fixed(100 * augmented[labels]["probed"][label], decimals=1)
                also = f" ({value} % on augmented images)"
            said.append(f"{labels}, {label}: {probed} % probed{also}, {tuned} % fine-tuned.")
    return " ".join(said)


def loss_caption(histories: Mapping[str, pd.DataFrame]) -> str:
    """Caption of the pre-training losses: how far each fell.

    histories: as `outcomes.histories` gives them
    """
    return (
        f"Pre-training loss per epoch{_trainings(histories)}; every panel has its own scale, because the "
        "losses "
        f"of different objectives are different quantities. {_falls(histories)}"
    )


def loss_alt(histories: Mapping[str, pd.DataFrame]) -> str:
    """Alternative text of the pre-training losses: first and last value of each."""
    if not histories:
        return f"An empty chart of the pre-training loss. {_falls(histories)}"
    ends = {label: _ends(history) for label, history in histories.items()}
    falls = {label: last / first for label, (first, last) in ends.items()}
    most = min(falls, key=lambda label: falls[label])
    return (
        f"The loss of {most} falls most, to {number(100 * falls[most], digits=2)} % of its first epoch. "
        f"A line chart of the pre-training loss against epoch for each trained arm. {_falls(histories)}"
    )


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

    curves: as `curves.block_curves` gives them
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
        "95 % t-intervals over trainings."
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


def _agreement(one: Sequence[float], other: Sequence[float]) -> str:
    """How many pairs stand in the same order in both, of those that differ in both: "3 of 6 pairs"."""
    pairs = list(combinations(zip(one, other, strict=True), 2))
    signs = [(a - c) * (b - d) for (a, b), (c, d) in pairs]
    return f"{sum(sign > 0 for sign in signs)} of {sum(sign != 0 for sign in signs)} pairs"


def _signed(value: float) -> str:
    """A difference with its sign."""
    text = fixed(value, decimals=1)
    return text if text.startswith("−") else f"+{text}"


def _course(name: str, blocks: Sequence[float], values: Sequence[float], unit: str) -> str:
    """Where a line starts and ends, and its extremes if they lie between."""
    suffix = f" {unit}" if unit else ""
    places = {"": 0, "lowest ": values.index(min(values)), "highest ": values.index(max(values))}
    said = []
    for word, place in (*places.items(), ("", len(values) - 1)):
        if not word or place not in (0, len(values) - 1):
            said.append(f"{word}{number(values[place])}{suffix} at block {blocks[place]:.0f}")
    return f"{name}: {', '.join(dict.fromkeys(said))}."


def _spans(heads: pd.DataFrame, unit: str) -> dict[str, str]:
    """Lowest and highest head of the last block of each label."""
    said = {}
    for label, rows in heads.groupby("label", sort=False):
        last = rows[rows["depth"] == 1]["mean"]
        said[str(label)] = f"{number(last.min())} to {number(last.max())}" + (f" {unit}" if unit else "")
    return said


def _highest(spectra: pd.DataFrame) -> pd.DataFrame:
    last = spectra[spectra["place"] == "last block"]
    return last.loc[last.groupby("label", sort=False)["frequency"].idxmax()].set_index("label")


def _trainings(histories: Mapping[str, pd.DataFrame]) -> str:
    """Over how many trainings each history is averaged, in brackets."""
    counts = {label: history["seed"].nunique() for label, history in histories.items()}
    several = sorted({count for count in counts.values() if count > 1})
    once = [label for label, count in counts.items() if count == 1]
    if not several:
        return " (one training an arm)"
    text = f"mean over {listed(map(str, several))} trainings, thin lines: each training"
    return f" ({text}; {listed(once)}: one training)" if once else f" ({text})"


def _falls(histories: Mapping[str, pd.DataFrame]) -> str:
    said = []
    for label, history in histories.items():
        first, last = _ends(history)
        said.append(f"{label}: {number(first)} in the first epoch, {number(last)} in the last")
    return "; ".join(said) + "." if said else "No arm was trained."


def _ends(history: pd.DataFrame) -> tuple[float, float]:
    """The loss of the first and of the last epoch, mean over trainings."""
    means = history.groupby("epoch")["loss"].mean()
    return float(means.iloc[0]), float(means.iloc[-1])
