"""Tables that a screen reader can walk and that scroll by themselves on a narrow screen."""

import math
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from stages.render.words import unbroken


def folded(summary: str, html: str) -> str:
    """HTML that opens on a click, for tables that few readers need."""
    return Markup("<details><summary>{}</summary>\n{}</details>").format(summary, Markup(html))


def table(frame: pd.DataFrame, *, caption: str) -> str:
    """An HTML table of a data frame: the index heads the rows, the columns may have two levels.

    Floats are written with three digits, missing values as a dash; Markup cells are taken as they are.
    The bytes depend on the frame and the caption alone.
    Raises ValueError if the caption is empty, or the index has more than one level.
    """
    if not caption.strip():
        raise ValueError("a table needs a caption")
    if isinstance(frame.index, pd.MultiIndex):
        raise ValueError("a table has one heading per row; reset the index first")
    caption = unbroken(caption)
    rows = [
        f'<tr><th scope="row">{_text(head)}</th>' + "".join(_cell(value) for value in values) + "</tr>"
        for head, values in zip(frame.index, frame.itertuples(index=False, name=None), strict=True)
    ]
    body = "\n".join(rows)
    return Markup(
        f'<div class="table" role="region" aria-label="{escape(caption)}" tabindex="0"><table>'
        f"<caption><span>{escape(caption)}</span></caption>\n"
        f"<thead>\n{_head(frame)}\n</thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _head(frame: pd.DataFrame) -> str:
    """One header row, or two where the columns have two levels, the upper spanning its columns."""
    corner = _text(frame.index.name or "")
    if not isinstance(frame.columns, pd.MultiIndex):
        cells = "".join(f'<th scope="col">{_text(name)}</th>' for name in frame.columns)
        return f"<tr>{_corner(corner)}{cells}</tr>"
    groups: list[list[Any]] = []
    for upper in frame.columns.get_level_values(0):
        if groups and groups[-1][0] == upper:
            groups[-1][1] += 1
        else:
            groups.append([upper, 1])
    upper_row = "".join(
        f'<th scope="colgroup" colspan="{count}">{_text(name)}</th>' for name, count in groups
    )
    lower_row = "".join(f'<th scope="col">{_text(name)}</th>' for name in frame.columns.get_level_values(1))
    return f"<tr>{_corner(corner, rows=2)}{upper_row}</tr>\n<tr>{lower_row}</tr>"


def _corner(text: str, rows: int = 1) -> str:
    span = f' rowspan="{rows}"' if rows > 1 else ""
    return f'<th scope="col"{span}>{text}</th>' if text else f"<td{span}></td>"


def _cell(value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f'<td class="number">{_text(value)}</td>' if number else f"<td>{_text(value)}</td>"


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}".replace("-", "−")
    return str(escape(unbroken(value) if type(value) is str else value))
