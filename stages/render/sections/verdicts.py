"""Put verdicts into words: effects, agreement between analysis choices, and conditions for testing."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from stages.render.words import interval, listed, nowrap, number, role_name, unbroken
from stages.study.params import label_of, seeds_of
from stages.study.study import Study
from stages.study.words import counted

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
# Family of claims -> its name in a sentence, around the noun.
FAMILIES = {
    "headline": "headline {}",
    "hybrid": "headline {} on the hybrid",
    "exploratory": "exploratory {}",
    "ours": "{} of this project",
}


def claims_caption(rules: dict[str, str]) -> str:
    """Return the rules by which the claims were decided."""
    keys = (
        "interval",
        "scope",
        "margin",
        "correction",
        "p_adjusted",
        "effect_size",
        "specifications",
        "joint_test",
    )
    return f"How the claims were decided: {'. '.join(rules[key] for key in keys if key in rules)}."


def gate_rows(gates: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the conditions for testing claims, one row per condition with its status."""
    rows = [
        {
            "condition": f"{gate['arm']}: {gate['name']}",
            "status": gate["status"],
            "measured": unbroken(gate["words"]),
        }
        for gate in gates
    ]
    columns = ["condition", "status", "measured"]
    return pd.DataFrame(rows, columns=columns, dtype=object).set_index("condition")


def gates_in_words(gates: list[dict[str, Any]], claims: list[dict[str, Any]]) -> str:
    """Return the failed conditions with the number of claims that they block, and the unmeasured ones."""
    failed = [gate["words"] for gate in gates if gate["status"] == "failed"]
    unknown = sum(gate["status"] == "not measured" for gate in gates)
    sentences = []
    if failed:
        count = sum(claim["verdict"] == NOT_TESTABLE for claim in claims)
        verb = "fails" if len(failed) == 1 else "fail"
        sentences.append(
            f"{counted(count, 'claim')} cannot be tested at this budget, because "
            f"{counted(len(failed), 'condition')} {verb} ({'; '.join(failed)})."
        )
    if unknown:
        verb = "was" if unknown == 1 else "were"
        sentences.append(f"{counted(unknown, 'condition')} for testing claims {verb} not measured.")
    if gates and not sentences:
        sentences.append("All conditions for testing claims hold.")
    return " ".join(sentences)


def verdict_of(claim: dict[str, Any]) -> Markup:
    """Return the verdict of a claim; it names a claim about these encoders only, and a fragile verdict."""
    verdict = claim["verdict"]
    of_encoders = claim.get("scope", METHODS) != METHODS and verdict not in ("not tested", NOT_TESTABLE)
    marked = verdict_mark(verdict) + (" in these encoders" if of_encoders else "")
    notes = [side_of_zero(claim), "fragile" if claim.get("fragile") else ""]
    return marked + Markup("").join(
        Markup(' <span class="basis">{}</span>').format(note) for note in notes if note
    )


def side_of_zero(claim: Mapping[str, Any]) -> str:
    """Return the side of an undecided claim whose corrected interval excludes 0; empty for all others."""
    if claim["verdict"] != "undecided" or claim.get("corrected_low") is None:
        return ""
    if claim["corrected_low"] > 0:
        return "above 0"
    return "below 0" if claim["corrected_high"] < 0 else ""


def verdict_mark(verdict: str) -> Markup:
    """Return a verdict as a word with a sign, readable without colour."""
    css = verdict.replace(" ", "-")
    return Markup('<span class="verdict {}"><span aria-hidden="true">{}</span> {}</span>').format(
        css, MARKS.get(verdict, "·"), verdict
    )


def effect(claim: dict[str, Any]) -> str:
    """Return `effect_text` as HTML without line breaks; a dash if the claim was not tested."""
    return "–" if claim.get("effect") is None else nowrap(effect_text(claim))


