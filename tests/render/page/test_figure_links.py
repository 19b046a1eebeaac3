"""Figures have numbers, and claims link to existing figures."""

from bs4 import BeautifulSoup

from stages.render.page.figure_links import link_figures, number_figures

FIGURES = (
    '<figure id="a-fig-one"></figure><details><figure id="a-fig-two-shape"></figure></details>'
    '<figure id="a-fig-two-texture"></figure><figure id="a-fig-twofold"></figure>'
)


def linked(ids: str) -> BeautifulSoup:
    """Return a page whose claim names these figures."""
    soup = BeautifulSoup(
        f'{FIGURES}<p><span class="figures" data-figures="{ids}" '
        'data-none="No figure: no &lt;arm&gt;."></span></p>',
        "html.parser",
    )
    number_figures(soup)
    link_figures(soup)
    return soup


def test_figures_in_sight_and_in_folds_have_their_own_numbers() -> None:
    soup = linked("")
    assert [figure["data-number"] for figure in soup.find_all("figure")] == ["1", "S1", "2", "3"]


def test_links_lead_to_every_figure_with_the_id_or_its_beginning() -> None:
    soup = linked("a-fig-two a-fig-one b")
    assert soup.span is not None and soup.span.get_text() == "Shown in Figure S1, Figure 2 and Figure 1"
    assert [link["href"] for link in soup.find_all("a")] == [
        "#a-fig-two-shape",
        "#a-fig-two-texture",
        "#a-fig-one",
    ]


def test_a_claim_without_a_figure_says_why() -> None:
    soup = linked("b")
    assert soup.span is not None and soup.span.get_text() == "No figure: no <arm>."
    assert soup.span.attrs == {"class": ["figures"]}
