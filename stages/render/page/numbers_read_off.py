"""Read the numbers of a figure from its lines and images, for figures without a table of their own."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

COLUMNS = ("panel", "series", "x", "y", "value")


def plotted(fig: Figure) -> pd.DataFrame:
    """Return every point of the lines and every cell of the images of a figure.

    Returns: panel (its title, y label or number), series (label or colour of the line), x, y, value (of the
             cell of an image at column x and row y)
    """
    parts = []
    for place, axis in enumerate(fig.axes, start=1):
        panel = axis.get_title(loc="left") or axis.get_title() or axis.get_ylabel() or f"panel {place}"
        parts += [part.assign(panel=panel) for part in (*_lines(axis), *_cells(axis))]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return table.reindex(columns=list(COLUMNS)).dropna(axis="columns", how="all")


def _lines(axis: Axes) -> list[pd.DataFrame]:
    tables = []
    for line in axis.get_lines():
        label = str(line.get_label())
        points = np.column_stack(line.get_data()).astype(float)
        series = to_hex(line.get_color()) if label.startswith("_") else label
        tables.append(pd.DataFrame(points, columns=["x", "y"]).assign(series=series))
    return tables


def _cells(axis: Axes) -> list[pd.DataFrame]:
    tables = []
    for image in axis.get_images():
        values = np.asarray(image.get_array(), dtype=float)
        rows, columns = np.indices(values.shape[:2])
        flat = {"x": columns.ravel(), "y": rows.ravel(), "value": values.reshape(rows.size, -1).mean(axis=1)}
        tables.append(pd.DataFrame(flat))
    return tables
