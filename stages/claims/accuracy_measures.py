"""Measures of predictions: one value for every held-out image, from the result tables of one arm.

As in measures.py, a measure raises MissingResult, with the reason, if the study lacks what the measure needs.
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
from stages.study.params import seeds_of
from stages.study.recipe import recipe_of
from stages.study.study import Study

CHOSEN = "chosen on validation"
ALL_SETS = "mean of all"
ALL_AMPLITUDES = "mean of all"
SIZES = 3  # widths that a slope needs


def probe_accuracy(tables: Tables, arm: str, *, probe: str, pooling: str, labels: str) -> pd.Series:
    """Return the correctness per image of a probe on frozen features, mean over the chosen label sets."""
    table = tables.probe(probe, arm)
    if pooling != CHOSEN:
        table = table[table["pooling"] == pooling] if "pooling" in table else table[:0]
    elif "chosen" in table:
        table = table[table["chosen"]]
    if table.empty:
        raise MissingResult(f"the {probe} probe of arm {arm} has no pooling {pooling}")
    return _correct(table, labels)


def few_label_accuracy(tables: Tables, arm: str, *, labels: str) -> pd.Series:
    """Return the correctness per image of the few-shot probe, mean over shares of labels and label sets."""
    return _correct(tables.probe("few_shot", arm), labels)


def finetuned_accuracy(tables: Tables, arm: str, *, labels: str) -> pd.Series:
    """Return the correctness per image after fine-tuning, mean over the chosen label sets."""
    return _correct(tables.finetuned(arm), labels)


def growth_with_size(tables: Tables, arm: str, *, labels: str) -> pd.Series:
    """Return, per image, the slope of fine-tuned correctness on log10 of the number of parameters.

    arm: any arm of the method; a least-squares line is fitted through all `arms_by_size`
    Paper: Fig. 1 (middle).
    """
    arms = arms_by_size(tables.params, arm)
    if len({width for _, width in arms}) < SIZES:
        raise MissingResult(f"a slope needs {SIZES} widths of both CL and MIM; this study has {len(arms)}")
    for name in arms.values():
        if tables.seed not in seeds_of(tables.params, name):
            raise MissingResult(f"arm {name} has no seed {tables.seed}; a slope needs it of every width")
    log_sizes = np.log10([size for size, _ in arms])
    weights = (log_sizes - log_sizes.mean()) / ((log_sizes - log_sizes.mean()) ** 2).sum()
    parts = [_correct(tables.finetuned(name), labels) for name in arms.values()]
    return pd.concat(parts, axis=1, join="inner") @ weights


def arms_by_size(study: Study, arm: str) -> dict[tuple[int, int], str]:
    """Return the arms of the method of an arm, one per size that CL and MIM have too, the smallest first.

    returns: (parameters, width) -> the first arm of this size
    """
    own = method_of(study.arms[arm])
    by_size = {method: _arms_of_method(study, method) for method in ("contrastive", "masked", own)}
    shared = set.intersection(*(set(arms) for arms in by_size.values()))
    return {size: by_size[own][size] for size in sorted(shared)}


def depth_accuracy(tables: Tables, arm: str, *, depth: str, labels: str) -> pd.Series:
    """Return the correctness per image of the linear probes of some blocks, mean over blocks and labels."""
    table = tables.probe("layerwise", arm)
    count = int(table["block"].max())
    if depth.startswith("first"):
        share = {"first block": count, "first third": 3, "first half": 2}[depth]
        blocks = list(range(1, math.ceil(count / share) + 1))
    else:
        blocks = late(count, depth)
    return _correct(table[table["block"].isin(blocks)], labels)


def fall_after_best(tables: Tables, arm: str, *, labels: str) -> pd.Series:
    """Return, per image, the linear-probe correctness lost from the best block to the last one.

    Validation images choose the best block.
    """
    table = tables.probe("layerwise", arm)
    last = table[table["block"] == table["block"].max()]
    return _correct(table[table["chosen"]], labels) - _correct(last, labels)


def gain_over_linear(tables: Tables, arm: str, *, probe: str, labels: str) -> pd.Series:
    """Return the correctness per image that another probe gains over the linear one."""
    better = probe_accuracy(tables, arm, probe=probe, pooling=CHOSEN, labels=labels)
    linear = probe_accuracy(tables, arm, probe="linear", pooling=CHOSEN, labels=labels)
    return (better - linear).dropna()


def overlap(tables: Tables, arm: str, *, probe: str, objects: str) -> pd.Series:
    """Return the intersection over union of each image, mean over the classes present or predicted in it.

    probe:   linear, knn or fine-tuned
    objects: "with background", or "without background" to count object classes only
    """
    table = tables.overlaps(arm)
    table = table[(table["way"] == probe) & ((table["class"] > 0) | (objects == "with background"))]
    if table.empty:
        raise MissingResult(f"no {probe} segmentation: the data set has no object masks")
    return (table["intersection"] / table["union"]).groupby(table["image"]).mean()


def shape_preference(tables: Tables, arm: str) -> pd.Series:
    """Return 1 for each cue-conflict image classified by its shape, -1 by its texture, and 0 by neither.

    Source: Geirhos et al. 2019. Their shape bias drops the images classified by neither.
    """
    table = _conflicts(tables, arm)
    cue = (table["predicted"] == table["truth"]).astype(float) - (table["predicted"] == table["rival"])
    return cue.groupby(table["image"]).mean()


def without_texture(tables: Tables, arm: str, *, trial: str, head: str) -> pd.Series:
    """Return the correctness per image at the strongest level of a corruption.

    If the data have shape labels, only these count, because the corruption replaces the texture.
    """
    table = tables.trials(arm)
    table = table[(table["trial"] == trial) & (table["head"] == head)]
    if table.empty:
        raise MissingResult(f"{trial} is not among the corruptions of this study")
    table = table[table["level"] == table["level"].max()]
    shapes = table["labels"] == "shape"
    return _correct(table[shapes] if shapes.any() else table, ALL_SETS)


def cue_accuracy(tables: Tables, arm: str, *, cue: str) -> pd.Series:
    """Return 1 for each cue-conflict image classified by the cue, and 0 for every other.

    cue: shape or texture
    """
    table = _conflicts(tables, arm)
    followed = table["predicted"] == table["truth" if cue == "shape" else "rival"]
    return followed.groupby(table["image"]).mean()


def noise_contrast(
    tables: Tables, arm: str, *, bands: str, amplitude: str, head: str, labels: str
) -> pd.Series:
    """Return, per image, the relative accuracy under high-frequency minus that under low-frequency noise.

    bands:     outer thirds or halves of all frequencies, corners included; halves of the frequencies up to
               π; or the lowest and the highest band
    amplitude: mean of all, weakest or strongest
    returns: pseudo-values, whose mean is accuracy under high noise / clean - accuracy under low noise / clean
    Accuracy is divided by the clean accuracy, because a more accurate encoder has more to lose.
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
    """Return the linear probes' predictions on images whose shape and texture belong to two classes.

    These are drawn images, with a probe trained where both cues agree, or stimuli named cue_conflict, with
    the ordinary probe.
    """
    table = tables.trials(arm)
    table = table[(table["trial"] == "cue_conflict") & (table["head"] == "linear")]
    table = table[(table["rival"] >= 0) & (table["rival"] != table["truth"])]
    if table.empty:
        raise MissingResult(f"arm {arm} has no test images whose shape and texture belong to two classes")
    return table


def _share_of(part: pd.Series, whole: pd.Series, *, arm: str) -> pd.Series:
    """Return `relative(part, whole)`. Raises MissingResult if no clean image is classified correctly."""
    share = relative(part, whole)
    if share.isna().any():
        raise MissingResult(f"arm {arm} classifies no clean image correctly")
    return share


def _arms_of_method(study: Study, method: str) -> dict[tuple[int, int], str]:
    """Return the first arm of each size that a study trains by a method: (parameters, width) -> arm."""
    arms: dict[tuple[int, int], str] = {}
    for name in candidates(study, method):
        if study.arms[name].objective != "imported":
            vit = recipe_of(study, name)[0]
            arms.setdefault((parameters(vit, image_size=study.data.image_size), vit.width), name)
    return arms


def _correct(table: pd.DataFrame, labels: str) -> pd.Series:
    if labels != ALL_SETS:
        table = table[table["labels"] == labels]
    return (table["truth"] == table["predicted"]).groupby(table["image"]).mean()
