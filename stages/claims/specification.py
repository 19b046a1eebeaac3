"""The specification curve: a claim decided again under every combination of its reasonable choices.

One verdict rests on choices that could have been made otherwise; all of them together show whether it does.
Source: Simonsohn, Simmons & Nelson 2020; Steegen et al. 2016 (multiverse analysis).
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import reduce
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from stages.claims.decision import Difference, Mean, bootstrap, differences, joint, verdict
from stages.claims.entries import EACH, EARLIER, EPOCH, IMAGES, Choice, Claim
from stages.claims.roles import LAST_EPOCH, epochs_of, values_of
from stages.claims.tables import Tables
from stages.results.files import MissingResult
from stages.study.seeds import derive

RESAMPLES = 2000  # per combination: enough for a verdict at the level, which is not corrected here


class Specification(NamedTuple):
    """One way to decide a claim: what was chosen, what came out, and the verdict without correction."""

    choices: dict[str, str]
    difference: Difference
    verdict: str


def specifications(claim: Claim, *, tables: Tables) -> list[Specification]:
    """Decide a claim under every combination of its choices; the first is that which decides the claim.

    Combinations that this study has no tables for are left out, and those that come to the same values are
    counted once (the last third and the last quarter of six blocks are the same two). All are decided from
    the images that all of them have.
    """
    sides: dict[tuple[tuple[str, str], ...], dict[str, pd.DataFrame]] = {}
    seen = set()
    for chosen in combinations(claim, tables):
        with suppress(MissingResult):
            found = claim_values(claim, chosen, tables=tables)
            alike = tuple(
                (table.columns.name, *table.columns, table.to_numpy().tobytes()) for table in found.values()
            )
            if alike not in seen:
                seen.add(alike)
                sides[tuple(chosen.items())] = found
    if not sides:
        return []
    every = [table.index for found in sides.values() for table in found.values()]
    shared = reduce(pd.Index.intersection, every).sort_values()
    decided = []
    for images in next((choice.options for choice in claim.choices if choice.name == IMAGES.name), ("all",)):
        part = part_of(shared, images)
        if part.empty:  # half of one image
            continue
        keys = [(place, role) for place, found in enumerate(sides.values()) for role in found]
        values = [table.loc[part].to_numpy().T for found in sides.values() for table in found.values()]
        seed = derive(tables.params.seed, "specifications", claim.name, images)
        means = dict(zip(keys, bootstrap(values, seed=seed, resamples=RESAMPLES), strict=True))
        for place, picked in enumerate(sides):
            own: dict[str, Mean] = {role: means[place, role] for role in claim.sides}
            over = differences(own, higher=claim.higher, lower=claim.lower)
            deciding = joint(over)
            named = {choice.name: images for choice in claim.choices if choice.name == IMAGES.name}
            decided.append(Specification(dict(picked) | named, deciding, verdict(over, deciding.p)))
    return decided


def combinations(claim: Claim, tables: Tables) -> Iterator[dict[str, str]]:
    """Every combination of the choices that the measure of a claim takes, the main one first."""
    taken = [choice for choice in claim.choices if choice.name != IMAGES.name]
    options = [options_of(choice, tables) for choice in taken]
    for picked in product(*options):
        yield {choice.name: option for choice, option in zip(taken, picked, strict=True)}


def options_of(choice: Choice, tables: Tables) -> list[str]:
    """The options of a choice, with the label sets and the earlier epochs that this study has for `each`."""
    found: list[str] = []
    for option in choice.options:
        if option == EACH:
            found += next(filter(None, (tables.label_sets(arm) for arm in tables.params.arms)), [])
        elif option == EARLIER:
            found += epochs_of(tables.params)[1:]
        else:
            found.append(option)
    return found


def main_choices(claim: Claim) -> dict[str, str]:
    """What decides the claim: the first option of every choice that its measure takes."""
    return {choice.name: choice.options[0] for choice in claim.choices if choice.name != IMAGES.name}


def claim_values(claim: Claim, chosen: dict[str, str], *, tables: Tables) -> dict[str, pd.DataFrame]:
    """What each role of a claim has of its measure under some choices: role -> (images, seeds).

    Raises MissingResult if this study cannot tell.
    """
    return {role: role_values(claim, role, chosen, tables=tables) for role in claim.sides}


def role_values(claim: Claim, method: str, chosen: dict[str, str], *, tables: Tables) -> pd.DataFrame:
    """What one method has of the measure of a claim under some choices: (images, seeds).

    Raises MissingResult if this study cannot tell.
    """
    of_measure = {name: option for name, option in chosen.items() if name != EPOCH.name}
    return values_of(
        method,
        measure=lambda arm, seed: claim.measure(tables.of(seed), arm, **claim.given, **of_measure),
        params=tables.params,
        epoch=chosen.get(EPOCH.name, LAST_EPOCH),
    )


def part_of(index: pd.Index, images: str) -> pd.Index:
    """All images or every second one, since a source may list its images class by class."""
    return {"all": index, "one half": index[::2], "other half": index[1::2]}[images]


def robustness(specifications: Sequence[Specification], *, verdict: str) -> dict[str, Any]:
    """How far a verdict is that of the other choices.

    verdict: of the claim, after correction
    returns: count; agree (have this verdict), same_sign (as the main one), supported, contradicted and
             undecided, shares of the count; median_d_z
    """
    effects = np.array([item.difference.effect for item in specifications])
    sizes = [item.difference.d_z for item in specifications if item.difference.d_z is not None]
    verdicts = [item.verdict for item in specifications]
    shares = {
        name: verdicts.count(name) / len(verdicts) for name in ("supported", "contradicted", "undecided")
    }
    return {
        "count": len(verdicts),
        "agree": verdicts.count(verdict) / len(verdicts),
        "same_sign": float(np.mean(np.sign(effects) == np.sign(effects[0]))),
        "median_d_z": float(np.median(sizes)) if sizes else None,
        **shares,
    }


def specification_table(found: dict[str, list[Specification]]) -> pd.DataFrame:
    """All specifications as one table.

    found:   claim -> its specifications, the main one first
    returns: claim, specification (from 1, which is the main one), a column per choice (empty where a claim
             does not take it), effect, low, high, p, d_z, verdict
    """
    rows = [
        {"claim": name, "specification": number}
        | item.choices
        | {**item.difference._asdict(), "verdict": item.verdict}
        for name, items in found.items()
        for number, item in enumerate(items, start=1)
    ]
    choices = list(dict.fromkeys(key for items in found.values() for item in items for key in item.choices))
    columns = ["claim", "specification", *choices, *Difference._fields, "verdict"]
    return pd.DataFrame(rows, columns=columns)
