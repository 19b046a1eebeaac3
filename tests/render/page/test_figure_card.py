"""A figure comes with its files, words and data."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup
from matplotlib.figure import Figure

from stages.render.page.figure_card import drawn, figure_html, show
from stages.render.page.panel_images import Image
from stages.render.page.svg_size import compact
from stages.study.errors import StudyError


def test_show_writes_files_and_needs_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot([1, 2])
    show(figure, name="line", alt="a line", caption="A line.", folder=tmp_path / "new")
    assert (tmp_path / "new/line.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "new/line.svg").read_bytes()
    assert (tmp_path / "new/line.csv").read_text().splitlines()[1:] == [
        "panel 1,#1f77b4,0,1",
        "panel 1,#1f77b4,1,2",
    ]
    for empty in ({"alt": " ", "caption": "c"}, {"alt": "a", "caption": ""}):
        with pytest.raises(StudyError, match="needs both alt and caption"):
            show(figure, name="line", **empty)


def test_figure_html_escapes_and_embeds() -> None:
    drawing = '<svg><text x="1">50 % &amp; \u2212</text><use href="#b"/></svg>'
    image = Image(drawing, width=72, height=36)
    html = figure_html([[image, image]], name="x", alt='a "b" <c>', caption="d & e, Fig. 3")
    assert "d &amp; e, Fig.\u00a03" in html
    first, second = BeautifulSoup(html, "html.parser").select(".card .panels img")
    assert first["alt"] == 'a "b" <c>' and second["alt"] == "" and first["width"] == "96"
    kind, _, data = str(first["src"]).partition(",")
    assert kind == "data:image/svg+xml" and not set('"#<>&') & set(data)
    assert unquote(data) == compact(drawing, prefix="p0").replace('"', "'")
    spoken = figure_html([[Image(drawing.replace("50", "'"), 10, 5)]], name="x", alt="a", caption="c")
    assert "%221%22" in spoken and "&#39;" not in spoken


def test_all_panels_of_a_figure_have_one_scale_that_fits_the_widest_row() -> None:
    rows = [[Image("<svg></svg>", 400, 72), Image("<svg></svg>", 400, 72)], [Image("<svg></svg>", 200, 72)]]
    soup = BeautifulSoup(figure_html(rows, name="x", alt="a", caption="c"), "html.parser")
    widths = [int(str(image["width"])) for image in soup.select("img")]
    assert widths == [356, 356, 178]  # 712 pixels for 800 points


def test_panels_of_one_figure_share_no_class() -> None:
    figure = Figure(figsize=(8, 3))
    for axis in figure.subplots(1, 2):
        axis.plot([1, 2])
    soup = BeautifulSoup(drawn(figure, name="two", alt="two lines", caption="Two lines."), "html.parser")
    first, second = (
        set(re.findall(r"class=['\"](\w+)", unquote(str(image["src"])))) for image in soup.select("img")
    )
    assert first and second and not first & second


def test_a_figure_with_a_narrow_variant_is_one_picture() -> None:
    figure, narrow = Figure(figsize=(8, 3)), Figure(figsize=(3, 3))
    for axis in figure.subplots(1, 2):
        axis.plot([1, 2])
    html = drawn(figure, name="two", alt="two lines", caption="Two lines.", narrow=narrow)
    soup = BeautifulSoup(html, "html.parser")
    (picture,) = soup.select(".card.fits picture")
    assert picture.source is not None and len(soup.select("img")) == 1 and soup.select_one("img")["alt"]
