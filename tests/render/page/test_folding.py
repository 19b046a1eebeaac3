"""Three figures of a question stay in sight; each block keeps the rest in one fold."""

from bs4 import BeautifulSoup

from stages.render.page.folding import IN_SIGHT, fold_question


def folded(*blocks: str) -> BeautifulSoup:
    """Return a folded question with some blocks."""
    soup = BeautifulSoup(
        f'<section id="q"><h2>Why?</h2><p>Thus.</p>{"".join(blocks)}</section>', "html.parser"
    )
    fold_question(soup.find(id="q"), soup=soup)
    return soup


def figure(name: str, *, lead: bool = False) -> str:
    return f'<figure id="{name}"{" data-lead" if lead else ""}></figure>'


def in_sight(soup: BeautifulSoup) -> list[str]:
    return [tag["id"] for tag in soup.find_all("figure") if tag.find_parent("details") is None]


def test_marked_figures_lead_and_first_figures_follow() -> None:
    marked = f"<section><h3>A</h3>{figure('a')}<h4>x</h4>{figure('b', lead=True)}<p>c</p></section>"
    plain = f"<section><h3>B</h3>{figure('c')}{figure('d')}</section>"
    body = f"<h3>C</h3>{figure('e')}<table></table>"
    soup = folded(marked, plain, body)
    assert in_sight(soup) == ["b", "c", "e"] and "data-lead" not in str(soup)
    summaries = [tag.get_text() for tag in soup.find_all("summary")]
    assert summaries == [
        "Background and 1 more figure",
        "1 more figure",
        "Numbers",
    ]
    (section, *_), (_, _, last) = soup.find_all("section")[1:], soup.find_all("details")
    assert [tag.name for tag in section.find_all(True, recursive=False)] == ["h3", "figure", "details"]
    assert last.find("table") is not None and last.find_parent("section")["id"] == "q"


def test_no_question_shows_more_than_three() -> None:
    blocks = [f"<section><h3>{n}</h3>{figure(f'f{n}', lead=True)}</section>" for n in range(5)]
    soup = folded(*blocks)
    assert in_sight(soup) == ["f0", "f1", "f2"] and IN_SIGHT == 3
    fold = soup.find(id="f4").find_parent("details")
    assert fold.summary.h3.get_text() == "4" and fold.summary.get_text() == "4 (1 figure)"


def test_blocks_without_figures_and_blocks_without_a_fold() -> None:
    soup = folded("<section><h3>A</h3><p>words</p></section>", f"<section><h3>B</h3>{figure('a')}</section>")
    assert [tag.get_text() for tag in soup.find_all("summary")] == ["A"]
    assert in_sight(soup) == ["a"]


def test_findings_stay_in_sight() -> None:
    block = f'<section><h3>A</h3><p class="finding">Better.</p>{figure("a")}<p>why</p></section>'
    soup = folded(*[f"<section><h3>{n}</h3>{figure(f'f{n}', lead=True)}</section>" for n in range(3)], block)
    finding = soup.select_one("p.finding")
    assert finding.find_parent("details") is None and finding.find_previous_sibling("h3").get_text() == "A"
    assert soup.find("details").summary.get_text() == "Background and 1 figure"
