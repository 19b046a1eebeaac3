"""Put a sweep into sentences: where each line has its maximum, or how it changes from end to end."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from stages.render.figures.gradient_ratios import Realised
from stages.render.figures.sweep_places import HYBRID, Places
from stages.render.figures.sweeps import Line, Panel
from stages.render.words import fixed, listed, number, signed


def best_weights(rows: Sequence[Sequence[Panel]]) -> str:
    """Return the best weight λ in each panel of this study, and the accuracy of the parents.

    rows: panels of accuracies (%) against λ
    """
    sentences = []
    for panel, line in _lines(rows):
        points = {x: point[0] for x, point in line.points.items() if not math.isnan(x)}
        if len(points) < 2:
            continue
        best = max(points, key=lambda x: points[x])
        ends = listed(f"{fixed(points[x], decimals=1)} at λ = {x:g}" for x in (min(points), max(points)))
        sentences.append(
            f"{_place(panel)}: {line.name} is highest at λ = {best:g} ({fixed(points[best], decimals=1)} %), "
            f"with {ends}."
        )
    return " ".join(sentences)


def ratios_in_words(places: Places, ratios: Mapping[str, Realised]) -> str:
    """Return the realised gradient ratio of every arm with two losses, and the λ of equal gradients.

    places: as `sweep_places.along_ratio` returns them
    ratios: as `gradient_ratios.realised` returns them
    """
    hybrids = [ratios[label] for label, (line, *_) in places.items() if line == HYBRID]
    by_weight = sorted(hybrids, key=lambda one: one.weight)
    parts = [f"{number(one.ratio, digits=2)} at λ = {one.weight:.2g}" for one in by_weight]
    sentences = [f"Norm of the weighted CL gradient over that of the weighted MIM gradient: {listed(parts)}."]
    for one, other in pairwise(by_weight):
        if (one.ratio - 1) * (other.ratio - 1) < 0:
            sentences.append(f"Both gradients have the same norm near λ = {_balance(one, other):.2g}.")
    for label, (line, *_) in places.items():
        if line != HYBRID and label in ratios:
            ratio, weight = number(ratios[label].ratio, digits=2), ratios[label].weight
            sentences.append(f"{label}: ratio {ratio} with λ = {weight:.2g}.")
    return " ".join(sentences)


def _balance(one: Realised, other: Realised) -> float:
    """Return the λ between two arms whose gradients would have the same norm, linear in the log odds of λ."""
    starts, ends = ((math.log(arm.ratio), math.log(arm.weight / (1 - arm.weight))) for arm in (one, other))
    log_odds = starts[1] - starts[0] * (ends[1] - starts[1]) / (ends[0] - starts[0])
    return 1 / (1 + math.exp(-log_odds))


def size_gains(rows: Sequence[Sequence[Panel]]) -> str:
    """Return the gain of each method from the smallest to the largest encoder, for each panel of this study.

    rows: panels of accuracies (%) against millions of parameters
    """
    gains: dict[str, list[str]] = {}
    ends = set()
    for panel, line in _lines(rows):
        points = {x: point[0] for x, point in line.points.items() if not math.isnan(x)}
        if len(points) < 2:
            continue
        smallest, largest = min(points), max(points)
        ends |= {(smallest, largest)}
        gains.setdefault(_place(panel), []).append(
            f"{line.name} {signed(points[largest] - points[smallest])}"
        )
    if not gains:
        return ""
    low, high = min(first for first, _ in ends), max(last for _, last in ends)
    changes = " ".join(f"{place}: {listed(words)}." for place, words in gains.items())
    return (
        f"Change of accuracy in points from {number(low, digits=2)} to {number(high, digits=2)} million "
        f"parameters. {changes}"
    )


def _lines(rows: Sequence[Sequence[Panel]]) -> list[tuple[Panel, Line]]:
    """Return every line of this study with its panel; the lines of the paper have no ink."""
    return [(panel, line) for row in rows for panel in row for line in panel.lines if line.ink]


def _place(panel: Panel) -> str:
    """Return evaluation and label set of a panel: "linear probe (%)" of "This study: shape"."""
    labels = panel.title.partition(": ")[2]
    measure = panel.ylabel.removesuffix(" (%)").capitalize()
    return f"{measure} on {labels}" if labels else measure
