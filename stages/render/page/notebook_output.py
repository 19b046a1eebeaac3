"""Show headings, paragraphs and HTML in the cell of a notebook."""

from markupsafe import Markup

from stages.render.words import unbroken


def heading(text: str) -> None:
    """Show a section heading, for cells that make several sections."""
    _display(Markup("<h2>{}</h2>").format(text))


def say(*sentences: str) -> None:
    """Show a paragraph of plain text; empty sentences are skipped."""
    _paragraph(sentences)


def conclude(*sentences: str) -> None:
    """Show a paragraph with a result, which the report keeps in sight when it folds the figures."""
    _paragraph(sentences, css=Markup(' class="finding"'))


def put(*html: str) -> None:
    """Show finished HTML, such as a table."""
    for part in html:
        _display(part)


def _paragraph(sentences: tuple[str, ...], *, css: str = "") -> None:
    text = " ".join(sentence for sentence in sentences if sentence)
    if text:
        _display(Markup("<p{}>{}</p>").format(css, unbroken(text)))


def _display(html: str) -> None:
    from IPython.display import HTML, display  # exists only in a kernel

    display(HTML(html))
