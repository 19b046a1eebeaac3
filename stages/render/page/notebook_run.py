"""Run a notebook and convert its output into HTML with the same bytes every time."""

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
PATIENCE = 600  # seconds in which a kernel must start; a cold network file system takes minutes


def notebook_body(source: Path, *, parameters: dict[str, Any]) -> str:
    """Run a notebook in the root of the project and return its text and outputs as HTML, without its code.

    parameters: values for the cell tagged `parameters`
    Raises StudyError if the notebook or a parameter does not exist, or if a cell fails. After a failure,
    scratch/failed/ holds the notebook with its outputs up to that cell.
    """
    return to_html(run_notebook(source, parameters=parameters))


def run_notebook(source: Path, *, parameters: dict[str, Any]) -> nbformat.NotebookNode:
    """Run a notebook and return it with its outputs, without any trace of the time, the machine or the run.

    Raises StudyError as `notebook_body` does.
    """
    known = parameters_of(source)
    for name in set(parameters) - set(known):  # papermill would only warn
        names = ", ".join(known) or "none"
        raise StudyError(f"{source}: unknown parameter {name!r}; its cell tagged `parameters` has: {names}")
    failed = scratch() / "failed" / source.name
    with tempfile.TemporaryDirectory() as folder, this_python_as_kernel(Path(folder)):
        executed = Path(folder) / source.name
        try:
            notebook = papermill.execute_notebook(
                source,
                executed,
                parameters=parameters,
                kernel_name="python3",  # not the kernel that the notebook was last opened with
                cwd=".",
                record_timing=False,
                progress_bar=False,
                start_timeout=PATIENCE,
                extra_arguments=["--log-level=CRITICAL"],  # silences the kernel, not the notebook
            )
        except (PapermillException, DeadKernelError, RuntimeError) as error:  # the last: no kernel in time
            failed.parent.mkdir(parents=True, exist_ok=True)
            if executed.exists():
                shutil.move(executed, failed)
            raise StudyError(
                f"{_what_failed(source, error)}\n  the notebook up to this cell: {failed}"
            ) from None
    failed.unlink(missing_ok=True)
    return scrubbed(notebook)


@contextmanager
def this_python_as_kernel(folder: Path) -> Iterator[None]:
    """Make the running Python the kernel `python3`, whatever other kernel is installed under this name.

    folder: for the description of the kernel; JUPYTER_PATH takes precedence over user and system folders
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
    """Return the names of the parameters of a notebook.

    Raises StudyError if the notebook does not exist or cannot be read.
    """
    if not source.is_file():
        names = ", ".join(sorted(path.stem for path in source.parent.glob("*.ipynb"))) or "none"
        raise StudyError(f"{source}: not found; notebooks in this folder: {names}")
    try:
        return list(papermill.inspect_notebook(source))
    except (nbformat.ValidationError, ValueError, KeyError) as error:
        raise StudyError(f"{source}: not a valid notebook: {error}") from None


def scrubbed(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a notebook without run times, random cell ids and warnings; warnings go to stderr."""
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
    """Return a notebook as HTML; `basic` is the only template of nbconvert that fetches nothing."""
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
    """Return one line with the cell and the error, then the last lines of the traceback."""
    if not isinstance(error, PapermillExecutionError):
        return f"{source}: {type(error).__name__}: {str(error).strip().splitlines()[0]}"
    traceback = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback)).splitlines()
    lines = [line for line in traceback if line.strip(" -") and not line.endswith("(most recent call last)")]
    head = f"{source}: cell {error.cell_index} failed: {error.ename}: {error.evalue}"
    return "\n".join([head, *(f"    {line}" for line in lines[-SHOWN_LINES:])])
