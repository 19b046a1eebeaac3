"""Decide each claim of the paper from the tables of the study: `python -m stages.decide`."""

import argparse
from typing import Any

from stages.claims.claim import Claim
from stages.claims.entries import CLAIMS as ENTRIES
from stages.claims.gates import FAILED, NOT_MEASURED, check_gates
from stages.claims.inference import LEVEL, REPLICATED
from stages.claims.specification import options_of, specification_table
from stages.claims.tables import Tables
from stages.claims.trajectory import trajectory, trajectory_table
from stages.claims.verdicts import Draft, corrected, counts, decided, draft
from stages.results.snapshots import SnapshotResults
from stages.results.stopped import stopped_early
from stages.results.study_results import CLAIMS, SPECIFICATIONS, TRAJECTORIES, Results
from stages.study.command import run
from stages.study.params import load_params
from stages.study.paths import write_json, write_table, write_text
from stages.study.seeds import derive

RULES = {
    "interval": "95 % intervals add the variance between the trainings of both sides and the variance "
    "between held-out images; degrees of freedom follow Welch–Satterthwaite",
    "scope": f"With at least {REPLICATED} trainings per side, a claim is about methods; with fewer, it is "
    "about these encoders. All trainings share the training images, and intervals do not cover other images",
    "margin": "Supported or contradicted: the corrected interval lies beyond the smallest effect of "
    "interest; negligible: the interval lies within it",
    "correction": f"Holm among the headline claims and among the hybrid claims, level {LEVEL:g}; "
    "Benjamini–Hochberg among the exploratory claims and among those of this project, false discovery rate "
    f"{LEVEL:g}",
    "effect_size": "d is Cohen's d: the difference over the standard deviation between trainings",
    "specifications": "Agreement: the share of analysis choices that give the same verdict at the level of "
    "the claim; fragile below two thirds",
    "p_adjusted": "The adjusted p of the verdict is the smallest level at which the interval gives any "
    "verdict; it does not test that there is no effect",
    "joint_test": "The joint test exchanges trainings between the two sides, or their signs if the claim "
    "compares with 0, and gives the p-value of the median effect over all analysis choices",
    "trajectories": "Trajectories use the main specification and 95 % intervals without correction, and "
    "match the sides by share of training. Stable: all intervals on one side of 0, or all within the margin; "
    "emerging: intervals include 0 first, then lie on one side; reversing: above 0 at one point and below 0 "
    "at another; unclear: anything else",
    "replications": f"Replications are decided like claims, at level {LEVEL:g} without correction",
}


def main() -> None:
    """Read the command line and decide all claims."""
    argparse.ArgumentParser(prog="python -m stages.decide", description=__doc__).parse_args()
    run("decide", decide, writes=CLAIMS)


def decide() -> str:
    """Decide every claim, correct within families, and write verdicts, specification curves and trajectories.

    Returns: failed and missing gates, and the number of claims by verdict
    """
    study = load_params(stage="decide")
    tables = Tables(Results(study))
    snapshots = [SnapshotResults(study, share=share) for share in [*study.pretrain.snapshots, 1.0]]
    gates = check_gates(tables)
    drafts = [draft(claim, tables=tables, gates=gates) for claim in ENTRIES]
    corrections = corrected(drafts)
    stopped = stopped_early(study)
    numbers, curves = {}, {}
    for item in drafts:
        name = item.claim.name
        seed = derive(tables.params.seed, "decide", name)
        entry = decided(item, corrections.get(name), tables=tables, seed=seed, gates=gates)
        curves[name] = entry.pop("curve")
        numbers[name] = entry | trajectory(
            item.claim, snapshots=snapshots, stopped=stopped, margin=item.margin
        )
    content = {
        "claims": numbers,
        "entries": [about(item, tables=tables) for item in drafts],
        "gates": [gate._asdict() for gate in gates],
        "rules": RULES,
    }
    write_json(CLAIMS, content)
    table = specification_table(curves).to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_text(SPECIFICATIONS, table)
    write_table(TRAJECTORIES, trajectory_table(numbers))
    warnings = [
        f"gate {gate.status}: {gate.words}" for gate in gates if gate.status in (FAILED, NOT_MEASURED)
    ]
    return "; ".join([*warnings, counts(numbers)])


def about(item: Draft, *, tables: Tables) -> dict[str, Any]:
    """Return a claim in words: its statement, statistic, choices and arms, or why it is not decided."""
    claim: Claim = item.claim
    possible = {choice.name: options_of(choice, tables) for choice in claim.choices}
    return {
        "name": claim.name,
        "section": claim.section,
        "statement": claim.statement,
        "statistic": claim.statistic,
        "unit": claim.unit,
        "comparison": claim.comparison,
        "margin_reason": item.reason or claim.margin.reason,
        "frozen": claim.frozen,
        "choices": [
            {"name": name, "options": options} for name, options in possible.items() if len(options) > 1
        ],
        "fixed": [*claim.fixed, *(options[0] for options in possible.values() if len(options) == 1)],
        "why": item.why or "; ".join(gate.words for gate in item.failed),
        "arms": {role: [str(table.columns.name)] for role, table in item.sides.items()},
    }


if __name__ == "__main__":
    main()
