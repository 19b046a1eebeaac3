"""The report in a real browser: accessible, self-contained, readable on any screen, with files to save."""

import base64
import importlib.util
import io
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages.render.figures.style import NARROW
from tests.render.browser import Browser, browser, chromium
from tests.render.page.whole_page import EXPLORER, READY, report

LARGEST = 3_500_000  # bytes of a report

pytestmark = pytest.mark.skipif(
    chromium() is None, reason="no Chromium: install one (apt-get install chromium) or name it in CHROMIUM"
)
AXE = importlib.util.find_spec("axe_core_python")
RUN_AXE = """axe.run(document, {resultTypes: ["violations", "incomplete"]}).then((result) =>
  result.violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.html.slice(0, 200)}`)))"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Open the report in a browser."""
    folder = tmp_path_factory.mktemp("browser")
    html = report()
    assert len(html.encode()) < LARGEST / 10  # three figures of a report of forty
    (folder / "index.html").write_text(html, encoding="utf-8")
    with browser(folder / "profile") as tab:
        tab.show(width=1200)
        tab.open(folder / "index.html")
        tab.wait(READY)
        yield tab


def test_nothing_is_fetched_and_the_console_is_empty(opened: Browser) -> None:
    urls = [url for url in opened.requests if not url.startswith(("data:", "blob:"))]
    assert len(urls) == 1 and urls[0].startswith("file:") and urls[0].endswith("/index.html")
    assert opened.complaints == []


def test_the_policy_blocks_foreign_content(opened: Browser) -> None:
    opened.run(
        "document.body.append(Object.assign(document.createElement('img'), {src: 'http://a.example/b'}))"
    )
    opened.run("document.querySelector('body > img').remove()")
    assert any("Content Security Policy" in message for message in opened.complaints)
    opened.complaints.clear()


