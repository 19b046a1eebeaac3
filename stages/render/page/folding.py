"""What stays in sight of a question: at most three figures; all else is folded."""

from collections.abc import Iterable

from bs4 import BeautifulSoup, PageElement, Tag

IN_SIGHT = 3  # figures of a question
LEAD = "data-lead"  # marks a figure that `show(lead=True)` shows


def fold_question(part: Tag, *, soup: BeautifulSoup) -> None:
    """Fold the figures and tables of a question, but for those that lead.

    part: section of a question; its blocks are sections (of analyses) and headings h3 with what follows them

    Figures marked as leading stay in sight. If they are fewer than three, the first figure of each block
    without a marked one stays too. What is folded stays in its block, in one fold.
    """
    blocks = [_section(tag) for tag in part.find_all("section", recursive=False)]
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
    """Put all of a block but its heading and its leading figures into one fold after them."""
    tags = [tag for tag in block if isinstance(tag, Tag)]
    shown = {id(tag) for tag in tags if any(tag is figure for figure in leading)}
    hidden = [tag for tag in tags if tag.name != "h3" and id(tag) not in shown]
    if not hidden:
        return
    figures = sum(len(_figures([tag])) for tag in hidden)
    fold = soup.new_tag("details", attrs={"class": "more"})
    summary = soup.new_tag("summary")
    summary.string = (
        f"Background and {_counted(figures, 'more figure')}" if figures else "Background and numbers"
    )
    tags[-1].insert_after(fold)
    fold.append(summary)
    for tag in hidden:
        fold.append(tag.extract())


def _section(section: Tag) -> list[PageElement]:
    return list(section.contents)


def _followers(head: Tag) -> list[PageElement]:
    """A heading and what follows it, up to the next block."""
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
    first = block[0]
    inside = first if first.parent is part else first.parent
    return next(place for place, tag in enumerate(part.contents) if tag is inside)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
