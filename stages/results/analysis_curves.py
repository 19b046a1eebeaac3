"""Curves of measures against depth or frequency, one per arm, with intervals over seeds."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from stages.results.seeds import columns, estimate
from stages.results.study_results import Results
from stages.study.errors import StudyError
from stages.study.paths import analysis_table


def block_curves(
    results: Results,
    *,
    analysis: str,
    measure: str,
    seed: int = 0,
    highest_frequency: bool = False,
    rows: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Return one curve per arm: the mean of a measure per block, over heads, images and seeds.

    Args:
        highest_frequency: use only the last frequency bin, as in the paper's Fig. 8.
        rows: column -> value of the rows to use, for tables with several measures.

    Returns: label, block, depth (block / blocks, 0 to 1), mean, low, high, trainings, seed_0 and so on,
        images
    Raises: StudyError if a table cannot be read, or if seeds differ in blocks or images.
    """
    needed = [measure, "frequency"] if highest_frequency else [measure]
    curves = []
    for arm in results.arms:
        frame = encoder_rows(results.analysis(analysis, arm, measures=["block", *needed]))
        for column, value in (rows or {}).items():
            frame = frame[frame[column] == value]
        if highest_frequency:
            frame = frame[frame["frequency"] == frame["frequency"].max()]
        where = str(analysis_table(analysis, arm))
        curves.append(block_curve(results, arm, frame, measure=measure, where=where, seed=seed))
    return pd.concat(curves, ignore_index=True)


def block_curve(
    results: Results, arm: str, frame: pd.DataFrame, *, measure: str, where: str, seed: int = 0
) -> pd.DataFrame:
    """Return the curve of one arm.

    Args:
        frame: seed, image, block and `measure`; values are averaged over all other columns.
        where: name of the file in error messages.

    Returns: label, block, depth, mean, low, high, trainings, seed_0 and so on, images
    Raises: StudyError if seeds differ in blocks or images.
    """
    values, blocks = by_seed_and_image(frame, by="block", measure=measure, where=where)
    numbers = columns(estimate(values, seed=seed), seeds=results.seeds(arm))
    depth = blocks / max(blocks.max(), 1)
    place = {"label": results.label(arm), "block": blocks, "depth": depth}
    return pd.DataFrame(place | numbers | {"images": values.shape[1]})


def head_means(results: Results, *, analysis: str, measure: str) -> pd.DataFrame:
    """Return the mean of a measure over images for every head of every training.

    Returns: label, seed, block, depth, head, mean
    Raises: StudyError if a table cannot be read.
    """
    parts = []
    for arm in results.arms:
        frame = results.analysis(analysis, arm, measures=["block", "head", measure])
        heads = frame.groupby(["seed", "block", "head"], as_index=False)[measure].mean()
        heads = heads.rename(columns={measure: "mean"})
        heads.insert(0, "label", results.label(arm))
        heads.insert(3, "depth", heads["block"] / heads["block"].max())
        parts.append(heads)
    return pd.concat(parts, ignore_index=True)


def spectra(results: Results, *, seed: int = 0) -> pd.DataFrame:
    """Return log amplitude against frequency after the first and after the last block of every arm.

    Returns: label, place ("first block" or "last block"), frequency (units of pi), mean, low, high,
        trainings, seed_0 and so on, images
    Raises: StudyError if a table cannot be read, or if seeds differ in frequencies or images.
    """
    parts = []
    for arm in results.arms:
        frame = encoder_rows(
            results.analysis("fourier", arm, measures=["block", "frequency", "log_amplitude"])
        )
        blocks = {"first block": min(1, frame["block"].max()), "last block": frame["block"].max()}
        for place, block in blocks.items():
            values, frequencies = by_seed_and_image(
                frame[frame["block"] == block],
                by="frequency",
                measure="log_amplitude",
                where=str(analysis_table("fourier", arm)),
            )
            numbers = columns(estimate(values, seed=seed), seeds=results.seeds(arm))
            at = {"label": results.label(arm), "place": place, "frequency": frequencies}
            parts.append(pd.DataFrame(at | numbers | {"images": values.shape[1]}))
    return pd.concat(parts, ignore_index=True)


def by_seed_and_image(
    frame: pd.DataFrame, *, by: str, measure: str, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return a measure by seed, image and place, averaged over all other columns.

    Args:
        by: column of the places: block or frequency.

    Returns: values (seeds, images, places), seeds in the order of the rows; places (places,), ascending
    Raises: StudyError if an image lacks a place, or if seeds differ in images.
    """
    square = frame.groupby(["seed", "image", by], sort=True)[measure].mean().unstack(by)
    if square.isna().to_numpy().any():
        raise StudyError(f"{where}: some images lack a {by}; run `dvc repro --force` for its stage")
    parts = [square.loc[seed] for seed in dict.fromkeys(frame["seed"])]
    if any(not part.index.equals(parts[0].index) for part in parts):
        raise StudyError(
            f"{where}: seeds were measured on different images; run `dvc repro --force` for its stage"
        )
    return np.stack([part.to_numpy(dtype=float) for part in parts]), square.columns.to_numpy()


def encoder_rows(frame: pd.DataFrame, *, part: str = "encoder") -> pd.DataFrame:
    """Return the rows of the encoder, or of the decoder, of a table that has both."""
    return frame[frame["part"] == part] if "part" in frame else frame


def last_block(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the last block of each arm, indexed by label."""
    return curves.loc[curves.groupby("label", sort=False)["block"].idxmax()].set_index("label")


def first_training(results: Results, arm: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of an arm's first seed, for figures that show single images."""
    return frame[frame["seed"] == results.seeds(arm)[0]]


def uniform_distance(*, grid: int, patch_size: int) -> float:
    """Return the attention distance (px) of attention spread evenly over grid × grid patches."""
    axis = np.arange(grid)
    rows, across = (part.ravel() for part in np.meshgrid(axis, axis, indexing="ij"))
    return float(patch_size * np.hypot(rows[:, None] - rows, across[:, None] - across).mean())


def join(curves: Sequence[pd.DataFrame], *, empty: Sequence[str]) -> pd.DataFrame:
    """Return curves as one table; without curves, an empty table with the columns `empty`."""
    return pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=list(empty))
