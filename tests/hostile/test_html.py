"""Names that are HTML, scripts, templates or formulas, through tables, figures and pages."""

import json
import re
from xml.etree import ElementTree

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from markupsafe import Markup, escape

from stages.render.figures.line_charts import Inks
from stages.render.figures.style import palette, styled
from stages.render.page.explorer import explorer
from stages.render.page.figure_card import show
from stages.render.page.html_table import table
from stages.render.page.provenance import Provenance
from stages.render.page.shell import page
from stages.render.sections.title import title_block
from stages.results.study_results import Results
from tests.render.pages import assert_good_page
from tests.render.synthetic import study_of, write_study
from tests.render.synthetic_claims import manifest

LABELS = {
    "cl": "<script>alert(1)</script>",
    "mim": '"><img src=x onerror=alert(1)>',
    "hybrid": "</style></script><svg onload=alert(1)>{{ 7*7 }}{% x %}",
    "random": "javascript:alert(1) $\\frac{1}{2}$ %s {0} POLICY &lt;b&gt;",
}
ARMS = {
    "random": "random",
    "cl": "contrastive",
    "mim": "masked",
    "hybrid": {"objective": "hybrid", "cl_weight": 0.2},
}
HANDLER = re.compile(r"^on")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A made-up study with hostile labels."""
    return write_study(tmp_path_factory.mktemp("study"), study_of(ARMS, labels=LABELS))


def assert_harmless(html, *, scripts):
    """No element but ours: so many scripts, no handlers, no image from elsewhere, no script address."""
    soup = BeautifulSoup(html, "html.parser")
    assert len(soup.find_all("script")) == scripts
    for tag in soup.find_all(True):
        assert not [name for name in tag.attrs if HANDLER.match(name)], tag
        for name in ("src", "href"):
            assert not str(tag.get(name, "")).strip().lower().startswith(("javascript:", "x")), tag
    return soup


def test_labels_are_text_in_a_page_of_a_figure_a_table_and_the_title(results: Results, tmp_path):
    from matplotlib.figure import Figure

    inks: Inks = palette(results.study)
    about = manifest() | {"source": LABELS["mim"]}
    facts = title_block(results.study, about, inks=inks)
    heads = pd.Index([LABELS["cl"], LABELS["hybrid"]], name="<b>arm")
    rows = table(pd.DataFrame({"value": [1.0, 2.0]}, index=heads), caption=LABELS["random"])
    with styled():
        figure = Figure(figsize=(3, 2))
        axis = figure.add_subplot()
        for label in LABELS.values():
            axis.plot([0, 1], label=label)
        axis.legend()
        axis.set_title(LABELS["hybrid"])
        shown = show(figure, name="a", alt=f"Lines of {LABELS['cl']}", caption=LABELS["mim"], folder=tmp_path)
    body = f"<h1>{escape(LABELS['hybrid'])}</h1>{facts}<h2>Part</h2>{rows}{shown}"
    origin = Provenance(
        params_digest="abc",
        params=f"labels: {json.dumps(LABELS)}\n",
        inputs=((LABELS["cl"], "123"),),
        versions=(("python", LABELS["mim"]),),
    )
    html = page(body, name="x", provenance=origin)
    clean = page(body.replace("alert", "word"), name="x", provenance=origin)
    scripts = len(BeautifulSoup(clean, "html.parser").find_all("script"))
    soup = assert_harmless(html, scripts=scripts)
    assert_good_page(html)
    assert len(soup.find_all("style")) == 1 and "{{ 7*7 }}" in soup.get_text()
    policy = str(soup.select_one("meta[http-equiv]")["content"])
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "POLICY" in soup.get_text()
    svg = ElementTree.parse(tmp_path / "a.svg").getroot()
    assert LABELS["hybrid"] in "".join(svg.itertext())
    for tag in svg.iter():
        assert tag.tag.rpartition("}")[2] not in ("script", "foreignObject", "image", "a")
        assert not [name for name in tag.attrib if HANDLER.match(name)]


def test_a_script_of_data_ends_where_we_end_it(results: Results):
    html = explorer(results, words=LABELS["hybrid"])
    assert isinstance(html, Markup)
    soup = assert_harmless(html, scripts=2)
    data = json.loads(soup.select_one('script[type="application/json"]').get_text())
    assert LABELS["hybrid"] in json.dumps(data) and "<" not in str(soup.select_one("script").string)
