"""Tables that a screen reader can navigate; on a phone, every row becomes a card."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from stages.render.words import unbroken


def folded(summary: str, html: str, *, name: str = "") -> str:
    """Return HTML in a fold, for content that few readers need.

    name: id of the fold, if other pages may link to it
    """
    anchor = Markup(' id="{}"').format(name) if name else ""
    return Markup("<details{}><summary>{}</summary>\n{}</details>").format(anchor, summary, Markup(html))


def table(frame: pd.DataFrame, *, caption: str) -> str:
    """Return a data frame as an HTML table; the index heads the rows, and columns may have two levels.

    Floats have three digits, missing values are dashes, and Markup cells stay as they are. The bytes depend
    only on the frame and the caption.
    Raises ValueError if the caption is empty, or the index has more than one level.
    """
    if not caption.strip():
        raise ValueError("a table needs a caption")
    if isinstance(frame.index, pd.MultiIndex):
        raise ValueError("a table has one heading per row; reset the index first")
    caption = unbroken(caption)
    columns = [_column(name) for name in frame.columns]
    rows = [
        f'<tr><th scope="row">{_text(head)}</th>{_cells(values, columns=columns)}</tr>'
        for head, values in zip(frame.index, frame.itertuples(index=False, name=None), strict=True)
    ]
    body = "\n".join(rows)
    return Markup(
        f'<div class="table" role="region" aria-label="{escape(caption)}" tabindex="0"><table>'
        f"<caption><span>{escape(caption)}</span></caption>\n"
        f"<thead>\n{_head(frame)}\n</thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _head(frame: pd.DataFrame) -> str:
    """Return one header row; for columns of two levels two rows, where upper cells span their columns."""
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


def _column(name: Any) -> str:
    """Return the name of a column on one line, for the cards of a phone."""
    return ", ".join(map(str, name)) if isinstance(name, tuple) else str(name)


def _cells(values: Sequence[Any], *, columns: Sequence[str]) -> str:
    return "".join(_cell(value, column=column) for value, column in zip(values, columns, strict=True))


def _cell(value: Any, *, column: str) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    css = ' class="number"' if number else ""
    # The wrapper keeps a cell of several parts together beside the name of its column.
    return f'<td{css} data-column="{escape(unbroken(column))}"><span>{_text(value)}</span></td>'


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}".replace("-", "−")
    return str(escape(unbroken(value) if type(value) is str else value))
