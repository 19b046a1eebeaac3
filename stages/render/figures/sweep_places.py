"""Find the arms of a study that form a sweep, and their positions on its axis."""

import math
from collections.abc import Mapping

from stages.encoders.size import parameters
from stages.render.encoder_size import vit_of
from stages.render.figures.gradient_ratios import Realised
from stages.study.params import label_of
from stages.study.settings import Arm
from stages.study.study import Study

FEWEST = 3
HYBRID = "hybrid"  # name of the line of hybrids with a fixed λ
PARENTS = {"masked": 0.0, "contrastive": 1.0}  # λ of the parents of the hybrid
METHODS = {"contrastive": "CL", "masked": "MIM", "random": "untrained"}
Places = dict[str, tuple[str, str, float]]  # label -> name of its line, label that sets the ink, x


def along_weight(study: Study, realised: Mapping[str, Realised] | None = None) -> Places:
    """Return the hybrids of one recipe and their parents by λ, with layered arms and the control.

    realised: label -> realised weight; places the arms whose λ was computed for a gradient ratio
    Returns:  empty with fewer than three weights
    """
    arms = study.arms
    hybrids = [
        name
        for name, arm in arms.items()
        if arm.objective == "hybrid" and arm.cl_weight is not None and not arm.stop_epoch
    ]
    if not hybrids:
        return {}
    first = arms[hybrids[0]]
    places: Places = {}
    weights = set()
    for name, arm in arms.items():
        label = label_of(study, name)
        if not same_recipe(arm, first, apart={"objective", "cl_weight", "gradient_ratio", "mim_block"}):
            continue
        if arm.gradient_ratio is not None:
            if realised and label in realised:
                places.setdefault(label, (label, label, realised[label].weight))
        elif arm.objective == "hybrid" or arm.objective in PARENTS:
            weight = float(PARENTS.get(arm.objective, arm.cl_weight or 0.0))
            places.setdefault(label, (HYBRID, label_of(study, hybrids[0]), weight))
            weights |= {weight} if arm.objective == "hybrid" else set()
        elif arm.objective == "layered":
            places.setdefault(label, (label, label, float(arm.cl_weight or 0.0)))
        elif arm.objective == "random":
            places.setdefault(label, ("untrained", label, math.nan))
    return places if len(weights) >= FEWEST else {}


def along_ratio(study: Study, realised: Mapping[str, Realised]) -> Places:
    """Return the arms of `along_weight` by their realised gradient ratio.

    CL, MIM and the control, which have no ratio, become horizontal lines.

    realised: label -> realised gradient ratio
    Returns:  empty with fewer than three ratios
    """
    objectives = {label_of(study, name): arm.objective for name, arm in study.arms.items()}
    places: Places = {}
    for label, (line, ink, _) in along_weight(study, realised).items():
        if label in realised:
            places[label] = (line, ink, realised[label].ratio)
        elif objectives[label] in (*PARENTS, "random"):
            places[label] = (label, label, math.nan)
    ratios = [x for *_, x in places.values() if not math.isnan(x)]
    return places if len(ratios) >= FEWEST else {}


def along_size(study: Study) -> Places:
    """Return the arms of each objective that differ only in size, by millions of parameters.

    Returns: empty unless a trained objective has three sizes; objectives with fewer sizes are left out
    """
    places: Places = {}
    trained = False
    firsts: dict[str, tuple[str, Arm]] = {}
    for name, arm in study.arms.items():
        if not arm.stop_epoch:
            firsts.setdefault(arm.objective, (label_of(study, name), arm))
    for objective, (ink, first) in firsts.items():
        if objective == "imported":
            continue
        sizes: Places = {}
        for name, arm in study.arms.items():
            if same_recipe(arm, first, apart={"width", "heads", "depth"}):
                millions = parameters(vit_of(study, arm), image_size=study.data.image_size) / 1e6
                sizes.setdefault(label_of(study, name), (METHODS.get(objective, objective), ink, millions))
        if len({x for *_, x in sizes.values()}) >= FEWEST:
            places |= sizes
            trained = trained or objective != "random"
    return places if trained else {}


def same_recipe(arm: Arm, other: Arm, *, apart: set[str]) -> bool:
    """Return whether two arms differ only in their seeds and in the settings `apart`."""
    apart = apart | {"seeds"}
    return arm.model_dump(exclude=apart) == other.model_dump(exclude=apart)
