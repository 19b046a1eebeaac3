"""Tables of curves by block."""

from typing import Any

import pandas as pd
from markupsafe import Markup

from stages.render.words import decimals_for, interval, nowrap


def curve_rows(curves: pd.DataFrame) -> pd.DataFrame:
    """Return label × block: the mean with its interval.

    curves: as `analysis_curves.block_curves` returns them
    """
    texts = interval_texts(curves)
    frame = curves[["label", "block"]].assign(text=pd.Series(texts, dtype=object))
    frame = frame.pivot(index="label", columns="block", values="text")
    frame = frame.reindex(list(dict.fromkeys(curves["label"]))).rename_axis("arm")
    frame.columns = pd.Index([f"block {block}" for block in frame.columns])
    return frame


def interval_texts(values: pd.DataFrame) -> dict[Any, Markup]:
    """Return the mean and interval of each row as text, all with the same number of decimals."""
    decimals = decimals_for(values["high"] - values["low"])
    return {
        place: nowrap(interval(row["mean"], row["low"], row["high"], decimals=decimals))
        for place, row in values.iterrows()
    }
