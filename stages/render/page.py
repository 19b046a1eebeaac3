"""One self-contained HTML file out of notebook bodies: our own shell, and not one request to anywhere."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup, PageElement, Tag
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.render.provenance import Provenance
from stages.render.questions import FURTHER, question_heading

TEMPLATES = Path(__file__).parent / "templates"
WRAPPERS = ".cell, .inner_cell, .text_cell_render, .output_wrapper, .output, .output_area, .output_subarea"
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
LONGEST_TITLE = 64  # characters of a figure's name in the overview


def page(body: str, *, name: str, provenance: Provenance) -> str:
    """A whole page made of what one notebook showed.

    body: HTML of `notebook_body`; its one h1 becomes the title
    name: put before every id, so that pages can be joined
    Raises ValueError if there is not exactly one h1.
    """
    return _shell(_tidy(body, name=name), stage=f"report@{name}", provenance=provenance)


def joined_page(body: str, *, name: str, pages: Mapping[str, str], provenance: Provenance) -> str:
    """The body of one notebook and the content of finished pages, in one file.

    pages: name -> HTML of `page`; each becomes a section, its headings two levels lower, under the question
           of the body that it answers, or under a heading for all that answer none
    Raises ValueError if a title is missing.
    """
    soup = _tidy(body, name=name)
    parts = _parts(soup)
    for section_name, html in pages.items():
        section, question = _section(html, name=section_name, soup=soup)
        part = parts.get(question, parts[FURTHER])
        own = part.find("h3", recursive=False)  # what the body itself shows of the question
        if own is None:
            part.append(section)
        else:
            own.insert_before(section)
    if parts[FURTHER].find("section") is None:
        parts[FURTHER].decompose()
    return _shell(soup, stage=name, provenance=provenance)


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


def _section(html: str, *, name: str, soup: BeautifulSoup) -> tuple[Tag, str]:
    """The content of a finished page as a section under its title, and the question that it answers.

    What its notebook says before the first heading is folded up: in the report the figures come first.
    """
    source = BeautifulSoup(html, "html.parser")
    title, main = source.find("h1"), source.find("main")
    if title is None or main is None:
        raise ValueError(f"page {name} has no title or no main part")
    _return_thumbnails(main)
    for contents in main.find_all("nav"):
        contents.decompose()
    for wrapper in main.select(":scope > .opening, :scope > .rest"):
        wrapper.unwrap()
    marker = main.select_one("[data-question]")
    question = str(marker["data-question"]) if marker is not None else FURTHER
    if marker is not None:
        marker.decompose()
    for tag in reversed(main.find_all(HEADINGS[1:4])):
        tag.name = HEADINGS[HEADINGS.index(tag.name) + 2]
    title.name = "h3"
    section = soup.new_tag("section", attrs={"id": name, "aria-labelledby": str(title["id"])})
    section.append(title.extract())
    about = soup.new_tag("details", attrs={"class": "about"})
    summary = soup.new_tag("summary")
    summary.string = "What is measured, and why"
    about.append(summary)
    section.append(about)
    place = about
    for part in list(main.contents):
        if isinstance(part, Tag) and (part.name in HEADINGS or part.name == "figure"):
            place = section
        place.append(part.extract())
    if not about.get_text(strip=True).removeprefix(summary.get_text()):
        about.decompose()
    return section, question


def _parts(soup: BeautifulSoup) -> dict[str, Tag]:
    """Each question that the body asks, with all that follows its heading wrapped in a section.

    The last is FURTHER, for analyses that answer none of them, at the end unless the body has a place for it.
    """
    if soup.find("h2", attrs={"data-question": FURTHER}) is None:
        soup.append(BeautifulSoup(question_heading(FURTHER), "html.parser"))
    found = {}
    for head in soup.find_all("h2", attrs={"data-question": True}):
        question = str(head.attrs.pop("data-question"))
        head["id"] = head.get("id") or question
        part = soup.new_tag("section", attrs={"class": "question", "aria-labelledby": str(head["id"])})
        followers = list(takewhile(lambda tag: getattr(tag, "name", "") != "h2", head.next_siblings))
        head.insert_before(part)
        for tag in (head, *followers):
            part.append(tag.extract())
        found[question] = part
    return found


def _shell(soup: BeautifulSoup, *, stage: str, provenance: Provenance) -> str:
    titles = soup.find_all("h1")
    if len(titles) != 1:
        raise ValueError(f"a page needs one title (h1), this has {len(titles)}")
    title = titles[0].extract()
    facts = soup.select_one("dl.facts")
    rows = Markup(facts.extract().decode_contents()) if facts is not None else ""
    _number_figures(soup)
    stages = _name_origins(soup, stage=stage, digest=provenance.digest)
    overview, contents = _overview(soup), _contents(soup)
    intro, first = _beginning(soup)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    css, script = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    html = environment.get_template("page.html.j2").render(
        title=title.get_text(" ", strip=True),
        heading_id=title["id"],
        css=Markup(css),
        script=Markup(script),
        facts=rows,
        # A title block has room for the introduction; below it the first part opens the page.
        abstract=_taken_out(intro, soup=soup) if rows else "",
        opening=_taken_out(first if rows else intro, soup=soup),
        contents=contents,
        overview=overview,
        main=Markup(str(soup).strip()),
        stages=stages,
        provenance=provenance,
    )
    return html.replace("POLICY", policy(html), 1)


def _beginning(soup: BeautifulSoup) -> tuple[list[PageElement], list[PageElement]]:
    """What stands before the first heading or section, and the part under that heading."""
    pieces: list[list[PageElement]] = [[]]
    for tag in soup.contents:
        if isinstance(tag, Tag) and tag.name in ("h2", "section"):
            pieces.append([])
        pieces[-1].append(tag)
    return pieces[0], pieces[1] if len(pieces) > 1 else []


def _taken_out(tags: list[PageElement], *, soup: BeautifulSoup) -> Markup:
    part = soup.new_tag("div")
    for tag in tags:
        part.append(tag.extract())
    return Markup(part.decode_contents().strip())


def policy(html: str) -> str:
    """A content security policy that lets a page run its own scripts and styles, and fetch nothing.

    Every inline script and style of the page is allowed by its hash; images come from the page itself.
    """
    allowed = {}
    for tag in ("script", "style"):
        contents = re.findall(rf"<{tag}\b[^>]*>(.*?)</{tag}>", html, flags=re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in contents]
        allowed[tag] = " ".join(f"'sha256-{digest}'" for digest in dict.fromkeys(digests)) or "'none'"
    return (
        f"default-src 'none'; img-src data: blob:; script-src {allowed['script']}; "
        f"style-src {allowed['style']}; base-uri 'none'; form-action 'none'"
    )


def _number_figures(soup: BeautifulSoup) -> None:
    """Count the figures through; a page that is joined into another is counted anew."""
    for count, figure in enumerate(soup.find_all("figure"), start=1):
        caption = figure.find("figcaption")
        if caption is None:
            continue
        number = caption.find(class_="count")
        if number is None:
            number = soup.new_tag("span", attrs={"class": "count"})
            caption.insert(0, number)
            caption.insert(1, " ")
        number.string = f"Figure {count}."
        for css, label in (("card", f"Figure {count}"), ("files", f"Figure {count} as a file")):
            if (part := figure.find(class_=css)) is not None:
                part["aria-label"] = label


def _name_origins(soup: BeautifulSoup, *, stage: str, digest: str) -> dict[str, str]:
    """Say at every figure which stage made it and of which inputs, unless it says so already.

    returns: stage -> digest of its inputs, this page's own first
    """
    found = {stage: digest}
    for origin in soup.select(".tools .origin"):
        if not origin.get("data-stage"):
            origin["data-stage"], origin["data-inputs"] = stage, digest
            said = 'Made by <code>{}</code> from <a href="#origin">inputs <code>{}</code></a>'
            origin.append(BeautifulSoup(Markup(said).format(stage, digest), "html.parser"))
        found[str(origin["data-stage"])] = str(origin["data-inputs"])
    return found


def _overview(soup: BeautifulSoup) -> list[dict[str, Any]]:
    """Every figure that is in sight, by the part that it stands in, with its small image taken out of it.

    returns: name (of the part), figures: id, image, number and title of each
    """
    parts: dict[str, list[dict[str, str]]] = {}
    name = ""
    for tag in soup.find_all(["h2", "figure"]):
        if tag.name == "h2":
            name = _words(tag)
            continue
        small = str(tag.attrs.pop("data-thumbnail", ""))
        caption = tag.find("figcaption")
        if small and caption is not None and tag.find_parent("details") is None:
            number, _, text = caption.get_text(" ", strip=True).partition(". ")
            entry = {"id": str(tag["id"]), "image": small, "number": number, "title": _brief(text.strip())}
            parts.setdefault(name, []).append(entry)
    return [{"name": name, "figures": figures} for name, figures in parts.items()]


def _return_thumbnails(main: Tag) -> None:
    """Give the figures of a finished page their small images back, and drop its overview."""
    overview = main.find(class_="overview")
    if overview is None:
        return
    for link in overview.find_all("a"):
        figure, image = main.find(id=str(link["href"])[1:]), link.find("img")
        if figure is not None and image is not None:
            figure["data-thumbnail"] = image["src"]
    overview.decompose()


def _brief(text: str) -> str:
    """The beginning of a caption, as far as it names the figure."""
    plain = re.sub(r" \([^)]*\)", "", text)
    first = re.split(r"(?<=\D)[.:;,](?:\s|$)", plain, maxsplit=1)[0]
    if len(first) <= LONGEST_TITLE:
        return first
    return first[:LONGEST_TITLE].rsplit(" ", 1)[0] + " …"


def _contents(soup: BeautifulSoup) -> Sequence[dict[str, object]]:
    """Contents list: sections (h2), each with its parts (h3)."""
    entries: list[dict[str, object]] = []
    for tag in soup.find_all(["h2", "h3"]):
        entry: dict[str, object] = {"id": tag["id"], "text": _words(tag), "parts": []}
        if tag.name == "h2" or not entries:
            entries.append(entry)
        else:
            parts = entries[-1]["parts"]
            assert isinstance(parts, list)
            parts.append(entry)
    return entries


def _words(head: Tag) -> str:
    """What a heading says, without the place in the paper that stands behind it."""
    return " ".join(
        text.strip()
        for text in head.find_all(string=True)
        if text.strip() and text.find_parent(class_="section") is None
    )


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"


def _unused(wanted: str, taken: set[str]) -> str:
    candidate, count = wanted, 1
    while candidate in taken:
        count += 1
        candidate = f"{wanted}-{count}"
    taken.add(candidate)
    return candidate
