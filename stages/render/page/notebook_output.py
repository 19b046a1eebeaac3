"""Show headings, paragraphs and finished HTML in the cell of a notebook."""

from markupsafe import Markup

from stages.render.words import unbroken


def heading(text: str) -> None:
    """Show a section heading, for cells that make more than one section."""
    _display(Markup("<h2>{}</h2>").format(text))


def say(*sentences: str) -> None:
    """Show a paragraph of plain text."""
    _display(Markup("<p>{}</p>").format(unbroken(" ".join(sentence for sentence in sentences if sentence))))


def put(*html: str) -> None:
    """Show finished HTML, such as a table."""
    for part in html:
        _display(part)


def _display(html: str) -> None:
    from IPython.display import HTML, display  # only where there is a kernel

    display(HTML(html))
