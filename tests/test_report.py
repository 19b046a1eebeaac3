"""The stage report, run as DVC runs it: stable bytes, only the named arms, both outs or neither."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from tests.render.pages import assert_good_page
from tests.render.synthetic import make_project, write_arm

PAGE = Path("reports/pages/attention.html")
FIGURES = Path("reports/figures/attention")


def report(project: Path, analysis: str) -> subprocess.CompletedProcess[str]:
    """Run the stage in a project."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    return subprocess.run(
        [sys.executable, "-m", "stages.report", "--analysis", analysis],
        cwd=project,
        env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def outs(project: Path) -> dict[str, bytes]:
    """All files of the report and their bytes."""
    files = sorted(path for path in (project / "reports").rglob("*") if path.is_file())
    return {str(path.relative_to(project)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the attention page drawn."""
    project = make_project(tmp_path_factory.mktemp("report"))
    done = report(project, "attention")
    assert done.returncode == 0, done.stderr
    assert "4 figures of 4 arms" in done.stdout
    return project


def test_page_is_good(drawn: Path) -> None:
    soup = assert_good_page((drawn / PAGE).read_text())
    text = soup.get_text()
    for label in ("Random init", "CL (MoCo v3)", "MIM (SimMIM)", "Hybrid"):
        assert text.count(label) > 3
    assert len(soup.find_all("figure")) == 4
    assert "results/analysis/attention/cl.csv" in text and "arms:" in text and "MathJax" not in str(soup)
    for figure in soup.find_all("figure"):
        name = str(figure["id"]).removeprefix("attention-fig-")
        assert (drawn / FIGURES / f"{name}.png").is_file() and (drawn / FIGURES / f"{name}.svg").is_file()
    assert len(list((drawn / FIGURES).iterdir())) == 8


def test_same_inputs_same_bytes_whatever_else_lies_there(drawn: Path) -> None:
    before = outs(drawn)
    write_arm(drawn, "orphan", "masked", seed=7)
    done = report(drawn, "attention")
    assert done.returncode == 0, done.stderr
    assert outs(drawn) == before


def test_failure_leaves_neither_out(drawn: Path) -> None:
    before = outs(drawn)
    path = drawn / "notebooks/fourier.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[2].source = "open(f'{figures}/half.png', 'w').close()\nraise RuntimeError('on purpose')"
    nbformat.write(notebook, path)
    done = report(drawn, "fourier")
    assert done.returncode == 2
    first, *rest = done.stderr.splitlines()
    assert first.startswith("report@fourier: notebooks/fourier.ipynb: cell ") and "on purpose" in first
    assert rest[-1].endswith("scratch/failed/fourier.ipynb") and "Traceback (most recent" not in done.stderr
    assert (drawn / "scratch/failed/fourier.ipynb").is_file()
    assert outs(drawn) == before
    assert not [path for path in (drawn / "reports").rglob("*.part")]


def test_removed_arm_disappears_and_missing_tables_are_named(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    params = yaml.safe_load((project / "params.yaml").read_text())
    del params["arms"]["mim"]
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    assert report(project, "fourier").returncode == 0
    html = (project / "reports/pages/fourier.html").read_text()
    assert "CL (MoCo v3)" in html and "MIM (SimMIM)" not in html and "fourier/mim.csv" not in html
    assert_good_page(html)

    (project / "results/analysis/fourier/cl.csv").unlink()
    before = outs(project)
    done = report(project, "fourier")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("report@fourier: results/analysis/fourier/cl.csv: not found")
    assert outs(project) == before


def test_unknown_analysis_is_refused(drawn: Path) -> None:
    done = report(drawn, "colour")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "colour" in done.stderr and "attention" in done.stderr
