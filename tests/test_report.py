"""The stage report, run as DVC runs it: stable bytes, only the named arms, both outs or neither."""

import base64
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from stages.report import main
from tests.forked import Done, forked
from tests.project import run_in
from tests.render.pages import assert_good_page
from tests.render.synthetic import ROOT, make_project, write_arm

PAGE = Path("reports/pages/attention.html")
FIGURES = Path("reports/figures/attention")


def report(project: Path, analysis: str) -> Done:
    """Run the stage in a project."""
    return forked(project, "report", "--analysis", analysis)


def outs(project: Path) -> dict[str, bytes]:
    """All files of the report and their bytes."""
    files = sorted(path for path in (project / "reports").rglob("*") if path.is_file())
    return {str(path.relative_to(project)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose arm mim was removed, its tables left behind; with the attention page drawn."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    arms, labels = params["arms"], params["labels"]
    del arms["mim"], labels["mim"]
    project = make_project(tmp_path_factory.mktemp("report"), arms=arms, labels=labels)
    write_arm(project, "mim", "masked", number=7)
    done = run_in(project, "python", "-m", "stages.report", "--analysis", "attention")
    assert done.returncode == 0, done.stderr
    assert "6 figures of 3 arms" in done.stdout
    return project


def test_page_is_good(drawn: Path) -> None:
    soup = assert_good_page((drawn / PAGE).read_text())
    text = soup.get_text()
    for label in ("Random init", "CL (MoCo v3)", "Hybrid"):
        assert text.count(label) > 3
    assert len(soup.find_all("figure")) == 6
    assert "results/analysis/attention/cl.csv" in text and "arms:" in text and "MathJax" not in str(soup)
    for figure in soup.find_all("figure"):
        name = str(figure["id"]).removeprefix("attention-fig-")
        assert all((drawn / FIGURES / f"{name}.{form}").is_file() for form in ("png", "svg", "csv"))
        data = figure.select_one("a[download]")
        assert data is not None and data["download"] == f"{name}.csv"
        content = (drawn / FIGURES / f"{name}.csv").read_bytes()
        assert base64.b64decode(str(data["href"]).partition(",")[2]) == content and b"Hybrid" in content
    assert len(list((drawn / FIGURES).iterdir())) == 18


def test_removed_arm_disappears(drawn: Path) -> None:
    soup = assert_good_page((drawn / PAGE).read_text())
    assert "MIM (SimMIM)" not in str(soup) and "mim.csv" not in soup.get_text()


def test_same_inputs_same_bytes_whatever_else_lies_there(drawn: Path) -> None:
    before = outs(drawn)
    (drawn / "results/analysis/attention/mim.csv").unlink()
    done = report(drawn, "attention")
    assert done.returncode == 0, done.stderr
    assert outs(drawn) == before


def test_fourier_page_is_good(drawn: Path) -> None:
    done = report(drawn, "fourier")
    assert done.returncode == 0, done.stderr
    soup = assert_good_page((drawn / "reports/pages/fourier.html").read_text())
    assert len(soup.find_all("figure")) == 2 and "0.75\u00a0π" in soup.get_text()


def test_singular_values_page_is_good(drawn: Path) -> None:
    done = report(drawn, "singular_values")
    assert done.returncode == 0, done.stderr
    soup = assert_good_page((drawn / "reports/pages/singular_values.html").read_text())
    assert len(soup.find_all("figure")) == 4 and "1/9: they move independently" in soup.get_text()


@pytest.mark.parametrize(
    ("analysis", "figures", "words"),
    [("attention_maps", 3, "A cross marks the query"), ("token_embedding", 2, "silhouette")],
)
def test_pages_of_maps_and_of_tokens_are_good(drawn: Path, analysis: str, figures: int, words: str) -> None:
    done = report(drawn, analysis)
    assert done.returncode == 0, done.stderr
    soup = assert_good_page((drawn / f"reports/pages/{analysis}.html").read_text())
    assert len(soup.find_all("figure")) == figures and words in soup.get_text()


def test_failure_leaves_neither_out(drawn: Path) -> None:
    before = outs(drawn)
    path = drawn / "notebooks/broken.ipynb"
    notebook = nbformat.read(drawn / "notebooks/attention.ipynb", as_version=4)
    notebook.cells[2].source = "open(f'{figures}/half.png', 'w').close()\nraise RuntimeError('on purpose')"
    nbformat.write(notebook, path)
    shutil.copytree(drawn / "results/analysis/attention", drawn / "results/analysis/broken")
    done = report(drawn, "broken")
    assert done.returncode == 2
    first, *rest = done.stderr.splitlines()
    assert first.startswith("report@broken: notebooks/broken.ipynb: cell ") and "on purpose" in first
    assert rest[-1].endswith("scratch/failed/broken.ipynb") and "Traceback (most recent" not in done.stderr
    assert (drawn / "scratch/failed/broken.ipynb").is_file()
    assert outs(drawn) == before


def test_missing_table_is_one_line(
    drawn: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(drawn)
    monkeypatch.setattr(sys, "argv", ["report", "--analysis", "attention"])
    Path("results/analysis/attention/cl.csv").rename("away.csv")
    before = outs(drawn)
    with pytest.raises(SystemExit) as stopped:
        main()
    Path("away.csv").rename("results/analysis/attention/cl.csv")
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and len(error.splitlines()) == 1
    assert error.startswith("report@attention: results/analysis/attention/cl.csv: not found")
    assert outs(drawn) == before


def test_unknown_analysis_is_refused(
    drawn: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(drawn)
    monkeypatch.setattr(sys, "argv", ["report", "--analysis", "colour"])
    with pytest.raises(SystemExit) as stopped:
        main()
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and len(error.splitlines()) == 1
    assert "colour" in error and "attention" in error
