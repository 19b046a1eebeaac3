"""What the claims compare: one value for every held-out image, read from the tables of one arm.

A measure takes the tables, the name of an arm and the choices that it depends on, by keyword, and gives a
series indexed by image. It raises MissingInput, with the reason in words, where this study cannot tell.
"""

import math

import numpy as np
import pandas as pd

from stages.claims.tables import MissingInput, OtherArm, Tables
from stages.study.params import recipe_of

CHOSEN = "chosen on validation"
ALL_SETS = "mean of all"
WIDTHS = {  # of the ViTs that Fig. 1 (middle) compares
    "any": (0, math.inf),
    "ViT-S or smaller": (0, 384),
    "ViT-Ti or smaller": (0, 192),
    "ViT-B or larger": (768, math.inf),
    "ViT-S or larger": (384, math.inf),
}


def in_blocks(
    tables: Tables, arm: str, *, analysis: str, column: str, blocks: str, heads: str = "", frequency: str = ""
) -> pd.Series:
    """A column of an analysis per image: mean over the blocks chosen.

    heads, frequency: how the heads or frequencies of a block are put together; at most one of them
    """
    profile = block_profile(tables, arm, analysis=analysis, column=column, heads=heads, frequency=frequency)
    return profile[late(int(max(profile.columns)), blocks)].mean(axis=1)


def fall(
    tables: Tables,
    arm: str,
    *,
    analysis: str,
    column: str,
    blocks: str,
    before: str,
    heads: str = "",
    frequency: str = "",
) -> pd.Series:
    """How much higher a column of an analysis is in the blocks before than in the late ones, per image."""
    profile = block_profile(tables, arm, analysis=analysis, column=column, heads=heads, frequency=frequency)
    last = late(int(max(profile.columns)), blocks)
    return profile[earlier(last, before)].mean(axis=1) - profile[last].mean(axis=1)


def probe_accuracy(tables: Tables, arm: str, *, probe: str, pooling: str, labels: str) -> pd.Series:
    """Correctness per image of a probe on frozen features, mean over the label sets chosen."""
    table = tables.probe(probe, arm)
    if pooling != CHOSEN:
        table = table[table["pooling"] == pooling]
    elif "chosen" in table:
        table = table[table["chosen"]]
    if table.empty:
        raise MissingInput(f"the {probe} probe of arm {arm} has no pooling {pooling}")
    return _correct(table, labels)


def finetuned_accuracy(tables: Tables, arm: str, *, labels: str, size: str = "any") -> pd.Series:
    """Correctness per image after fine-tuning, mean over the label sets chosen.

    Raises OtherArm if the encoder is not of the size.
    """
    narrowest, widest = WIDTHS[size]
    if size != "any":
        if tables.params.arms[arm].objective == "imported":
            raise OtherArm(f"arm {arm} is imported, and how wide it is params.yaml does not say")
        width = recipe_of(tables.params, arm)[0].width
        if not narrowest <= width <= widest:
            bound = f"at most {widest}" if width > widest else f"at least {narrowest}"
            raise OtherArm(f"arm {arm} is {width} wide, and {size} means {bound}")
    return _correct(tables.finetuned(arm), labels)


def block_profile(
    tables: Tables, arm: str, *, analysis: str, column: str, heads: str, frequency: str
) -> pd.DataFrame:
    """A column of an analysis: a row per image, a column per block."""
    axis = "head" if heads else "frequency" if frequency else None
    grid = tables.grid(analysis, arm, column=column, axis=axis)
    if axis is None:
        return grid
    blocks = grid.columns.get_level_values("block")
    values = grid.to_numpy().reshape(
        len(grid), blocks.nunique(), -1
    )  # (images, blocks, heads or frequencies)
    reduced = _put_together(values, heads or frequency)
    return pd.DataFrame(reduced, index=grid.index, columns=blocks.unique())


def late(depth: int, blocks: str) -> list[int]:
    """The blocks, counted from 1, that are late in an encoder of that depth.

    Shares of a block are rounded up. Raises MissingInput if there are none.
    """
    shares = {"last third": 3, "last quarter": 4, "last half": 2, "last block": depth}
    if blocks in shares:
        return list(range(depth - math.ceil(depth / shares[blocks]) + 1, depth + 1))
    assert blocks == "last half but the last block", blocks
    found = late(depth, "last half")[:-1]
    if not found:
        raise MissingInput(f"an encoder of {depth} blocks has no late block but the last")
    return found


def earlier(blocks: list[int], before: str) -> list[int]:
    """The blocks that late ones are compared with; the embedding, block 0, is none.

    Raises MissingInput if there are none.
    """
    count = {"as many before": len(blocks), "the one before": 1, "all before": blocks[0]}[before]
    found = list(range(max(1, blocks[0] - count), blocks[0]))
    if not found:
        raise MissingInput("no block comes before the late ones")
    return found


def _put_together(values: np.ndarray, how: str) -> np.ndarray:
    """The last axis (heads, or frequencies in rising order) as one number."""
    if how == "median":
        return np.median(values, axis=-1)
    if how == "highest bin":
        return values[..., -1]
    if how == "upper half of the bins":
        return values[..., values.shape[-1] // 2 :].mean(axis=-1)
    assert how == "mean", how
    return values.mean(axis=-1)


def _correct(table: pd.DataFrame, labels: str) -> pd.Series:
    if labels != ALL_SETS:
        table = table[table["labels"] == labels]
    return (table["truth"] == table["predicted"]).groupby(table["image"]).mean()
