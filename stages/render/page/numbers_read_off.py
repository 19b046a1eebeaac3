"""The numbers of a figure as it was drawn, for figures that do not bring them."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

COLUMNS = ("panel", "series", "x", "y", "value")


def plotted(fig: Figure) -> pd.DataFrame:
    """Every point of the lines and every cell of the images of a figure.

    returns: panel (its title, else its y axis, else its place), series (label of the line, else its colour),
             x, y, value (of a cell of an image, at column x and row y)
    """
    parts = []
    for place, axis in enumerate(fig.axes, start=1):
        panel = axis.get_title(loc="left") or axis.get_title() or axis.get_ylabel() or f"panel {place}"
        parts += [part.assign(panel=panel) for part in (*_lines(axis), *_cells(axis))]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return table.reindex(columns=list(COLUMNS)).dropna(axis="columns", how="all")


def _lines(axis: Axes) -> list[pd.DataFrame]:
    found = []
    for line in axis.get_lines():
        label = str(line.get_label())
        points = np.column_stack(line.get_data()).astype(float)
        series = to_hex(line.get_color()) if label.startswith("_") else label
        found.append(pd.DataFrame(points, columns=["x", "y"]).assign(series=series))
    return found


def _cells(axis: Axes) -> list[pd.DataFrame]:
    found = []
    for image in axis.get_images():
        values = np.asarray(image.get_array(), dtype=float)
        rows, columns = np.indices(values.shape[:2])
        flat = {"x": columns.ravel(), "y": rows.ravel(), "value": values.reshape(rows.size, -1).mean(axis=1)}
        found.append(pd.DataFrame(flat))
    return found
