"""What the claims compare of predictions: one value for every held-out image, from the tables of one arm.

As in measures.py, a measure raises MissingResult, with the reason in words, where this study cannot tell.
"""

import math

import numpy as np
import pandas as pd

from stages.claims.measures import late
from stages.claims.roles import candidates, method_of
from stages.claims.tables import Tables
from stages.encoders.size import parameters
from stages.results.corrupted import relative
from stages.results.files import MissingResult
from stages.study.recipe import recipe_of

CHOSEN = "chosen on validation"
ALL_SETS = "mean of all"
ALL_AMPLITUDES = "mean of all"
SIZES = 3  # widths that a slope needs


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


def finetuned_accuracy(tables: Tables, arm: str, *, labels: str) -> pd.Series:
    """Correctness per image after fine-tuning, mean over the label sets chosen."""
    return _correct(tables.finetuned(arm), labels)


def growth_with_size(tables: Tables, arm: str, *, labels: str) -> pd.Series:
    """Slope of fine-tuned correctness on the decimal logarithm of an encoder's parameters, per image.

    arm: one of the method; the line is fitted by least squares through all widths that both CL and MIM have
    Paper: Fig. 1 (middle).
    """
    by_size = {
        method: _arms_by_size(tables, method)
        for method in ("contrastive", "masked", method_of(tables.params.arms[arm]))
    }
    shared = sorted(set.intersection(*(set(arms) for arms in by_size.values())))
    if len({width for _, width in shared}) < SIZES:
        raise MissingResult(f"CL and MIM share {len(shared)} widths, and a slope needs {SIZES}")
    arms = by_size[method_of(tables.params.arms[arm])]
    place = np.log10([size for size, _ in shared])
    weights = (place - place.mean()) / ((place - place.mean()) ** 2).sum()
    parts = [_correct(tables.finetuned(arms[key]), labels) for key in shared]
    return pd.concat(parts, axis=1, join="inner") @ weights


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
    table = _conflicts(tables, arm)
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


def cue_accuracy(tables: Tables, arm: str, *, cue: str) -> pd.Series:
    """Of images in which shape and texture disagree: 1 decided for the cue, 0 for anything else.

    cue: shape or texture
    """
    table = _conflicts(tables, arm)
    table = table[table["trial"] == "cue_conflict"]
    if table.empty:
        raise MissingResult(f"arm {arm} saw no cue conflict")
    followed = table["predicted"] == table["truth" if cue == "shape" else "rival"]
    return followed.groupby(table["image"]).mean()


def noise_contrast(
    tables: Tables, arm: str, *, bands: str, amplitude: str, head: str, labels: str
) -> pd.Series:
    """How much less of its accuracy an arm keeps under noise at low than at high frequencies, per image.

    bands:     outer thirds or halves of all frequencies, corners included; halves of those of a row (up to
               π); or the lowest and highest band
    amplitude: mean of all, weakest or strongest
    returns: pseudo-values, whose mean is accuracy under high noise / clean - accuracy under low noise / clean
    Accuracy is relative to that without noise, so that a better encoder does not lose more because it has
    more to lose.
    Paper: Fig. 9 (right).
    """
    table = tables.trials(arm)
    table = table[table["head"] == head]
    noisy = table[table["trial"] == "frequency_noise"]
    if noisy.empty:
        raise MissingResult("frequency_noise is not among the corruptions of this study")
    if amplitude != ALL_AMPLITUDES:
        strength = noisy["amplitude"]
        noisy = noisy[strength == (strength.min() if amplitude == "weakest" else strength.max())]
    upper = noisy["level"]  # end of the band, units of π
    lower = upper - np.diff(np.concatenate([[0.0], np.sort(upper.unique())])).min()
    top = upper.max() + 1e-6
    low, high = {
        "outer thirds": (upper <= top / 3, lower >= 2 * top / 3 - 2e-6),
        "halves": (upper <= top / 2, lower >= top / 2 - 2e-6),
        "halves up to π": (upper <= 1 / 2 + 1e-6, (lower >= 1 / 2 - 1e-6) & (upper <= 1 + 1e-6)),
        "outer bands": (upper == upper.min(), upper == upper.max()),
    }[bands]
    if not low.any() or not high.any():
        raise MissingResult(f"no band of noise lies in the {bands} of the frequencies")
    clean = _correct(table[table["trial"] == "clean"], labels)
    under_high, under_low = (_share_of(_correct(noisy[part], labels), clean, arm=arm) for part in (high, low))
    return (under_high - under_low).dropna()


def _conflicts(tables: Tables, arm: str) -> pd.DataFrame:
    """Decisions of the linear probes on images whose shape and texture are of two classes."""
    table = tables.trials(arm)
    return table[(table["head"] == "linear") & (table["rival"] >= 0) & (table["rival"] != table["truth"])]


def _share_of(part: pd.Series, whole: pd.Series, *, arm: str) -> pd.Series:
    """As `relative`. Raises MissingResult if nothing of the whole is right."""
    share = relative(part, whole)
    if share.isna().any():
        raise MissingResult(f"arm {arm} decides no clean image rightly")
    return share


def _arms_by_size(tables: Tables, method: str) -> dict[tuple[int, int], str]:
    """The arms of a method trained here, by their parameters and width; the first of each size."""
    arms: dict[tuple[int, int], str] = {}
    study = tables.params
    for name in candidates(study, method):
        if study.arms[name].objective != "imported":
            vit = recipe_of(study, name)[0]
            arms.setdefault((parameters(vit, image_size=study.data.image_size), vit.width), name)
    return arms


def _correct(table: pd.DataFrame, labels: str) -> pd.Series:
    if labels != ALL_SETS:
        table = table[table["labels"] == labels]
    return (table["truth"] == table["predicted"]).groupby(table["image"]).mean()
