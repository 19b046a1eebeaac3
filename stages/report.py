"""Draw the page of one analysis with its notebook: `python -m stages.report --analysis NAME`."""

import argparse
from pathlib import Path

from stages.render.page.notebook_run import notebook_body, parameters_of
from stages.render.page.provenance import provenance
from stages.render.page.shell import page
from stages.study.command import run
from stages.study.errors import StudyError
from stages.study.params import load_params
from stages.study.paths import analysis_table, writing
from stages.study.words import counted


def main() -> None:
    """Read the command line and draw the page."""
    parser = argparse.ArgumentParser(prog="python -m stages.report", description=__doc__)
    parser.add_argument("--analysis", required=True, help="a name under analyses: in params.yaml")
    chosen = parser.parse_args()
    run(
        f"report@{chosen.analysis}",
        lambda: report(analysis=chosen.analysis),
        writes=page_file(chosen.analysis),
    )


def report(*, analysis: str) -> str:
    """Run the notebook of an analysis, and write its page and its figures together or not at all.

    Raises StudyError if a table or the notebook is missing, or if a cell fails.
    """
    study = load_params(stage="report", analysis=analysis)
    notebook = Path("notebooks") / f"{analysis}.ipynb"
    parameters_of(notebook)  # check the notebook first, because a misspelt analysis has no tables either
    tables = [analysis_table(analysis, arm) for arm in study.arms]
    missing = [str(table) for table in tables if not table.is_file()]
    if missing:
        raise StudyError(
            f"{', '.join(missing)}: not found; `dvc repro report@{analysis}` writes the missing tables"
        )
    html = page_file(analysis)
    with writing(Path("reports/figures") / analysis) as figures:
        figures.mkdir()
        body = notebook_body(notebook, parameters={"figures": str(figures)})
        origin = provenance(study, inputs=[notebook, *tables])
        with writing(html) as file:
            file.write_text(page(body, name=analysis, provenance=origin), encoding="utf-8")
        drawn = len(list(figures.glob("*.png")))
    return f"{counted(drawn, 'figure')} of {counted(len(study.arms), 'arm')}"


def page_file(analysis: str) -> Path:
    """Return the path of the page of one analysis."""
    return Path("reports/pages") / f"{analysis}.html"


if __name__ == "__main__":
    main()
