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
    blocks = sorted(set(curves["block"]))
    cells: dict[str, dict[str, Markup]] = {f"block {block}": {} for block in blocks}
    for place, label, block in zip(curves.index, curves["label"], curves["block"], strict=True):
        cells[f"block {block}"][label] = texts[place]
    # Not `pivot`, which turns Markup into plain text.
    frame = pd.DataFrame(cells, dtype=object).reindex(list(dict.fromkeys(curves["label"])))
    return frame.rename_axis("arm")


def interval_texts(values: pd.DataFrame) -> dict[Any, Markup]:
    """Return the mean and interval of each row as text, all with the same number of decimals."""
    decimals = decimals_for(values["high"] - values["low"])
    return {
        place: nowrap(interval(row["mean"], row["low"], row["high"], decimals=decimals))
        for place, row in values.iterrows()
    }
