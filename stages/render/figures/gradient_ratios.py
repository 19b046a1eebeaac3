"""The realised gradient ratio and the realised weight λ of every arm with two losses."""

from typing import NamedTuple

import numpy as np

from stages.results.files import MissingResult
from stages.results.gradients import gradient_ratios
from stages.results.seeds import over_seeds
from stages.results.study_results import Results


class Realised(NamedTuple):
    """The weight and the gradient ratio of an arm, as its trainings realised them."""

    weight: float  # λ: mean over epochs or their parts and trainings, of its log odds
    ratio: float  # norm of the weighted CL gradient over that of the weighted MIM gradient: geometric mean
    low: float  # 95 % t-interval of the ratio over trainings; for one training the ratio itself
    high: float


def realised(results: Results) -> dict[str, Realised]:
    """Return the realised weight and gradient ratio by label.

    Arms with one loss are left out, and arms in which only one of the losses has a gradient or a weight.
    Raises StudyError if a table of gradients cannot be read.
    """
    realised_by_label = {}
    for arm in results.arms:
        gradients = results.gradients(arm)
        if gradients.empty:
            continue
        parts = gradients.drop_duplicates(["seed", "epoch", "cl_weight"])
        weights = parts["cl_weight"].to_numpy(dtype=float)
        if not ((weights > 0) & (weights < 1)).all():
            continue
        try:
            ratios = gradient_ratios(gradients).to_numpy(dtype=float)
        except MissingResult:
            continue
        numbers = over_seeds(np.log(ratios)[:, None])
        ratio, low, high = (float(np.exp(ends[0])) for ends in numbers[:3])
        odds = float(np.exp(np.log(weights / (1 - weights)).mean()))
        realised_by_label[results.label(arm)] = Realised(odds / (1 + odds), ratio, low, high)
    return realised_by_label
