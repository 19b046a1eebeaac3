"""A figure brings its files, its words and its data."""

from pathlib import Path
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup
from matplotlib.figure import Figure

from stages.render.page.figure_card import figure_html, show
from stages.study.errors import StudyError


def test_show_writes_files_and_refuses_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    drawing = b'<svg id="a">\n<!-- 50 % & \xe2\x88\x92 -->\n<use href="#b"/></svg>'
    html = figure_html(drawing, name="x", alt='a "b" <c>', caption="d & e, Fig. 3", width=10, height=5)
    assert 'alt="a &#34;b&#34; &lt;c&gt;"' in html and "d &amp; e, Fig.\u00a03" in html
    image = BeautifulSoup(html, "html.parser").img
    kind, _, data = str(image["src"]).partition(",") if image else ("", "", "")
    assert kind == "data:image/svg+xml" and not set('"#<>&') & set(data)
    assert unquote(data) == drawing.decode().replace("\n", " ").replace('"', "'")
    spoken = figure_html(drawing + b"<!-- ' -->", name="x", alt="a", caption="c", width=10, height=5)
    assert "%22a%22" in spoken and "&#39;" not in spoken
