"""Decide each claim of the paper from the tables of the study: `python -m stages.decide`."""

import argparse
from contextlib import suppress
from itertools import product
from typing import Any

import pandas as pd

from stages.claims.decision import (
    LEVEL,
    RESAMPLES,
    ZERO,
    differences,
    holm,
    joint,
    paired_difference,
    verdict,
)
from stages.claims.entries import CLAIMS as ENTRIES
from stages.claims.entries import FAMILIES, Claim
from stages.claims.roles import bootstrapped
from stages.claims.specification import RESAMPLES as FEWER
from stages.claims.specification import (
    Specification,
    claim_values,
    main_choices,
    options_of,
    robustness,
    role_values,
    specification_table,
    specifications,
)
from stages.claims.tables import Tables
from stages.results.files import MissingResult
from stages.results.study_results import CLAIMS, SPECIFICATIONS, Results
from stages.study.command import run
from stages.study.params import load_params
from stages.study.paths import write_json, write_text
from stages.study.seeds import derive

RULES = {
    "interval": f"95 % percentile interval, {RESAMPLES} paired resamples of the held-out images "
    "and of trainings where there are several, no narrower than Welch's t between those",
    "effect_size": "d is Cohen's d_z, the mean difference over its standard deviation between images",
    "specifications": "Choices agree that give the same verdict, each decided by itself "
    f"({FEWER} resamples, level {LEVEL:g} without correction)",
    "replications": f"Decided like the claims, at level {LEVEL:g} without correction",
}


def main() -> None:
    """Read the command line and decide."""
    argparse.ArgumentParser(prog="python -m stages.decide", description=__doc__).parse_args()
    run("decide", decide, writes=CLAIMS)


def decide() -> str:
    """Compare, correct, write a verdict on every claim, and decide each again under its other choices."""
    tables = Tables(Results(load_params(stage="decide")))
    numbers = {claim.name: compare(claim, tables=tables) for claim in ENTRIES}
    entries = [about(claim, tables=tables) | taken(numbers[claim.name], "why", "arms") for claim in ENTRIES]
    tested = [claim for claim in ENTRIES if "p" in numbers[claim.name]]
    corrected = holm([numbers[claim.name]["p"] for claim in tested])
    found: dict[str, list[Specification]] = {}
    for claim, adjusted in zip(tested, corrected, strict=True):
        entry = numbers[claim.name]
        entry |= {"p_adjusted": adjusted, "verdict": verdict(entry.pop("differences"), adjusted)}
        found[claim.name] = specifications(claim, tables=tables)
        entry["specifications"] = robustness(found[claim.name], verdict=entry["verdict"])
    correction = {"correction": f"Holm over {len(tested)} tested claims, level {LEVEL:g}"}
    write_json(CLAIMS, {"claims": numbers, "entries": entries, "rules": RULES | correction})
    table = specification_table(found).to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_text(SPECIFICATIONS, table)
    counts = pd.Series([entry["verdict"] for entry in numbers.values()]).value_counts()
    return ", ".join(f"{number} {name}" for name, number in counts.items())


def about(claim: Claim, *, tables: Tables) -> dict[str, Any]:
    """A claim in words: what it says, how it is decided, and the choices it depends on."""
    possible = {choice.name: options_of(choice, tables) for choice in claim.choices}
    return {
        "name": claim.name,
        "section": claim.section,
        "statement": claim.statement,
        "statistic": claim.statistic,
        "unit": claim.unit,
        "comparison": claim.comparison,
        "choices": [{"name": name, "options": found} for name, found in possible.items() if len(found) > 1],
        "fixed": [*claim.fixed, *(found[0] for found in possible.values() if len(found) == 1)],
    }


def compare(claim: Claim, *, tables: Tables) -> dict[str, Any]:
    """The differences that decide one claim, each side's difference to the untrained control, replications.

    returns: the numbers of a claim in results/claims.json, without verdict unless it cannot be tested; `why`
             in words and `arms` by role, which stand among its words there; and the `differences`
    """
    again = replications(claim, tables=tables)
    chosen = main_choices(claim)
    try:
        sides = claim_values(claim, chosen, tables=tables)
    except MissingResult as missing:
        return again | {"verdict": "not tested", "why": f"{missing}", "arms": {}}
    with suppress(MissingResult):
        sides.setdefault("random", role_values(claim, "random", chosen, tables=tables))
    means = bootstrapped(sides, seed=derive(tables.params.seed, "decide", claim.name))
    over = differences(means, higher=claim.higher, lower=claim.lower)
    entry: dict[str, Any] = again | joint(over)._asdict() | {"differences": over, "why": ""}
    entry["values"] = {role: mean.value for role, mean in means.items()}
    entry["arms"] = {role: [str(table.columns.name)] for role, table in sides.items()}
    entry["trainings"] = {role: len(table.columns) for role, table in sides.items()}
    control = means.get("random")
    if control and "random" not in claim.sides:
        entry["over_random"] = {
            role: paired_difference(mean, control)._asdict()
            for role, mean in means.items()
            if role != "random"
        }
    return entry


def replications(claim: Claim, *, tables: Tables) -> dict[str, Any]:
    """The same comparison with the other methods of the families, where the study has arms of them.

    returns: {"replications": {"dino over masked": effect, low, high, p, d_z, verdict}}, or nothing.
    A hybrid is one of its own parents, so a claim about it has none.
    """
    roles = (claim.higher, *claim.lower)
    if "hybrid" in roles or not claim.general:
        return {}
    found: dict[str, Any] = {}
    for methods in list(product(*(FAMILIES.get(role, (role,)) for role in roles)))[1:]:
        if len(set(methods)) < len(methods):
            continue
        with suppress(MissingResult):
            compared = [name for name in methods if name != ZERO]
            sides = {name: role_values(claim, name, main_choices(claim), tables=tables) for name in compared}
            name = f"{methods[0]} over {' and '.join(methods[1:])}"
            means = bootstrapped(sides, seed=derive(tables.params.seed, "decide", claim.name, name))
            over = differences(means, higher=methods[0], lower=methods[1:])
            found[name] = joint(over)._asdict() | {"verdict": verdict(over, joint(over).p)}
    return {"replications": found} if found else {}


def taken(entry: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Some keys of an entry, which then no longer has them."""
    return {key: entry.pop(key) for key in keys}


if __name__ == "__main__":
    main()
