"""A figure on the page: image, alternative text, caption and data in one piece, and as files."""

import base64
import io
import re
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from stages.render.figures.dark import with_dark
from stages.render.figures.style import styled
from stages.render.page.numbers_read_off import plotted
from stages.render.words import unbroken
from stages.study.errors import StudyError

THUMBNAIL = 320  # pixels across, for a place half as wide on a dense screen
SAID = ("Date", "Creator", "Format", "Type")  # what matplotlib would write into an SVG about itself
# What may stand in an address inside an attribute as it is.
PLAIN = "".join(chr(code) for code in range(32, 127) if chr(code) not in '"#%&<>')


def show(
    fig: Figure,
    *,
    name: str,
    alt: str,
    caption: str,
    data: pd.DataFrame | None = None,
    folder: str | Path = "",
) -> None:
    """Show a figure in the notebook's page, and keep it as files; the arguments are those of `drawn`."""
    from IPython.display import HTML, display  # only where there is a kernel

    display(HTML(drawn(fig, name=name, alt=alt, caption=caption, data=data, folder=folder)))


def drawn(
    fig: Figure,
    *,
    name: str,
    alt: str,
    caption: str,
    data: pd.DataFrame | None = None,
    folder: str | Path = "",
    folded: bool = False,
) -> str:
    """The HTML of a figure, which is also kept as PNG (150 dpi), SVG and CSV files.

    name:    id of the figure (`fig-NAME`) and name of its files
    alt:     what the figure shows, for who cannot see it; the finding first
    caption: text under the figure
    data:    the numbers that are drawn; None: as far as they can be read off the lines and images
    folder:  where NAME.png, NAME.svg and NAME.csv go; empty: no files
    folded:  it is out of sight until a reader opens it, and so has no small image in the overview of a page
    Raises StudyError if alt or caption is empty.
    """
    if not alt.strip() or not caption.strip():
        raise StudyError(f"figure {name}: needs both alt and caption")
    image = image_bytes(fig, form="svg")
    table = csv_bytes(plotted(fig) if data is None else data)
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.svg").write_bytes(image)
        (Path(folder) / f"{name}.png").write_bytes(image_bytes(fig, form="png"))
        (Path(folder) / f"{name}.csv").write_bytes(table)
    width, height = (round(96 * inches) for inches in fig.get_size_inches())  # CSS pixels
    return figure_html(
        image, name=name, alt=alt, caption=caption, width=width, height=height, table=table,
        thumbnail=b"" if folded else thumbnail(fig),
    )  # fmt: skip


def figure_html(
    image: bytes,
    *,
    name: str,
    alt: str,
    caption: str,
    width: int,
    height: int,
    table: bytes = b"",
    thumbnail: bytes = b"",
) -> str:
    """The <figure> element with everything inside it that it needs.

    image:         SVG, because it stays sharp when a reader zooms or prints; it gets colours for the dark
    width, height: CSS pixels
    table:         CSV of the numbers that are drawn
    thumbnail:     small PNG, which the page shows where it lists its figures
    Buttons for the image are hidden where no script runs: they take it out of the page, where it stands once.
    """
    return Markup(
        '<figure id="fig-{name}" data-thumbnail="{thumbnail}">'
        '<div class="card" role="group" aria-label="Figure {name}" tabindex="0">'
        '<img alt="{alt}" width="{width}" height="{height}" src="data:image/svg+xml,{image}"></div>\n'
        '<div class="tools"><span class="origin"></span><span class="files" role="group">'
        '<button type="button" data-save="png" data-name="{name}" hidden>PNG</button> '
        '<button type="button" data-save="svg" data-name="{name}" hidden>SVG</button> '
        '<a download="{name}.csv" href="data:text/csv;base64,{table}">CSV</a></span></div>\n'
        "<figcaption>{caption}</figcaption></figure>"
    ).format(
        name=name,
        alt=alt,
        width=width,
        height=height,
        image=Markup(_quoted(with_dark(image))),
        table=_base64(table),
        thumbnail=f"data:image/png;base64,{_base64(thumbnail)}" if thumbnail else "",
        caption=unbroken(caption),
    )


def image_bytes(fig: Figure, *, form: str) -> bytes:
    """The figure as the bytes of a PNG or SVG file, without the time of day in it.

    The layout is settled by the first image; those that follow show the same.
    """
    buffer = io.BytesIO()
    with styled():
        fig.savefig(buffer, format=form, metadata=dict.fromkeys(SAID) if form == "svg" else None)
        fig.set_layout_engine(None)
    return _compact(buffer.getvalue()) if form == "svg" else buffer.getvalue()


def _compact(svg: bytes) -> bytes:
    """The same drawing in fewer bytes: coordinates to a hundredth of a point, and no space between tags."""
    places = rb' (?:d|x|y)="[^"]*"|translate\([^)]*\)'
    short = re.sub(places, lambda found: re.sub(rb"(\.\d\d)\d+", rb"\1", found.group()), svg)
    return re.sub(rb">\s+<", b"><", re.sub(rb"<!DOCTYPE[^>]*>", b"", short))


def thumbnail(fig: Figure) -> bytes:
    """The figure as a PNG of THUMBNAIL pixels across and few colours, its lines as bold as that needs."""
    large, small = io.BytesIO(), io.BytesIO()
    lines = [(line, line.get_linewidth(), line.get_markersize()) for line in fig.findobj(Line2D)]
    with styled():
        for line, width, size in lines:
            line.set(linewidth=2.2 * width, markersize=1.5 * size)
        fig.savefig(large, format="png", dpi=2 * THUMBNAIL / fig.get_size_inches()[0])
        for line, width, size in lines:
            line.set(linewidth=width, markersize=size)
    with Image.open(large) as image:
        height = round(image.height * THUMBNAIL / image.width)
        smaller = image.convert("RGB").resize((THUMBNAIL, height), Image.Resampling.LANCZOS)
    few = smaller.quantize(32, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(small, format="png", optimize=True)
    return small.getvalue()


def csv_bytes(table: pd.DataFrame) -> bytes:
    """A table as the bytes of a CSV file."""
    return table.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode()


def _quoted(svg: bytes) -> str:
    """An SVG as the end of its address, which takes four fifths of the bytes of base64."""
    text = svg.decode()
    if "'" not in text:
        text = text.replace('"', "'")
    return quote(text.replace("\n", " "), safe=PLAIN)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