@pytest.mark.skipif(AXE is None, reason="no axe-core: install the extra `test` of pyproject.toml")
@pytest.mark.parametrize(("width", "scheme"), [(1600, "light"), (1600, "dark"), (360, "light")])
def test_axe_finds_no_violation(opened: Browser, width: int, scheme: str) -> None:
    assert AXE is not None and AXE.origin is not None
    opened.show(width=width, scheme=scheme)
    opened.run("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    if not opened.run("'axe' in window"):
        opened.run((Path(AXE.origin).parent / "axe.min.js").read_text(encoding="utf-8") + ";0")
    assert opened.run(RUN_AXE) == []
    assert opened.run("axe.run(document).then((result) => result.passes.length)") > 20


@pytest.mark.parametrize("width", [320, 360, 800, 1600])
def test_the_page_fits_every_screen(opened: Browser, width: int) -> None:
    opened.show(width=width)
    opened.run("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    assert opened.run("document.scrollingElement.scrollWidth") <= width


def test_on_a_phone_every_row_of_a_table_is_a_card_and_nothing_scrolls_sideways(opened: Browser) -> None:
    opened.show(width=360)
    opened.run("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    wide = """[...document.querySelectorAll('.table, pre')]
        .filter((part) => part.scrollWidth > part.clientWidth).map((part) => part.outerHTML.slice(0, 100))"""
    assert opened.run(wide) == []
    cell = "document.querySelector('.opening tbody td')"
    assert opened.run(f"getComputedStyle({cell}, '::before').content") == '"a long heading 0"'
    assert opened.run(f"getComputedStyle({cell}.closest('table').tHead).clipPath") != "none"


def test_the_interactive_maps_show_the_choices_and_the_address_holds_them(opened: Browser) -> None:
    data = json.loads(opened.run(f"{EXPLORER}.querySelector('script').textContent"))
    picks = {"image": 1, "block": 2, "left": 1, "right": 2, "row": 2, "column": 3}
    for name, value in picks.items():
        field = f"{EXPLORER}.querySelector('[data-pick={name}]')"
        opened.run(f"{field}.value = {value}; {field}.dispatchEvent(new Event('input'))")
    text = opened.run(f"{EXPLORER}.querySelector('.result').textContent")
    assert text.startswith("Query at row 2, column 3. ")
    choices = "image=1&block=2&left=1&right=2&row=2&column=3"  # after the folds that are open
    opened.wait(f"location.hash.startsWith('#attention-explorer?') && location.hash.endsWith('{choices}')")
    levels = np.frombuffer(zlib.decompress(base64.b64decode(data["maps"]), -zlib.MAX_WBITS), np.uint8)
    maps = []
    for arm in (data["arms"][1], data["arms"][2]):
        largest = 9 * arm["largest"][1][1][5]
        assert f"{arm['label']}, block 2 of 3: most attention to row " in text
        assert f"{largest:.1f} × uniform" in text
        start = arm["start"] + (arm["blocks"] + 1) * 81 + 45  # image 1, block 2, query 5 of 9
        maps.append(levels[start : start + 9].astype(float))
    cosine = maps[0] @ maps[1] / np.sqrt((maps[0] @ maps[0]) * (maps[1] @ maps[1]))
    assert f"Cosine between the two maps {cosine:.2f}" in text
    drawn_pixels = opened.run(
        f"[...{EXPLORER}.querySelector('[data-view=left]').getContext('2d').getImageData(0, 0, 3, 3).data]"
    )
    colours = np.frombuffer(base64.b64decode(data["colours"]), np.uint8).reshape(256, 3)
    multiples = 9 * maps[0] / 255 * data["arms"][1]["largest"][1][1][5]
    scale = np.log(data["highest"] / data["lowest"])
    shares = np.clip(np.log(np.maximum(multiples, data["lowest"]) / data["lowest"]) / scale, 0, 1)
    places = np.floor(255 * shares + 0.5).astype(int)
    np.testing.assert_array_equal(np.reshape(drawn_pixels, (9, 4))[:, :3], colours[places])
    opened.run(f"{EXPLORER}.querySelector('[data-view=image]').scrollIntoView()")
    opened.run(
        "((image) => { const {left, top, width} = image.getBoundingClientRect(); image.dispatchEvent("
        "new MouseEvent('click', {clientX: left + 0.9 * width, clientY: top + 0.1 * width})); })"
        f"({EXPLORER}.querySelector('[data-view=image]'))"
    )
    assert opened.run(f"{EXPLORER}.querySelector('.result').textContent").startswith(
        "Query at row 1, column 3."
    )


def test_figures_follow_the_colour_scheme_and_print_light(opened: Browser) -> None:
    def middle_of_the_card() -> tuple[int, int, int]:
        place = opened.run(
            "(({x, y, width, height}) => ({x: x + scrollX + 6, y: y + scrollY + 6, width: 8, height: 8}))"
            "(document.querySelector('figure .card').getBoundingClientRect())"
        )
        data = opened.call("Page.captureScreenshot", format="png", captureBeyondViewport=True,
                           clip=place | {"scale": 1})["data"]  # fmt: skip
        pixel = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB").getpixel((5, 5))
        assert isinstance(pixel, tuple)
        return pixel[0], pixel[1], pixel[2]

    opened.run("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    for scheme, dark in (("light", False), ("dark", True)):
        opened.show(width=1200, scheme=scheme)
        assert (max(middle_of_the_card()) < 64) is dark
    opened.show(width=1200, scheme="light", medium="print")
    assert min(middle_of_the_card()) > 250
    assert opened.run("getComputedStyle(document.querySelector('.files')).display") == "none"


def test_figures_can_be_saved_in_three_formats(opened: Browser) -> None:
    opened.show(width=1200, scheme="dark")
    encoded = opened.run(
        """Promise.all([...document.querySelectorAll('figure')[1].querySelectorAll('[data-save]')].map(
        async (button) => btoa([...new Uint8Array(await (await fileOf(button)).arrayBuffer())].map(
          (byte) => String.fromCharCode(byte)).join(""))))"""
    )
    png, svg = map(base64.b64decode, encoded)
    image = Image.open(io.BytesIO(png)).convert("RGB")
    assert image.width == round(NARROW * 300) and image.getpixel((2, 2)) == (255, 255, 255)
    assert image.getcolors(maxcolors=100_000) is not None and len(image.getcolors(100_000) or []) > 20
    assert svg.startswith(b"<svg xmlns=") and b"prefers-color-scheme" not in svg and b"#0072b2" in svg
    text = opened.run("csvOf(document.querySelectorAll('figure')[1].querySelector('[data-csv]').dataset.csv)"
                      ".then((content) => content.text())")  # fmt: skip
    rows = pd.read_csv(io.StringIO(text))
    assert list(rows)[:4] == ["label", "block", "depth", "mean"] and len(rows) == 16
    assert opened.run("document.querySelectorAll('button[data-save][hidden]').length") == 0


def test_the_keyboard_reaches_the_text_first(opened: Browser) -> None:
    opened.show(width=1200)
    # Tab goes on from the last focus, wherever another test left it.
    opened.run("scrollTo(0, 0); document.body.tabIndex = -1; document.body.focus()")
    opened.run("document.body.removeAttribute('tabindex')")
    opened.press("Tab")
    assert opened.run("document.activeElement.className") == "skip"
    assert opened.run("document.activeElement.getBoundingClientRect().left") >= 0
    assert opened.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    opened.press("Enter")
    assert opened.run("document.activeElement.id") == "main-content"
    opened.press("Tab")
    assert opened.run("document.activeElement.closest('.opening .table') !== null")


def test_a_link_into_a_fold_opens_it(opened: Browser) -> None:
    opened.run("document.querySelectorAll('details').forEach((details) => { details.open = false; })")
    opened.run("location.hash = '#summary-fig-folded'")
    opened.wait("document.getElementById('summary-fig-folded').closest('details').open")


def test_the_address_opens_a_claim_and_follows_the_reader(opened: Browser) -> None:
    opened.run("document.querySelectorAll('details').forEach((details) => { details.open = false; })")
    opened.run("location.hash = '#claim-one-claim'")
    opened.wait("[...document.querySelectorAll('details')].filter((details) => details.open).length === 2")
    opened.run("document.getElementById('claim-one-claim').open = false")
    opened.run("document.querySelector('#claim-one-claim > summary').click()")
    opened.wait("location.hash.split('?')[0] === '#claim-one-claim'")
    opened.run("document.querySelector('#claim-one-claim > summary').click()")
    opened.wait("location.hash.split('?')[0] === '#summary-verdicts-claims'")


def test_few_tab_stops_precede_the_first_section(opened: Browser) -> None:
    opened.show(width=1200)
    opened.run("document.querySelectorAll('details').forEach((details) => { details.open = false; })")
    stops = opened.run(
        """[...document.querySelectorAll("a[href], button:not([hidden]), summary, [tabindex='0']")].filter(
        (stop) => stop.checkVisibility()
            && document.querySelector('.rest').compareDocumentPosition(stop) & 2 // it precedes the rest
        ).length"""
    )
    assert 5 < stops <= 20


def test_every_figure_names_the_command_that_reproduces_it() -> None:
    html = report()
    assert re.findall(r"Reproduce: <code>dvc repro (.*?)</code>", html) == [
        "summary",
        "report@attention",
        "report@own",
    ]
    assert len(set(re.findall(r"inputs <code>(\w{12})</code>", html))) == 1
    assert html.count('<source media="(max-width: 40rem)"') == 1
