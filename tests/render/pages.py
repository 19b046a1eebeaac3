"""Requirements for every page of the report, checked on its HTML."""

import re
from itertools import pairwise

from bs4 import BeautifulSoup

from stages.render.figures.captions import LONGEST_ALT, LONGEST_CAPTION

HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"]


def assert_good_page(html: str) -> BeautifulSoup:
    """Assert that a page is self-contained, accessible and free of traces of the machine."""
    soup = BeautifulSoup(html, "html.parser")
    assert_self_contained(soup)
    assert_accessible(soup)
    for trace in (
        r"/tmp/",
        r"/home/",
        r"/root",
        r"\.part\b",
        r"20\d\d-\d\d-\d\d",
        r"\d\d:\d\d:\d\d",
        r"0x[0-9a-f]{8}",
    ):
        assert not re.search(trace, re.sub(r"base64,[^\"]*", "", html)), trace
    return soup


def assert_self_contained(soup: BeautifulSoup) -> None:
    """Assert that a page fetches nothing."""
    ids = [str(tag["id"]) for tag in soup.find_all(id=True)]
    for tag in soup.find_all(True):
        for attribute in ("src", "href", "srcset", "poster", "data", "action"):
            target = str(tag.get(attribute, "#")) if tag.get(attribute) else "#"
            if tag.name == "a" and target.startswith("https://"):
                continue  # leads elsewhere when a reader asks for it; nothing is fetched
            assert target.startswith(("data:", "#")), f"<{tag.name} {attribute}={target[:60]}>"
            if target.startswith("#") and len(target) > 1:
                assert target[1:] in ids, f"{target} leads nowhere"
    styles = "\n".join(style.get_text() for style in soup.find_all("style"))
    styles += "\n".join(str(tag["style"]) for tag in soup.find_all(style=True))
    assert "url(" not in styles and "@import" not in styles
    assert not soup.find_all(["iframe", "object", "embed", "base"])
    assert "default-src 'none'" in str(soup.select_one('meta[http-equiv="Content-Security-Policy"]'))


def assert_accessible(soup: BeautifulSoup) -> None:
    """Assert language, landmarks, order of headings, unique ids, alt texts, captions, table headings."""
    html = soup.find("html")
    assert html is not None and html.get("lang") == "en"
    for landmark in ("header", "nav", "main", "footer"):
        assert len(soup.find_all(landmark)) == 1, landmark
    assert soup.find("title") is not None and soup.select_one("a.skip") is not None
    levels = [HEADINGS.index(tag.name) for tag in soup.find_all(HEADINGS)]
    assert levels[0] == 0 and levels.count(0) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    assert len(ids) == len(set(ids)), "ids are not unique"
    for image in soup.find_all("img"):
        around = image.find_parent("figure")
        if around is not None and image is not around.find("img"):  # the first one speaks for all panels
            assert image["alt"] == ""
            continue
        assert 20 < len(str(image.get("alt", "")).strip()) <= LONGEST_ALT, image["alt"]
        assert image.find_parent("figure") is not None
    counts = {"": 0, "S": 0}  # figures in sight, and supplementary figures in folds
    for figure in soup.find_all("figure"):
        kind = "" if figure.find_parent("details") is None else "S"
        counts[kind] += 1
        count = f"Figure {kind}{counts[kind]}. "
        caption = figure.find("figcaption")
        assert caption is not None
        assert caption.get_text().startswith(count)
        assert len(caption.get_text()) > 40
        words = caption.get_text().removeprefix(count).split()
        assert len(words) <= LONGEST_CAPTION, f"{len(words)} words: {caption.get_text()}"
    for table in soup.find_all("table"):
        assert table.find("caption") is not None and table.find("caption").get_text(strip=True)
        assert table.find_all("th"), "a table without headings"
        assert all(head.get("scope") in ("col", "row", "colgroup") for head in table.find_all("th"))
        around = table.find_parent(class_="table")
        assert around is not None and around.get("tabindex") == "0" and around.get("aria-label")


def assert_no_result_by_hand(text: str) -> None:
    """Assert that a text cell contains no measured number; those come from code."""
    assert not re.search(r"\d+\.\d+", text), text
