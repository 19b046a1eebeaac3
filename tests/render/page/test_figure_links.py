"""Claims lead to the figures that there are."""

from bs4 import BeautifulSoup

from stages.render.page.figure_links import link_figures

FIGURES = '<figure id="a-fig-one"></figure><figure id="a-fig-two-shape"></figure>'


def test_links_have_the_number_of_their_figure_and_dead_ones_go() -> None:
    links = [f'<a data-figure="{name}"></a>' for name in ("a-fig-one", "a-fig-two", "b")]
    soup = BeautifulSoup(
        f'{FIGURES}<p class="figures">In {"".join(links)}</p><p class="figures">In {links[2]}</p>',
        "html.parser",
    )
    link_figures(soup)
    assert [(link["href"], link.get_text()) for link in soup.find_all("a")] == [
        ("#a-fig-one", "Figure 1"),
        ("#a-fig-two-shape", "Figure 2"),
    ]
    assert len(soup.select("p.figures")) == 1
