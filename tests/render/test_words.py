"""Tables, sentences and pages are made of the numbers they are given."""

import base64
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from markupsafe import Markup

from stages.render.captions import DOTS, bands, depth_alt, depth_caption, in_order, trainings_of
from stages.render.facts import (
    arm_rows,
    claim_rows,
    claims_by_question,
    claims_caption,
    recipe,
    replication_rows,
    runs,
    steadiness,
    tally,
)
from stages.render.page import joined_page, page, policy
from stages.render.prose import decimals_for, fixed, interval, listed, number, unbroken
from stages.render.provenance import Provenance, portable, provenance
from stages.render.questions import FURTHER, QUESTIONS, question_heading
from stages.render.table import table
from stages.study.params import load_params
from stages.study.settings import Arm
from tests.render.pages import assert_good_page
from tests.render.synthetic import ROOT, claims, study_of

ORIGIN = Provenance(
    params_digest="abc", params="seed: 0\n", inputs=(("a.csv", "123"),), versions=(("python", "3"),)
)


def test_table_has_heads_caption_and_stable_bytes() -> None:
    frame = pd.DataFrame(
        {"value": [0.12345, np.nan], "text": ["<b>", Markup("<i>it</i>")]}, index=["one", "two"], dtype=object
    ).rename_axis("row")
    html = table(frame, caption="Some & more")
    assert html == table(frame.copy(), caption="Some & more")
    soup = BeautifulSoup(html, "html.parser")
    assert soup.caption is not None and soup.caption.get_text() == "Some & more"
    assert [head["scope"] for head in soup.find_all("th")] == ["col"] * 3 + ["row"] * 2
    assert [cell.get_text() for cell in soup.find_all("td")] == ["0.123", "<b>", "–", "it"]
    assert soup.find("i") is not None and soup.find("b") is None


def test_table_with_two_header_rows() -> None:
    columns = pd.MultiIndex.from_tuples([("knn", "shape"), ("knn", "texture"), ("linear", "shape")])
    html = table(pd.DataFrame([[1, -2.5, 3]], index=["a"], columns=columns), caption="c")
    soup = BeautifulSoup(html, "html.parser")
    upper = [(head["scope"], head.get("colspan")) for head in soup.find_all("tr")[0].find_all("th")]
    assert upper == [("colgroup", "2"), ("colgroup", "1")]
    assert [cell.get_text() for cell in soup.select("tbody td")] == ["1", "−2.5", "3"]


