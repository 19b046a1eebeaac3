"""A figure on the page: image, alternative text, caption and data in one piece, and as files."""

import base64
import io
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from stages.render.figures.dark import with_dark
from stages.render.figures.style import styled
from stages.render.page.numbers_read_off import plotted
from stages.render.page.svg_size import compact
from stages.render.words import unbroken
from stages.study.errors import StudyError

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
    narrow: Figure | None = None,
    lead: bool = False,
) -> None:
    """Show a figure in the notebook's page, and keep it as files; the arguments are those of `drawn`."""
    from IPython.display import HTML, display  # only where there is a kernel

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
    """The HTML of a figure, which is also kept as PNG (150 dpi), SVG and CSV files.

    name:    id of the figure (`fig-NAME`) and name of its files
    alt:     what the figure shows, for who cannot see it; the finding first
    caption: text under the figure
    data:    the numbers that are drawn; None: as far as they can be read off the lines and images
    folder:  where NAME.png, NAME.svg and NAME.csv go; empty: no files
    narrow:  the same for a narrow screen; None: a reader moves the figure sideways
    lead:    it stays in sight under the question that it answers; other figures are folded
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
    small = with_dark(image_bytes(narrow, form="svg")) if narrow is not None else b""
    return figure_html(
        image, name=name, alt=alt, caption=caption, width=width, height=height, table=table,
        narrow=small, lead=lead,
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
    narrow: bytes = b"",
    lead: bool = False,
) -> str:
    """The <figure> element with everything inside it that it needs.

    image:         SVG, because it stays sharp when a reader zooms or prints; it gets colours for the dark
    width, height: CSS pixels
    table:         CSV of the numbers that are drawn
    narrow:        SVG that takes the place of the image on a narrow screen
    lead:          the report keeps it in sight
    Buttons for the image are hidden where no script runs: they take it out of the page, where it stands once.
    """
    small = Markup('<source media="(max-width: 40rem)" srcset="data:image/svg+xml,{}">').format(
        Markup(_quoted(narrow).replace(" ", "%20"))
    )
    return Markup(
        '<figure id="fig-{name}"{lead}>'
        '<div class="card{fits}" role="group" aria-label="Figure {name}"{scrolls}><picture>{small}'
        '<img alt="{alt}" width="{width}" height="{height}" src="data:image/svg+xml,{image}">'
        "</picture></div>\n"
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
        lead=Markup(" data-lead") if lead else "",
        fits=" fits" if narrow else "",
        scrolls="" if narrow else Markup(' tabindex="0"'),
        small=small if narrow else "",
        image=Markup(_quoted(with_dark(image))),
        table=_base64(table),
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
    return compact(buffer.getvalue().decode()).encode() if form == "svg" else buffer.getvalue()


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
