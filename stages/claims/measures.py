"""Measures of blocks: one value for every held-out image, from the result tables of one arm.

A measure takes the tables, the name of an arm and, by keyword, the analysis choices. It returns a series
indexed by image. It raises MissingResult, with the reason, if the study lacks what the measure needs.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from stages.claims.tables import NOTHING, Tables
from stages.results.files import MissingResult

VARIANTS = {  # variant of an attention measure -> suffix of its column
    "among patches": "",
    "among patches, epsilon 1e-4": "_epsilon",
    "with prefix tokens": "_prefix",
}


def in_blocks(
    tables: Tables,
    arm: str,
    *,
    analysis: str,
    column: str,
    blocks: str,
    attention: str = "among patches",
    heads: str = "",
    frequency: str = "",
    where: Mapping[str, Any] = NOTHING,
    **chosen: str,
) -> pd.Series:
    """Return one column of an analysis per image, mean over the chosen blocks.

    attention:        which attention is counted, one of VARIANTS; only attention measures have variants
    heads, frequency: how to reduce the heads or the frequencies of a block; at most one of the two
    where, chosen:    column -> value of the rows to keep, for tables with several measures
    """
    profile = block_profile(
        tables,
        arm,
        analysis=analysis,
        column=column + VARIANTS[attention],
        heads=heads,
        frequency=frequency,
        where={**where, **chosen},
    )
    return profile[late(int(max(profile.columns)), blocks)].mean(axis=1)


def fall(
    tables: Tables,
    arm: str,
    *,
    analysis: str,
    column: str,
    blocks: str,
    attention: str = "among patches",
    heads: str = "",
    frequency: str = "",
) -> pd.Series:
    """Return, per image, the decrease of a column of an analysis from all earlier blocks to the late ones.

    The earlier block with the highest value would be chosen by the values that are compared, which biases the
    decrease upwards. The embedding is not a block.
    """
    column += VARIANTS[attention]
    profile = block_profile(tables, arm, analysis=analysis, column=column, heads=heads, frequency=frequency)
    last = late(int(max(profile.columns)), blocks)
    return profile[before_late(last)].mean(axis=1) - profile[last].mean(axis=1)


def heads_alike(tables: Tables, arm: str, *, measure: str, blocks: str) -> pd.Series:
    """Return the similarity of the heads of late blocks, per image; 1 for identical heads.

    measure: "attention maps": 1 minus the Jensen–Shannon divergence between the attention of two heads, in
             units of its maximum, log 2; "outputs" or "outputs, centred": cosine between two heads' outputs
    Paper: Fig. 5 (heads).
    """
    if measure == "attention maps":
        table = block_profile(
            tables, arm, analysis="attention", column="diversity", heads="mean", frequency=""
        )
        profile = 1 - table / math.log(2)
    else:
        where = {"measure": "heads", "variant": "centred" if measure.endswith("centred") else "raw"}
        profile = _cosines(tables, arm, where=where)
    return profile[late(int(max(profile.columns)), blocks)].mean(axis=1)


def blocks_alike(tables: Tables, arm: str, *, measure: str, blocks: str) -> pd.Series:
    """Return the similarity of late blocks to the preceding block, per image; 1 for identical blocks.

    measure: "CKA of mean tokens": linear CKA, as pseudo-values of the images
             "attention branches": cosine between the outputs of the self-attention of the two blocks
             "tokens" or "tokens, centred": cosine between the tokens, which share the residual stream
    Paper: Fig. 5 (depths).
    """
    names = {
        "CKA of mean tokens": ("cka_share", "centred"),
        "attention branches": ("branches", "raw"),
        "tokens": ("blocks", "raw"),
        "tokens, centred": ("blocks", "centred"),
    }
    name, variant = names[measure]
    profile = _cosines(tables, arm, where={"measure": name, "variant": variant, "apart": 1})
    return profile[late(int(max(profile.columns)), blocks)].mean(axis=1)


def block_profile(
    tables: Tables,
    arm: str,
    *,
    analysis: str,
    column: str,
    heads: str,
    frequency: str,
    where: Mapping[str, Any] = NOTHING,
) -> pd.DataFrame:
    """Return one column of an analysis as a table with a row per image and a column per block."""
    axis = "head" if heads else "frequency" if frequency else None
    grid = tables.grid(analysis, arm, column=column, axis=axis, where=where)
    if axis is None:
        return grid
    blocks = grid.columns.get_level_values("block")
    # (images, blocks, heads or frequencies)
    values = grid.to_numpy().reshape(len(grid), blocks.nunique(), -1)
    reduced = _reduce(values, heads or frequency)
    return pd.DataFrame(reduced, index=grid.index, columns=blocks.unique())


def late(depth: int, blocks: str) -> list[int]:
    """Return the late blocks of an encoder with `depth` blocks, counted from 1.

    A fraction of a block is rounded up. Raises MissingResult if no block is left.
    """
    shares = {"last third": 3, "last quarter": 4, "last half": 2, "last block": depth}
    if blocks in shares:
        return list(range(depth - math.ceil(depth / shares[blocks]) + 1, depth + 1))
    assert blocks == "last half without the last block", blocks
    numbers = late(depth, "last half")[:-1]
    if not numbers:
        raise MissingResult(f"an encoder with {depth} blocks has no late block besides the last one")
    return numbers


def before_late(blocks: list[int]) -> list[int]:
    """Return the blocks before the late ones, without the embedding (block 0).

    Raises MissingResult if no block is left.
    """
    if blocks[0] == 1:
        raise MissingResult("the encoder has no block before the late ones")
    return list(range(1, blocks[0]))


def _cosines(tables: Tables, arm: str, *, where: Mapping[str, Any]) -> pd.DataFrame:
    return block_profile(
        tables, arm, analysis="similarity", column="value", heads="", frequency="", where=where
    )


def _reduce(values: np.ndarray, how: str) -> np.ndarray:
    """Reduce the last axis (heads, or frequencies in rising order) to one number."""
    if how == "median":
        return np.median(values, axis=-1)
    if how == "highest bin":
        return values[..., -1]
    if how == "upper half of the bins":
        return values[..., values.shape[-1] // 2 :].mean(axis=-1)
    assert how == "mean", how
    return values.mean(axis=-1)
