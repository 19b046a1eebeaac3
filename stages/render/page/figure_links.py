"""Number the figures of a page, say how each is made again, and lead from claims to figures."""

from bs4 import BeautifulSoup, Tag
from markupsafe import Markup


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


def link_figures(soup: BeautifulSoup) -> None:
    """Fill every link `<a data-figure="id">` with the number of its figure, or take it out if there is none.

    The id may be the beginning of one: the first figure whose id starts so counts.
    """
    ids = [str(figure.get("id")) for figure in soup.find_all("figure")]
    for link in soup.select("a[data-figure]"):
        wanted = str(link.attrs.pop("data-figure"))
        target = next((name for name in ids if name == wanted), None) or next(
            (name for name in ids if name.startswith(wanted)), None
        )
        if target is None:
            link.decompose()
            continue
        link["href"] = f"#{target}"
        link.string = f"Figure {ids.index(target) + 1}"
    for links in soup.select("p.figures"):
        if links.find("a") is None:
            links.decompose()


def name_origins(soup: BeautifulSoup, *, stage: str, digest: str) -> dict[str, str]:
    """Say at every figure how it is made again and of which inputs, unless it says so already.

    returns: stage -> digest of its inputs, this page's own first
    """
    stages = {stage: digest}
    for origin in soup.select(".tools .origin"):
        if not origin.get("data-stage"):
            origin["data-stage"], origin["data-inputs"] = stage, digest
            words = "Reproduce: <code>dvc repro {}</code>, inputs <code>{}</code>"
            origin.append(BeautifulSoup(Markup(words).format(stage, digest), "html.parser"))
        stages[str(origin["data-stage"])] = str(origin["data-inputs"])
    return stages


def heading_text(head: Tag) -> str:
    """What a heading says, without the place in the paper that stands behind it."""
    return " ".join(
        text.strip()
        for text in head.find_all(string=True)
        if text.strip() and text.find_parent(class_="section") is None
    )
