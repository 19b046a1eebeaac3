"""Number the figures of a page, name their origin, and list them small at the top."""

import re
from typing import Any

from bs4 import BeautifulSoup, Tag
from markupsafe import Markup

LONGEST_TITLE = 64  # characters of a figure's name in the overview


def number_figures(soup: BeautifulSoup) -> None:
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


def name_origins(soup: BeautifulSoup, *, stage: str, digest: str) -> dict[str, str]:
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


def list_figures(soup: BeautifulSoup) -> list[dict[str, Any]]:
    """Every figure that is in sight, by the part that it stands in, with its small image taken out of it.

    returns: name (of the part), figures: id, image, number and title of each
    """
    parts: dict[str, list[dict[str, str]]] = {}
    name = ""
    for tag in soup.find_all(["h2", "figure"]):
        if tag.name == "h2":
            name = heading_text(tag)
            continue
        small = str(tag.attrs.pop("data-thumbnail", ""))
        caption = tag.find("figcaption")
        if small and caption is not None and tag.find_parent("details") is None:
            number, _, text = caption.get_text(" ", strip=True).partition(". ")
            entry = {"id": str(tag["id"]), "image": small, "number": number, "title": _brief(text.strip())}
            parts.setdefault(name, []).append(entry)
    return [{"name": name, "figures": figures} for name, figures in parts.items()]


def _brief(text: str) -> str:
    """The beginning of a caption, as far as it names the figure."""
    plain = re.sub(r" \([^)]*\)", "", text)
    first = re.split(r"(?<=\D)[.:;,](?:\s|$)", plain, maxsplit=1)[0]
    if len(first) <= LONGEST_TITLE:
        return first
    return first[:LONGEST_TITLE].rsplit(" ", 1)[0] + " …"


def heading_text(head: Tag) -> str:
    """What a heading says, without the place in the paper that stands behind it."""
    return " ".join(
        text.strip()
        for text in head.find_all(string=True)
        if text.strip() and text.find_parent(class_="section") is None
    )
