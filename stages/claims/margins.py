"""The smallest effects of interest, and what they are in the units of a study."""

import numpy as np

from stages.claims.claim import Claim, Margin
from stages.claims.tables import Tables
from stages.results.analysis_curves import uniform_distance
from stages.results.files import MissingResult
from stages.study.params import seeds_of

ACCURACY = Margin(
    0.02, "2 points of accuracy: published differences between recipes of one method are about as large"
)
OVERLAP = Margin(0.02, "2 points of intersection over union, as for accuracy")
RELATIVE = Margin(0.02, "2 points of the accuracy without noise, as for accuracy")
GROWTH = Margin(
    0.02, "2 points of accuracy for ten times the parameters; the paper's own points give 4.2 (Ti, S, B)"
)
DISTANCE = Margin(
    0.05, "5 % of the distance that evenly spread attention reaches: an eighth of the range of MoCo v3",
    "even attention",
)  # fmt: skip
NMI = Margin(0.03, "a tenth of the range of MoCo v3 over its blocks (0.01 to 0.32)", "span")
AMPLITUDE = Margin(
    0.15, "an amplitude 16 % larger; MoCo v3 and SimMIM differ by 0.2 in the paper's last block"
)
VARIANCE = Margin(0.3, "a variance is an amplitude squared: twice the margin of a log amplitude")
COSINE = Margin(0.02, "a hundredth of the range of a cosine")
ALIKENESS = Margin(0.02, "2 % of the range from unlike to identical, as for a cosine")

SPANS = 10  # parts of the span between the extreme arms


def margin_of(claim: Claim, chosen: dict[str, str], *, tables: Tables) -> tuple[float, str]:
    """Return the margin of a claim in its unit, with its reason.

    chosen: options of the choices that its measure takes
    """
    margin = claim.margin
    if margin.rule == "even attention":
        study = tables.params
        patch = study.vit.patch_size
        reach = uniform_distance(grid=study.data.image_size // patch, patch_size=patch)
        return margin.value * reach, margin.reason
    if margin.rule == "span":
        means = _means_of_arms(claim, chosen, tables=tables)
        span = max(means) - min(means) if means else margin.value
        if span < margin.value:
            return span / SPANS, f"a tenth of the span between the extreme arms, {span:.2g}, which is narrow"
    return margin.value, margin.reason


def _means_of_arms(claim: Claim, chosen: dict[str, str], *, tables: Tables) -> list[float]:
    """The mean of the measure of a claim in every arm at its last epoch that has it."""
    means = []
    for arm, settings in tables.params.arms.items():
        if settings.stop_epoch:
            continue
        try:
            values = [
                claim.measure(tables.of(seed), arm, **claim.given, **chosen).mean()
                for seed in seeds_of(tables.params, arm)
            ]
        except MissingResult:
            continue
        means.append(float(np.mean(values)))
    return means
