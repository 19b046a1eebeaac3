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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.render.sections.verdicts import side_of_zero
from stages.study.command import exit_with
from stages.study.errors import StudyError
from stages.study.params import load_params
from stages.study.paths import read_json, write_json, write_text
from stages.tools.overview import PICTURE, overview

PUBLISHED = Path("reports/published")
PAGES = (Path("README.md"), PUBLISHED / "README.md")
MAIN = ("headline", "hybrid")
FAMILIES = (*MAIN, "exploratory", "ours")
UNTESTED = "not test"  # not tested, or not testable at this budget
UNDECIDED = "undecided"
REVERSED = {("supported", "contradicted"), ("contradicted", "supported")}
NARROW = "narrow range"  # in the reason of a margin that follows the range of the arms

Study = Mapping[str, Any]


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

    Raises StudyError if a result is missing.
    """
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
        | {"accuracies": accuracies_of(path.parent), "public": rows_of(path.parent / "public.json")}
        for path in sorted(folder.glob("*/claims.json"))
    }


def accuracies_of(folder: Path) -> list[dict[str, Any]]:
    """Return the accuracies of a published study; none if they were not written."""
    return rows_of(folder / "accuracies.json")


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


def verdicts(studies: Mapping[str, Study]) -> str:
    """Return the headline and hybrid claims, with one row per claim and one column per study."""
    first = next(iter(studies.values()))
    rows = [
        [entry["statement"].rstrip("."), entry["section"], *cells(studies, entry["name"])]
        for entry in first["entries"]
        if first["claims"][entry["name"]]["family"] in MAIN
    ]
    return markdown(["The paper says", "where", *studies], rows)


def runs(studies: Mapping[str, Study]) -> str:
    """Return all claims by family, with one row per claim and one column per run."""
    first = next(iter(studies.values()))
    claims = sorted(first["claims"].items(), key=lambda item: FAMILIES.index(item[1]["family"]))
    statements = {entry["name"]: entry["statement"].rstrip(".") for entry in first["entries"]}
    rows = [
        [f"`{name}`: {statements[name]}", entry["family"], *cells(studies, name)] for name, entry in claims
    ]
    return markdown(["claim", "family", *studies], rows)


def agreement(studies: Mapping[str, Study]) -> str:
    """Return the agreement of each run with the first one, with one row per run.

    Claims that neither run can test do not count as agreement, nor do claims whose main specification
    changed between the runs. Two runs that leave most claims undecided agree on these, so the claims that at
    least one of them decides are counted too.
    """
    (first_name, first), *others = studies.items()
    rows = []
    for name, study in others:
        pairs = {
            claim: (entry["verdict"], study["claims"][claim]["verdict"])
            for claim, entry in first["claims"].items()
            if claim in study["claims"] and frozen(first, claim) == frozen(study, claim)
        }
        tested = [pair for pair in pairs.values() if not all(word.startswith(UNTESTED) for word in pair)]
        decided = [pair for pair in tested if not all(is_open(word) for word in pair)]
        reversals = [f"`{claim}`" for claim, pair in pairs.items() if pair in REVERSED]
        rows.append([f"`{name}`", shares(tested), shares(decided), ", ".join(reversals) or "none"])
    header = ["run", f"same verdict as `{first_name}`", "of the claims that either run decides", "reversed"]
    return markdown(header, rows)


def frozen(study: Study, name: str) -> str:
    """Return the date since which the main specification of a claim is fixed; empty if it is not given."""
    return next((str(entry.get("frozen", "")) for entry in study["entries"] if entry["name"] == name), "")


def is_open(verdict: str) -> bool:
    """Return whether a verdict decides nothing."""
    return verdict == UNDECIDED or verdict.startswith(UNTESTED)


def shares(pairs: Sequence[tuple[str, str]]) -> str:
    """Return how many pairs of verdicts are equal, in words."""
    same = sum(one == other for one, other in pairs)
    return f"{same} of {len(pairs)} ({100 * same / len(pairs):.0f} %)" if pairs else "–"


def accuracy_table(studies: Mapping[str, Study]) -> str:
    """Return the mean accuracies in per cent: one row per arm, one column per evaluation, for each study.

    Raises StudyError if a study has no accuracies.
    """
    parts = []
    for name, study in studies.items():
        rows = require_accuracies(name, study)
        arms, evaluations, sets = (
            list(dict.fromkeys(row[column] for row in rows)) for column in ("label", "evaluation", "labels")
        )
        means = mean_of(rows)
        cells = [[arm, *(means.get((arm, evaluation), "–") for evaluation in evaluations)] for arm in arms]
        trainings = " or ".join(sorted({str(row["trainings"]) for row in rows}))
        labels = f"{' / '.join(sets)} labels; " if len(sets) > 1 else ""
        parts.append(
            f"{markdown(['arm', *evaluations], cells)}\n\n`{name}`: accuracy in %; {labels}means over "
            f"{trainings} trainings of each arm."
        )
    return "\n\n".join(parts)


def require_accuracies(name: str, study: Study) -> list[dict[str, Any]]:
    """Return the accuracies of a study.

    Raises StudyError if there are none.
    """
    rows: list[dict[str, Any]] = study["accuracies"]
    if not rows:
        path = PUBLISHED / name / "accuracies.json"
        raise StudyError(f"{path}: not found; write it with --accuracies {name}")
    return rows


def mean_of(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """Return the mean accuracies in per cent by arm and evaluation; label sets share a cell."""
    cells: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        cells.setdefault((row["label"], row["evaluation"]), []).append(f"{100 * float(row['mean']):.1f}")
    return {key: " / ".join(means) for key, means in cells.items()}


def public_table(studies: Mapping[str, Study]) -> str:
    """Return the accuracies that other authors published, in per cent, above those of each study.

    Raises StudyError if a study has no accuracies.
    """
    columns = ("knn", "linear", "fine-tuned")
    lines = []
    for name, study in studies.items():
        for row in study["public"]:
            numbers = [f"{row[column]:.1f}" if column in row else "–" for column in columns]
            lines.append([f"[{row['study']}]({row['address']})", row["arm"], *numbers])
        means = mean_of(require_accuracies(name, study))
        for arm in dict.fromkeys(arm for arm, _ in means):
            lines.append([f"`{name}`", arm, *(means.get((arm, column), "–") for column in columns)])
    return markdown(["study", "arm", *columns], lines)


def cells(studies: Mapping[str, Study], name: str) -> list[str]:
    """Return the cells of one claim, one per study; ‡ marks a main specification that later changed."""
    last = max(frozen(study, name) for study in studies.values())
    return [
        cell_of(study, name) + (" ‡" if "" < frozen(study, name) < last else "") for study in studies.values()
    ]


def cell_of(study: Study, name: str) -> str:
    """Return the cell of one claim in one study, see `cell`."""
    reasons = [str(entry.get("margin_reason", "")) for entry in study["entries"] if entry["name"] == name]
    return cell(study["claims"].get(name), narrow=any(NARROW in reason for reason in reasons))


def cell(claim: Mapping[str, Any] | None, *, narrow: bool = False) -> str:
    """Return a verdict with its effect in units of the smallest effect of interest.

    narrow: the unit is a share of the range of the study's arms; marks the effect with a dagger
    """
    if claim is None:
        return "–"
    words = ", ".join(
        word
        for word in (str(claim["verdict"]), side_of_zero(claim), "fragile" if claim.get("fragile") else "")
        if word
    )
    if "effect" not in claim or not claim.get("margin"):
        return words
    effect = f"{claim['effect'] / claim['margin']:+.1f}".replace("-", "−")
    return f"{words} ({effect}{' †' if narrow else ''})"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
