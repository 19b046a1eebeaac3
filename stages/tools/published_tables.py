"""The Markdown tables that compare published studies, from claims.json, accuracies.json and public.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.render.figures.forest_rows import by_seed, deciding_sides
from stages.render.sections.verdicts import side_of_zero
from stages.study.errors import StudyError

PUBLISHED = Path("reports/published")
MAIN = ("headline", "hybrid")
FAMILIES = (*MAIN, "exploratory", "ours")
UNTESTED = "not test"  # not tested, or not testable at this budget
UNDECIDED = "undecided"
OPPOSITES = ({"supported", "contradicted"}, {"higher", "lower"})
NARROW = "narrow range"  # in the reason of a margin that follows the range of the arms

Study = Mapping[str, Any]


def verdicts(studies: Mapping[str, Study]) -> str:
    """Return the headline and hybrid claims, with one row per claim and one column per study."""
    first = next(iter(studies.values()))
    rows = [
        [entry["statement"].rstrip("."), entry["section"], *cells(studies, entry["name"])]
        for entry in first["entries"]
        if first["claims"][entry["name"]]["family"] in MAIN
    ]
    return markdown(["claim", "where", *studies], rows)


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
        reversals = [f"`{claim}`" for claim, pair in pairs.items() if set(pair) in OPPOSITES]
        rows.append([f"`{name}`", shares(tested), shares(decided), ", ".join(reversals) or "none"])
    header = ["run", f"same verdict as `{first_name}`", "of the claims that either run decides", "reversed"]
    return markdown(header, rows)


def reruns(studies: Mapping[str, Study]) -> str:
    """Return the effects of single trainings of a study beside those of a rerun from the same seeds.

    studies: two; the second trained some seeds of the first again, in other circumstances
    The rows are the headline and hybrid claims that both studies measure, with the same definition. Margins
    are those of the first study; a seed that one of the sides lacks has a dash.
    """
    (first_name, first), (second_name, second) = studies.items()
    effects: dict[str, tuple[dict[str, float], ...]] = {}  # by statement
    for entry in first["entries"]:
        name, claim = entry["name"], first["claims"][entry["name"]]
        again = second["claims"].get(name, {})
        sides = deciding_sides({**claim, "comparison": entry["comparison"]})
        same = frozen(first, name) == frozen(second, name)
        if claim["family"] in MAIN and sides and again.get("by_seed") and same:
            effects[entry["statement"].rstrip(".")] = tuple(
                {seed: value / claim["margin"] for seed, value in by_seed(one, sides=sides).items()}
                for one in (claim, again)
            )
    seeds = sorted({seed for old, new in effects.values() for seed in old.keys() & new.keys()}, key=int)
    rows = [
        [statement, f"{signed(min(old.values()))} to {signed(max(old.values()))}"]
        + [", ".join(signed(side[seed]) if seed in side else "–" for seed in seeds) for side in (old, new)]
        for statement, (old, new) in effects.items()
    ]
    shared = ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(seeds)
    columns = [f"`{first_name}`, all seeds", f"`{first_name}`, {shared}", f"`{second_name}`, {shared}"]
    return markdown(["claim", *columns], rows)


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
    return f"{words} ({signed(claim['effect'] / claim['margin'])}{' †' if narrow else ''})"


def signed(number: float) -> str:
    """Return a number with its sign and one decimal."""
    return f"{number:+.1f}".replace("-", "−")


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
