"""The specification curve: a claim decided again under every combination of its reasonable choices.

One verdict rests on choices that could have been made otherwise; all of them together show whether it does.
Source: Simonsohn, Simmons & Nelson 2020; Steegen et al. 2016 (multiverse analysis).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import reduce
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from stages.claims.choices import EACH
from stages.claims.claim import ZERO, Choice, Claim
from stages.claims.curve_test import JointTest, joint_test
from stages.claims.inference import IN_ENCODERS, LEVEL, Joint, difference, in_words
from stages.claims.roles import values_of
from stages.claims.tables import Tables
from stages.results.files import MissingResult

Sides = Mapping[str, pd.DataFrame]  # role -> (images, seeds), the columns named after the arm


class Specification(NamedTuple):
    """One way to decide a claim: what was chosen, what came out, and the verdict at the claim's level."""

    choices: dict[str, str]
    joint: Joint
    verdict: str
    sides: Sides


def specifications(
    claim: Claim, *, tables: Tables, margin: float, level: float = LEVEL
) -> list[Specification]:
    """Decide a claim under every combination of its choices; the first is that which decides the claim.

    margin, level: those of the claim, so that choices differ in nothing else
    Combinations that this study has no tables for are left out, and those that come to the same values are
    counted once (the last third and the last quarter of six blocks are the same two). All are decided from
    the images that all of them have.
    """
    sides: dict[tuple[tuple[str, str], ...], dict[str, pd.DataFrame]] = {}
    seen = set()
    for chosen in combinations(claim, tables):
        with suppress(MissingResult):
            values = claim_values(claim, chosen, tables=tables)
            alike = tuple(
                (table.columns.name, *table.columns, table.to_numpy().tobytes()) for table in values.values()
            )
            if alike not in seen:
                seen.add(alike)
                sides[tuple(chosen.items())] = values
    if not sides:
        return []
    every = [table.index for values in sides.values() for table in values.values()]
    shared = reduce(pd.Index.intersection, every).sort_values()
    decided = []
    for chosen_ones, values in sides.items():
        part = {role: table.loc[shared] for role, table in values.items()}
        joint = joint_of(part, higher=claim.higher, lower=claim.lower)
        verdict = in_words(joint.verdict(margin, level=level), scope=joint.scope)
        decided.append(Specification(dict(chosen_ones), joint, verdict, part))
    return decided


def joint_of(sides: Sides, *, higher: str, lower: Sequence[str]) -> Joint:
    """Return the claimed side against each of the others, of which "0" is the number.

    sides: of the same images, see `aligned`
    """
    first = sides[higher].to_numpy().T
    others = [None if side == ZERO else sides[side].to_numpy().T for side in lower]
    return Joint(tuple(difference(first, other) for other in others))


def combinations(claim: Claim, tables: Tables) -> Iterator[dict[str, str]]:
    """Every combination of the choices of a claim, the main one first."""
    options = [options_of(choice, tables) for choice in claim.choices]
    for picked in product(*options):
        yield {choice.name: option for choice, option in zip(claim.choices, picked, strict=True)}


def options_of(choice: Choice, tables: Tables) -> list[str]:
    """The options of a choice, with the label sets that this study has for `each`."""
    options: list[str] = []
    for option in choice.options:
        if option == EACH:
            options += next(filter(None, (tables.label_sets(arm) for arm in tables.params.arms)), [])
        else:
            options.append(option)
    return options


def main_choices(claim: Claim) -> dict[str, str]:
    """What decides the claim: the first option of every choice."""
    return {choice.name: choice.options[0] for choice in claim.choices}


def claim_values(claim: Claim, chosen: dict[str, str], *, tables: Tables) -> dict[str, pd.DataFrame]:
    """What each role of a claim has of its measure under some choices: role -> (images, seeds).

    Raises MissingResult if this study cannot tell.
    """
    return {role: role_values(claim, role, chosen, tables=tables) for role in claim.sides}


def role_values(claim: Claim, method: str, chosen: dict[str, str], *, tables: Tables) -> pd.DataFrame:
    """What one method has of the measure of a claim under some choices: (images, seeds).

    Raises MissingResult if this study cannot tell.
    """
    return values_of(
        method,
        measure=lambda arm, seed: claim.measure(tables.of(seed), arm, **claim.given, **chosen),
        params=tables.params,
    )


def robustness(specifications: Sequence[Specification], *, verdict: str) -> dict[str, Any]:
    """How far a verdict is that of the other choices.

    returns: count; agree (share that have this verdict), same_sign (as the main one), median_d (over
             trainings), median_d_z (over images), and the share of each verdict by its name
    """
    effects = np.array([item.joint.weakest.effect for item in specifications])
    verdicts = [item.verdict for item in specifications]
    return {
        "count": len(verdicts),
        "agree": verdicts.count(verdict) / len(verdicts),
        "same_sign": float(np.mean(np.sign(effects) == np.sign(effects[0]))),
        "median_d": _median(item.joint.weakest.size for item in specifications),
        "median_d_z": _median(item.joint.weakest.size_images for item in specifications),
        **{name: verdicts.count(name) / len(verdicts) for name in dict.fromkeys([*IN_ENCODERS, *verdicts])},
    }


def curve_test(claim: Claim, items: Sequence[Specification], *, seed: int) -> JointTest | None:
    """Return the joint test of a curve; of a claim over several others, the least certain of their tests."""
    tests = []
    for role in claim.lower:
        pairs = [
            (item.sides[claim.higher].to_numpy().T, None if role == ZERO else item.sides[role].to_numpy().T)
            for item in items
        ]
        tests.append(joint_test(pairs, seed=seed))
    certain = [test for test in tests if test is not None]
    return max(certain, key=lambda test: test.p_median) if len(certain) == len(tests) else None


def specification_table(curves: Mapping[str, Sequence[Specification]]) -> pd.DataFrame:
    """All specifications as one table.

    curves:  claim -> its specifications, the main one first
    returns: claim, specification (from 1, which is the main one), a column per choice (empty where a claim
             does not take it), effect, low, high (95 %), p, d_z, verdict
    """
    rows = [
        {"claim": name, "specification": number}
        | item.choices
        | numbers_of(item.joint)
        | {"verdict": item.verdict}
        for name, items in curves.items()
        for number, item in enumerate(items, start=1)
    ]
    choices = list(dict.fromkeys(key for items in curves.values() for item in items for key in item.choices))
    columns = ["claim", "specification", *choices, "effect", "low", "high", "p", "d_z", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def numbers_of(joint: Joint) -> dict[str, Any]:
    """Return effect, ends of the 95 % interval, p-value of no effect and d_z, of the weakest difference."""
    low, high = joint.bounds()
    weakest = joint.weakest
    return {"effect": weakest.effect, "low": low, "high": high, "p": weakest.p, "d_z": weakest.size_images}


def _median(values: Iterable[float | None]) -> float | None:
    sizes = [value for value in values if value is not None]
    return float(np.median(sizes)) if sizes else None
