"""What the claims compare of blocks: one value for every held-out image, read from the tables of one arm.

A measure takes the tables, the name of an arm and the choices that it depends on, by keyword, and gives a
series indexed by image. It raises MissingResult, with the reason in words, where this study cannot tell.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from stages.claims.tables import NOTHING, Tables
from stages.results.files import MissingResult

VARIANTS = {  # what the column of a measure of attention is called, by what was counted
    "among patches": "",
    "among patches, epsilon 1e-4": "_epsilon",
    "with prefix tokens": "_prefix",
}
HIGHEST, ALL_BEFORE = "the highest before", "all before"


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
    """A column of an analysis per image: mean over the blocks chosen.

    attention:        which tokens' attention is counted and how, one of VARIANTS; other columns have one
    heads, frequency: how the heads or frequencies of a block are put together; at most one of them
    where, chosen:    column -> its value in the rows to keep, of a table that holds several measures
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
    before: str,
    attention: str = "among patches",
    heads: str = "",
    frequency: str = "",
) -> pd.Series:
    """How much higher a column of an analysis is before the late blocks than in them, per image.

    before: the block whose mean over the images is the highest of those before, or all of them. The embedding
            is none. A small encoder has reached its floor in its middle, from where there is nothing to lose
    """
    column += VARIANTS[attention]
    profile = block_profile(tables, arm, analysis=analysis, column=column, heads=heads, frequency=frequency)
    last = late(int(max(profile.columns)), blocks)
    earlier = profile[before_late(last)]
    if before == HIGHEST:
        earlier = earlier[[earlier.mean().idxmax()]]
    else:
        assert before == ALL_BEFORE, before
    return earlier.mean(axis=1) - profile[last].mean(axis=1)


def heads_alike(tables: Tables, arm: str, *, measure: str, blocks: str) -> pd.Series:
    """How alike the heads of late blocks are, per image: 1 where they are the same.

    measure: attention maps: 1 less the Jensen–Shannon divergence between two heads' attention in units of its
             maximum, log 2; outputs, or outputs, centred: cosine between two heads' outputs
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
    """How alike late blocks are to the block before, per image: 1 where they are the same.

    measure: CKA of mean tokens, linear, by pseudo-values of the images; attention branches: cosine between
             what the self-attention of the two blocks adds; tokens, or tokens, centred: cosine between their
             tokens, which share what the residual stream carries past both
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
    """A column of an analysis: a row per image, a column per block."""
    axis = "head" if heads else "frequency" if frequency else None
    grid = tables.grid(analysis, arm, column=column, axis=axis, where=where)
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

    Shares of a block are rounded up. Raises MissingResult if there are none.
    """
    shares = {"last third": 3, "last quarter": 4, "last half": 2, "last block": depth}
    if blocks in shares:
        return list(range(depth - math.ceil(depth / shares[blocks]) + 1, depth + 1))
    assert blocks == "last half but the last block", blocks
    found = late(depth, "last half")[:-1]
    if not found:
        raise MissingResult(f"an encoder of {depth} blocks has no late block but the last")
    return found


def before_late(blocks: list[int]) -> list[int]:
    """The blocks before late ones; the embedding, block 0, is none.

    Raises MissingResult if there are none.
    """
    if blocks[0] == 1:
        raise MissingResult("no block comes before the late ones")
    return list(range(1, blocks[0]))


def _cosines(tables: Tables, arm: str, *, where: Mapping[str, Any]) -> pd.DataFrame:
    return block_profile(
        tables, arm, analysis="similarity", column="value", heads="", frequency="", where=where
    )


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
