"""Running a notebook and turning what it showed into HTML, the same bytes every time."""

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillException, PapermillExecutionError

from stages.study.errors import StudyError
from stages.study.paths import scratch

SHOWN_LINES = 5


def notebook_body(source: Path, *, parameters: dict[str, Any]) -> str:
    """Run a notebook from the root of the project and give what it shows as HTML, without its code.

    parameters: values for the cell tagged `parameters`
    Raises StudyError if there is no such notebook or parameter, or if a cell fails; then the notebook as far
    as it came is kept in scratch/failed/.
    """
    return to_html(run_notebook(source, parameters=parameters))


def run_notebook(source: Path, *, parameters: dict[str, Any]) -> nbformat.NotebookNode:
    """Run a notebook and give it back with its outputs and nothing of the time, the machine or the run.

    Raises StudyError as `notebook_body` does.
    """
    known = parameters_of(source)
    for name in set(parameters) - set(known):  # papermill would only warn
        there = ", ".join(known) or "none"
        raise StudyError(f"{source}: unknown parameter {name!r}; its cell tagged `parameters` has: {there}")
    failed = scratch() / "failed" / source.name
    with tempfile.TemporaryDirectory() as folder, this_python_as_kernel(Path(folder)):
        executed = Path(folder) / source.name
        try:
            notebook = papermill.execute_notebook(
                source,
                executed,
                parameters=parameters,
                kernel_name="python3",  # whatever the notebook was last opened with
                cwd=".",
                record_timing=False,
                progress_bar=False,
                extra_arguments=["--log-level=CRITICAL"],  # of the kernel's own log, not of the notebook
            )
        except (PapermillException, DeadKernelError) as error:
            failed.parent.mkdir(parents=True, exist_ok=True)
            if executed.exists():
                shutil.move(executed, failed)
            raise StudyError(f"{_what_failed(source, error)}\n  as far as it came: {failed}") from None
    failed.unlink(missing_ok=True)
    return scrubbed(notebook)


@contextmanager
def this_python_as_kernel(folder: Path) -> Iterator[None]:
    """Let the kernel `python3` be the Python that runs, whatever others are installed under this name.

    folder: for the description of the kernel; places in JUPYTER_PATH come before those of user and system
    """
    words = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": words, "display_name": "Python 3", "language": "python"}
    target = folder / "kernels/python3/kernel.json"
    target.parent.mkdir(parents=True)
    target.write_text(json.dumps(spec), encoding="utf-8")
    before = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = os.pathsep.join([f"{folder}", *([before] if before else [])])
    try:
        yield
    finally:
        if before is None:
            del os.environ["JUPYTER_PATH"]
        else:
            os.environ["JUPYTER_PATH"] = before


def parameters_of(source: Path) -> list[str]:
    """Names of the parameters of a notebook.

    Raises StudyError if there is no such notebook or it cannot be read.
    """
    if not source.is_file():
        there = ", ".join(sorted(path.stem for path in source.parent.glob("*.ipynb"))) or "none"
        raise StudyError(f"{source}: not found; notebooks there: {there}")
    try:
        return list(papermill.inspect_notebook(source))
    except (nbformat.ValidationError, ValueError, KeyError) as error:
        raise StudyError(f"{source}: not a notebook that can be run: {error}") from None


def scrubbed(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without run times, random cell ids and warnings; warnings go to our stderr instead."""
    notebook.metadata.pop("papermill", None)
    for place, cell in enumerate(notebook.cells):
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        cell["id"] = f"c{place:03d}"
        outputs = cell.get("outputs", [])
        for output in outputs:
            if output.get("name") == "stderr":
                print(output["text"], end="", file=sys.stderr)
        if outputs:
            cell["outputs"] = [output for output in outputs if output.get("name") != "stderr"]
    return notebook


def to_html(notebook: nbformat.NotebookNode) -> str:
    """Text and outputs of a notebook as HTML; `basic` is the one template of nbconvert that loads nothing."""
    exporter = HTMLExporter(
        template_name="basic",
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        embed_images=True,
    )
    body, _ = exporter.from_notebook_node(notebook)
    return body


def _what_failed(source: Path, error: Exception) -> str:
    """One line with the cell and the error, then the last lines of the traceback."""
    if not isinstance(error, PapermillExecutionError):
        return f"{source}: {type(error).__name__}: {str(error).strip().splitlines()[0]}"
    traceback = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback)).splitlines()
    told = [line for line in traceback if line.strip(" -") and not line.endswith("(most recent call last)")]
    head = f"{source}: cell {error.cell_index} failed: {error.ename}: {error.evalue}"
    return "\n".join([head, *(f"    {line}" for line in told[-SHOWN_LINES:])])
