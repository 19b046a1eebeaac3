"""Put a figure on the page with its alternative text, caption and data, and save it as files."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from stages.render.figures.dark import with_dark
from stages.render.figures.style import styled
from stages.render.page.numbers_read_off import plotted
from stages.render.page.panel_images import Box, Image, images_of, mark_panels, rows_of
from stages.render.page.svg_size import compact
from stages.render.words import unbroken
from stages.study.errors import StudyError

LARGEST, SMALLEST = 1.0, 0.72  # scale of a figure, relative to its drawn size: on a wide page, on a phone
WHOLE = 1.25  # scale of a figure that takes the full width
CARD, PHONE = 712, 320  # width of a figure on a wide page and on a phone, CSS pixels
METADATA = ("Date", "Creator", "Format", "Type")  # fields that matplotlib would write into an SVG
# Characters that an address in an attribute may contain unescaped.
PLAIN = "".join(chr(code) for code in range(32, 127) if chr(code) not in '"#%&<>')


def show(
    fig: Figure,
    *,
    name: str,
    alt: str,
    caption: str,
    data: pd.DataFrame | None = None,
    folder: str | Path = "",
    narrow: Figure | None = None,
    lead: bool = False,
) -> None:
    """Show a figure in the notebook and save it as files; the arguments are those of `drawn`."""
    from IPython.display import HTML, display  # exists only in a kernel

    html = drawn(fig, name=name, alt=alt, caption=caption, data=data, folder=folder, narrow=narrow, lead=lead)
    display(HTML(html))


def drawn(
    fig: Figure,
    *,
    name: str,
    alt: str,
    caption: str,
    data: pd.DataFrame | None = None,
    folder: str | Path = "",
    narrow: Figure | None = None,
    lead: bool = False,
) -> str:
    """Return the HTML of a figure, and save the figure as PNG (150 dpi), SVG and CSV files.

    name:    id of the figure (`fig-NAME`) and name of its files
    alt:     description of the figure for readers who cannot see it
    caption: text beside the figure
    data:    table of the plotted numbers; None: the numbers that can be read from its lines and images
    folder:  folder for NAME.png, NAME.svg and NAME.csv; empty: no files
    narrow:  variant for a narrow screen; None: the panels of the figure are stacked there
    lead:    whether the report keeps the figure in sight; other figures are folded
    Raises StudyError if alt or caption is empty.
    """
    if not alt.strip() or not caption.strip():
        raise StudyError(f"figure {name}: needs both alt and caption")
    rows = _laid_out(fig, whole=narrow is not None)
    image = svg_bytes(fig)
    table = csv_bytes(plotted(fig) if data is None else data)
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.svg").write_bytes(compact(image.decode()).encode())
        (Path(folder) / f"{name}.png").write_bytes(image_bytes(fig, form="png"))
        (Path(folder) / f"{name}.csv").write_bytes(table)
    small = with_dark(image_bytes(narrow, form="svg")) if narrow is not None else b""
    images = images_of(image, rows)
    return figure_html(images, name=name, alt=alt, caption=caption, table=table, narrow=small, lead=lead)


def figure_html(
    images: Sequence[Sequence[Image]],
    *,
    name: str,
    alt: str,
    caption: str,
    table: bytes = b"",
    narrow: bytes = b"",
    lead: bool = False,
) -> str:
    """Return the complete <figure> element.

    images: rows of panels as SVG, which stays sharp when a reader zooms or prints. Panels get colours for a
            dark page. The first one carries the alternative text of all
    table:  CSV of the plotted numbers
    narrow: SVG that replaces the only image on a narrow screen
    lead:   whether the report keeps the figure in sight
    The PNG and SVG buttons are hidden without scripts, because a script makes these files from the page.
    """
    scale = WHOLE if narrow else min(LARGEST, CARD / (96 / 72 * max(map(_width, images))))
    panels: list[list[str]] = []
    count = 0
    for row in images:
        beside = [_beside(image, row) for image in row]
        panels.append([_panel(image, beside=number, place=count + place, scale=scale)
                       for place, (image, number) in enumerate(zip(row, beside, strict=True))])  # fmt: skip
        count += len(row)
    panels[0][0] = panels[0][0].replace('alt=""', f'alt="{escape(alt)}"', 1)
    if narrow:
        address = _quoted(narrow).replace(" ", "%20")
        source = f'<source media="(max-width: 40rem)" srcset="data:image/svg+xml,{address}">'
        panels[0][0] = f"<picture>{source}{panels[0][0]}</picture>"
    return Markup(
        '<figure id="fig-{name}"{lead}>'
        '<div class="card{fits}" role="group" aria-label="Figure {name}">{panels}</div>\n'
        '<div class="tools"><span class="origin"></span><span class="files" role="group">'
        '<button type="button" data-save="png" data-name="{name}" hidden>PNG</button> '
        '<button type="button" data-save="svg" data-name="{name}" hidden>SVG</button> '
        '<a download="{name}.csv" href="data:text/csv;base64,{table}">CSV</a></span></div>\n'
        "<figcaption>{caption}</figcaption></figure>"
    ).format(
        name=name,
        lead=Markup(" data-lead") if lead else "",
        fits=" fits" if narrow else "",
        panels=Markup("".join(f'<div class="panels">{"".join(row)}</div>' for row in panels)),
        table=_base64(table),
        caption=unbroken(caption),
    )


def _laid_out(fig: Figure, *, whole: bool) -> list[list[Box]]:
    """Fix the layout of a figure, which all its images share, and split it into rows of panels."""
    with styled():
        fig.draw_without_rendering()
    fig.set_layout_engine(None)
    width, height = (72 * inches for inches in fig.get_size_inches())
    boxes = mark_panels(fig)
    if whole:
        return [[Box(0, 0, width, height, tuple(name for box in boxes for name in box.ids))]]
    return rows_of(boxes, width=width, height=height)


def _width(row: Sequence[Image]) -> float:
    return sum(image.width for image in row)


def _beside(image: Image, row: Sequence[Image]) -> int:
    """Return how many panels of about the width of an image a phone shows side by side."""
    alike = max(panel.width for panel in row if panel.width < 1.3 * image.width) * 96 / 72
    return min(4, max(1, int(PHONE / (SMALLEST * alike))))


def _panel(image: Image, *, beside: int, place: int, scale: float) -> str:
    """Return one panel of a figure.

    beside: number of such panels side by side on a phone
    place:  index of the panel in the figure
    scale:  one for all panels of a figure, so that their text has one size
    """
    width, height = (round(scale * 96 / 72 * points) for points in (image.width, image.height))
    svg = with_dark(compact(image.svg, prefix=f"p{place}").encode())
    return (
        f'<img class="across-{beside}" alt="" width="{width}" height="{height}" '
        f'src="data:image/svg+xml,{_quoted(svg)}">'
    )


def image_bytes(fig: Figure, *, form: str) -> bytes:
    """Return a figure as the bytes of a PNG or SVG file, without a time stamp.

    The first image fixes the layout for all later ones.
    """
    if form == "svg":
        return compact(svg_bytes(fig).decode()).encode()
    buffer = io.BytesIO()
    with styled():
        fig.savefig(buffer, format=form)
        fig.set_layout_engine(None)
    return buffer.getvalue()


def svg_bytes(fig: Figure) -> bytes:
    """Return a figure as the SVG that matplotlib writes."""
    buffer = io.BytesIO()
    with styled():
        fig.savefig(buffer, format="svg", metadata=dict.fromkeys(METADATA))
        fig.set_layout_engine(None)
    return buffer.getvalue()


def csv_bytes(table: pd.DataFrame) -> bytes:
    """Return a table as the bytes of a CSV file."""
    return table.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode()


def _quoted(svg: bytes) -> str:
    """Return an SVG percent-encoded for a data address, which takes 20 % fewer bytes than base64."""
    text = svg.decode()
    if "'" not in text:
        text = text.replace('"', "'")
    return quote(text.replace("\n", " "), safe=PLAIN)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
