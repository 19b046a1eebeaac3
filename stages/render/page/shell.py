"""Build one self-contained HTML page from the output of a notebook."""

import base64
import hashlib
import re
from pathlib import Path

from bs4 import BeautifulSoup, PageElement, Tag
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.render.page.figure_links import heading_text, link_figures, name_origins, number_figures
from stages.render.page.provenance import Provenance

TEMPLATES = Path(__file__).parent / "templates"
WRAPPERS = ".cell, .inner_cell, .text_cell_render, .output_wrapper, .output, .output_area, .output_subarea"
PERMANENT = re.compile(
    r"claim-.*|glossary|citation"
)  # ids that never change, because others may link to them
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")


def page(body: str, *, name: str, provenance: Provenance) -> str:
    """Return a complete page with the output of one notebook.

    body: HTML of `notebook_body`; its only h1 becomes the title
    name: prefix of every id, so that pages can be joined
    Raises ValueError if the body does not have exactly one h1.
    """
    return assemble(tidy(body, name=name), stage=f"report@{name}", provenance=provenance)


def tidy(body: str, *, name: str) -> BeautifulSoup:
    """Return the content of a notebook without the wrappers of nbconvert, with ids that start with `name`."""
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
            tag["id"] = renamed[old] = _unused(old if PERMANENT.fullmatch(old) else wanted, taken)
    for link in soup.select('a[href^="#"]'):
        target = str(link["href"])[1:]
        link["href"] = "#" + renamed.get(target, target)
    return soup


def assemble(soup: BeautifulSoup, *, stage: str, provenance: Provenance, data: str = "") -> str:
    """Return the complete page around its content.

    data: base64 of a ZIP with the data of all figures; empty: each figure has its own data
    Raises ValueError if the content does not have exactly one h1.
    """
    titles = soup.find_all("h1")
    if len(titles) != 1:
        raise ValueError(f"a page needs one title (h1), this has {len(titles)}")
    title = titles[0].extract()
    facts = soup.select_one("dl.facts")
    rows = Markup(facts.extract().decode_contents()) if facts is not None else ""
    number_figures(soup)
    stages = name_origins(soup, stage=stage, digest=provenance.digest)
    link_figures(soup)
    _name_folds(soup)
    contents = _contents(soup)
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
        citation=soup.find(id="citation") is not None,
        # The header of the report has room for the introduction; its first section then opens the page.
        abstract=_extracted(intro, soup=soup) if rows else "",
        opening=_extracted(first if rows else intro, soup=soup),
        contents=contents,
        data=data,
        main=Markup(str(soup).strip()),
        stages=stages,
        provenance=provenance,
    )
    return html.replace("POLICY", policy(html), 1)


def policy(html: str) -> str:
    """Return a content security policy that lets a page run its own scripts and styles, and fetch nothing.

    The policy allows every inline script and style by its hash. Images come from the page itself.
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


def _beginning(soup: BeautifulSoup) -> tuple[list[PageElement], list[PageElement]]:
    """Return what precedes the first heading or section, and the first section."""
    pieces: list[list[PageElement]] = [[]]
    for tag in soup.contents:
        if isinstance(tag, Tag) and tag.name in ("h2", "section"):
            pieces.append([])
        pieces[-1].append(tag)
    return pieces[0], pieces[1] if len(pieces) > 1 else []


def _extracted(tags: list[PageElement], *, soup: BeautifulSoup) -> Markup:
    """Remove tags from the page and return them as HTML."""
    part = soup.new_tag("div")
    for tag in tags:
        part.append(tag.extract())
    return Markup(part.decode_contents().strip())


def _contents(soup: BeautifulSoup) -> list[dict[str, str]]:
    """Return the entries of the contents: all sections (h2)."""
    return [{"id": str(tag["id"]), "text": heading_text(tag)} for tag in soup.find_all("h2")]


def _name_folds(soup: BeautifulSoup) -> None:
    """Give every fold an id, after its section and its summary, so that an address can open the fold."""
    taken = {str(tag["id"]) for tag in soup.find_all(id=True)}
    for fold in soup.find_all("details", id=False):
        section = fold.find_parent("section", id=True)
        heading = fold.find_previous("h2")
        place = section or heading
        summary = fold.find("summary")
        text = (
            "claims" if "claims" in (fold.get("class") or []) else summary.get_text() if summary else "fold"
        )
        prefix = f"{place['id']}-" if place is not None and place.get("id") else ""
        fold["id"] = _unused(f"{prefix}{_slug(text)}", taken)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"


def _unused(wanted: str, taken: set[str]) -> str:
    candidate, count = wanted, 1
    while candidate in taken:
        count += 1
        candidate = f"{wanted}-{count}"
    taken.add(candidate)
    return candidate
