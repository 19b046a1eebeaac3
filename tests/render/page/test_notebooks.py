"""Notebooks are clean, run without the report, and fail without leaving half a report."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from stages.render.page.notebook_run import run_notebook, scrubbed, to_html
from stages.study.errors import StudyError
from stages.study.params import load_params
from tests.render.pages import assert_no_result_by_hand
from tests.render.synthetic import ROOT, make_project

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = [path for path in NOTEBOOKS if path.stem != "explore"]


def write_notebook(path: Path, *cells: str) -> Path:
    """Write a notebook with a parameters cell and these code cells."""
    header = [nbformat.v4.new_code_cell("figures = ''", metadata={"tags": ["parameters"]})]
    notebook = nbformat.v4.new_notebook(cells=header + [nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {"name": "my_laptop_env", "display_name": "mine", "language": "python"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_sources_are_clean(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert len(notebook.cells) <= 10
    assert [cell.id for cell in notebook.cells] == [f"c{place:03d}" for place in range(len(notebook.cells))]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code[0].metadata.tags == ["parameters"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            assert_no_result_by_hand(cell.source)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_table_of_a_figure_has_what_the_figure_draws(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    trees = [ast.parse(cell.source) for cell in cells if cell.cell_type == "code"]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in (call for call in calls if ast.unparse(call.func) == "show"):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert "data" in given or None in given, ast.unparse(call)  # None: **drawing
        assert ("below_one" in " ".join(map(ast.unparse, call.args))) <= (
            "below_one" in given.get("data", "")
        )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_finds_the_project_when_opened_in_jupyter(path: Path) -> None:
    start = nbformat.read(path, as_version=4).cells[2].source
    code = f"{start}\nimport stages.render.words\nassert Path('params.yaml').is_file()"
    assert subprocess.run([sys.executable, "-I", "-c", code], cwd=path.parent).returncode == 0


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[nbformat.NotebookNode]]:
    """Return the outputs of each notebook as Jupyter runs it, from notebooks/ or from the root.

    All run in one kernel, which takes seconds to start; a cell before each makes it as if it were new.
    """
    arms = {"random": {"objective": "random"}, "cl": {"objective": "contrastive"}}
    probes = yaml.safe_load((ROOT / "params.yaml").read_text())["probes"]
    del probes["layerwise"]  # ten seconds of resampling, which the tests of the summary spend
    folder = tmp_path_factory.mktemp("opened")
    project = make_project(folder, images=6, blocks=2, arms=arms, probes=probes)
    paths = sorted((project / "notebooks").glob("*.ipynb"))
    cells, owners = [], []
    for number, path in enumerate(paths):
        start = path.parent if number % 2 else project
        anew = f"%reset -f\nimport os, sys\nos.chdir({str(start)!r})"
        anew += f"\nsys.path = [entry for entry in sys.path if entry != {str(project)!r}]"
        read = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        cells += [nbformat.v4.new_code_cell(anew), *read]
        owners += [None, *[path.stem] * len(read)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    for place, cell in enumerate(cells):
        cell["id"] = f"c{place:03d}"
    NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(project)}}).execute()
    cells_of: dict[str, list[nbformat.NotebookNode]] = {path.stem: [] for path in paths}
    for owner, cell in zip(owners, notebook.cells, strict=True):
        if owner:
            cells_of[owner].append(cell)
    assert not (project / "notebooks" / "reports").exists()
    return cells_of


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_draws_in_jupyter_what_the_report_shows(
    path: Path, shown: dict[str, list[nbformat.NotebookNode]]
) -> None:
    for cell in shown[path.stem]:
        outputs = [output for output in cell.outputs if "data" in output]
        pictures = sum("<svg" in html or "<img" in html for html in map(as_html, outputs))
        assert all(output.output_type == "display_data" for output in outputs), cell.source
        # Neither a figure twice nor the text of an object that a cell ends with.
        assert not any("image/png" in output.data for output in outputs), cell.source
        assert pictures or "show(" not in cell.source or "if " in cell.source, cell.source
    assert any("<figure" in as_html(output) for cell in shown[path.stem] for output in cell.outputs)


def test_explore_shows_a_table_and_plots_it_twice(shown: dict[str, list[nbformat.NotebookNode]]) -> None:
    outputs = [output for cell in shown["explore"] for output in cell.outputs if "data" in output]
    assert "<th>distance</th>" in as_html(outputs[0]) and "<td>Random init</td>" in as_html(outputs[0])
    assert ["image/png" in output.data for output in outputs].count(True) == 2
    assert sum(len(cell.source.splitlines()) for cell in shown["explore"][3:]) <= 5


def as_html(output: nbformat.NotebookNode) -> str:
    """Return the HTML of an output; empty if it has none."""
    return output.get("data", {}).get("text/html", "")


def test_every_analysis_has_a_notebook() -> None:
    names = {path.stem for path in NOTEBOOKS}
    assert names >= {*load_params(ROOT / "params.yaml").analyses, "summary"}


def test_a_failed_notebook_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    source = write_notebook(Path("notebooks/broken.ipynb"), "shown = 1", "def f():\n    return 1 / 0\nf()")
    before = source.read_bytes()
    with pytest.raises(StudyError) as caught:
        run_notebook(source, parameters={"figures": "x"})
    first, *rest = str(caught.value).splitlines()
    assert first.startswith("notebooks/broken.ipynb: cell 3 failed: ZeroDivisionError: division by zero")
    assert "return 1 / 0" in str(caught.value) and "\x1b" not in str(caught.value)
    assert len(rest) <= 6 and rest[-1].endswith("scratch/failed/broken.ipynb")
    saved = nbformat.read("scratch/failed/broken.ipynb", as_version=4)
    assert any(out.output_type == "error" for cell in saved.cells for out in cell.get("outputs", []))
    assert source.read_bytes() == before


def test_warnings_do_not_reach_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    source = write_notebook(
        Path("noisy.ipynb"), "import sys\nprint('a warning', file=sys.stderr)\nprint('a line', figures)"
    )
    notebook = run_notebook(source, parameters={"figures": "here"})
    html = to_html(notebook)
    assert "a warning" not in html and "a line here" in html
    assert "a warning" in capsys.readouterr().err
    assert "papermill" not in notebook.metadata and "start_time" not in nbformat.writes(notebook)
    assert not re.search(r"import sys|In\s*\[|Out\s*\[|parameters =", html)


def test_unknown_parameter_is_refused(tmp_path: Path) -> None:
    source = write_notebook(tmp_path / "some.ipynb")
    with pytest.raises(StudyError, match=r"unknown parameter 'figurs'.*has: figures"):
        run_notebook(source, parameters={"figurs": "x"})


def test_missing_notebook_names_the_others(tmp_path: Path) -> None:
    write_notebook(tmp_path / "some.ipynb")
    with pytest.raises(StudyError, match=r"other\.ipynb: not found; notebooks in this folder: some"):
        run_notebook(tmp_path / "other.ipynb", parameters={})


def test_not_a_notebook(tmp_path: Path) -> None:
    (tmp_path / "text.ipynb").write_text("hello")
    with pytest.raises(StudyError, match="not a valid notebook"):
        run_notebook(tmp_path / "text.ipynb", parameters={})


def test_cell_ids_are_renumbered() -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell("a"), nbformat.v4.new_code_cell("b")]
    )
    assert [cell.id for cell in scrubbed(notebook).cells] == ["c000", "c001"]
