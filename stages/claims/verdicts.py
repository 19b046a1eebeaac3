"""Turn the tables of a study into a verdict on every claim."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import product
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from stages.claims.accuracy_measures import arms_by_size
from stages.claims.claim import ALTERNATIVES, ZERO, Claim
from stages.claims.families import Corrected, benjamini_hochberg, holm, is_fragile
from stages.claims.gates import FAILED, Gate, rests_on
from stages.claims.inference import (
    CONTRADICTED,
    LEVEL,
    METHODS,
    NEGLIGIBLE,
    SUPPORTED,
    UNDECIDED,
    Joint,
    correlation,
    difference,
    in_words,
)
from stages.claims.margins import margin_of
from stages.claims.roles import aligned
from stages.claims.specification import (
    Sides,
    Specification,
    claim_values,
    curve_test,
    joint_of,
    main_choices,
    numbers_of,
    robustness,
    role_values,
    specifications,
)
from stages.claims.tables import Tables
from stages.results.files import MissingResult

NOT_TESTED = "not tested"
NOT_TESTABLE = "not testable at this budget"
CORRECTIONS = {
    "headline": holm,
    "hybrid": holm,
    "exploratory": benjamini_hochberg,
    "ours": benjamini_hochberg,
}
# How one side of a claim compares with the untrained encoder, in margins of the claim.
OVER_RANDOM = {SUPPORTED: "above", CONTRADICTED: "below", NEGLIGIBLE: "within the margin"}


class Draft(NamedTuple):
    """The estimates of a claim before the correction over its family.

    why:   reason why the study cannot test the claim; empty if it can
    sides: role -> (images, seeds), of the same images; with `random` if the study has an untrained arm
    gates: the gates that the claim depends on
    """

    claim: Claim
    why: str = ""
    sides: Sides = MappingProxyType({})
    joint: Joint = Joint(())
    margin: float = 0.0
    reason: str = ""
    gates: Sequence[Gate] = ()

    @property
    def failed(self) -> list[Gate]:
        """Return the failed gates of the claim."""
        return [gate for gate in self.gates if gate.status == FAILED]

    @property
    def decides(self) -> bool:
        """Return whether the claim gets a verdict."""
        return not self.why and not self.failed


def draft(claim: Claim, *, tables: Tables, gates: Sequence[Gate] = ()) -> Draft:
    """Estimate the main specification of a claim."""
    chosen = main_choices(claim)
    try:
        sides = claim_values(claim, chosen, tables=tables)
    except MissingResult as missing:
        return Draft(claim, why=f"{missing}")
    with suppress(MissingResult):
        sides.setdefault("random", role_values(claim, "random", chosen, tables=tables))
    sides = aligned(sides)
    study = tables.params
    arms = [str(sides[role].columns.name) for role in claim.sides]
    if claim.sizes:
        arms = [each for arm in arms for each in arms_by_size(study, arm).values()]
    margin, reason = margin_of(claim, chosen, tables=tables)
    joint = joint_of(sides, higher=claim.higher, lower=claim.lower)
    tested = rests_on(gates, arms=arms, tuned=claim.tuned, study=study)
    return Draft(claim, "", sides, joint, margin, reason, tested)


def corrected(drafts: Iterable[Draft]) -> dict[str, Corrected]:
    """Correct the decided claims within each family and scope: name of the claim -> correction."""
    groups: dict[tuple[str, str], list[Draft]] = {}
    for item in drafts:
        if item.decides:
            groups.setdefault((item.claim.family, item.joint.scope), []).append(item)
    return {
        item.claim.name: numbers
        for (family, _), items in groups.items()
        for item, numbers in zip(
            items, CORRECTIONS[family]([one.joint.p_decided(one.margin) for one in items]), strict=True
        )
    }


def decided(
    item: Draft, correction: Corrected | None, *, tables: Tables, seed: int, gates: Sequence[Gate] = ()
) -> dict[str, Any]:
    """Return the numbers of one claim; `curve` holds its specifications. gates: of the study"""
    claim = item.claim
    entry: dict[str, Any] = {"family": claim.family} | replications(claim, tables=tables, gates=gates)
    if item.why:
        return entry | {"verdict": NOT_TESTED, "curve": []}
    entry |= estimates(item) | beside(claim, tables=tables)
    if correction is None:
        return entry | {"verdict": NOT_TESTABLE, "curve": []}
    verdict = in_words(item.joint.verdict(item.margin, level=correction.level), scope=item.joint.scope)
    low, high = item.joint.bounds(correction.level)
    curve = specifications(claim, tables=tables, margin=item.margin, level=correction.level)
    entry |= {"p_adjusted": correction.p, "level": correction.level, "verdict": verdict}
    entry |= {"corrected_low": low, "corrected_high": high} | agreement(claim, curve, verdict, seed=seed)
    return entry | {"curve": curve}


def agreement(claim: Claim, curve: Sequence[Specification], verdict: str, *, seed: int) -> dict[str, Any]:
    """Return how many specifications share the verdict, and the joint test of all of them."""
    shares = robustness(curve, verdict=verdict)
    entry: dict[str, Any] = {"specifications": shares, "fragile": is_fragile(shares["agree"])}
    test = curve_test(claim, curve, seed=seed) if len(curve) > 1 else None
    return entry | ({"joint_test": test._asdict()} if test else {})


def estimates(item: Draft) -> dict[str, Any]:
    """Return the effect of a claim with its standard error and scope, and the values of each side."""
    claim, weakest = item.claim, item.joint.weakest
    deciding = claim.lower[item.joint.estimates.index(weakest)]
    names = [claim.higher, *([] if deciding == ZERO else [deciding])]
    parts = dict(zip(names, weakest.trainings, strict=True)) | {"images": weakest.images}
    seeds = {role: [int(seed) for seed in table.columns] for role, table in item.sides.items()}
    means = {role: table.mean() for role, table in item.sides.items()}
    entry = numbers_of(item.joint) | {
        "scope": item.joint.scope,
        "margin": item.margin,
        "se": weakest.se,
        "se_parts": {name: part**0.5 for name, part in parts.items()},
        "df": weakest.df,
        "d": weakest.size,
        "seeds": seeds,
        "trainings": {role: len(numbers) for role, numbers in seeds.items()},
        "values": {role: float(mean.mean()) for role, mean in means.items()},
        "by_seed": {
            role: {str(seed): float(value) for seed, value in mean.items()} for role, mean in means.items()
        },
    }
    if deciding != ZERO:
        shared = [seed for seed in seeds[claim.higher] if seed in seeds[deciding]]
        first, second = (means[role].loc[shared].to_numpy() for role in (claim.higher, deciding))
        entry["seed_correlation"] = correlation(first, second)
    control = item.sides.get("random")
    if control is not None and "random" not in claim.sides:
        entry["over_random"] = {
            role: against(table, control, margin=item.margin)
            for role, table in item.sides.items()
            if role != "random"
        }
    return entry


def against(values: pd.DataFrame, control: pd.DataFrame, *, margin: float) -> dict[str, Any]:
    """Return the difference between one side and the untrained encoder, with a verdict on it."""
    joint = Joint((difference(values.to_numpy().T, control.to_numpy().T),))
    verdict = OVER_RANDOM.get(joint.verdict(margin), UNDECIDED)
    return numbers_of(joint) | {"scope": joint.scope, "verdict": verdict}


def beside(claim: Claim, *, tables: Tables) -> dict[str, Any]:
    """Return the secondary measures of a claim: name -> role -> mean, low, high."""
    parts: dict[str, dict[str, Any]] = {}
    for part in claim.beside:
        secondary = replace(claim, measure=part.measure, given=part.given, choices=())
        with suppress(MissingResult):
            for role, table in claim_values(secondary, {}, tables=tables).items():
                mean = difference(table.to_numpy().T)
                low, high = mean.bounds()
                parts.setdefault(part.name, {})[role] = {"mean": mean.effect, "low": low, "high": high}
    return {"beside": parts} if parts else {}


def replications(claim: Claim, *, tables: Tables, gates: Sequence[Gate] = ()) -> dict[str, Any]:
    """Return the same comparison with other methods of the same kind, if the study has arms of them.

    returns: {"replications": {"dino over masked": effect, low, high, p, d_z, scope, verdict}}, or nothing.
    Claims about hybrids have no replications, because a hybrid belongs to its two parent methods. A failed
    gate of one of the arms makes the comparison not testable.
    """
    roles = (claim.higher, *claim.lower)
    if "hybrid" in roles or not claim.general:
        return {}
    comparisons: dict[str, Any] = {}
    chosen = main_choices(claim)
    for methods in list(product(*(ALTERNATIVES.get(role, (role,)) for role in roles)))[1:]:
        if len(set(methods)) < len(methods):
            continue
        with suppress(MissingResult):
            arms = [name for name in methods if name != ZERO]
            sides = aligned({name: role_values(claim, name, chosen, tables=tables) for name in arms})
            joint = joint_of(sides, higher=methods[0], lower=methods[1:])
            verdict = joint.verdict(margin_of(claim, chosen, tables=tables)[0], level=LEVEL)
            trained = [str(table.columns.name) for table in sides.values()]
            tested = rests_on(gates, arms=trained, tuned=claim.tuned, study=tables.params)
            failed = any(gate.status == FAILED for gate in tested)
            comparisons[f"{methods[0]} over {' and '.join(methods[1:])}"] = numbers_of(joint) | {
                "scope": joint.scope,
                "verdict": NOT_TESTABLE if failed else in_words(verdict, scope=joint.scope),
            }
    return {"replications": comparisons} if comparisons else {}


def counts(verdicts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the number of claims by verdict for each family, and of those about these encoders only.

    verdicts: name of a claim -> its numbers
    """
    parts = []
    for family in CORRECTIONS:
        names = [
            entry["verdict"]
            for entry in verdicts.values()
            if entry["family"] == family and entry.get("scope", METHODS) == METHODS
        ]
        if names:
            shares = pd.Series(names).value_counts()
            parts.append(f"{family}: " + ", ".join(f"{number} {name}" for name, number in shares.items()))
    others = sum(entry.get("scope", METHODS) != METHODS for entry in verdicts.values())
    if others:
        parts.append(f"{others} about these encoders only")
    return "; ".join(parts)
