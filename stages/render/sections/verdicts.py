"""The verdicts: each claim with the difference that decided it, and how often they agree."""

from typing import Any

import pandas as pd
from markupsafe import Markup

from stages.render.words import interval, listed, nowrap, number, unbroken
from stages.study.params import label_of, seeds_of
from stages.study.study import Study

NOT_TESTABLE = "not testable at this budget"
MARKS = {
    "supported": "✓",
    "contradicted": "✗",
    "negligible": "≈",
    "undecided": "?",
    "higher": "↑",
    "lower": "↓",
    "no difference": "≈",
    NOT_TESTABLE: "–",
    "not tested": "–",
}
METHODS = "methods"
# How a family of claims is called, and what its claims are marked with.
FAMILIES = {"headline": "headline", "hybrid": "hybrid", "exploratory": "exploratory", "ours": "further"}


def claims_caption(rules: dict[str, str]) -> str:
    """What stands below the tables of `claim_rows`: how the claims were decided."""
    keys = (
        "interval",
        "scope",
        "margin",
        "correction",
        "effect_size",
        "specifications",
        "joint_test",
    )
    return f"How the claims were decided: {'. '.join(rules[key] for key in keys if key in rules)}."


def gate_rows(gates: list[dict[str, Any]]) -> pd.DataFrame:
    """Each gate of a study: what must hold before claims are decided, and whether it does."""
    rows = [
        {
            "gate": f"{gate['arm']}: {gate['name']}",
            "status": gate["status"],
            "measured": unbroken(gate["words"]),
        }
        for gate in gates
    ]
    return pd.DataFrame(rows, columns=["gate", "status", "measured"], dtype=object).set_index("gate")


def gates_in_words(gates: list[dict[str, Any]], claims: list[dict[str, Any]]) -> str:
    """Which conditions fail and how many claims that leaves open, and how many were not measured."""
    failed = [gate["words"] for gate in gates if gate["status"] == "failed"]
    unknown = sum(gate["status"] == "not measured" for gate in gates)
    told = []
    if failed:
        count = sum(claim["verdict"] == NOT_TESTABLE for claim in claims)
        told.append(f"{_counted(count, 'claim')} cannot be tested at this budget: {'; '.join(failed)}.")
    if unknown:
        told.append(f"{_counted(unknown, 'condition')} for testing claims not measured.")
    if gates and not told:
        told.append("All conditions for testing claims hold.")
    return " ".join(told)


def verdict_of(claim: dict[str, Any]) -> Markup:
    """The verdict of a claim: about methods, or about these encoders, with a mark where it is fragile."""
    verdict = claim["verdict"]
    of_encoders = claim.get("scope", METHODS) != METHODS and verdict not in ("not tested", NOT_TESTABLE)
    marked = verdict_mark(verdict) + (" in these encoders" if of_encoders else "")
    return marked + (Markup('<span class="basis">fragile</span>') if claim.get("fragile") else "")


def verdict_mark(verdict: str) -> Markup:
    """A verdict as a word with a sign, so that colour is not needed to read it."""
    css = verdict.replace(" ", "-")
    return Markup('<span class="verdict {}"><span aria-hidden="true">{}</span> {}</span>').format(
        css, MARKS.get(verdict, "·"), verdict
    )


def effect(claim: dict[str, Any]) -> str:
    """The effect of a claim with its interval and unit; a dash where it was not tested."""
    if claim.get("effect") is None:
        return "–"
    numbers = [float(claim[key]) for key in ("effect", "low", "high")]
    unit = claim.get("unit") or ""
    if is_share(unit):
        return nowrap(interval(*(100 * value for value in numbers), unit="points", decimals=1))
    return nowrap(interval(*numbers, unit=unit))


def is_share(unit: str | None) -> bool:
    """Return whether a unit is a share, which is shown as points or per cent."""
    return str(unit or "").startswith("share of")


def robust(claim: dict[str, Any]) -> str:
    """How many of the choices that a claim depends on give its verdict, and what the others give."""
    found = claim.get("specifications")
    if not found:
        return "–"
    counts = {verdict: round(found[verdict] * found["count"]) for verdict in MARKS if found.get(verdict)}
    agree = counts.pop(claim["verdict"], 0)
    others = [f"{count} {verdict}" for verdict, count in counts.items() if count]
    return f"{agree} of {found['count']} choices agree" + (f"; {listed(others)}" if others else "")


def against_untrained(claim: dict[str, Any]) -> str:
    """Whether each side of a claim is above the untrained control, below it, or neither.

    A difference between two trainings says little of either if one of them undid what chance had put there.
    """
    sides = [f"{role} {over['verdict']}" for role, over in (claim.get("over_random") or {}).items()]
    return ", ".join(sides) or "–"


def tally(claims: list[dict[str, Any]]) -> str:
    """How many claims about methods have which verdict, family by family; and how many are about encoders."""
    told = []
    for family, name in FAMILIES.items():
        own = [claim for claim in claims if claim.get("family") == family]
        decided = [claim["verdict"] for claim in own if claim.get("scope", METHODS) == METHODS]
        counts = {verdict: decided.count(verdict) for verdict in MARKS}
        if decided:
            words = listed(f"{count} {verdict}" for verdict, count in counts.items() if count)
            told.append(f"{_counted(len(decided), f'{name} claim')}: {words}.")
    others = sum(claim.get("scope", METHODS) != METHODS for claim in claims)
    if others:
        told.append(f"About these encoders only: {_counted(others, 'comparison')}.")
    return " ".join(told)


def steadiness(claims: list[dict[str, Any]]) -> str:
    """How many verdicts hang on no choice, in one sentence; nothing if there were no choices."""
    shares = [claim["specifications"]["agree"] for claim in claims if claim.get("specifications")]
    if not shares:
        return ""
    return f"{sum(share == 1 for share in shares)} of {len(shares)} verdicts are the same under every choice."


def runs(study: Study) -> str:
    """What the intervals do not cover, as long as an encoder was trained once."""
    counts = {label_of(study, name): len(seeds_of(study, name)) for name in study.arms}
    once = [label for label, count in counts.items() if count == 1]
    if not once:
        return ""
    who = "Every encoder was" if len(once) == len(counts) else f"{listed(once)}:"
    return f"{who} trained once. Nothing here says how much another seed would change."


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def means(claim: dict[str, Any]) -> str:
    """What each side of a claim, and the untrained control, have of the measure."""
    scale, unit = (100, "\u00a0%") if is_share(claim.get("unit")) else (1, "")
    arms, means = claim.get("arms") or {}, (claim.get("values") or {}).items()
    return (
        ", ".join(
            f"{listed(arms.get(role, [role]))}\u00a0{number(scale * value)}{unit}" for role, value in means
        )
        or "–"
    )
