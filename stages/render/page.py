"""One self-contained HTML file out of notebook bodies: our own shell, and not one request to anywhere."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from bs4 import BeautifulSoup, Tag
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.render.provenance import Provenance

TEMPLATES = Path(__file__).parent / "templates"
WRAPPERS = ".cell, .inner_cell, .text_cell_render, .output_wrapper, .output, .output_area, .output_subarea"
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")


def page(body: str, *, name: str, provenance: Provenance) -> str:
    """A whole page made of what one notebook showed.

    body: HTML of `notebook_body`; its one h1 becomes the title
    name: put before every id, so that pages can be joined
    Raises ValueError if there is not exactly one h1.
    """
    return _shell(_tidy(body, name=name), provenance=provenance)


def joined_page(body: str, *, name: str, pages: Mapping[str, str], provenance: Provenance) -> str:
    """The body of one notebook followed by the content of finished pages, in one file.

    pages: name -> HTML of `page`; each becomes a section whose headings are one level lower
    Raises ValueError if a title is missing.
    """
    soup = _tidy(body, name=name)
    for section_name, html in pages.items():
        soup.append(_section(html, name=section_name, soup=soup))
    return _shell(soup, provenance=provenance)


def _tidy(body: str, *, name: str) -> BeautifulSoup:
    """The content of a notebook without nbconvert's wrappers, its ids readable and its own."""
    soup = BeautifulSoup(body, "html.parser")
    for anchor in soup.select("a.anchor-link"):
        anchor.decompose()
    for wrapper in soup.select(WRAPPERS):
        wrapper.unwrap()
    taken: set[str] = set()
    renamed = {}
    for tag in soup.find_all(True):
        old = str(tag.get("id") or "")
        if tag.name in HEADINGS or old:
            wanted = f"{name}-{_slug(tag.get_text() if tag.name in HEADINGS else old)}"
            tag["id"] = renamed[old] = _unused(wanted, taken)
    for link in soup.select('a[href^="#"]'):
        target = str(link["href"])[1:]
        link["href"] = "#" + renamed.get(target, target)
    return soup


def _section(html: str, *, name: str, soup: BeautifulSoup) -> Tag:
    """The content of a finished page as a section under its title."""
    source = BeautifulSoup(html, "html.parser")
    title, main = source.find("h1"), source.find("main")
    if title is None or main is None:
        raise ValueError(f"page {name} has no title or no main part")
    for level in range(len(HEADINGS) - 1, 0, -1):
        for tag in main.find_all(HEADINGS[level - 1]):
            tag.name = HEADINGS[level]
    title.name = "h2"
    section = soup.new_tag("section", attrs={"id": name, "aria-labelledby": str(title["id"])})
    section.append(title.extract())
    for part in list(main.contents):
        section.append(part.extract())
    return section


def _shell(soup: BeautifulSoup, *, provenance: Provenance) -> str:
    titles = soup.find_all("h1")
    if len(titles) != 1:
        raise ValueError(f"a page needs one title (h1), this has {len(titles)}")
    title = titles[0].extract()
    _number_figures(soup)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html.j2").render(
        title=title.get_text(" ", strip=True),
        heading_id=title["id"],
        css=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        contents=_contents(soup),
        main=Markup(str(soup).strip()),
        provenance=provenance,
    )


def _number_figures(soup: BeautifulSoup) -> None:
    """Count the figures through; a page that is joined into another is counted anew."""
    for count, figure in enumerate(soup.find_all("figure"), start=1):
        caption = figure.find("figcaption")
        card = figure.find(class_="card")
        if caption is None:
            continue
        number = caption.find(class_="count")
        if number is None:
            number = soup.new_tag("span", attrs={"class": "count"})
            caption.insert(0, number)
            caption.insert(1, " ")
        number.string = f"Figure {count}."
        if card is not None:
            card["aria-label"] = f"Figure {count}"


def _contents(soup: BeautifulSoup) -> Sequence[dict[str, object]]:
    """Contents list: sections (h2), each with its parts (h3)."""
    entries: list[dict[str, object]] = []
    for tag in soup.find_all(["h2", "h3"]):
        entry: dict[str, object] = {"id": tag["id"], "text": tag.get_text(" ", strip=True), "parts": []}
        if tag.name == "h2" or not entries:
            entries.append(entry)
        else:
            parts = entries[-1]["parts"]
            assert isinstance(parts, list)
            parts.append(entry)
    return entries


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"


def _unused(wanted: str, taken: set[str]) -> str:
    candidate, count = wanted, 1
    while candidate in taken:
        count += 1
        candidate = f"{wanted}-{count}"
    taken.add(candidate)
    return candidate
