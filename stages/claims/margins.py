"""The smallest effects of interest, with their reasons, and their values in the units of a study."""

import numpy as np

from stages.claims.claim import Claim, Margin
from stages.claims.tables import Tables
from stages.results.analysis_curves import uniform_distance
from stages.results.files import MissingResult
from stages.study.params import seeds_of

ACCURACY = Margin(0.02, "2 points of accuracy: about the published difference between recipes of one method")
OVERLAP = Margin(0.02, "2 points of intersection over union, by analogy to accuracy")
RELATIVE = Margin(0.02, "2 % of the clean accuracy, by analogy to accuracy")
GROWTH = Margin(
    0.02, "2 points of accuracy per tenfold parameters; the paper's Ti, S and B models differ by 4.2"
)
DISTANCE = Margin(
    0.05, "5 % of the distance of evenly spread attention: an eighth of the range of MoCo v3 over its blocks",
    "even attention",
)  # fmt: skip
NMI = Margin(0.03, "a tenth of the range of MoCo v3 over its blocks (0.01 to 0.32)", "span")
AMPLITUDE = Margin(
    0.15, "a 16 % larger amplitude; the paper's MoCo v3 and SimMIM differ by 0.2 in the last block"
)
VARIANCE = Margin(0.3, "twice the margin of a log amplitude, because a variance is a squared amplitude")
COSINE = Margin(0.02, "1 % of the range of a cosine")
ALIKENESS = Margin(0.02, "2 % of the range from dissimilar to identical, by analogy to a cosine")

SPANS = 10  # a narrow range of the arms is divided by this


def margin_of(claim: Claim, chosen: dict[str, str], *, tables: Tables) -> tuple[float, str]:
    """Return the margin of a claim in its unit, with its reason.

    chosen: the chosen option of each analysis choice
    """
    margin = claim.margin
    if margin.rule == "even attention":
        study = tables.params
        patch = study.vit.patch_size
        reach = uniform_distance(grid=study.data.image_size // patch, patch_size=patch)
        return margin.value * reach, margin.reason
    if margin.rule == "span":
        means = _means_of_arms(claim, chosen, tables=tables)
        span = max(means) - min(means) if means else 0.0
        if 0 < span < margin.value:  # one arm has no range
            return span / SPANS, (
                f"a tenth of the narrow range of all arms, {span:.2g}, which is below the usual margin of "
                f"{margin.value:g}"
            )
    return margin.value, margin.reason


def _means_of_arms(claim: Claim, chosen: dict[str, str], *, tables: Tables) -> list[float]:
    """Return the mean of a claim's measure for every fully trained arm that has the measure."""
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