def effect_text(claim: Mapping[str, Any]) -> str:
    """Return the effect of a tested claim with its interval and unit."""
    numbers = [float(claim[key]) for key in ("effect", "low", "high")]
    unit = claim.get("unit") or ""
    if is_share(unit):
        return interval(*(100 * value for value in numbers), unit="points", decimals=1)
    return interval(*numbers, unit=unit)


def is_share(unit: str | None) -> bool:
    """Return whether a unit is a share, which the report shows in points or per cent."""
    return str(unit or "").startswith("share of")


def robust(claim: dict[str, Any]) -> str:
    """Return how many analysis choices give the verdict of a claim, and the verdicts of the others.

    A dash for a claim without choices.
    """
    shares = claim.get("specifications")
    if not shares or shares["count"] == 1:
        return "–"
    counts = {verdict: round(shares[verdict] * shares["count"]) for verdict in MARKS if shares.get(verdict)}
    agree = counts.pop(claim["verdict"], 0)
    others = [f"{count} {verdict}" for verdict, count in counts.items() if count]
    return f"{agree} of {shares['count']} choices agree" + (f"; {listed(others)}" if others else "")


def against_untrained(claim: dict[str, Any]) -> str:
    """Return the difference between each side of a claim and the untrained control, with its verdict.

    A difference between two arms may come from an arm that falls below the untrained control.
    """
    sides = [
        f"{role_name(role)} {over['verdict']}, {effect_text(over | {'unit': claim.get('unit')})}"
        for role, over in (claim.get("over_random") or {}).items()
    ]
    return "; ".join(sides) or "–"


def tally(claims: list[dict[str, Any]]) -> str:
    """Return the number of claims by family and verdict, and the number of claims about encoders only."""
    sentences = []
    for family, name in FAMILIES.items():
        members = [claim for claim in claims if claim.get("family") == family]
        decided = [claim["verdict"] for claim in members if claim.get("scope", METHODS) == METHODS]
        counts = {verdict: decided.count(verdict) for verdict in MARKS}
        if decided:
            words = listed(f"{count} {verdict}" for verdict, count in counts.items() if count)
            noun = "claim" if len(decided) == 1 else "claims"
            sentences.append(f"{len(decided)} {name.format(noun)}: {words}.")
    others = sum(claim.get("scope", METHODS) != METHODS for claim in claims)
    if others:
        sentences.append(f"{counted(others, 'further claim')}, about these encoders only, not the methods.")
    return " ".join(sentences)


def steadiness(claims: list[dict[str, Any]]) -> str:
    """Return how many verdicts are the same under every analysis choice; empty without choices."""
    varied = [claim for claim in claims if (claim.get("specifications") or {}).get("count", 1) > 1]
    if not varied:
        return ""
    same = sum(claim["specifications"]["agree"] == 1 for claim in varied)
    return (
        f"{same} of {counted(len(varied), 'verdict')} on claims with several analysis choices "
        f"{'is' if same == 1 else 'are'} the same under all of them."
    )


def runs(study: Study) -> str:
    """Return a warning about arms with one training; empty if every arm has several."""
    counts = {label_of(study, name): len(seeds_of(study, name)) for name in study.arms}
    once = [label for label, count in counts.items() if count == 1]
    if not once:
        return ""
    if len(counts) == 1:
        return "The encoder was trained once, so its results may be due to the seed."
    if len(once) == len(counts):
        return "Every encoder was trained once, so differences may be due to the seed."
    verb = "was" if len(once) == 1 else "were"
    return f"{listed(once)} {verb} trained once, so their differences may be due to the seed."


def means(claim: dict[str, Any]) -> str:
    """Return the mean of the measure for each side of a claim and the untrained control."""
    scale, unit = (100, "\u00a0%") if is_share(claim.get("unit")) else (1, "")
    if unit and " minus " in str(claim.get("statistic")):  # a difference of shares
        unit = "\u00a0points"
    means = (claim.get("values") or {}).items()
    return ", ".join(f"{role_name(role)}\u00a0{number(scale * value)}{unit}" for role, value in means) or "–"
