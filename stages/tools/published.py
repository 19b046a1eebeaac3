"""Write the tables of verdicts in README.md from published results: `python -m stages.tools.published`.

Every folder of reports/published/ with a claims.json is one study. A table stands between the comments
`<!-- table: NAME -->` and `<!-- end -->`; the rest of the file does not change. With --check, nothing is
written, and a table that differs from the results is an error.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.study.command import exit_with
from stages.study.errors import StudyError
from stages.study.paths import read_json, write_text

PUBLISHED = Path("reports/published")
PAGES = (Path("README.md"), PUBLISHED / "README.md")
MAIN = ("headline", "hybrid")
REVERSED = {("supported", "contradicted"), ("contradicted", "supported")}

Study = Mapping[str, Any]


def main() -> None:
    """Read the command line and write or check the tables."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.published", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--check", action="store_true", help="write nothing, and fail if a table is out of date"
    )
    check = parser.parse_args().check
    exit_with("published", lambda: "\n".join(update(page, check=check) for page in PAGES))


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
    """Return the content of claims.json of every published study, by the folder's name."""
    return {path.parent.name: read_json(path) for path in sorted(folder.glob("*/claims.json"))}


def filled(text: str, *, studies: Mapping[str, Study], where: str) -> str:
    """Return a page with all tables rewritten.

    Raises StudyError naming the page if a comment names an unknown table or study.
    """
    tables = {"verdicts": verdicts, "runs": runs}

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
        [entry["statement"].rstrip("."), entry["section"]]
        + [cell(study["claims"].get(entry["name"])) for study in studies.values()]
        for entry in first["entries"]
        if first["claims"][entry["name"]]["family"] in MAIN
    ]
    return markdown(["The paper says", "where", *studies], rows)


def runs(studies: Mapping[str, Study]) -> str:
    """Return all claims in several runs of a study, and the agreement of each run with the first."""
    (first_name, first), *others = studies.items()
    rows = [
        [f"`{name}`", entry["family"]] + [cell(study["claims"].get(name)) for study in studies.values()]
        for name, entry in first["claims"].items()
    ]
    lines = [markdown(["claim", "family", *studies], rows), ""]
    for name, study in others:
        pairs = [
            (entry["verdict"], study["claims"][claim]["verdict"])
            for claim, entry in first["claims"].items()
            if claim in study["claims"]
        ]
        same = sum(one == other for one, other in pairs)
        reversals = sum(pair in REVERSED for pair in pairs)
        lines.append(
            f"- `{name}` against `{first_name}`: {same} of {len(pairs)} verdicts are the same "
            f"({same / len(pairs):.0%}), {reversals} reversed."
        )
    return "\n".join(lines)


def cell(claim: Mapping[str, Any] | None) -> str:
    """Return a verdict with its effect in units of the smallest effect of interest."""
    if claim is None:
        return "–"
    words = str(claim["verdict"]) + (", fragile" if claim.get("fragile") else "")
    if "effect" not in claim or not claim.get("margin"):
        return words
    return f"{words} ({claim['effect'] / claim['margin']:+.1f})".replace("-", "−")


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
