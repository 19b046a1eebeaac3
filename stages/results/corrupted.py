"""Accuracy on corrupted images and stimuli: per trial, relative to clean images, and shape bias."""

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
    """Return the accuracy of every arm in every trial.

    Returns: label, head, labels, trial, level, mean, low, high (fractions), trainings, seed_0 and so on,
        images
    Raises: StudyError if a table cannot be read; this holds for all functions here.
    """
    rows = []
    for arm in results.arms:
        for place, right in correctness(results, arm):
            numbers = estimate(right.to_numpy().T[:, :, None])
            rows.append(_row(results, arm, place, numbers, images=len(right)))
    return pd.DataFrame(rows)


def changes(results: Results, *, trial: str, clean: str = CLEAN) -> pd.DataFrame:
    """Return the change of accuracy in a trial relative to clean images, paired by image.

    Returns: label, head, labels, level, mean, low, high (percentage points), trainings, seed_0 and so on,
        images; no rows if the study does not have the trial
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
    """Return the accuracy under noise in each frequency band, relative to the clean accuracy.

    Returns: label, head, labels, frequency (centre of the band, units of π), mean, low, high (%, averaged
        over amplitudes), trainings, seed_0 and so on, images; no rows if the study does not add noise
    Raises: StudyError if a table cannot be read; ParamsError if the setting `width` is not above 0
    """
    settings = results.study.robustness.corruptions.get(NOISE)
    if settings is None:
        return pd.DataFrame()
    rows = []
    for arm in results.arms:
        sets = {tuple(place.values()): (place, right) for place, right in correctness(results, arm)}
        for place, right in (item for item in sets.values() if item[0]["trial"] == NOISE):
            whole = sets[place["head"], place["labels"], CLEAN, 0.0][1]
            parts = [100 * relative(right[seed], whole[seed]).to_numpy() for seed in right]
            if np.isnan(parts).any():  # a training without any correct image has no relative accuracy
                continue
            numbers = estimate(np.stack(parts)[:, :, None])
            rows.append(_row(results, arm, place, numbers, images=len(parts[0])))
    curves = pd.DataFrame(rows).drop(columns="trial", errors="ignore")
    if curves.empty:
        return curves
    width = settings.positive("width", of=NOISE)  # of a band, units of π
    return curves.assign(frequency=curves.pop("level") - width / 2)


def relative(part: pd.Series, whole: pd.Series) -> pd.Series:
    """Return pseudo-values, one per image, whose mean is the ratio mean(part) / mean(whole).

    Only shared images count. The values are nan if the mean of the whole is 0.
    Source: Efron & Tibshirani 1993, §11, for the influence of an image on a ratio.
    """
    part, whole = part.align(whole, join="inner")
    base = whole.mean() or np.nan
    ratio = part.mean() / base
    return ratio + (part - ratio * whole) / base


def shape_bias(results: Results) -> pd.DataFrame:
    """Return the shape bias: decisions for the shape as a share of decisions for either cue.

    Only images whose shape and texture differ count.

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
            if any(share.empty for share in shares):  # a training that follows neither cue has no bias
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
    """Yield every trial, in the order of the table, with the correctness of each image (rows) and seed.

    Amplitudes are averaged.
    Raises StudyError if seeds were tested on different images.
    """
    frame = results.robustness(arm)
    frame = frame.assign(right=(frame["truth"] == frame["predicted"]).astype(float))
    for key, rows in frame.groupby(PLACE, sort=False):
        right = rows.pivot_table(index="image", columns="seed", values="right").reindex(
            columns=results.seeds(arm)
        )
        if right.isna().to_numpy().any():
            raise StudyError(
                f"{robustness_table(arm)}: seeds were tested on different images under {key[2]}; "
                f"`dvc repro robustness@{arm}` writes it anew"
            )
        yield dict(zip(PLACE, key, strict=True)), right


def _row(
    results: Results, arm: str, place: dict[str, Any], numbers: Estimate, *, images: int
) -> dict[str, Any]:
    values = columns(numbers, seeds=results.seeds(arm))
    single = {key: value[0] if isinstance(value, np.ndarray) else value for key, value in values.items()}
    return {"label": results.label(arm)} | place | single | {"images": images}
