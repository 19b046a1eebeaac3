"""The stage summary, run as DVC runs it: the whole study in one file that needs nothing else."""

import sys
from pathlib import Path

import pytest
import yaml

from stages.render.page.provenance import Provenance
from stages.render.page.questions import QUESTIONS
from stages.render.page.shell import page
from stages.render.sections.claim_details import FIGURES
from stages.summary import main
from tests.forked import forked
from tests.project import run_in
from tests.render.pages import assert_good_page
from tests.render.synthetic import ROOT, make_project, write_json
from tests.render.synthetic_tables import score

ORIGIN = Provenance(params_digest="abc", params="", inputs=(), versions=())
BODY = """<h1>{title}</h1><p>What it is.</p><h2>First part</h2>
<figure id="fig-one"><div class="card"><img alt="a long enough alternative text" src="data:,"></div>
<figcaption>A caption that is long enough to be one, made of numbers.</figcaption></figure>"""


def outs(project: Path) -> dict[str, bytes]:
    """The outs of the stage and their bytes."""
    files = [project / "reports/index.html", *sorted((project / "reports/figures/summary").iterdir())]
    files += sorted((project / "reports/plots").iterdir())
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with pages of fourier and attention, in this order, one augmented probe, and its summary."""
    analyses = {"fourier": {"images": 24}, "attention": {"images": 24}}
    augmented = yaml.safe_load((ROOT / "params.yaml").read_text())["linear_augmented"] | {"arms": ["cl"]}
    project = make_project(tmp_path_factory.mktemp("summary"), analyses=analyses, linear_augmented=augmented)
    each = {seed: {"labels": {"shape": score(value)}} for seed, value in (("0", 0.767), ("1", 0.787))}
    probed = {"labels": {"shape": score(0.777)}, "protocol": "seen anew", "seeds": each}
    write_json(project / "results/probe/linear_augmented/cl.json", probed)
    (project / "reports/pages").mkdir(parents=True)
    for name in (*analyses, "orphan"):
        question = '<p data-question="attention">x</p>' if name == "attention" else ""
        html = page(BODY.format(title=f"About {name}") + question, name=name, provenance=ORIGIN)
        (project / f"reports/pages/{name}.html").write_text(html)
    done = run_in(project, "python", "-m", "stages.summary")
    assert done.returncode == 0, done.stderr
    assert "4 arms and 2 analyses" in done.stdout
    return project


def test_one_good_file(study: Path) -> None:
    soup = assert_good_page((study / "reports/index.html").read_text())
    entries = [link.get_text() for link in soup.select("nav > ol > li > a")]
    questions = [text for text, _ in QUESTIONS.values()]
    first, last = (
        ["All claims", "Accuracy of probes and fine-tuning"],
        ["Effects during training", "Appendix"],
    )
    assert entries == [*first, *questions, "Further analyses", *last]
    for part, text in zip(soup.select("section.question"), [*questions, "Further analyses"], strict=True):
        head = part.find("h2")
        assert head is not None and head.get_text().startswith(text) and head["id"] == part["aria-labelledby"]
    for name, ids in FIGURES.items():  # every claim leads to a figure, if the study has the arms
        figures = [str(figure["id"]) for figure in soup.find_all("figure")]
        of_summary = [prefix for prefix in ids if prefix.startswith("summary-")]
        drawn_here = [one for one in figures for prefix in of_summary if one.startswith(prefix)]
        assert drawn_here or not of_summary or name == "model_size", name
    where = {
        section["id"]: section.find_parent("section").h2.get_text()
        for section in soup.select("section section")
    }
    assert where == {"attention": f"{questions[0]} paper §2", "fourier": "Further analyses"}
    assert "orphan" not in soup.get_text()
    names = {path.name for path in (study / "reports/figures/summary").iterdir()}
    drawn = [
        "trade-off",
        "layerwise-shape",
        "layerwise-texture",
        "frequency-noise",
        "corruptions",
        "comparison",
    ]
    drawn += ["claims", "losses", "gradients", "choices-claim-0", "segmentation", "lost-blocks"]
    drawn += ["trajectories", "probes", "shape-bias"]
    assert names == {f"{name}.{form}" for name in drawn for form in ("png", "svg", "csv")}


def test_the_banner_and_the_forest_plot_open_it(study: Path) -> None:
    soup = assert_good_page((study / "reports/index.html").read_text())
    opening, rest = soup.main.find_all(True, recursive=False)
    assert soup.header.find_next_sibling(True).find_all(True, recursive=False) == [soup.nav, soup.main]
    assert [tag.name for tag in opening.find_all(True, recursive=False)][:3] == ["h2", "figure", "p"]
    assert "1 supported, 1 contradicted" in opening.p.get_text()
    banner = [text.get_text().replace("\u00a0", " ") for text in soup.select("header .banner p")]
    assert banner[0].startswith("This demonstration compares 4 encoders (1 untrained), each from 1 to 2")
    assert banner[1] == (
        "Verdicts on 4 headline claims of the paper: 1 supported, 1 contradicted and 1 not testable at this "
        "budget; 1 of them only about these encoders, not the methods."
    )
    assert banner[2].startswith("Limit: 1 claim cannot be tested, because MIM")
    assert opening.figure["id"] == "summary-fig-claims" and opening.select_one("picture source") is not None
    assert rest.find("h2").get_text() == "Accuracy of probes and fine-tuning"
    links = [link["href"] for link in soup.select("header .links a")]
    assert links[2] == "#citation" and soup.find(id="citation").name == "details"


def test_claims_are_folded_under_their_question_and_lead_to_their_curve(study: Path) -> None:
    soup = assert_good_page((study / "reports/index.html").read_text())
    folds = soup.select("section.question details.claims details.claim")
    assert [fold["id"] for fold in folds] == [f"claim-claim-{number}" for number in range(6)]
    assert folds[0].find_parent("section").h2.get_text().startswith("How do self-attentions behave?")
    assert [figure["id"] for figure in folds[0].find_all("figure")] == ["summary-fig-choices-claim-0"]
    shown = [
        figure["id"] for figure in soup.select("section.question figure") if not figure.find_parent("details")
    ]
    assert shown[:1] == ["attention-fig-one"] and {"summary-fig-lost-blocks", "summary-fig-gradients"} <= set(
        shown
    )


def test_says_what_the_tables_say(study: Path) -> None:
    soup = assert_good_page((study / "reports/index.html").read_text())
    text = soup.get_text().replace("\u00a0", " ")
    assert "3 headline claims: 1 supported, 1 contradicted and 1 not testable at this budget." in text
    assert "because 1 condition fails (linear probe of mim: +0.3 points" in text
    assert "8,000 training and 2,000 held-out images of 32 × 32 px" in text
    assert "2 unreadable image files" in text and "Claim <0> & more." in text
    assert "few-shot, 1 % of labels (%)" in text
    assert "linear, augmented (%)" in text and "77.7 [65.0, 90.4]" in text and "seen anew" in text
    assert "the probe on shape changes by these points: CL (MoCo v3) +18.7." in text
    assert "59.0 [46.3, 71.7]" in text and "gives 16.55 px" in text and "the linear way" in text
    marks = [mark.get_text() for mark in soup.select(".verdict")]
    verdicts = ["✓ supported", "? undecided", "✗ contradicted", "? undecided", "– not tested"]
    assert marks == [*verdicts, "↑ higher", "– not testable at this budget"]
    assert "3 of 4 choices agree; 1 undecided" in text


def test_the_title_block_and_the_answers_say_the_numbers(study: Path) -> None:
    soup = assert_good_page((study / "reports/index.html").read_text())
    facts = {
        row.dt.get_text(): row.dd.get_text(" ", strip=True) for row in soup.select("header .facts > div")
    }
    assert list(facts) == ["Study", "Data", "Arms", "Compute", "Versions"]
    assert (
        "Hybrid (hybrid, λ = 0.2, one training)" in facts["Arms"].replace("\u00a0", " ")
        and "32,000 images" in facts["Compute"]
    )
    assert "python 3" in facts["Versions"]
    texts = [answer.get_text().replace("\u00a0", " ") for answer in soup.select("p.answer")]
    assert len(texts) == 4
    assert "is longest for Random init, 16.5 [" in texts[0] and "shortest for MIM (SimMIM), 1" in texts[0]
    assert "near the highest frequency is highest for MIM (SimMIM)" in texts[1]
    assert "Best block" in texts[2] and " for a linear probe" in texts[2]
    assert "60.0 [57.8, 62.1] and 59.0 [" in texts[3] and "(linear probe on shape; " in texts[3]
    assert "cosine" in texts[3]


def test_same_inputs_same_bytes_and_runtime_does_not_count(study: Path) -> None:
    before = outs(study)
    params = yaml.safe_load((study / "params.yaml").read_text())
    params["runtime"]["threads"] = 1
    (study / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    assert forked(study, "summary").returncode == 0
    assert outs(study) == before


def test_missing_input_is_one_line_and_changes_nothing(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(study)
    monkeypatch.setattr(sys, "argv", ["summary"])
    before = outs(study)
    Path("results/finetune/cl.json").rename("away.json")
    with pytest.raises(SystemExit) as stopped:
        main()
    Path("away.json").rename("results/finetune/cl.json")
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and len(error.splitlines()) == 1
    assert error.startswith("summary: results/finetune/cl.json: not found")
    assert outs(study) == before
