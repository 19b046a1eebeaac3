"""Join the summary and the pages of all analyses in one file, each analysis under the question it answers."""

from collections.abc import Mapping
from itertools import takewhile

from bs4 import BeautifulSoup, Tag

from stages.render.page.bundle import bundle_data
from stages.render.page.folding import fold_question
from stages.render.page.provenance import Provenance
from stages.render.page.questions import FURTHER, question_heading
from stages.render.page.shell import HEADINGS, assemble, tidy


def joined_page(body: str, *, name: str, pages: Mapping[str, str], provenance: Provenance) -> str:
    """Return the body of one notebook and the content of finished pages in one file.

    pages: name -> HTML of `page`. Each page becomes a section under the question that it answers, or under
           "Further analyses". Its headings move two levels down.
    Raises ValueError if a title is missing.
    """
    soup = tidy(body, name=name)
    parts = _parts(soup)
    for section_name, html in pages.items():
        section, question = _section(html, name=section_name, soup=soup)
        part = parts.get(question, parts[FURTHER])
        heading = part.find("h3", recursive=False)  # of the first block that the body itself shows
        if heading is None:
            part.append(section)
        else:
            heading.insert_before(section)
    if parts[FURTHER].find("section") is None:
        parts[FURTHER].decompose()
    for part in parts.values():
        if part.parent is not None:
            fold_question(part, soup=soup)
    return assemble(soup, stage=name, provenance=provenance, data=bundle_data(soup))


def _section(html: str, *, name: str, soup: BeautifulSoup) -> tuple[Tag, str]:
    """Return the content of a finished page as a section under its title, and the question that it answers.

    The introduction of the notebook goes into a fold, because figures come first in the report.
    """
    source = BeautifulSoup(html, "html.parser")
    title, main = source.find("h1"), source.find("main")
    if title is None or main is None:
        raise ValueError(f"page {name} has no title or no main part")
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
    """Wrap each question of the body, with everything up to the next one, in a section.

    Returns: question -> its section; FURTHER is for analyses that answer no question, and comes last unless
             the body has a place for it
    """
    if soup.find("h2", attrs={"data-question": FURTHER}) is None:
        soup.append(BeautifulSoup(question_heading(FURTHER), "html.parser"))
    parts = {}
    for head in soup.find_all("h2", attrs={"data-question": True}):
        question = str(head.attrs.pop("data-question"))
        head["id"] = head.get("id") or question
        part = soup.new_tag("section", attrs={"class": "question", "aria-labelledby": str(head["id"])})
        followers = list(takewhile(lambda tag: getattr(tag, "name", "") != "h2", head.next_siblings))
        head.insert_before(part)
        for tag in (head, *followers):
            part.append(tag.extract())
        parts[question] = part
    return parts
