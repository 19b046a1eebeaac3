"""Putting a figure on the page: image, alternative text and caption in one piece, and as files."""

import base64
import io
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from stages.render.prose import unbroken
from stages.render.style import styled
from stages.study.errors import StudyError


def show(fig: Figure, *, name: str, alt: str, caption: str, folder: str | Path = "") -> None:
    """Show a figure in the notebook's page, and keep it as files; the arguments are those of `drawn`."""
    from IPython.display import HTML, display  # only where there is a kernel

    display(HTML(drawn(fig, name=name, alt=alt, caption=caption, folder=folder)))


def drawn(fig: Figure, *, name: str, alt: str, caption: str, folder: str | Path = "") -> str:
    """The HTML of a figure, which is also kept as PNG (150 dpi) and SVG files.

    name:    id of the figure (`fig-NAME`) and name of its files
    alt:     what the figure shows, for who cannot see it
    caption: text under the figure
    folder:  where NAME.png and NAME.svg go; empty: no files
    Raises StudyError if alt or caption is empty.
    """
    if not alt.strip() or not caption.strip():
        raise StudyError(f"figure {name}: needs both alt and caption")
    image = image_bytes(fig, form="svg")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.svg").write_bytes(image)
        (Path(folder) / f"{name}.png").write_bytes(image_bytes(fig, form="png"))
    width, height = (round(96 * inches) for inches in fig.get_size_inches())  # CSS pixels
    return figure_html(image, name=name, alt=alt, caption=caption, width=width, height=height)


def figure_html(image: bytes, *, name: str, alt: str, caption: str, width: int, height: int) -> str:
    """The <figure> element with the image inside it.

    image:         SVG, because it stays sharp when a reader zooms or prints
    width, height: CSS pixels
    """
    return Markup(
        '<figure id="fig-{name}"><div class="card" role="group" aria-label="Figure {name}" tabindex="0">'
        '<img alt="{alt}" width="{width}" height="{height}" src="data:image/svg+xml;base64,{image}">'
        "</div>\n<figcaption>{caption}</figcaption></figure>"
    ).format(
        name=name,
        alt=alt,
        width=width,
        height=height,
        image=base64.b64encode(image).decode("ascii"),
        caption=unbroken(caption),
    )


def image_bytes(fig: Figure, *, form: str) -> bytes:
    """The figure as the bytes of a PNG or SVG file, without the time of day in it.

    The layout is settled by the first image; those that follow show the same.
    """
    buffer = io.BytesIO()
    with styled():
        fig.savefig(buffer, format=form, metadata={"Date": None} if form == "svg" else None)
        fig.set_layout_engine(None)
    return buffer.getvalue()
