"""Decide each claim of the paper from the tables of the study: `python -m stages.decide`."""

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from stages.claims import measures
from stages.claims.decision import LEVEL, RESAMPLES, Mean, bootstrap, holm, joint, paired_difference, verdict
from stages.claims.entries import CLAIMS, Claim
from stages.study.command import run
from stages.study.params import Study, load_params
from stages.study.paths import write_json
from stages.study.seeds import derive

CLAIMS_FILE = Path("results/claims.json")


def main() -> None:
    """Read the command line and decide."""
    argparse.ArgumentParser(prog="python -m stages.decide", description=__doc__).parse_args()
    run("decide", decide)


def decide() -> str:
    """Compare, correct, and write a verdict on every claim."""
    params = load_params(stage="decide")
    compared = [compare(claim, params=params) for claim in CLAIMS]
    tested = [entry for entry in compared if "p" in entry]
    for entry, adjusted in zip(tested, holm([entry["p"] for entry in tested]), strict=True):
        differences = entry.pop("differences")
        entry |= {"p_adjusted": adjusted, "verdict": verdict(differences, adjusted)}
    write_json(
        CLAIMS_FILE,
        {
            "claims": compared,
            "correction": f"Holm over {len(tested)} tested claims, level {LEVEL:g}",
            "interval": f"95 % percentile interval, {RESAMPLES} paired resamples of the held-out images "
            "and of replicates where there are any",
        },
    )
    counts = pd.Series([entry["verdict"] for entry in compared]).value_counts()
    return ", ".join(f"{number} {name}" for name, number in counts.items())


def compare(claim: Claim, *, params: Study, root: Path = Path(".")) -> dict[str, Any]:
    """The differences that decide one claim, and each side's difference to the untrained control.

    returns: an entry of results/claims.json, without verdict unless it cannot be tested
    """
    entry: dict[str, Any] = {
        "name": claim.name,
        "section": claim.section,
        "statement": claim.statement,
        "statistic": claim.statistic,
        "unit": claim.unit,
        "comparison": f"{claim.higher} over {' and '.join(claim.lower)}",
    }
    tables: dict[str, pd.DataFrame] = {}
    try:
        for role in (claim.higher, *claim.lower):
            tables[role] = role_values(claim, role, params=params, root=root)
    except measures.MissingInput as missing:
        return entry | {"verdict": "not tested", "why": f"{missing}"}
    with suppress(measures.MissingInput):
        tables["random"] = role_values(claim, "random", params=params, root=root)
    means = bootstrapped(tables, seed=derive(params.seed, "decide", claim.name))
    differences = [paired_difference(means[claim.higher], means[role]) for role in claim.lower]
    entry |= joint(differences)._asdict() | {"differences": differences, "why": ""}
    entry["values"] = {role: mean.value for role, mean in means.items()}
    entry["arms"] = {role: list(table.columns) for role, table in tables.items()}
    if control := means.pop("random", None):
        entry["over_random"] = {
            role: paired_difference(mean, control)._asdict() for role, mean in means.items()
        }
    return entry


def role_values(claim: Claim, role: str, *, params: Study, root: Path) -> pd.DataFrame:
    """One value per image (rows) for each arm (columns) that stands for an objective.

    They are the first arm with that objective and its replicates: all arms of the same objective and label.
    Raises MissingInput if there is none.
    """
    arms = [name for name, arm in params.arms.items() if arm.objective == role]
    if not arms:
        raise measures.MissingInput(f"no arm has the objective {role}")
    label = params.arms[arms[0]].label
    replicates = [name for name in arms if name == arms[0] or (label and params.arms[name].label == label)]
    measure = getattr(measures, claim.measure)
    return pd.DataFrame({name: measure(root, name, params) for name in replicates}).dropna()


def bootstrapped(tables: dict[str, pd.DataFrame], *, seed: int) -> dict[str, Mean]:
    """The mean of each role over its arms and the images that all roles have."""
    shared = pd.concat(tables, axis=1, join="inner")
    means = bootstrap([shared[role].to_numpy().T for role in tables], seed=seed)
    return dict(zip(tables, means, strict=True))


if __name__ == "__main__":
    main()
