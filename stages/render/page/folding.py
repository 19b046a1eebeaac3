"""Keep at most three figures of a question in sight and fold the rest."""

from collections.abc import Iterable

from bs4 import BeautifulSoup, PageElement, Tag

IN_SIGHT = 3  # figures of a question
LEAD = "data-lead"  # marks a figure that `show(lead=True)` shows


def fold_question(part: Tag, *, soup: BeautifulSoup) -> None:
    """Fold the figures and tables of a question, except for its leading figures.

    Marked figures lead. If a question has fewer than three, the first figure of each block without a marked
    one leads too. Each block keeps its other figures in one fold. A block with nothing in sight but its
    heading becomes one fold with the heading in the summary.

    part: section of a question; its blocks are sections of analyses, and headings h3 with what follows them
    """
    blocks = [list(section.contents) for section in part.find_all("section", recursive=False)]
    blocks += [_followers(head) for head in part.find_all("h3", recursive=False)]
    blocks.sort(key=lambda block: _place(block, part))
    marked = [figure for block in blocks for figure in _figures(block) if figure.has_attr(LEAD)]
    leading = marked[:IN_SIGHT]
    for block in blocks:
        figures = _figures(block)
        if figures and len(leading) < IN_SIGHT and not any(figure.has_attr(LEAD) for figure in figures):
            leading.append(figures[0])
    for block in blocks:
        _fold_block(block, leading=leading, soup=soup)
    for figure in part.find_all("figure"):
        figure.attrs.pop(LEAD, None)


def _fold_block(block: list[PageElement], *, leading: list[Tag], soup: BeautifulSoup) -> None:
    """Put everything in a block except its heading, findings and leading figures into one fold at its end."""
    tags = [tag for tag in block if isinstance(tag, Tag)]
    heads = [tag for tag in tags if tag.name == "h3"]
    shown = [tag for tag in tags if any(tag is figure for figure in leading) or _is_finding(tag)]
    visible = {id(tag) for tag in (*heads, *shown)}
    hidden = [tag for tag in tags if id(tag) not in visible]
    if not hidden:
        return
    count = sum(len(_figures([tag])) for tag in hidden)
    figures = f"{count} figure" if count == 1 else f"{count} figures"
    fold = soup.new_tag("details", attrs={"class": "more"})
    summary = soup.new_tag("summary")
    tags[-1].insert_after(fold)
    fold.append(summary)
    if heads and not shown:
        summary.append(heads[0].extract())
        summary.append(f" ({figures})" if count else "")
    else:
        more = figures.replace("figure", "more figure") if _figures(shown) else figures
        background = any(tag.name == "p" or tag.find("p", recursive=False) for tag in hidden)
        parts = ["background"] * background + [more if count else "numbers"]
        summary.string = " and ".join(parts).capitalize()
    for tag in hidden:
        fold.append(tag.extract())


def _is_finding(tag: Tag) -> bool:
    return "finding" in (tag.get("class") or [])


def _followers(head: Tag) -> list[PageElement]:
    """Return a heading and what follows it, up to the next block."""
    block: list[PageElement] = [head]
    for tag in head.next_siblings:
        if isinstance(tag, Tag) and tag.name in ("h2", "h3", "section"):
            break
        block.append(tag)
    return block


def _figures(block: Iterable[PageElement]) -> list[Tag]:
    figures = []
    for tag in block:
        if isinstance(tag, Tag):
            figures += [tag] if tag.name == "figure" else tag.find_all("figure")
    return figures


def _place(block: list[PageElement], part: Tag) -> int:
    """Return the position of a block in its question."""
    first = block[0]
    inside = first if first.parent is part else first.parent
    return next(place for place, tag in enumerate(part.contents) if tag is inside)
