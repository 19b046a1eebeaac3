"""Write names beside lines and points without overlaps."""

import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from stages.render.figures.style import darker

SIZE = 9.0  # points
LONGEST = 18  # characters in a line of a name
# Positions of a name beside its point, best first: points to the right, points up.
SIDES = (
    (9, 0),
    (-9, 0),
    (7, 10),
    (7, -10),
    (-7, 10),
    (-7, -10),
    (0, 13),
    (0, -13),
    (7, 18),
    (7, -18),
    (-7, 18),
    (-7, -18),
)


def settle(figure: Figure) -> None:
    """Compute the layout of a figure, because labels need the final limits and heights of its axes."""
    figure.draw_without_rendering()


def lines_of(labels: Iterable[str]) -> int:
    """Return the number of lines that the names of different labels take at the ends of lines."""
    return sum(len(textwrap.wrap(name, LONGEST)) for name in dict.fromkeys(labels))


def label_ends(axis: Axes, ends: Sequence[tuple[str, float, float, str]]) -> None:
    """Write the name of each line to the right of the axis, as close to the end of the line as possible.

    ends: (name, x, y, colour) of the last point of each line, in data units
    Call this after `settle`.
    """
    figure = axis.get_figure(root=True)
    if not ends or figure is None:
        return
    height = axis.bbox.height
    line = 1.3 * SIZE * figure.dpi / 72 / height  # of text, as a share of the axis
    names = [textwrap.fill(name, LONGEST) for name, *_ in ends]
    heights = [line * (1 + 1.1 * name.count("\n")) for name in names]  # lines of one name are farther apart
    points = axis.transAxes.inverted().transform(axis.transData.transform([end[1:3] for end in ends]))
    places = spread(points[:, 1].tolist(), heights, low=-0.04, high=1.04)
    for (_, x, y, colour), name, place in zip(ends, names, places, strict=True):
        axis.annotate(
            name,
            xy=(x, y),
            xytext=(1.045, place),
            textcoords="axes fraction",
            ha="left",
            va="center",
            fontsize=SIZE,
            color=darker(colour),
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.7,
                "alpha": 0.6,
                "shrinkA": 1,
                "shrinkB": 4,
                "relpos": (0, 0.5),
            },
        )


def spread(wanted: Sequence[float], heights: Sequence[float], *, low: float, high: float) -> list[float]:
    """Return centres of boxes that do not overlap, in order and as close as possible to the wanted ones.

    Returns: centres, between low and high if all boxes fit
    """
    order = np.argsort(np.asarray(wanted), kind="stable")
    tall = np.asarray(heights, dtype=float)[order]
    stacked = np.cumsum(tall) - tall / 2  # centres of a stack of boxes from zero
    # The distance above the stack never decreases, so isotonic regression gives the closest centres.
    pools: list[tuple[float, int]] = []
    for lift in np.asarray(wanted, dtype=float)[order] - stacked:
        pools.append((float(lift), 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, size), (other, more) = pools[-2:]
            pools[-2:] = [((one * size + other * more) / (size + more), size + more)]
    lifts = np.concatenate([np.full(size, lift) for lift, size in pools])
    room = max(low, high - tall.sum())
    places = np.empty(len(order))
    places[order] = np.clip(lifts, low, room) + stacked
    return places.tolist()


def label_points(
    axis: Axes, points: Sequence[tuple[str, float, float, str]], *, avoid: Sequence[tuple[float, float]] = ()
) -> None:
    """Write the name of each point beside it; if names would overlap, write all names beside the axis.

    points: (name, x, y, colour) in data units
    avoid:  places (x, y) in data units to keep free, along error bars and lines
    Call this after `settle`.
    """
    figure = axis.get_figure(root=True)
    if not points or figure is None:
        return
    scale = figure.dpi / 72
    taken = [_around(axis, x, y, radius=4 * scale) for _, x, y, _ in points]
    taken += [_around(axis, x, y, radius=1.5 * scale) for x, y in avoid]
    names = []
    crowded = False
    for name, x, y, colour in points:
        sides = []
        for place, (right, up) in enumerate(SIDES):
            text = axis.annotate(
                name,
                xy=(x, y),
                xytext=(right, up),
                textcoords="offset points",
                ha="left" if right > 0 else "right" if right < 0 else "center",
                va="center",
                fontsize=SIZE,
                color=darker(colour),
            )
            box = text.get_window_extent()
            outside = box.x0 < axis.bbox.x0 or box.x1 > axis.bbox.x1 or box.y1 > axis.bbox.y1
            covered = sum(box.overlaps(other) for other in taken) + outside
            sides.append((covered, place, text, box))
        best = min(sides, key=lambda side: side[:2])
        taken.append(best[3])
        names.append(best[2])
        crowded = crowded or best[0] > 0
        for side in sides:
            if side is not best:
                side[2].remove()
    if crowded:
        for text in names:
            text.remove()
        label_ends(axis, points)


def _around(axis: Axes, x: float, y: float, *, radius: float) -> Bbox:
    """Return a square of 2 × radius pixels around a place in data units."""
    across, up = axis.transData.transform((x, y))
    return Bbox.from_extents(across - radius, up - radius, across + radius, up + radius)
