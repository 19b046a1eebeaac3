"""Figures have numbers, and claims link to existing figures."""

from bs4 import BeautifulSoup

from stages.render.page.figure_links import link_figures, number_figures

FIGURES = (
    '<figure id="a-fig-one"></figure><details><figure id="a-fig-two-shape"></figure></details>'
    '<figure id="a-fig-three"></figure>'
)


def test_links_have_the_number_of_their_figure_and_dead_links_are_removed() -> None:
    links = [f'<a data-figure="{name}"></a>' for name in ("a-fig-one", "a-fig-two", "b")]
    soup = BeautifulSoup(
        f'{FIGURES}<p class="figures">In {"".join(links)}</p><p class="figures">In {links[2]}</p>',
        "html.parser",
    )
    number_figures(soup)
    link_figures(soup)
    assert [(link["href"], link.get_text()) for link in soup.find_all("a")] == [
        ("#a-fig-one", "Figure 1"),
        ("#a-fig-two-shape", "Figure S1"),
    ]
    assert len(soup.select("p.figures")) == 1
    assert [figure["data-number"] for figure in soup.find_all("figure")] == ["1", "S1", "2"]
