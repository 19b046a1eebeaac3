"""Show each claim in a fold with its statistics, its figures and its specification curve."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from stages.render.figures.forest_rows import paper_effects
from stages.render.figures.specification import (
    specification_alt,
    specification_caption,
    specification_figure,
    specification_findings,
)
from stages.render.page.figure_card import drawn
from stages.render.page.notebook_output import put
from stages.render.sections.verdicts import (
    MARKS,
    against_untrained,
    effect,
    is_share,
    means,
    robust,
    verdict_mark,
    verdict_of,
)
from stages.render.words import listed, minus, number, unbroken
from stages.study.words import counted

HYBRIDS = ("summary-fig-accuracy-by-weight", "summary-fig-accuracy-by-ratio", "summary-fig-trade-off")
# Claim -> ids of its figures, or beginnings of ids; a fold says why if a study has none of them.
FIGURES: Mapping[str, tuple[str, ...]] = {
    "linear_probing": ("summary-fig-trade-off",),
    "finetuning": ("summary-fig-trade-off",),
    "model_size": ("summary-fig-accuracy-by-size",),
    "dense_prediction": ("summary-fig-segmentation",),
    "dense_prediction_finetuned": ("summary-fig-segmentation",),
    "nearest_neighbours": ("summary-fig-probes",),
    "few_labels": ("summary-fig-probes",),
    "attentive_probing": ("summary-fig-probes",),
    "learnt_pooling": ("summary-fig-probes",),
    "attention_distance": ("attention-fig-distance",),
    "attention_collapse": ("attention-fig-nmi",),
    "collapse_beyond_untrained": ("attention-fig-nmi",),
    "collapse_with_depth": ("attention-fig-nmi",),
    "same_map": ("attention_maps-fig-map-similarity",),
    "heads_alike": ("attention-fig-diversity", "similarity-fig-heads"),
    "blocks_alike": ("similarity-fig-cka", "similarity-fig-blocks"),
    "positions_alike": ("similarity-fig-positions",),
    "tokens_in_unison": ("singular_values-fig-unison",),
    "token_spread": (),  # the figure of the spectra shows their form, without their scale
    "image_spread": (),
    "tokens_by_image": ("token_embedding-fig-silhouettes",),
    "frequency": ("fourier-fig-highest-frequency",),
    "frequency_falls": ("fourier-fig-highest-frequency",),
    "shape_bias": ("summary-fig-shape-bias",),
    "other_textures": ("summary-fig-corruptions",),
    "other_textures_finetuned": ("summary-fig-corruptions",),
    "stylised": ("summary-fig-corruptions",),
    "stylised_finetuned": ("summary-fig-corruptions",),
    "noise": ("summary-fig-frequency-noise",),
    "noise_finetuned": ("summary-fig-frequency-noise",),
    "early_blocks": ("summary-fig-layerwise",),
    "late_blocks": ("summary-fig-layerwise",),
    "implicit_decoder": ("summary-fig-layerwise",),
    "explicit_decoder": ("summary-fig-layerwise",),
    "hybrid_linear": HYBRIDS,
    "hybrid_finetuned": HYBRIDS,
    "hybrid_attention": ("attention-fig-nmi",),
    "hybrid_frequency": ("fourier-fig-highest-frequency",),
}
KINDS = {"exploratory": "exploratory", "ours": "claim of this project", "hybrid": "headline, on the hybrid"}


def claims_fold(claims: Sequence[dict[str, Any]], specifications: pd.DataFrame, *, folder: str = "") -> None:
    """Show claims in one fold that contains a fold per claim, with the id `claim-NAME`.

    claims, specifications: as `results.claims` and `results.specifications` return them
    folder:                 for the files of the figures
    """
    if claims:
        drawings = {claim["name"]: rows for claim, rows in curves(claims, specifications)}
        details = [
            claim_details(claim, curve=_curve(claim, drawings.get(claim["name"]), folder=folder))
            for claim in claims
        ]
        put(
            Markup('<details class="claims"><summary>{}</summary>\n{}</details>').format(
                unbroken(_summary(claims)), Markup("\n").join(details)
            )
        )


def claims_of(claims: Sequence[dict[str, Any]], *sections: str) -> list[dict[str, Any]]:
    """Return the claims of some sections of the paper, such as "§2"; "" stands for all others."""
    known = {f"§{number}" for number in range(1, 6)}

    def section(claim: dict[str, Any]) -> str:
        first = str(claim.get("section") or "").split(",")[0].split(" ")[0]
        return first if first in known else ""

    return [claim for claim in claims if section(claim) in sections]


def claim_details(claim: dict[str, Any], *, curve: str = "") -> str:
    """Return one claim as a fold with its statement, verdict and effect in the summary.

    curve: HTML of the specification curve
    """
    rows = {name: value for name, value in _rows(claim).items() if value}
    listing = Markup("\n").join(Markup("<dt>{}</dt><dd>{}</dd>").format(*row) for row in rows.items())
    why = claim.get("why")
    figures = Markup('<span class="figures" data-figures="{}" data-none="{}"></span>').format(
        " ".join(FIGURES.get(claim["name"], ())),
        f"No figure: {why}." if why else "No figure on this page shows the measure.",
    )
    name = claim["name"].replace("_", "-")
    return Markup(
        '<details class="claim" id="claim-{name}"><summary>{statement} {verdict} {effect}</summary>\n'
        '<dl>{listing}</dl>\n<p class="links">{figures} <a href="#claim-{name}">Link to this claim</a></p>\n'
        "{curve}</details>"
    ).format(
        name=name,
        statement=unbroken(claim["statement"]),
        verdict=verdict_of(claim),
        effect=effect(claim),
        listing=listing,
        figures=figures,
        curve=Markup(curve),
    )


def curves(
    claims: Sequence[dict[str, Any]], specifications: pd.DataFrame
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield every claim with more than one specification, and its specifications.

    specifications: as `results.specifications` returns them
    """
    for claim in claims:
        rows = specifications[specifications["claim"] == claim["name"]]
        if len(rows) > 1:
            yield claim, rows.dropna(axis="columns", how="all")


