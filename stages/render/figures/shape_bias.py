"""Shape bias: do arms decide by shape or by texture when the two conflict?"""

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import DOTS, alt_text, bands
from stages.render.figures.dot_charts import dot_figure, per_cent
from stages.render.figures.line_charts import Inks
from stages.render.figures.style import CONTROL, styled


def bias_figure(bias: pd.DataFrame, *, inks: Inks) -> Figure:
    """Draw the shape bias as dots with intervals, one panel per test and head, one row per arm.

    bias: as `corrupted.shape_bias` returns it
    """
    tables = {
        bias_name(str(trial), str(head)).capitalize(): per_cent(rows)
        for (trial, head), rows in bias.groupby(["trial", "head"], sort=False)
    }
    figure = dot_figure(tables, inks=inks, xlabel="shape bias (%)")
    with styled():
        for axis in figure.axes:
            axis.axvline(50, color=CONTROL, linewidth=0.8)
        figure.axes[0].set_xlim(0, 100)  # of all panels, which share the scale
    return figure


def bias_name(trial: str, head: str) -> str:
    """Return the name of a test and a head in words."""
    return f"{trial.replace('_', ' ')}, {head}"


def bias_caption(bias: pd.DataFrame) -> str:
    """Return the caption of `bias_figure`."""
    return (
        "Shape bias: decisions for the shape as a share of decisions for shape or texture, on images where "
        f"the two conflict (Geirhos et al. 2019). Line: no preference. {bands(bias, marks=DOTS)}"
    )


def bias_alt(bias: pd.DataFrame) -> str:
    """Return the alternative text of `bias_figure`."""
    return alt_text("Dots with error bars of the shape bias, a row per arm.", bias["label"])
