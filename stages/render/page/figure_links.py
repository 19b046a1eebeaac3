"""Number the figures of a page, name the command that reproduces each, and link claims to figures."""

from bs4 import BeautifulSoup, Tag
from markupsafe import Markup, escape

from stages.render.words import listed

COMMAND = "Reproduce: <code>dvc repro {}</code>, inputs <code>{}</code>"


def number_figures(soup: BeautifulSoup) -> None:
    """Number the figures: "Figure 1" and so on in sight, "Figure S1" and so on in folds.

    A figure of a joined page gets a new number.
    """
    main = supplement = 0
    for figure in soup.find_all("figure"):
        if figure.find_parent("details") is None:
            main += 1
            number = f"{main}"
        else:
            supplement += 1
            number = f"S{supplement}"
        figure["data-number"] = number
        caption = figure.find("figcaption")
        if caption is None:
            continue
        count = caption.find(class_="count")
        if count is None:
            count = soup.new_tag("span", attrs={"class": "count"})
            caption.insert(0, count)
            caption.insert(1, " ")
        count.string = f"Figure {number}."
        for css, label in (("card", f"Figure {number}"), ("files", f"Figure {number} as a file")):
            if (part := figure.find(class_=css)) is not None:
                part["aria-label"] = label


def link_figures(soup: BeautifulSoup) -> None:
    """Write links to figures into every element `<span class="figures" data-figures="ID ID">`.

    ID is the id of a figure, or the beginning of several ids before a hyphen. Without any such figure, the
    element says why, in the words of its attribute data-none. Call this after `number_figures`.
    """
    numbers = {str(figure.get("id")): str(figure["data-number"]) for figure in soup.find_all("figure")}
    for place in soup.select(".figures[data-figures]"):
        names, reason = str(place.attrs.pop("data-figures")).split(), str(place.attrs.pop("data-none", ""))
        targets: list[str] = []
        for name in names:
            several = [figure for figure in numbers if figure.startswith(f"{name}-")]
            targets += [name] if name in numbers else several
        links = [f'<a href="#{name}">Figure {numbers[name]}</a>' for name in dict.fromkeys(targets)]
        text = f"Shown in {listed(links)}" if links else escape(reason)
        place.append(BeautifulSoup(text, "html.parser"))


def name_origins(soup: BeautifulSoup, *, stage: str, digest: str) -> dict[str, str]:
    """Name at every figure the command and the inputs that reproduce it; figures of joined pages keep theirs.

    Returns: stage -> digest of its inputs, the stage of this page first
    """
    stages = {stage: digest}
    for origin in soup.select(".tools .origin"):
        if not origin.get("data-stage"):
            origin["data-stage"], origin["data-inputs"] = stage, digest
            origin.append(BeautifulSoup(Markup(COMMAND).format(stage, digest), "html.parser"))
        stages[str(origin["data-stage"])] = str(origin["data-inputs"])
    return stages


def heading_text(head: Tag) -> str:
    """Return the text of a heading without the section of the paper after it."""
    return " ".join(
        text.strip()
        for text in head.find_all(string=True)
        if text.strip() and text.find_parent(class_="section") is None
    )
