"""Dot charts: means with intervals and ticks of single trainings, one dot per arm."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.render.figures.line_charts import Inks, bar_lengths, draw_ticks, panels, wrapped
from stages.render.figures.style import NARROW, WIDE, darker, new_figure, styled
from stages.results.seeds import PREFIX

Tables = Mapping[str, pd.DataFrame]  # title of a panel -> label, mean, low, high, seed_0 and so on
SHADE = "#F3F4F6"  # of every second group


def dot_figure(tables: Tables, *, inks: Inks, xlabel: str) -> Figure:
    """Draw one panel per table on one scale, one row per arm."""
    labels = _labels(tables)
    names = [wrapped(label) for label in labels]
    room = 0.18 + 0.16 * max(1 + name.count("\n") for name in names)  # inches, of one row
    with styled():
        figure = new_figure(width=WIDE if len(tables) > 1 else NARROW, height=1.0 + room * len(labels))
        axes = figure.subplots(1, len(tables), squeeze=False, sharex=True)[0]
        for axis, (title, table) in zip(axes, tables.items(), strict=True):
            for _, row in table.iterrows():
                ink, place = inks[row["label"]], labels.index(row["label"])
                axis.plot([row["low"], row["high"]], [place, place], color=ink.colour, linewidth=2)
                axis.plot(row["mean"], place, ink.marker, color=ink.colour, markersize=6)
                draw_ticks(axis, row, place=place, ink=ink)
            axis.set(title=title, xlabel=xlabel, ylim=(len(labels) - 0.5, -0.5))
            axis.set_yticks(range(len(labels)), names)
            for text, label in zip(axis.get_yticklabels(), labels, strict=True):
                text.set_color(darker(inks[label].colour))
    return figure


def grouped_figure(tables: Tables, *, inks: Inks, xlabel: str) -> Figure:
    """Draw one panel per table on one scale from 0; each group has one dot per arm, below each other.

    tables: with a column group, the name of the group; values in per cent
    """
    groups = list(dict.fromkeys(name for table in tables.values() for name in table["group"]))
    labels = _labels(tables)
    highest = max(float(table["high"].max()) for table in tables.values())
    end = min(100.0, 1.05 * highest) or 100.0
    with styled():
        room = max(0.42, 0.062 * len(labels))  # inches, of one group
        figure, axes = panels(len(tables), height=1.0 + room * len(groups), columns=2)
        for axis, (title, table) in zip(axes, tables.items(), strict=True):
            _shade(axis, groups=len(groups))
            for place, label in enumerate(labels):
                ink, rows = inks[label], table[table["label"] == label]
                aside = 0.7 * ((place + 0.5) / len(labels) - 0.5)
                places = [groups.index(name) + aside for name in rows["group"]]
                for (_, row), height in zip(rows.iterrows(), places, strict=True):
                    draw_ticks(axis, row, place=height, ink=ink, size=4)
                spread = bar_lengths(rows["mean"], low=rows["low"], high=rows["high"])
                axis.errorbar(rows["mean"], places, xerr=spread, linestyle="none", marker=ink.marker,
                              color=ink.colour, linewidth=1, label=label)  # fmt: skip
            axis.set_yticks(range(len(groups)), groups)
            axis.set(title=title, xlabel=xlabel, xlim=(0, end), ylim=(len(groups) - 0.5, -0.5))
        # Explicit handles, because matplotlib leaves out labels that start with an underscore.
        bars: list[Any] = list(axes[0].containers)
        legend = figure.legend(bars, labels, loc="outside upper center", ncols=2, frameon=False)
        for text in legend.get_texts():
            text.set_color(darker(inks[text.get_text()].colour))
    return figure


def per_cent(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of fractions in per cent: mean, low, high and single trainings."""
    names = [name for name in table if name in ("mean", "low", "high") or str(name).startswith(PREFIX)]
    return table.assign(**{name: 100 * table[name] for name in names})


def _labels(tables: Tables) -> list[str]:
    return list(dict.fromkeys(label for table in tables.values() for label in table["label"]))


def _shade(axis: Axes, *, groups: int) -> None:
    """Shade every second group, so that the eye follows it to its name."""
    for place in range(1, groups, 2):
        axis.axhspan(place - 0.5, place + 0.5, color=SHADE, linewidth=0, zorder=0)
    axis.grid(visible=False, axis="y")
