"""Specification curves: decide a claim again under every combination of its analysis choices.

The curve shows whether a verdict depends on these choices.
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
    """One combination of choices, with the estimates and the verdict at the claim's level."""

    choices: dict[str, str]
    joint: Joint
    verdict: str
    sides: Sides


def specifications(
    claim: Claim, *, tables: Tables, margin: float, level: float = LEVEL
) -> list[Specification]:
    """Decide a claim under every combination of its choices, the main specification first.

    margin, level: those of the claim, so that specifications differ in the choices alone
    Combinations without tables in this study are skipped. Combinations with equal values count once: the last
    third and the last quarter of six blocks are the same two blocks. All use the same images.
    """
    sides: dict[tuple[tuple[str, str], ...], dict[str, pd.DataFrame]] = {}
    contents = set()
    for chosen in combinations(claim, tables):
        with suppress(MissingResult):
            values = claim_values(claim, chosen, tables=tables)
            content = tuple(
                (table.columns.name, *table.columns, table.to_numpy().tobytes()) for table in values.values()
            )
            if content not in contents:
                contents.add(content)
                sides[tuple(chosen.items())] = values
    if not sides:
        return []
    indices = [table.index for values in sides.values() for table in values.values()]
    shared = reduce(pd.Index.intersection, indices).sort_values()
    curve = []
    for choices, values in sides.items():
        part = {role: table.loc[shared] for role, table in values.items()}
        joint = joint_of(part, higher=claim.higher, lower=claim.lower)
        verdict = in_words(joint.verdict(margin, level=level), scope=joint.scope)
        curve.append(Specification(dict(choices), joint, verdict, part))
    return curve


def joint_of(sides: Sides, *, higher: str, lower: Sequence[str]) -> Joint:
    """Compare the higher role with each of the lower ones; "0" is the number.

    sides: of the same images, see `aligned`
    """
    first = sides[higher].to_numpy().T
    others = [None if side == ZERO else sides[side].to_numpy().T for side in lower]
    return Joint(tuple(difference(first, other) for other in others))


def combinations(claim: Claim, tables: Tables) -> Iterator[dict[str, str]]:
    """Yield every combination of the choices of a claim, the main one first."""
    options = [options_of(choice, tables) for choice in claim.choices]
    for picked in product(*options):
        yield {choice.name: option for choice, option in zip(claim.choices, picked, strict=True)}


def options_of(choice: Choice, tables: Tables) -> list[str]:
    """Return the options of a choice, with EACH replaced by the label sets of this study."""
    options: list[str] = []
    for option in choice.options:
        if option == EACH:
            options += next(filter(None, (tables.label_sets(arm) for arm in tables.params.arms)), [])
        else:
            options.append(option)
    return options


def main_choices(claim: Claim) -> dict[str, str]:
    """Return the main specification of a claim: the first option of every choice."""
    return {choice.name: choice.options[0] for choice in claim.choices}


def claim_values(claim: Claim, chosen: dict[str, str], *, tables: Tables) -> dict[str, pd.DataFrame]:
    """Return the values of a claim's measure under some choices: role -> (images, seeds).

    Raises MissingResult if the study lacks what the measure needs.
    """
    return {role: role_values(claim, role, chosen, tables=tables) for role in claim.sides}


def role_values(claim: Claim, method: str, chosen: dict[str, str], *, tables: Tables) -> pd.DataFrame:
    """Return the values of a claim's measure for one method under some choices: (images, seeds).

    Raises MissingResult if the study lacks what the measure needs.
    """
    return values_of(
        method,
        measure=lambda arm, seed: claim.measure(tables.of(seed), arm, **claim.given, **chosen),
        params=tables.params,
    )


def robustness(specifications: Sequence[Specification], *, verdict: str) -> dict[str, Any]:
    """Return how many specifications share a verdict.

    returns: count; agree, the share with this verdict; same_sign, the share with the sign of the main one;
             median_d (over trainings); median_d_z (over images); and the share of each verdict by name
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
    """Return the joint test of a curve, of the comparison that decides the main specification."""
    main = items[0].joint
    role = claim.lower[main.estimates.index(main.weakest)]
    pairs = [
        (item.sides[claim.higher].to_numpy().T, None if role == ZERO else item.sides[role].to_numpy().T)
        for item in items
    ]
    return joint_test(pairs, seed=seed)


def specification_table(curves: Mapping[str, Sequence[Specification]]) -> pd.DataFrame:
    """Return all specifications as one table.

    curves:  claim -> its specifications, the main one first
    returns: claim, specification (1 is the main one), a column per choice (empty for other claims), effect,
             low, high (95 %), p, d_z, verdict
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
    """Return the smallest difference: effect, ends of the 95 % interval, p-value of no effect, and d_z."""
    low, high = joint.bounds()
    weakest = joint.weakest
    return {"effect": weakest.effect, "low": low, "high": high, "p": joint.p, "d_z": weakest.size_images}


def _median(values: Iterable[float | None]) -> float | None:
    sizes = [value for value in values if value is not None]
    return float(np.median(sizes)) if sizes else None
