"""Accuracy on corrupted images and stimuli: by trial, against clean images, and shape against texture."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from stages.results.seeds import Estimate, columns, estimate, over_seeds
from stages.results.study_results import Results
from stages.study.errors import StudyError
from stages.study.paths import robustness_table

CLEAN = "clean"
NOISE = "frequency_noise"
CONFLICT = "cue_conflict"
LOST_BLOCK = "reinitialised"
PLACE = ["head", "labels", "trial", "level"]


def accuracy_by_trial(results: Results) -> pd.DataFrame:
    """Return the accuracy of every arm on every kind of images.

    Returns: label, head, labels, trial, level, mean, low, high (fractions), trainings, seed_0 and so on,
        images
    Raises: StudyError if a table cannot be read, as all functions here.
    """
    rows = []
    for arm in results.arms:
        for place, right in correctness(results, arm):
            numbers = estimate(right.to_numpy().T[:, :, None])
            rows.append(_row(results, arm, place, numbers, images=len(right)))
    return pd.DataFrame(rows)


def changes(results: Results, *, trial: str, clean: str = CLEAN) -> pd.DataFrame:
    """Return the change of accuracy in one kind of images, paired image by image with the clean ones.

    Returns: label, head, labels, level, mean, low, high (points), trainings, seed_0 and so on, images; no
        rows if the study has no such images
    """
    rows = []
    for arm in results.arms:
        sets = {tuple(place.values()): (place, right) for place, right in correctness(results, arm)}
        for place, right in (item for item in sets.values() if item[0]["trial"] == trial):
            whole = sets[place["head"], place["labels"], clean, 0.0][1]
            change = 100 * (right - whole).dropna()
            numbers = estimate(change.to_numpy().T[:, :, None])
            rows.append(_row(results, arm, place, numbers, images=len(change)))
    return pd.DataFrame(rows).drop(columns="trial", errors="ignore")


def noise_curves(results: Results) -> pd.DataFrame:
    """Return the accuracy under noise in each frequency band, relative to that of the same images without.

    Returns: label, head, labels, frequency (centre of the band, units of π), mean, low, high (%, of the
        mean over amplitudes), trainings, seed_0 and so on, images; no rows if the study has no such noise
    """
    rows = []
    for arm in results.arms:
        sets = {tuple(place.values()): (place, right) for place, right in correctness(results, arm)}
        for place, right in (item for item in sets.values() if item[0]["trial"] == NOISE):
            whole = sets[place["head"], place["labels"], CLEAN, 0.0][1]
            parts = [100 * relative(right[seed], whole[seed]).to_numpy() for seed in right]
            if np.isnan(parts).any():  # a training that decides nothing rightly has nothing to lose
                continue
            numbers = estimate(np.stack(parts)[:, :, None])
            rows.append(_row(results, arm, place, numbers, images=len(parts[0])))
    curves = pd.DataFrame(rows).drop(columns="trial", errors="ignore")
    if curves.empty:
        return curves
    width = np.diff([0.0, *sorted(curves["level"].unique())]).min()
    return curves.assign(frequency=curves.pop("level") - width / 2)


def relative(part: pd.Series, whole: pd.Series) -> pd.Series:
    """Return what each image makes of mean(part) / mean(whole): pseudo-values, whose mean is that ratio.

    Only images in both count. The ratio is nan if the whole is 0.
    Source: Efron & Tibshirani 1993, §11, for the influence of an image on a ratio.
    """
    part, whole = part.align(whole, join="inner")
    base = whole.mean() or np.nan
    ratio = part.mean() / base
    return ratio + (part - ratio * whole) / base


def shape_bias(results: Results) -> pd.DataFrame:
    """Return the share of decisions for the shape among those for shape or texture, where the two differ.

    Returns: label, head, trial, mean, low, high (fractions), trainings, seed_0 and so on, decisions, images
    Source: Geirhos et al. 2019, §2.
    """
    rows = []
    for arm in results.arms:
        whole = results.robustness(arm)
        whole = whole[(whole["rival"] >= 0) & (whole["rival"] != whole["truth"])]
        for (trial, head), part in whole.groupby(["trial", "head"], sort=False):
            decided = part[(part["predicted"] == part["truth"]) | (part["predicted"] == part["rival"])]
            shares = [
                (rows_of["predicted"] == rows_of["truth"]).groupby(rows_of["image"]).mean()
                for rows_of in (decided[decided["seed"] == seed] for seed in results.seeds(arm))
            ]
            if any(share.empty for share in shares):  # a training that decided for neither has no bias
                continue
            numbers = (
                estimate(shares[0].to_numpy(dtype=float)[None, :, None])
                if len(shares) == 1
                else over_seeds(np.array([[share.mean()] for share in shares]))
            )
            place = {"head": head, "trial": trial, "decisions": len(decided)}
            rows.append(_row(results, arm, place, numbers, images=part["image"].nunique()))
    return pd.DataFrame(rows)


def correctness(results: Results, arm: str) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Give every kind of images, in the order of the table, and where each seed was right: images × seeds.

    Amplitudes are averaged.
    Raises StudyError if seeds saw different images.
    """
    frame = results.robustness(arm)
    frame = frame.assign(right=(frame["truth"] == frame["predicted"]).astype(float))
    for key, rows in frame.groupby(PLACE, sort=False):
        right = rows.pivot_table(index="image", columns="seed", values="right").reindex(
            columns=results.seeds(arm)
        )
        if right.isna().to_numpy().any():
            raise StudyError(f"{robustness_table(arm)}: seeds saw different images under {key[2]}")
        yield dict(zip(PLACE, key, strict=True)), right


def _row(
    results: Results, arm: str, place: dict[str, Any], numbers: Estimate, *, images: int
) -> dict[str, Any]:
    values = columns(numbers, seeds=results.seeds(arm))
    single = {key: value[0] if isinstance(value, np.ndarray) else value for key, value in values.items()}
    return {"label": results.label(arm)} | place | single | {"images": images}