def _curve(claim: dict[str, Any], rows: pd.DataFrame | None, *, folder: str) -> str:
    if rows is None:
        return ""
    figure = drawn(
        specification_figure(rows, claim=claim),
        name=f"choices-{claim['name'].replace('_', '-')}",
        alt=specification_alt(rows),
        caption=specification_caption(rows, claim=claim),
        data=rows,
        folder=folder,
    )
    return Markup("<p>{}</p>\n").format(unbroken(specification_findings(rows, claim=claim))) + Markup(figure)


def _summary(claims: Sequence[dict[str, Any]]) -> str:
    verdicts = [claim["verdict"] for claim in claims]
    counts = listed(f"{verdicts.count(name)} {name}" for name in MARKS if name in verdicts)
    return f"{counted(len(claims), 'claim')}: {counts}"


def _rows(claim: dict[str, Any]) -> dict[str, str]:
    """Return the entries in the fold of a claim; an entry without a value is empty."""
    source = [claim.get("section"), KINDS.get(claim.get("family", ""))]
    rows = {
        "Source": "; ".join(part for part in source if part),
        "Why not tested": claim.get("why") or "",
        "Measure": claim.get("statistic") or "",
        "Comparison": minus(claim.get("comparison") or ""),
        "Effect": effect(claim),
    }
    if claim.get("corrected_low") is not None:
        low, high = _bare(claim, "corrected_low"), _scaled(claim, "corrected_high")
        rows["Corrected interval"] = f"{low} to {high}, significance level {number(claim['level'], digits=2)}"
    if claim.get("margin") is not None:
        reason = claim.get("margin_reason")
        rows["Margin"] = _scaled(claim, "margin") + (f" ({reason})" if reason else "")
    if (published := paper_effects().get(claim["name"])) is not None and claim.get("margin"):
        rows["In the paper"] = _published(published, claim)
    if claim.get("p_adjusted") is not None:
        adjusted = claim["p_adjusted"]
        rows["Adjusted p of the verdict"] = "below 0.001" if adjusted < 0.001 else number(adjusted, digits=2)
    if claim.get("d") is not None:
        rows["Cohen's d"] = number(claim["d"], digits=2)
    rows |= {
        "Agreement": robust(claim).replace("–", ""),
        "Means": means(claim).replace("–", ""),
        "Compared with untrained": against_untrained(claim).replace("–", ""),
        "Other methods": _replications(claim),
    }
    return {name: unbroken(value) if type(value) is str else value for name, value in rows.items()}


def _published(value: float, claim: dict[str, Any]) -> str:
    """Return the effect in the paper, and what an effect within the margin means."""
    text = _scaled({"unit": claim.get("unit"), "published": value}, "published")
    return text + (
        "; within the margin, so a study with the same effect finds it negligible"
        if abs(value) < claim["margin"]
        else ""
    )


def _replications(claim: dict[str, Any]) -> str:
    parts = [
        Markup("{}: {} {}").format(
            minus(pair), verdict_mark(again["verdict"]), effect(again | {"unit": claim["unit"]})
        )
        for pair, again in (claim.get("replications") or {}).items()
    ]
    return Markup("; ").join(parts) if parts else ""


def _scaled(claim: dict[str, Any], key: str) -> str:
    """Return a number of a claim with its unit."""
    unit = "points" if is_share(claim.get("unit")) else claim.get("unit") or ""
    return f"{_bare(claim, key)} {unit}".strip()


def _bare(claim: dict[str, Any], key: str) -> str:
    """Return a number of a claim without its unit."""
    scale = 100 if is_share(claim.get("unit")) else 1
    return number(scale * claim[key], digits=2)
