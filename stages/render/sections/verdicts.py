"""The verdicts: each claim with the difference that decided it, and how often they agree."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from stages.render.page.questions import QUESTIONS
from stages.render.words import interval, listed, nowrap, number, unbroken
from stages.study.params import label_of, seeds_of
from stages.study.study import Study

MARKS = {"supported": "✓", "contradicted": "✗", "undecided": "?", "not tested": "–"}


def claim_rows(claims: list[dict[str, Any]], *, curves: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Each claim with its verdict, the difference that decided it and how, or why it was not decided.

    curves: claim -> id of the figure that shows it under every choice, to which its row then leads
    """
    links = curves or {}
    rows = [
        {
            "claim": _with_basis(claim),
            "verdict": verdict_mark(claim["verdict"]),
            "difference": effect(claim),
            "robust": _linked(robust(claim), links.get(claim["name"])),
            "means": _means(claim),
            "against untrained": against_untrained(claim),
        }
        for claim in claims
    ]
    columns = ["claim", "verdict", "difference", "robust", "means", "against untrained"]
    return pd.DataFrame(rows, columns=columns, dtype=object).set_index("claim")


def claims_by_question(claims: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The claims under what they answer, by the section of the paper that makes them.

    returns: heading -> claims, in the order of the paper
    """
    headings = {"§1": "What can they do? (§1)"}
    headings |= {section: f"{question} ({section})" for question, section in QUESTIONS.values()}
    groups: dict[str, list[dict[str, Any]]] = {heading: [] for heading in headings.values()}
    for claim in claims:
        section = str(claim.get("section") or "").split(",")[0].split(" ")[0]
        groups.setdefault(headings.get(section, "Beside the main text"), []).append(claim)
    return {heading: own for heading, own in groups.items() if own}


def replication_rows(claims: list[dict[str, Any]]) -> pd.DataFrame:
    """Each claim with the other methods of its families, where the study has arms of them."""
    rows = {
        f"{claim['statement']} ({pair})": {
            "verdict": verdict_mark(again["verdict"]),
            "difference": effect(again | {"unit": claim["unit"]}),
            "d": number(again["d_z"]),
        }
        for claim in claims
        for pair, again in (claim.get("replications") or {}).items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", dtype=object).rename_axis("claim")


def claims_caption(rules: dict[str, str]) -> str:
    """What stands below the tables of `claim_rows`: how the claims were decided."""
    told = [rules[key] for key in ("interval", "correction", "effect_size", "specifications") if key in rules]
    return f"How they were decided: {'. '.join(told)}."


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
    if unit == "share of images":
        return nowrap(interval(*(100 * value for value in numbers), unit="points", decimals=1))
    return nowrap(interval(*numbers, unit=unit))


def robust(claim: dict[str, Any]) -> str:
    """How many of the choices that a claim depends on give its verdict, and what the others give."""
    found = claim.get("specifications")
    if not found:
        return "–"
    counts = {
        verdict: round(found[verdict] * found["count"])
        for verdict in ("supported", "contradicted", "undecided")
    }
    agree = counts.pop(claim["verdict"])
    others = [f"{count} {verdict}" for verdict, count in counts.items() if count]
    return f"{agree} of {found['count']} choices agree" + (f"; {listed(others)}" if others else "")


def against_untrained(claim: dict[str, Any]) -> str:
    """Whether each side of a claim is above the untrained control, below it or neither, by its interval.

    A difference between two trainings says little of either if one of them undid what chance had put there.
    """
    sides = {
        role: "above" if over["low"] > 0 else "below" if over["high"] < 0 else "not told apart"
        for role, over in (claim.get("over_random") or {}).items()
    }
    return ", ".join(f"{role} {side}" for role, side in sides.items()) or "–"


def tally(claims: list[dict[str, Any]]) -> str:
    """How many claims have which verdict, in one sentence."""
    counts = {verdict: sum(claim["verdict"] == verdict for claim in claims) for verdict in MARKS}
    said = listed(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return f"{len(claims)} claims: {said}."


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
    return f"{who} trained once. Intervals over images do not say how much another seed would change."


def _with_basis(claim: dict[str, Any]) -> Markup:
    """What a claim says and, below it, where the paper says so and what it was decided by."""
    basis = "; ".join(part for part in (claim.get("section"), claim.get("why") or _compared(claim)) if part)
    return Markup('{}<span class="basis">{}</span>').format(unbroken(claim["statement"]), unbroken(basis))


def _compared(claim: dict[str, Any]) -> str:
    said = [claim.get("statistic"), claim.get("comparison")]
    adjusted = claim.get("p_adjusted")
    if adjusted is not None:
        said.append("p\u00a0<\u00a00.001" if adjusted < 0.001 else f"p\u00a0=\u00a0{adjusted:.2g}")
    if claim.get("d_z") is not None:
        said.append(f"d\u00a0=\u00a0{number(claim['d_z'], digits=2)}")
    return "; ".join(part for part in said if part) or "–"


def _means(claim: dict[str, Any]) -> str:
    """What each side of a claim, and the untrained control, have of the measure."""
    scale, unit = (100, "\u00a0%") if claim.get("unit") == "share of images" else (1, "")
    arms, means = claim.get("arms") or {}, (claim.get("values") or {}).items()
    return (
        ", ".join(
            f"{listed(arms.get(role, [role]))}\u00a0{number(scale * value)}{unit}" for role, value in means
        )
        or "–"
    )


def _linked(text: str, target: str | None) -> str:
    """The text, as a link within the page where there is something to lead to."""
    return Markup('<a href="#{}">{}</a>').format(target, text) if target else text
