"""The numbers of the forest plot: every claim in units of its margin, positive in the paper's direction."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stages.render.figures import paper

ZERO = "0"  # in claims.json: the number 0 instead of a lower role
# Family -> its heading, in the order of the plot.
FAMILIES = {
    "headline": "Headline claims",
    "hybrid": "Headline claims on the hybrid",
    "exploratory": "Exploratory claims",
    "ours": "Claims of this project",
}


@dataclass(frozen=True)
class Comparison:
    """One claim in one study, in units of the claim's margin.

    low, high:   95 % interval over trainings
    outer:       corrected interval, which decides; without correction the 95 % interval
    seeds:       difference for each seed that both sides have; for one side, the value of each seed
    agreement:   for example "3 of 4" analysis choices; empty for a single choice
    """

    effect: float
    low: float
    high: float
    outer: tuple[float, float]
    seeds: tuple[float, ...]
    verdict: str
    fragile: bool
    agreement: str


@dataclass(frozen=True)
class ForestRow:
    """A claim in this study, in other studies, and in the paper.

    main:   None if this study does not test the claim
    others: name of another study -> the claim there
    paper:  value of the paper; None if it is not published
    """

    name: str
    family: str
    statement: str
    main: Comparison | None
    others: Mapping[str, Comparison]
    paper: float | None


def forest_rows(
    claims: list[dict[str, Any]], *, others: Mapping[str, list[dict[str, Any]]]
) -> list[ForestRow]:
    """Return the rows of the plot, family by family, in the order of the paper.

    claims: as `results.claims` returns them
    others: name of another study -> its claims; claims with another unit are left out
    """
    published = paper_effects()
    by_study = {study: {claim["name"]: claim for claim in of_study} for study, of_study in others.items()}
    rows = []
    for family in FAMILIES:
        for claim in claims:
            if claim.get("family", "exploratory") != family:
                continue
            margin = claim.get("margin")
            beside = {}
            for study, by_name in by_study.items():
                other = by_name.get(claim["name"], {})
                if other.get("unit") == claim.get("unit") and (drawn := comparison(other, margin=margin)):
                    beside[study] = drawn
            value = published.get(claim["name"])
            rows.append(
                ForestRow(
                    name=claim["name"],
                    family=family,
                    statement=claim["statement"],
                    main=comparison(claim, margin=margin),
                    others=beside,
                    paper=value / margin if value is not None and margin else None,
                )
            )
    return rows


def comparison(claim: Mapping[str, Any], *, margin: float | None) -> Comparison | None:
    """Return a claim in units of its margin; None if it was not tested or has no margin.

    margin: of this study, for a claim of another study without a margin
    """
    unit = claim.get("margin") or margin
    if claim.get("effect") is None or not unit:
        return None
    outer = (claim.get("corrected_low", claim["low"]), claim.get("corrected_high", claim["high"]))
    shares = claim.get("specifications") or {}
    agreement = ""
    if shares.get("count", 0) > 1:
        agreement = f"{round(shares['agree'] * shares['count'])} of {shares['count']}"
    return Comparison(
        effect=claim["effect"] / unit,
        low=claim["low"] / unit,
        high=claim["high"] / unit,
        outer=(min(outer[0], claim["low"]) / unit, max(outer[1], claim["high"]) / unit),
        seeds=tuple(value / unit for value in by_seed(claim).values()),
        verdict=claim["verdict"],
        fragile=bool(claim.get("fragile")),
        agreement=agreement,
    )


def by_seed(claim: Mapping[str, Any], *, sides: Sequence[str] = ()) -> dict[str, float]:
    """Return the effect of each seed: the higher side minus the lower side, for the seeds that both have.

    sides: see `deciding_sides`; empty: those of this claim
    """
    values = claim.get("by_seed") or {}
    if not (sides := sides or deciding_sides(claim)):
        return {}
    higher, lower = (values.get(side, {}) for side in sides)
    if sides[1] == ZERO:
        return {seed: float(value) for seed, value in higher.items()}
    return {seed: float(value - lower[seed]) for seed, value in higher.items() if seed in lower}


def deciding_sides(claim: Mapping[str, Any]) -> list[str]:
    """Return the higher role of a claim and the lower one with the largest mean, which decides the claim.

    A lower role may be the number 0. The list is empty if one of the sides has no values.
    """
    values = claim.get("by_seed") or {}
    higher, _, lower = str(claim.get("comparison", "")).partition(" over ")
    roles = lower.split(" and ")
    means = {role: statistics.fmean(values[role].values()) for role in roles if values.get(role)}
    if ZERO in roles:
        means[ZERO] = 0.0
    return [higher, max(means, key=lambda role: means[role])] if means and values.get(higher) else []


def paper_effects() -> dict[str, float]:
    """Return the paper's effect for each claim with published numbers, in the unit of the claim.

    Source: Fig. 1 left and middle, 8, 10 and 12; `figures/paper.py` documents how they were read.
    """
    points = {point.method: point for point in paper.methods()}
    moco, simmim, mae = (curve.values for curve in paper.layerwise())
    cl, mim = (curve.values[-1] for curve in paper.log_amplitude())
    mixed = paper.hybrid_sweep()
    best, parents = mixed[0.2], (mixed[0.0], mixed[1.0])
    lost = {name: max(curve) - curve[-1] for name, curve in (("SimMIM", simmim), ("MAE", mae))}
    per_cent = {
        "linear_probing": points["MoCo v3"].linear - points["SimMIM"].linear,
        "finetuning": points["SimMIM"].finetuned - points["MoCo v3"].finetuned,
        "early_blocks": sum(simmim[:6]) / 6 - sum(moco[:6]) / 6,
        "late_blocks": sum(moco[-4:]) / 4 - sum(simmim[-4:]) / 4,
        "implicit_decoder": lost["SimMIM"],
        "explicit_decoder": lost["SimMIM"] - lost["MAE"],
        "hybrid_linear": best.linear - max(point.linear for point in parents),
        "hybrid_finetuned": best.finetuned - max(point.finetuned for point in parents),
    }
    sizes = paper.size_sweep()
    slopes = {
        method: float(np.polyfit(np.log10(list(by_size)), list(by_size.values()), 1)[0])
        for method, by_size in sizes.items()
    }
    per_cent["model_size"] = slopes["SimMIM"] - slopes["MoCo v3"]
    return {name: value / 100 for name, value in per_cent.items()} | {"frequency": mim - cl}


def forest_table(rows: list[ForestRow]) -> pd.DataFrame:
    """Return the plot as a table: one row per claim and study, and the values of the paper."""
    table = []
    for row in rows:
        studies = {"this study": row.main, **row.others}
        for study, drawn in studies.items():
            if drawn is None:
                continue
            numbers = {"effect": drawn.effect, "low": drawn.low, "high": drawn.high}
            table.append(
                {"claim": row.name, "family": row.family, "study": study, **numbers, "verdict": drawn.verdict}
                | {"agreement": drawn.agreement, "seeds": " ".join(f"{value:.4g}" for value in drawn.seeds)}
            )
        if row.paper is not None:
            table.append({"claim": row.name, "family": row.family, "study": "paper", "effect": row.paper})
    columns = ["claim", "family", "study", "effect", "low", "high", "verdict", "agreement", "seeds"]
    return pd.DataFrame(table, columns=columns)
