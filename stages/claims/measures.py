"""What the claims compare: one value for every held-out image, read from the tables of one arm.

A measure takes the tables, the name of an arm and the choices that it depends on, by keyword, and gives a
series indexed by image. It raises MissingResult, with the reason in words, where this study cannot tell.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from stages.claims.tables import NOTHING, OtherArm, Tables
from stages.results.files import MissingResult
from stages.study.recipe import recipe_of

CHOSEN = "chosen on validation"
ALL_SETS = "mean of all"
VARIANTS = {  # what the column of a measure of attention is called, by what was counted
    "among patches": "",
    "among patches, epsilon 1e-4": "_epsilon",
    "with prefix tokens": "_prefix",
}
WIDTHS = {  # of the ViTs that Fig. 1 (middle) compares
    "any": (0, math.inf),
    "ViT-S or smaller": (0, 384),
    "ViT-Ti or smaller": (0, 192),
    "ViT-B or larger": (768, math.inf),
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
    """How much higher a column of an analysis is in the blocks before than in the late ones, per image."""
    column += VARIANTS[attention]
    profile = block_profile(tables, arm, analysis=analysis, column=column, heads=heads, frequency=frequency)
    last = late(int(max(profile.columns)), blocks)
    return profile[earlier(last, before)].mean(axis=1) - profile[last].mean(axis=1)


def probe_accuracy(tables: Tables, arm: str, *, probe: str, pooling: str, labels: str) -> pd.Series:
    """Correctness per image of a probe on frozen features, mean over the label sets chosen."""
    table = tables.probe(probe, arm)
    if pooling != CHOSEN:
        table = table[table["pooling"] == pooling] if "pooling" in table else table[:0]
    elif "chosen" in table:
        table = table[table["chosen"]]
    if table.empty:
        raise MissingResult(f"the {probe} probe of arm {arm} has no pooling {pooling}")
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


def depth_accuracy(tables: Tables, arm: str, *, depth: str, labels: str) -> pd.Series:
    """Correctness per image of the linear probes of some blocks, mean over blocks and label sets."""
    table = tables.probe("layerwise", arm)
    count = int(table["block"].max())
    if depth.startswith("first"):
        share = {"first block": count, "first third": 3, "first half": 2}[depth]
        blocks = list(range(1, math.ceil(count / share) + 1))
    else:
        blocks = late(count, depth)
    return _correct(table[table["block"].isin(blocks)], labels)


def fall_after_best(tables: Tables, arm: str, *, labels: str) -> pd.Series:
    """How much better the linear probe of the block that validation chose is than that of the last block."""
    table = tables.probe("layerwise", arm)
    last = table[table["block"] == table["block"].max()]
    return _correct(table[table["chosen"]], labels) - _correct(last, labels)


def gain_over_linear(tables: Tables, arm: str, *, probe: str, labels: str) -> pd.Series:
    """How much better another probe is than the linear one, per image."""
    better = probe_accuracy(tables, arm, probe=probe, pooling=CHOSEN, labels=labels)
    linear = probe_accuracy(tables, arm, probe="linear", pooling=CHOSEN, labels=labels)
    return (better - linear).dropna()


def overlap(tables: Tables, arm: str, *, way: str, objects: str) -> pd.Series:
    """Intersection over union of each image, mean over the classes that are in it or were seen in it.

    way:     fine-tuned, linear or knn; objects: "and background" or "alone", without what is no object
    """
    table = tables.overlaps(arm)
    table = table[(table["way"] == way) & ((table["class"] > 0) | (objects == "and background"))]
    if table.empty:
        raise MissingResult(
            f"{way} has segmented no images, since the data do not know their objects' pixels"
        )
    return (table["intersection"] / table["union"]).groupby(table["image"]).mean()


def shape_preference(tables: Tables, arm: str, *, trials: str) -> pd.Series:
    """Of images whose texture is of another class than their shape: 1 decided for shape, -1 for texture.

    trials: "cue conflict", of the linear probe that was never told which to follow; or "all with a texture
            that competes", of the linear probe of the classes
    Source: Geirhos et al. 2019, whose shape bias leaves out what was decided for neither; 0 here.
    """
    table = tables.trials(arm)
    table = table[(table["head"] == "linear") & (table["rival"] >= 0) & (table["rival"] != table["truth"])]
    of_conflict = table["trial"] == "cue_conflict"
    table = table[of_conflict if trials == "cue conflict" else ~of_conflict]
    if table.empty:
        raise MissingResult(f"arm {arm} saw no images whose shape and texture are of two classes")
    decided = (table["predicted"] == table["truth"]).astype(float) - (table["predicted"] == table["rival"])
    return decided.groupby(table["image"]).mean()


def without_texture(tables: Tables, arm: str, *, trial: str, head: str) -> pd.Series:
    """Correctness per image, for the shape where shapes have labels, at the strongest level of a trial."""
    table = tables.trials(arm)
    table = table[(table["trial"] == trial) & (table["head"] == head)]
    if table.empty:
        raise MissingResult(f"{trial} is not among the corruptions of this study")
    table = table[table["level"] == table["level"].max()]
    shapes = table["labels"] == "shape"
    return _correct(table[shapes] if shapes.any() else table, ALL_SETS)


def noise_loss(tables: Tables, arm: str, *, bands: str, head: str, labels: str) -> pd.Series:
    """What noise in some frequency bands costs: correctness per image without less that with noise.

    Of bands as wide as the smallest step between them, those that lie whole in the part of the frequencies.
    """
    table = tables.trials(arm)
    table = table[table["head"] == head]
    noisy = table[table["trial"] == "frequency_noise"]
    if noisy.empty:
        raise MissingResult("frequency_noise is not among the corruptions of this study")
    upper = noisy["level"]  # end of the band, units of pi
    lower = upper - np.diff(np.concatenate([[0.0], np.sort(upper.unique())])).min()
    parts = {
        "lowest third": upper <= 1 / 3 + 1e-6,
        "lowest half": upper <= 1 / 2 + 1e-6,
        "lowest band": upper == upper.min(),
        "highest third": lower >= 2 / 3 - 1e-6,
        "highest half": lower >= 1 / 2 - 1e-6,
        "highest band": upper == upper.max(),
    }
    if not parts[bands].any():
        raise MissingResult(f"no band of noise lies in the {bands} of the frequencies")
    return _correct(table[table["trial"] == "clean"], labels) - _correct(noisy[parts[bands]], labels)


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


def earlier(blocks: list[int], before: str) -> list[int]:
    """The blocks that late ones are compared with; the embedding, block 0, is none.

    Raises MissingResult if there are none.
    """
    count = {"as many before": len(blocks), "the one before": 1, "all before": blocks[0]}[before]
    found = list(range(max(1, blocks[0] - count), blocks[0]))
    if not found:
        raise MissingResult("no block comes before the late ones")
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
