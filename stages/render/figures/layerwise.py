"""Linear probing of every block: curves against depth, and the loss from the best to the last block."""

import numpy as np
import pandas as pd

from stages.render.figures.depth import depth_caption
from stages.render.words import on_set
from stages.results.analysis_curves import block_curve, by_seed_and_image
from stages.results.seeds import columns, estimate
from stages.results.study_results import Results
from stages.study.paths import probe_predictions


def layerwise_curves(results: Results, *, labels: str, seed: int = 0) -> pd.DataFrame:
    """Return the accuracy of every arm by block, in per cent.

    labels:  the label set
    Returns: as `analysis_curves.block_curves`
    """
    curves = [
        block_curve(
            results,
            arm,
            _correct(results, arm, labels=labels),
            measure="correct",
            where=str(probe_predictions("layerwise", arm)),
            seed=seed,
        )
        for arm in results.arms
    ]
    return pd.concat(curves, ignore_index=True)


def declines(results: Results, *, labels: str, seed: int = 0) -> pd.DataFrame:
    """Return the accuracy of the last block minus that of the best block, paired by image.

    The best block is chosen on training images. A choice by the compared accuracies would bias the loss.

    Returns: index label; best (the chosen block of each training), last; mean, low, high in points, trainings
    """
    rows = {}
    for arm in results.arms:
        correct = _correct(results, arm, labels=labels)
        where = str(probe_predictions("layerwise", arm))
        values, blocks = by_seed_and_image(correct, by="block", measure="correct", where=where)
        chosen = correct[correct["chosen"]].groupby("seed", sort=False)["block"].first()
        best = [int(chosen[one]) for one in results.seeds(arm)]
        last = int(blocks.max())
        ends = [
            part[:, blocks == last] - part[:, blocks == block]
            for part, block in zip(values, best, strict=True)
        ]
        numbers = columns(estimate(np.stack(ends), seed=seed), seeds=results.seeds(arm))
        single = {key: float(numbers[key][0]) for key in ("mean", "low", "high")}
        rows[results.label(arm)] = {"best": best, "last": last, "trainings": len(best)} | single
    return pd.DataFrame.from_dict(rows, orient="index")


def layerwise_caption(curves: pd.DataFrame, *, labels: str, paper: str) -> str:
    """Return the caption of the curves of one label set."""
    measure = f"Linear-probe accuracy{on_set(labels)} after every block; depth 0 is the embedding."
    return depth_caption(curves, measure=measure, paper=paper)


def _correct(results: Results, arm: str, *, labels: str) -> pd.DataFrame:
    """Return the predictions of one label set; column correct: 100 for the right class, otherwise 0."""
    rows = results.probe("layerwise", arm)
    rows = rows[rows["labels"] == labels]
    return rows.assign(correct=100.0 * (rows["truth"] == rows["predicted"]))
