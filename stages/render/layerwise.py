"""Linear probing of every block: its curves against depth, and what the last block has lost of the best."""

from collections.abc import Iterable

import pandas as pd

from stages.render import paper
from stages.render.captions import depth_alt, depth_caption
from stages.render.curves import Inks, depth_figure
from stages.render.facts import curve_rows
from stages.render.figures import show
from stages.render.intervals import bootstrap_interval
from stages.render.prose import decimals_for, folded, interval, listed, on_set, put
from stages.render.table import table
from stages.render.tables import Arms, arms_by_label, block_curve, image_matrix, stacked
from stages.study.errors import StudyError
from stages.study.paths import probe_predictions

Predictions = dict[str, pd.DataFrame]


def layerwise_section(arms: Arms, *, label_sets: Iterable[str], inks: Inks, folder: str = "") -> None:
    """Show the linear probe of every block, a figure and a folded table per label set.

    Raises StudyError as `layerwise_predictions` does.
    """
    put("<h3>Which block can do it</h3>")
    predictions, published = layerwise_predictions(arms), paper.layerwise()
    for labels in label_sets:
        curves = layerwise_curves(arms, predictions, labels=labels)
        lost = declines(arms, predictions, labels=labels)
        what = f"linear probe{on_set(labels)}"
        show(
            depth_figure(curves, inks=inks, ylabel=f"{what} (%)", paper=published),
            name=f"layerwise-{labels}",
            alt=depth_alt(curves, measure=what, unit="%", paper=published),
            caption=layerwise_caption(curves, lost, labels=labels, paper=paper.LAYERWISE),
            data=curves,
            folder=folder,
        )
        numbers = table(curve_rows(curves), caption=f"{what.capitalize()} per block (%)")
        put(folded(f"{what.capitalize()} of every block in numbers", numbers))


def layerwise_predictions(arms: Arms) -> Predictions:
    """The predictions of every arm: image, labels, block, truth, predicted, chosen, and correct in per cent.

    Raises StudyError naming the file if it is missing or lacks a column.
    """
    found = {}
    for name in arms:
        path = probe_predictions("layerwise", name)
        try:
            rows = pd.read_csv(path)
        except FileNotFoundError:
            raise StudyError(f"{path}: not found; `dvc repro probe@{name}-layerwise` writes it") from None
        lacking = {"image", "labels", "block", "truth", "predicted", "chosen"} - set(rows)
        if lacking:
            raise StudyError(f"{path}: no column {', '.join(sorted(lacking))}")
        found[name] = rows.assign(correct=100.0 * (rows["truth"] == rows["predicted"]))
    return found


def layerwise_curves(arms: Arms, predictions: Predictions, *, labels: str, seed: int = 0) -> pd.DataFrame:
    """Accuracy per block for every label, in per cent, with its 95 % bootstrap interval over images.

    labels:  the label set
    returns: as `tables.block_curves`
    Raises StudyError if replicates differ in blocks or images.
    """
    curves = []
    for label, names in arms_by_label(arms).items():
        matrices = [_correct(predictions[name], labels) for name in names]
        curves.append(block_curve(matrices, label=label, names=names, seed=seed))
    return pd.concat(curves, ignore_index=True)


def declines(arms: Arms, predictions: Predictions, *, labels: str, seed: int = 0) -> pd.DataFrame:
    """Accuracy of the last block less that of the block chosen on training images, paired by image.

    The block is not chosen by the accuracies that are compared, which would make a loss out of chance.
    returns: index label; best (the chosen block, one an arm), last; mean, low, high in points
    Raises StudyError if replicates differ in images.
    """
    rows = {}
    for label, names in arms_by_label(arms).items():
        differences, best = [], []
        for name in names:
            correct = _correct(predictions[name], labels)
            rows_of = predictions[name]
            best.append(int(rows_of.loc[rows_of["chosen"] & (rows_of["labels"] == labels), "block"].iloc[0]))
            last = int(correct.columns.max())
            differences.append((correct[last] - correct[best[-1]]).to_frame("difference"))
        values = stacked(differences, label=label, names=names)
        mean, low, high = (float(part[0]) for part in bootstrap_interval(values, seed=seed))
        rows[label] = {"best": best, "last": last, "mean": mean, "low": low, "high": high}
    return pd.DataFrame.from_dict(rows, orient="index")


def layerwise_caption(curves: pd.DataFrame, lost: pd.DataFrame, *, labels: str, paper: str) -> str:
    """Caption of the curves of one label set: what is drawn, what the last block has lost, the paper's panel.

    lost: as `declines` gives it
    """
    decimals = decimals_for(lost["high"] - lost["low"])
    said, steady = [], []
    for label, row in lost.iterrows():
        best = list(dict.fromkeys(row["best"]))
        if best == [row["last"]]:
            steady.append(str(label))
            continue
        numbers = interval(row["mean"], row["low"], row["high"], unit="points", decimals=decimals)
        said.append(f"{label} {numbers} (block{'s' * (len(best) > 1)} {listed(map(str, best))})")
    if steady:
        said.append(f"for {listed(steady)} the best block is the last")
    measure = (
        f"Linear probe{on_set(labels)} of the mean patch token after every block; block 0 is the embedding. "
        "Last block less the best, which was chosen on a held-out part of the training images, paired by "
        f"image: {'; '.join(said)}."
    )
    return depth_caption(curves, measure=measure, unit="%", paper=paper)


def _correct(rows: pd.DataFrame, labels: str) -> pd.DataFrame:
    """Images × blocks: 100 where the class was found, else 0."""
    return image_matrix(rows[rows["labels"] == labels], by="block", measure="correct")
