"""The measurements of the arms as curves: reads exactly the tables that the arms name."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from stages.render.intervals import bootstrap_interval
from stages.render.style import label_of
from stages.study.errors import StudyError
from stages.study.paths import analysis_table
from stages.study.settings import Arm

Arms = Mapping[str, Arm]


def arms_by_label(arms: Arms) -> dict[str, list[str]]:
    """The arms behind each label, in the order of params.yaml; replicates share a label."""
    groups: dict[str, list[str]] = {}
    for name, arm in arms.items():
        groups.setdefault(label_of(name, arm), []).append(name)
    return groups


def analysis_rows(
    analysis: str, arm: str, *, columns: Sequence[str], words: Sequence[str] = (), part: str = "encoder"
) -> pd.DataFrame:
    """The tidy table of one analysis of one arm, one row per image and place.

    columns: those that are needed besides `image`
    words:   those besides that need not hold numbers
    part:    whose rows to keep of a table that tells encoder and decoder apart
    Raises StudyError naming the file if it is missing, empty, lacks a column or holds a number that is none.
    """
    path = analysis_table(analysis, arm)
    try:
        frame = pd.read_csv(path)
    except FileNotFoundError:
        raise StudyError(f"{path}: not found; `dvc repro analyze@{arm}-{analysis}` writes it") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: not a table: {error}") from None
    lacking = [column for column in ("image", *columns, *words) if column not in frame]
    if lacking:
        raise StudyError(f"{path}: no column {', '.join(lacking)}; there are: {', '.join(frame)}")
    if frame.empty:
        raise StudyError(f"{path}: no rows")
    if "part" in frame:
        frame = frame[frame["part"] == part]
    for column in columns:
        numbers = pd.to_numeric(frame[column], errors="coerce")
        bad = int((~np.isfinite(numbers)).sum())
        if bad:
            raise StudyError(f"{path}: {bad} of {len(frame)} values of {column} are not finite numbers")
    return frame


def image_matrix(frame: pd.DataFrame, *, by: str, measure: str, where: str = "table") -> pd.DataFrame:
    """One row per image, one column per value of `by`, averaged over everything else.

    Raises StudyError if an image lacks a place.
    """
    matrix = frame.groupby(["image", by])[measure].mean().unstack(by)
    if matrix.isna().to_numpy().any():
        raise StudyError(f"{where}: not every image has every {by}")
    return matrix


def block_curves(
    arms: Arms,
    *,
    analysis: str,
    measure: str,
    seed: int = 0,
    highest_frequency: bool = False,
    rows: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """One curve per label: the mean of a measure per block, over heads and images, with its 95 % interval.

    highest_frequency: keep only the last frequency bin, the quantity of the paper's Fig. 8
    rows:    column -> its value in the rows to keep, of a table that holds several measures
    returns: label, block, depth (block / blocks, 0 to 1), mean, low, high, arms, images
    Raises StudyError as `analysis_rows` does, or if replicates differ in blocks or images.
    """
    needed = ["block", measure] + (["frequency"] if highest_frequency else [])
    curves = []
    for label, names in arms_by_label(arms).items():
        matrices = []
        for name in names:
            frame = analysis_rows(analysis, name, columns=needed, words=list(rows or {}))
            for column, value in (rows or {}).items():
                frame = frame[frame[column] == value]
            if highest_frequency:
                frame = frame[frame["frequency"] == frame["frequency"].max()]
            where = str(analysis_table(analysis, name))
            matrices.append(image_matrix(frame, by="block", measure=measure, where=where))
        curves.append(block_curve(matrices, label=label, names=names, seed=seed))
    return pd.concat(curves, ignore_index=True)


def block_curve(matrices: list[pd.DataFrame], *, label: str, names: list[str], seed: int = 0) -> pd.DataFrame:
    """The curve of one label: the mean over images and replicates per block, with its 95 % interval.

    matrices: images × blocks of each of the arms `names`
    returns:  label, block, depth, mean, low, high, arms, images
    Raises StudyError if replicates differ in blocks or images.
    """
    blocks = matrices[0].columns.to_numpy()
    mean, low, high = bootstrap_interval(stacked(matrices, label=label, names=names), seed=seed)
    return pd.DataFrame(
        {
            "label": label,
            "block": blocks,
            "depth": blocks / blocks.max(),
            "mean": mean,
            "low": low,
            "high": high,
            "arms": len(names),
            "images": len(matrices[0]),
        }
    )


def head_means(arms: Arms, *, analysis: str, measure: str) -> pd.DataFrame:
    """The mean of a measure over images for every head of every arm.

    returns: label, arm, block, depth, head, mean
    Raises StudyError as `analysis_rows` does.
    """
    parts = []
    for label, names in arms_by_label(arms).items():
        for name in names:
            frame = analysis_rows(analysis, name, columns=["block", "head", measure])
            heads = frame.groupby(["block", "head"], as_index=False)[measure].mean()
            heads = heads.rename(columns={measure: "mean"})
            heads.insert(0, "label", label)
            heads.insert(1, "arm", name)
            heads.insert(3, "depth", heads["block"] / heads["block"].max())
            parts.append(heads)
    return pd.concat(parts, ignore_index=True)


def spectra(
    arms: Arms, *, analysis: str = "fourier", measure: str = "log_amplitude", seed: int = 0
) -> pd.DataFrame:
    """Amplitude against frequency after the first and after the last block of every label.

    returns: label, place ("first block" or "last block"), frequency (units of pi), mean, low, high
    Raises StudyError as `analysis_rows` does, or if replicates differ in frequencies or images.
    """
    parts = []
    for label, names in arms_by_label(arms).items():
        tables = {
            name: analysis_rows(analysis, name, columns=["block", "frequency", measure]) for name in names
        }
        for place in ("first block", "last block"):
            matrices = []
            for name, frame in tables.items():
                block = min(1, frame["block"].max()) if place == "first block" else frame["block"].max()
                where = str(analysis_table(analysis, name))
                chosen = frame[frame["block"] == block]
                matrices.append(image_matrix(chosen, by="frequency", measure=measure, where=where))
            mean, low, high = bootstrap_interval(stacked(matrices, label=label, names=names), seed=seed)
            frequency = matrices[0].columns.to_numpy()
            parts.append(
                pd.DataFrame(
                    {
                        "label": label,
                        "place": place,
                        "frequency": frequency,
                        "mean": mean,
                        "low": low,
                        "high": high,
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def last_block(curves: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last block of each label, indexed by label."""
    return curves.loc[curves.groupby("label", sort=False)["block"].idxmax()].set_index("label")


def uniform_distance(*, grid: int, patch_size: int) -> float:
    """Attention distance (px) of attention that is spread evenly over grid × grid patches."""
    axis = np.arange(grid)
    rows, columns = (part.ravel() for part in np.meshgrid(axis, axis, indexing="ij"))
    return float(patch_size * np.hypot(rows[:, None] - rows, columns[:, None] - columns).mean())


def stacked(matrices: list[pd.DataFrame], *, label: str, names: list[str]) -> np.ndarray:
    """Replicates as one array (R, images, places).

    Raises StudyError if they differ in images or places.
    """
    first = matrices[0]
    for matrix, name in zip(matrices, names, strict=True):
        if not matrix.columns.equals(first.columns) or not matrix.index.equals(first.index):
            raise StudyError(
                f"params.yaml: arms {names[0]} and {name} share the label {label!r} but were measured on "
                "other blocks or images; give them labels of their own"
            )
    return np.stack([matrix.to_numpy(dtype=float) for matrix in matrices])
