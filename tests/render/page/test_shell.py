"""Pages are complete, fetch nothing, and can be joined."""

import base64
import hashlib

import pytest
from bs4 import BeautifulSoup

from stages.render.page.joining import joined_page
from stages.render.page.provenance import Provenance
from stages.render.page.questions import FURTHER, QUESTIONS, question_heading
from stages.render.page.shell import page, policy
from tests.render.pages import assert_good_page

ORIGIN = Provenance(
    params_digest="abc", params="seed: 0\n", inputs=(("a.csv", "123"),), versions=(("python", "3"),)
)

FIGURE = (
    '<figure id="fig-a"><div class="card"><img alt="a long enough alternative text" src="data:,"></div>'
    "<figcaption>A caption that is long enough to be one, made of numbers.</figcaption></figure>"
)


def test_pages_join_into_one() -> None:
    body = f'<div class="cell"><h1>Title</h1><h2>Same</h2><h2>Same</h2>{FIGURE}<a href="#fig-a">see</a></div>'
    single = page(body, name="attention", provenance=ORIGIN)
    assert_good_page(single)
    assert single == page(body, name="attention", provenance=ORIGIN)
    pages = {"attention": single, "fourier": page(body, name="fourier", provenance=ORIGIN)}
    both = joined_page(body, name="summary", pages=pages, provenance=ORIGIN)
    soup = assert_good_page(both)
    assert [tag.get_text() for tag in soup.select("figcaption .count")] == [
        "Figure 1.",
        "Figure 2.",
        "Figure 3.",
    ]
    assert [section["id"] for section in soup.select("section.question > section")] == [
        "attention",
        "fourier",
    ]
    assert [tag.name for tag in soup.select("#attention h3, #attention h4")] == ["h3", "h4", "h4"]
    assert soup.select_one("section.question > h2").get_text() == "Further analyses"  # they ask nothing
    links = [link["href"] for link in soup.select("nav a")]
    assert links[0] == "#summary-same" and links[-1] == "#further"


def test_a_page_is_placed_under_the_question_that_it_answers() -> None:
    ask = "".join(question_heading(name) for name in (*QUESTIONS, FURTHER))
    mine = f'<h1>Mine</h1><p>Why a &lt; b.</p><p data-question="components">x</p><h2>Part</h2>{FIGURE}'
    pages = {"mine": page(mine, name="mine", provenance=ORIGIN)}
    html = joined_page(f"<h1>All</h1>{ask}<h2>After</h2>", name="summary", pages=pages, provenance=ORIGIN)
    soup = assert_good_page(html)
    section = soup.find("section", id="mine")
    assert section.find_parent("section").h2.get_text() == "Which components matter? paper §4"
    assert [tag.name for tag in section.find_all(True, recursive=False)] == ["h3", "figure", "details"]
    assert (
        "Why a < b." in section.details.get_text()
        and section.details.summary.get_text() == "Background and numbers"
        and "data-question" not in html
    )
    assert "Further analyses" not in soup.get_text()
    assert soup.find_all("h2")[-1].get_text() == "After"


def test_every_script_and_style_is_allowed_by_its_hash_and_nothing_else() -> None:
    html = "<style>a{}</style><script>let b</script><script>let c</script>"
    content = policy(html)
    assert content.startswith("default-src 'none';") and "unsafe" not in content
    for text in (b"a{}", b"let b", b"let c"):
        assert base64.b64encode(hashlib.sha256(text).digest()).decode() in content
    assert content.count("sha256-") == 3 and "script-src 'none'" in policy("<p></p>")


def test_every_fold_has_an_address() -> None:
    fold = "<details><summary>More</summary>x</details>"
    body = f'<h1>Title</h1><h2>Part</h2>{fold}{fold}<details id="glossary"><summary>G</summary></details>'
    soup = BeautifulSoup(page(body, name="p", provenance=ORIGIN), "html.parser")
    assert [tag["id"] for tag in soup.main.find_all("details")] == [
        "p-part-more",
        "p-part-more-2",
        "glossary",
    ]


def test_a_page_needs_one_title() -> None:
    with pytest.raises(ValueError, match="one title"):
        page("<p>nothing</p>", name="x", provenance=ORIGIN)
