"""A new analysis is one file, one notebook and one line in params.yaml."""

from pathlib import Path

import nbformat
import torch
import yaml

from stages.analyze import size_of
from stages.check import check
from stages.encoders.architecture import build_encoder
from stages.encoders.vit import trace_deeply
from stages.study.params import load_params
from tests.forked import forked
from tests.project import as_dvc_repository, copy_project, run_in
from tests.render.pages import assert_good_page

ANALYSIS = '''
"""How long the patch tokens are."""

import pandas as pd

from stages.analyses.contract import Analysis


def measure(traces, *, settings, patch_size, split):
    """Mean length of the patch tokens of every image after every block."""
    for images, trace in traces:
        for block, tokens in enumerate(trace.tokens):
            length = tokens[:, trace.num_prefix_tokens :].norm(dim=-1).mean(dim=-1) * settings.scale
            yield pd.DataFrame({"image": images.numpy(), "block": block, "length": length.cpu().numpy()})


ANALYSIS = Analysis(measure)
'''
LINE = "  token_length: {images: 12, scale: 0.5}\n"
DRAWING = """
from stages.render.figures.depth import depth_alt, depth_caption, depth_figure
from stages.render.figures.style import palette
from stages.render.page.figure_card import show
from stages.render.page.notebook_output import heading
from stages.results.analysis_curves import block_curves
from stages.results.study_results import Results
from stages.study.params import load_params

results = Results(load_params(stage="report", analysis="token_length"))
curves = block_curves(results, analysis="token_length", measure="length")
heading("Length, block by block")
show(
    depth_figure(curves, inks=palette(results.study), ylabel="length"),
    name="length",
    alt=depth_alt(curves, measure="length of the patch tokens"),
    caption=depth_caption(curves, measure="Length of the patch tokens."),
    folder=figures,
)
"""


def write_notebook(path: Path) -> None:
    """A notebook as short as one can be."""
    parameters = nbformat.v4.new_code_cell('figures = ""')
    parameters.metadata["tags"] = ["parameters"]
    cells = [nbformat.v4.new_markdown_cell("# How long tokens are"), parameters]
    notebook = nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_code_cell(DRAWING)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


def test_a_file_a_notebook_and_a_line_are_all_that_it_takes(tmp_path, monkeypatch):
    project = copy_project(tmp_path / "project")
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["arms"] = {"random": params["arms"]["random"]}  # one arm is enough to draw
    params["analyses"] = {"fourier": params["analyses"]["fourier"]}
    # So that the line can stand at the end.
    ordered = {name: params[name] for name in params if name != "analyses"} | {"analyses": params["analyses"]}
    (project / "params.yaml").write_text(yaml.safe_dump(ordered, sort_keys=False))
    as_dvc_repository(project)
    (project / "stages/analyses/token_length.py").write_text(ANALYSIS)
    write_notebook(project / "notebooks/token_length.ipynb")
    with (project / "params.yaml").open("a") as file:
        file.write(LINE)

    listed = run_in(project, "dvc", "stage", "list", "--name-only").stdout.split()
    ours = {"analyze@random-token_length", "report@token_length"}
    assert {name for name in listed if "token_length" in name} == ours and len(listed) > 10
    monkeypatch.chdir(project)
    assert check() == ""
    output = ""
    for words in (
        ("prepare",),
        ("pretrain", "--arm", "random"),
        ("analyze", "--arm", "random", "--analysis", "token_length"),
        ("report", "--analysis", "token_length"),
    ):
        done = forked(project, *words, own_code=True)
        assert done.returncode == 0, done.stderr
        output += done.stdout
    assert "36 values of 12 images · results/analysis/token_length/random.csv" in output
    assert "1 figure of 1 arm · reports/pages/token_length.html" in output
    page = assert_good_page((project / "reports/pages/token_length.html").read_text())
    assert "Length of the patch tokens. " in page.text and len(page.find_all("figure")) == 1
    assert (project / "reports/figures/token_length/length.png").is_file()


def test_the_size_of_a_trace_counts_all_that_is_in_memory_at_once():
    vit = load_params().vit
    images, tokens = 3, 1 + (32 // vit.patch_size) ** 2
    traced = trace_deeply(build_encoder(vit=vit, image_size=32, seed=0), torch.zeros(images, 3, 32, 32))
    attention = vit.depth * vit.heads * tokens**2
    rows = (3 * vit.depth + 1) * tokens * vit.width  # after the embedding; of each block inside and after
    assert size_of(traced) == 4 * images * (attention + rows)
    more = traced._replace(decoded=[torch.zeros(3, 5, 7)])
    assert size_of(more) == size_of(traced) + 4 * 3 * 5 * 7