def test_table_needs_a_caption() -> None:
    with pytest.raises(ValueError, match="caption"):
        table(pd.DataFrame({"a": [1]}), caption=" ")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-2.514, "−2.51"),
        (1234.5, "1,234"),
        (0.00042, "0.000420"),
        (None, "–"),
        (float("nan"), "–"),
        (3e-7, "3.00e−07"),
        (-0.0, "0"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text


def test_intervals_in_words() -> None:
    assert interval(16.333, 16.321, 16.346, unit="px") == "16.33 [16.32, 16.35] px"
    assert interval(-0.0004, -0.02, 0.02) == "0.00 [−0.02, 0.02]"
    assert fixed(-0.001, decimals=2) == "0.00"
    assert [decimals_for(widths) for widths in ([0.025], [3.0], [1e-9], [0.0], [0.5, 0.002])] == [
        2,
        0,
        4,
        2,
        3,
    ]
    assert (listed([]), listed("a"), listed("abc")) == ("none", "a", "a, b and c")
    assert unbroken("Fig. 3, 95 % of 16 px") == "Fig.\u00a03, 95\u00a0% of 16\u00a0px"


def test_captions_follow_the_numbers() -> None:
    curves = pd.DataFrame(
        {
            "label": ["A", "A", "B", "B"],
            "block": [1, 2, 1, 2],
            "depth": [0.5, 1, 0.5, 1],
            "mean": [1, 2, 5, 4.0],
            "low": [0.9, 1.9, 4.9, 3.9],
            "high": [1.1, 2.1, 5.1, 4.1],
            "trainings": [1, 1, 3, 3],
            "images": 500,
        }
    )
    caption = depth_caption(curves, measure="M.", unit="px", paper="theirs.")
    assert caption.index("B 4.0 [3.9, 4.1] px") < caption.index("A 2.0 [1.9, 2.1] px")
    assert "mean over 3 trainings and 500 held-out images (thin lines: each training)" in caption
    assert "A: one training, bands are 95 % bootstrap intervals over images." in caption
    swapped = curves.assign(mean=[1, 6, 5, 4.0])
    assert in_order(swapped[swapped["block"] == 2].set_index("label")).startswith("A 6")
    alt = depth_alt(curves, measure="m", unit="px")
    assert alt.startswith("In the last block, m is highest in B, 4.0 [3.9, 4.1] px, and lowest in A, 2.0 [")
    assert "B: 5.00 px at block 1, 4.00 px at block 2." in alt
    bent = pd.concat([curves[:2], curves[:1].assign(block=3, mean=0.5), curves[:1].assign(block=4, mean=1.5)])
    said = depth_alt(bent, measure="m")
    assert said.endswith(
        "A: 1.00 at block 1, lowest 0.500 at block 3, highest 2.00 at block 2, 1.50 at block 4."
    )
    alone = bands(curves[curves["label"] == "A"])
    assert alone == ("One training an arm; 500 held-out images, bands: 95 % bootstrap intervals over images.")
    assert bands(curves[curves["label"] == "B"], marks=DOTS).endswith(
        "bars: 95 % t-intervals over trainings."
    )


def test_claims_keep_their_verdicts() -> None:
    told = claims()
    entries = [words | told["claims"][words["name"]] for words in told["entries"]]
    assert tally(entries) == "4 claims: 1 supported, 1 contradicted, 1 undecided and 1 not tested."
    frame = claim_rows(entries)
    assert "4.31 [4.27, 4.35] px" in frame["difference"].iloc[0]
    assert "−6.1 [−8.0, −4.0] points" in frame["difference"].iloc[1]
    assert frame["difference"].iloc[3] == "–" and "no arm has the objective hybrid</span>" in frame.index[3]
    assert 'class="verdict not-tested"' in frame["verdict"].iloc[3]
    assert frame["against untrained"].tolist() == ["contrastive not told apart, masked below", "–", "–", "–"]
    assert frame["means"].iloc[0].startswith("cl\u00a016.2, mim\u00a011.9")
    assert frame["robust"].tolist() == ["3 of 4 choices agree; 1 undecided", "–", "–", "–"]
    linked = claim_rows(entries, curves={"claim_0": "fig-one"})["robust"]
    assert linked.iloc[0] == '<a href="#fig-one">3 of 4 choices agree; 1 undecided</a>'
    assert linked.iloc[1] == "–"
    assert frame.index[0].startswith('Claim &lt;0&gt; &amp; more.<span class="basis">§2, ')
    assert frame.index[0].endswith("p\u00a0&lt;\u00a00.001; d\u00a0=\u00a02.1</span>")
    grouped = claims_by_question([*entries, entries[0] | {"section": "beyond (us)"}])
    assert {heading: len(own) for heading, own in grouped.items()} == {
        "How do self-attentions behave? (§2)": 4,
        "Beside the main text": 1,
    }
    assert steadiness(entries) == "0 of 1 verdicts are the same under every choice."
    assert steadiness(entries[1:]) == ""
    again = replication_rows(entries)
    assert again.index.tolist() == ["Claim <0> & more. (dino over masked)"]
    assert "undecided" in again["verdict"].iloc[0] and "0.2 [−0.1, 0.5] px" in again["difference"].iloc[0]
    assert len(replication_rows(entries[1:])) == 0
    assert claims_caption(told["rules"]) == (
        "How they were decided: 95 % percentile interval. Holm over 3 tested claims."
    )


def test_how_often_encoders_were_trained() -> None:
    some = study_of({"a": "masked", "b": {"objective": "random", "seeds": [0]}}, labels={"b": "B"})
    assert runs(study_of({"a": "masked"})) == ""
    assert runs(some).startswith("B: trained once.")
    assert runs(study_of({"a": "random"}, seeds=[5])).startswith("Every encoder was trained once.")
    assert trainings_of(study_of({"a": "masked"})) == "mean over 2 trainings with 95 % t-intervals over seeds"
    assert trainings_of(some).endswith("; B: one training, interval over images")
    assert trainings_of(study_of({"a": "masked"}, seeds=[5])).startswith("one training an arm")


def test_paths_of_this_machine_are_cut() -> None:
    assert portable({"a": "/home/me/x.pth", "b": ["~/data", "torch/cifar10"]}) == {
        "a": "x.pth",
        "b": ["data", "torch/cifar10"],
    }


def test_provenance_ignores_runtime_and_follows_content(tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text("1")
    study = load_params(ROOT / "params.yaml")
    threads = study.model_copy(update={"runtime": study.runtime.model_copy(update={"threads": 7})})
    first = provenance(study, inputs=[file])
    assert provenance(threads, inputs=[file]) == first and "runtime" not in first.params
    file.write_text("2")
    assert provenance(study, inputs=[file]).inputs != first.inputs
    other = study.model_copy(update={"seed": 1})
    assert provenance(other, inputs=[file]).params_digest != first.params_digest


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
    assert links[0] == "#summary-same" and links[-1] == "#fourier-title"


def test_a_page_stands_under_the_question_that_it_answers() -> None:
    ask = "".join(question_heading(name) for name in (*QUESTIONS, FURTHER))
    mine = f'<h1>Mine</h1><p>Why a &lt; b.</p><p data-question="components">x</p><h2>Part</h2>{FIGURE}'
    pages = {"mine": page(mine, name="mine", provenance=ORIGIN)}
    html = joined_page(f"<h1>All</h1>{ask}<h2>After</h2>", name="summary", pages=pages, provenance=ORIGIN)
    soup = assert_good_page(html)
    section = soup.find("section", id="mine")
    assert section.find_parent("section").h2.get_text() == "Which components matter? paper §4"
    assert [tag.name for tag in section.find_all(True, recursive=False)] == ["h3", "details", "h4", "figure"]
    assert "Why a < b." in section.details.get_text() and "data-question" not in html
    assert "Further analyses" not in soup.get_text()
    assert soup.find_all("h2")[-1].get_text() == "After"


def test_every_script_and_style_is_allowed_by_its_hash_and_nothing_else() -> None:
    html = "<style>a{}</style><script>let b</script><script>let c</script>"
    said = policy(html)
    assert said.startswith("default-src 'none';") and "unsafe" not in said
    for text in (b"a{}", b"let b", b"let c"):
        assert base64.b64encode(hashlib.sha256(text).digest()).decode() in said
    assert said.count("sha256-") == 3 and "script-src 'none'" in policy("<p></p>")


def test_a_page_needs_one_title() -> None:
    with pytest.raises(ValueError, match="one title"):
        page("<p>nothing</p>", name="x", provenance=ORIGIN)


def test_the_recipe_tells_of_the_objectives_that_an_arm_uses() -> None:
    manifest = {
        "image_size": 32,
        "source": "shapes_textures",
        "splits": {"train": {"images": 10}, "test": {"images": 5}},
        "labels": {"shape": ["a", "b"]},
    }
    study = load_params(ROOT / "params.yaml")
    for objective, told in (
        ("hybrid", {"Contrastive objective", "Masked objective"}),
        ("layered", {"Contrastive objective", "Masked objective"}),
        ("autoencoder", {"Autoencoder objective"}),
        ("random", set()),
    ):
        arms = {"x": Arm(objective=objective, cl_weight=0.2, mim_block=2 if objective == "layered" else None)}
        rows = recipe(study.model_copy(update={"arms": arms}), manifest)
        assert {name for name in rows.index if name.endswith("objective")} == told


def test_an_arm_tells_what_it_sets_even_if_that_is_nothing() -> None:
    arms = {"cl": Arm(objective="contrastive", epochs=300, clip_grad=None), "mim": Arm(objective="masked")}
    study = load_params(ROOT / "params.yaml").model_copy(update={"arms": arms, "labels": {}})
    told = arm_rows(study)["own settings"]
    assert told["cl"] == "epochs 300, clip_grad none" and told["mim"] == "–"
