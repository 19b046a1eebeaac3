"""A permutation test of all specifications of a claim together.

Source: Simonsohn, Simmons & Nelson 2020, "Specification curve analysis", inference by permutation.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from math import comb
from typing import NamedTuple

import numpy as np
from scipy import stats

from stages.claims.inference import LEVEL

MOST = 500  # relabellings; if more exist, a random sample is drawn
AT_ONCE = 4_000_000  # values in memory: relabellings times images


class JointTest(NamedTuple):
    """The observed curve, and how often relabelled trainings give one at least as extreme."""

    median: float  # effect
    share: float  # of specifications whose interval excludes 0
    p_median: float
    p_share: float
    relabellings: int
    least: float  # the smallest p-value that so few relabellings allow


def joint_test(
    specifications: Sequence[tuple[np.ndarray, np.ndarray | None]], *, seed: int = 0
) -> JointTest | None:
    """Compare the median effect and the share of significant effects with those of relabelled trainings.

    specifications: the two sides under each combination of choices, (trainings, images) each; without a
        second side, the first is compared with 0 and its trainings change sign instead of label
    returns: None if a side has a single training
    The test is two-sided: the absolute median counts. The observed labels count as one relabelling.
    """
    first, second = specifications[0]
    a, b = len(first), 0 if second is None else len(second)
    if min(a, b or a) < 2:
        return None
    labels = np.array([*relabellings(a, b, seed=seed)])
    effects, significant = zip(
        *(_relabelled(np.concatenate(_sides(pair)), labels) for pair in specifications), strict=True
    )
    medians = np.abs(np.median(effects, axis=0))
    shares = np.mean(significant, axis=0)
    slack = 1e-9 * max(1.0, float(medians.max()))  # the order of a sum changes its rounding
    return JointTest(
        median=float(np.median([effect[0] for effect in effects])),
        share=float(shares[0]),
        p_median=float(np.mean(medians >= medians[0] - slack)),
        p_share=float(np.mean(shares >= shares[0] - 1e-9)),
        relabellings=len(labels),
        least=smallest_p(labels),
    )


def smallest_p(labels: np.ndarray) -> float:
    """Return the smallest two-sided p-value of a permutation test.

    labels: (relabellings, trainings) of 1 and -1; a relabelling and its mirror image have the same absolute
            effect, so both count if both are among the relabellings
    """
    mirrored = bool((labels == -labels[0]).all(axis=1).any())
    return (1 + mirrored) / len(labels)


def relabellings(first: int, second: int, *, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield the sign of every training under each relabelling, the observed one first.

    first, second: number of trainings on each side; second 0: one side, whose signs are all free
    """
    count = first + second
    total = comb(count, first) if second else 2**first
    if total > MOST:
        generator = np.random.default_rng(seed)
        start = np.array([1] * first + [-1] * second)
        yield start
        for _ in range(MOST - 1):
            yield generator.permutation(start) if second else generator.choice([-1, 1], size=first)
    elif second:  # lexicographic order starts with the observed labels
        for chosen in combinations(range(count), first):
            yield np.where(np.isin(np.arange(count), chosen), 1, -1)
    else:
        yield from (np.array(signs) for signs in product([1, -1], repeat=first))


def _relabelled(values: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the effect and whether it is significant, under each relabelling.

    values: (trainings, images); labels: (relabellings, trainings) of 1 and -1
    """
    means, images = values.mean(axis=1), values.shape[1]
    exchanged = (labels.sum(axis=1) == labels[0].sum()).all() and (labels[0] < 0).any()
    variance = np.zeros(len(labels))
    spread = np.zeros(len(labels))
    weights = np.zeros(labels.shape)
    # With two sides, each sign is a side. With one side, all trainings count, each with its sign.
    for sign in (1, -1) if exchanged else (0,):
        members = (labels == sign) if sign else np.ones(labels.shape, dtype=bool)
        count = members.sum(axis=1)
        signed = means if sign else labels * means
        mean = (members * signed).sum(axis=1) / count
        part = (members * (signed - mean[:, None]) ** 2).sum(axis=1) / (count - 1) / count
        variance += part
        spread += part**2 / (count - 1)
        weights += members * labels / count[:, None]
    image = np.zeros(len(labels))
    step = max(1, AT_ONCE // images)
    for start in range(0, len(labels) if images > 1 else 0, step):
        image[start : start + step] = (weights[start : start + step] @ values).var(axis=1, ddof=1) / images
    variance += image
    spread += image**2 / max(1, images - 1)
    effect = weights @ means
    with np.errstate(invalid="ignore", divide="ignore"):
        reach = np.where(spread > 0, stats.t.ppf(1 - LEVEL / 2, variance**2 / spread) * variance**0.5, 0.0)
    return effect, np.abs(effect) > reach


def _sides(pair: tuple[np.ndarray, np.ndarray | None]) -> list[np.ndarray]:
    return [side for side in pair if side is not None]
