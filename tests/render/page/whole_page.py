"""A report with all parts of a page, for tests in a browser."""

import contextlib
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from stages.render.figures.depth import depth_alt, depth_caption, depth_figure
from stages.render.figures.style import palette
from stages.render.page.explorer import explorer
from stages.render.page.figure_card import drawn
from stages.render.page.html_table import folded, table
from stages.render.page.joining import joined_page
from stages.render.page.provenance import Provenance
from stages.render.page.questions import QUESTIONS, question_heading
from stages.render.page.shell import page
from stages.render.sections.claim_details import claim_details
from stages.render.sections.title import title_block
from stages.study.params import load_params
from tests.render.synthetic import ROOT, write_study
from tests.render.synthetic_claims import manifest

EXPLORER = "document.querySelector('.explorer')"
CHOICES = f"{EXPLORER}.querySelector('.result').textContent"
READY = f"document.readyState === 'complete' && {EXPLORER} !== null && {CHOICES} !== ''"


@cache
def report() -> str:
    """Return a report with all parts of a page: facts, questions, sections, figures, tables, folds."""
    study = load_params(ROOT / "params.yaml")
    inks = palette(study)
    blocks = [1, 2, 3, 4]
    curves = pd.DataFrame(
        [
            (label, block, block / 4, block + place, block + place - 0.2, block + place + 0.2, 1, 500)
            for place, label in enumerate(inks)
            for block in blocks
        ],
        columns=["label", "block", "depth", "mean", "low", "high", "trainings", "images"],
    )

    def figure(name: str) -> str:
        return drawn(
            depth_figure(curves, inks=inks, ylabel="measure"),
            name=name,
            alt=depth_alt(curves, measure="the measure"),
            caption=depth_caption(curves, measure=f"The measure {name}."),
            data=curves,
            narrow=depth_figure(curves, inks=inks, ylabel="measure") if name == "folded" else None,
        )

    numbers = pd.DataFrame({f"a long heading {n}": [1.5, 2.5] for n in range(9)})
    wide = table(numbers, caption="A wide table")
    origin = Provenance(params_digest="abc", params="seed: 0\n" + "x" * 300, inputs=(("a.csv", "12"),),
                        versions=(("python", "3"),))  # fmt: skip
    with TemporaryDirectory() as folder, contextlib.chdir(folder):
        around = str(explorer(write_study(Path(folder), study), words="Pick a query."))
    pages = {
        name: f"<h1>About {name}</h1>{marker}<p>Why.</p><h2>Part</h2>{figure('one')}{fold}"
        + (around if marker else "")
        for name, marker in (("attention", '<p data-question="attention">x</p>'), ("own", ""))
        for fold in [folded("In numbers", table(numbers, caption=f"Numbers of {name}"))]
    }
    questions = "".join(question_heading(name) + '<p class="answer">It rises.</p>' for name in QUESTIONS)
    claim = {"name": "one_claim", "statement": "CL attends far.", "verdict": "supported", "effect": 0.2,
             "low": 0.1, "high": 0.3, "unit": "px", "scope": "methods"}  # fmt: skip
    inner = claim_details(claim)
    body = (
        f"<h1>Results</h1>{title_block(study, manifest(), inks=inks)}<p>About.</p>"
        f"<h2>Verdicts</h2>{wide}{folded('Choices', figure('folded'))}"
        f"{folded('Claims', inner)}{questions}"
    )
    finished = {name: page(html, name=name, provenance=origin) for name, html in pages.items()}
    return joined_page(body, name="summary", pages=finished, provenance=origin)
