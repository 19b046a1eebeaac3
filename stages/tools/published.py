"""Write the tables and the figure of README.md from published results: `python -m stages.tools.published`.

Every folder of reports/published/ with a claims.json is one study. A table stands between the comments
`<!-- table: KIND STUDY... -->` and `<!-- end -->`; the rest of the file does not change. With --check, the
command writes nothing, and a table or figure that differs from the results is an error.

`--accuracies NAME` first writes reports/published/NAME/accuracies.json from the results of a finished study,
by default of this project. reports/published/NAME/public.json, written by hand, has numbers of other authors
to compare with.
"""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.study.command import exit_with
from stages.study.errors import StudyError
from stages.study.params import load_params
from stages.study.paths import read_json, write_json, write_text
from stages.tools.overview import PICTURE, overview
from stages.tools.published_tables import (
    PUBLISHED,
    Study,
    accuracy_table,
    agreement,
    public_table,
    reruns,
    runs,
    verdicts,
)

PAGES = (Path("README.md"), PUBLISHED / "README.md")


def main() -> None:
    """Read the command line and write or check the tables."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.published", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--check", action="store_true", help="write nothing, and fail if a table is out of date"
    )
    parser.add_argument("--accuracies", metavar="NAME", help="write the accuracies of this published study")
    parser.add_argument(
        "--project", type=Path, default=Path(), help="folder of the finished study (default: this one)"
    )
    options = parser.parse_args()
    if options.check and options.accuracies:
        parser.error("--check writes nothing, so it excludes --accuracies")

    def work() -> str:
        if options.accuracies:
            write_accuracies(PUBLISHED / options.accuracies, project=options.project)
        lines = [update(page, check=options.check) for page in PAGES]
        if not (line := overview(PUBLISHED, check=options.check)):
            raise StudyError(
                f"{PUBLISHED / PICTURE}: differs from the claims; run `python -m stages.tools.published`"
            )
        return "\n".join([*lines, line])

    exit_with("published", work)


def write_accuracies(folder: Path, *, project: Path) -> None:
    """Write the accuracies of a finished study as accuracies.json into a folder.

    Raises StudyError if the folder has no claims, or if a result is missing.
    """
    if not (folder / "claims.json").is_file():
        raise StudyError(
            f"{folder}/claims.json: not found; copy results/claims.json of the study there first"
        )
    from stages.results.accuracies import accuracies  # pandas takes seconds
    from stages.results.study_results import Results

    study = load_params(project / "params.yaml")
    probes = [name for name, settings in study.probes if settings is not None]
    table = accuracies(Results(study, project), probes=probes, augmented=study.linear_augmented.arms)
    columns = ["label", "evaluation", "labels", "mean", "low", "high", "trainings"]
    write_json(folder / "accuracies.json", table[columns].to_dict("records"))


def update(page: Path, *, check: bool) -> str:
    """Replace the tables of one page.

    Raises StudyError if the name of a table is unknown, or if `check` is set and a table is out of date.
    """
    text = page.read_text(encoding="utf-8")
    new = filled(text, studies=studies(PUBLISHED), where=str(page))
    if new == text:
        return f"{page}: tables agree with the published results"
    if check:
        raise StudyError(f"{page}: a table differs from {PUBLISHED}; run `python -m stages.tools.published`")
    write_text(page, new)
    return f"{page}: tables written"


def studies(folder: Path) -> dict[str, Study]:
    """Return the published studies by name: the content of claims.json, accuracies.json and public.json."""
    return {
        path.parent.name: read_json(path)
        | {name: rows_of(path.parent / f"{name}.json") for name in ("accuracies", "public")}
        for path in sorted(folder.glob("*/claims.json"))
    }


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSON file; none if there is no file."""
    rows: list[dict[str, Any]] = read_json(path) if path.is_file() else []
    return rows


def filled(text: str, *, studies: Mapping[str, Study], where: str) -> str:
    """Return a page with all tables rewritten.

    Raises StudyError naming the page if a comment names an unknown table or study.
    """
    tables = {
        "verdicts": verdicts,
        "runs": runs,
        "agreement": agreement,
        "reruns": reruns,
        "accuracies": accuracy_table,
        "public": public_table,
    }

    def table(match: re.Match[str]) -> str:
        name, *columns = match["name"].split()
        if name not in tables:
            raise StudyError(f"{where}: no table {name!r}; there are: {', '.join(tables)}")
        missing = [column for column in columns if column not in studies]
        if missing:
            raise StudyError(f"{where}: table {name}: {PUBLISHED} has no study {missing[0]!r}")
        content = tables[name]({column: studies[column] for column in columns})
        return f"<!-- table: {match['name']} -->\n{content}\n<!-- end -->"

    return re.sub(r"<!-- table: (?P<name>[^>]*?) -->.*?<!-- end -->", table, text, flags=re.DOTALL)


if __name__ == "__main__":
    main()
