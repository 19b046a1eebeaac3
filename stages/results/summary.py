"""The numbers of one out, with the same names for every arm, for a tracker that knows no stages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from stages.results.files import read_header, read_metrics, read_table
from stages.results.schemas import SEED, Schema

AXES = ["seed", "image", "block", "head", "frequency"]  # columns of places, not of measures


def metrics_of(path: Path) -> dict[str, Any]:
    """Return the content of a metrics file without single seeds: the means over seeds."""
    content = read_metrics(path, stage=_stage(path))
    return {name: value for name, value in content.items() if name != "seeds"}


def history_of(directory: Path) -> pd.DataFrame:
    """Return the history of a training, averaged over the seeds below a directory; empty without history.

    Returns: index epoch; loss and the other logged values
    """
    parts = [_read(path, SEED) for path in sorted(directory.glob("*/history.csv"))]
    filled = [part for part in parts if len(part)]
    if not filled:
        return pd.DataFrame()
    return pd.concat(filled).drop(columns="seed").groupby("epoch").mean()


def blocks_of(path: Path) -> pd.DataFrame:
    """Return the measures of an analysis by block, averaged over all other columns.

    Returns: index block, a column per measure; empty for tables of predictions or of pairs of arms
    """
    columns = set(read_header(path))
    if "block" not in columns or {"predicted", "other_arm"} & columns:
        return pd.DataFrame()
    table = _read(path, {})
    if "measure" in table:  # long format with one value per row; index 0 means a single value, not a series
        table = table[table[[name for name in ("index", "row") if name in table]].eq(0).all(axis=1)]
        if "other_block" in table:  # only pairs of neighbouring blocks
            table = table[table["block"] - table["other_block"] <= 1]
        parts = [name for name in ("measure", "level", "place", "variant") if name in table]
        wide = table.groupby(["block", *parts])["value"].mean().unstack(parts)
        wide.columns = pd.Index([".".join(name) if parts[1:] else name for name in wide])
        return wide
    if "part" in table:  # an encoder with its decoder
        table = table[table["part"] == "encoder"]
    if "frequency" in table:
        table = table[table["frequency"] == table["frequency"].max()]
    return table.groupby("block").mean(numeric_only=True).drop(columns=AXES, errors="ignore")


def _read(path: Path, schema: Mapping[str, Any] | Schema) -> pd.DataFrame:
    return read_table(path, schema, stage=_stage(path))


def _stage(path: Path) -> str:
    """Return the stage of dvc.yaml that writes a file, or "" if the path does not show it."""
    stages = {"models": "pretrain", "finetune": "finetune", "analysis": "analyze", "probe": "probe"}
    stages |= {"segmentation": "segment", "robustness": "robustness", "claims.json": "decide"}
    return next((stage for part, stage in stages.items() if part in path.parts), "")
