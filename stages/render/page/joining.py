"""The pages of the analyses and the body of the summary in one file, each under the question it answers."""

from collections.abc import Mapping
from itertools import takewhile

from bs4 import BeautifulSoup, Tag

from stages.render.page.bundle import bundle_data
from stages.render.page.folding import fold_question
from stages.render.page.provenance import Provenance
from stages.render.page.questions import FURTHER, question_heading
from stages.render.page.shell import HEADINGS, assemble, tidy


def joined_page(body: str, *, name: str, pages: Mapping[str, str], provenance: Provenance) -> str:
    """The body of one notebook and the content of finished pages, in one file.

    pages: name -> HTML of `page`; each becomes a section, its headings two levels lower, under the question
           of the body that it answers, or under a heading for all that answer none
    Raises ValueError if a title is missing.
    """
    soup = tidy(body, name=name)
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
    for part in parts.values():
        if part.parent is not None:
            fold_question(part, soup=soup)
    return assemble(soup, stage=name, provenance=provenance, data=bundle_data(soup))


def _section(html: str, *, name: str, soup: BeautifulSoup) -> tuple[Tag, str]:
    """The content of a finished page as a section under its title, and the question that it answers.

    What its notebook says before the first heading is folded up: in the report the figures come first.
    """
    source = BeautifulSoup(html, "html.parser")
    title, main = source.find("h1"), source.find("main")
    if title is None or main is None:
        raise ValueError(f"page {name} has no title or no main part")
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
