"""The address of the report holds its state: a link, a reload and a step back show the same view."""

from collections.abc import Iterator

import pytest

from tests.render.browser import Browser, browser, chromium
from tests.render.page.whole_page import CHOICES, EXPLORER, READY, report

pytestmark = pytest.mark.skipif(
    chromium() is None, reason="no Chromium: install one (apt-get install chromium) or name it in CHROMIUM"
)
OPEN = "[...document.querySelectorAll('details[open]')].map((fold) => fold.id).join(' ')"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Open the report in a browser."""
    folder = tmp_path_factory.mktemp("browser")
    html = report()
    (folder / "index.html").write_text(html, encoding="utf-8")
    with browser(folder / "profile") as tab:
        tab.show(width=1200)
        tab.open(folder / "index.html")
        tab.wait(READY)
        yield tab


def visit(opened: Browser, address: str) -> None:
    """Open the page anew, as a reader does who follows a link."""
    url = opened.run("location.href.split('#')[0]")
    opened.call("Page.navigate", url="about:blank")
    opened.call("Page.navigate", url=url + address)
    opened.wait(READY)


def test_a_link_a_reload_and_a_step_back_show_the_same_view(opened: Browser) -> None:
    opened.show(width=1200)
    visit(opened, "")
    assert opened.run(OPEN) == "" and opened.run("location.hash") == ""
    around = opened.run(f"{EXPLORER}.closest('details').id")
    for name in (around, "summary-verdicts-choices", "summary-verdicts-claims", "claim-one-claim"):
        opened.run(f"document.querySelector('#{name} > summary').click()")
        opened.wait(f"document.getElementById('{name}').open")
    folds = opened.run(OPEN)
    assert folds == f"summary-verdicts-choices summary-verdicts-claims claim-one-claim {around}"
    opened.wait(f"location.hash === '#claim-one-claim?open=summary-verdicts-choices,{around}'")
    field = f"{EXPLORER}.querySelector('[data-pick=row]')"
    opened.run(f"{field}.value = 3; {field}.dispatchEvent(new Event('input'))")
    opened.wait(
        "location.hash.startsWith('#attention-explorer?open=summary-verdicts-choices,claim-one-claim&')"
    )
    shown, address = opened.run(CHOICES), opened.run("location.hash")
    assert shown.startswith("Query at row 3, column 2. ") and address.endswith("&row=3&column=2")

    visit(opened, address)
    opened.wait(f"{OPEN} === '{folds}' && {CHOICES} === '{shown}'")
    top = f"{EXPLORER}.getBoundingClientRect().top"
    opened.wait(f"{top} >= 0 && {top} < innerHeight")
    opened.call("Page.reload")
    opened.wait(f"{READY} && {OPEN} === '{folds}' && {CHOICES} === '{shown}'")

    opened.run("location.hash = '#claim-one-claim'")  # as a link in the page
    opened.wait(f"location.hash.startsWith('#claim-one-claim?open=summary-verdicts-choices,{around}&image=')")
    assert opened.run(OPEN) == folds
    opened.run("document.querySelector('#summary-verdicts-choices > summary').click()")
    opened.wait("!location.hash.includes('choices')")
    opened.run("history.back()")
    opened.wait(f"location.hash === '{address}' && {OPEN} === '{folds}'")


@pytest.mark.parametrize("address", ["#%E0%A4%A", "#gone?open=gone,,&image=99&left=-1&row=x", "#?open="])
def test_an_address_with_errors_shows_the_page(opened: Browser, address: str) -> None:
    opened.complaints.clear()
    visit(opened, address)
    assert opened.complaints == [] and opened.run(OPEN) == ""
    assert opened.run(CHOICES).startswith("Query at row 2, column 2. ")
