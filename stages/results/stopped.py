"""The results of arms that stop early, as the final results of a shorter study."""

from pathlib import Path

from stages.results.snapshots import ResultsAt
from stages.study.recipe import recipe_of
from stages.study.settings import Arm
from stages.study.study import Study


def stopped_early(study: Study, root: Path = Path()) -> list[ResultsAt]:
    """Return one study per share of the training at which arms stop, in ascending order, and the whole last.

    Each has the arms that stop at this share, as if they were complete, and the untrained and imported arms.
    An arm that stops early counts if it has the settings of the arm that represents its method, because the
    points of a trajectory must belong to one training.
    returns: empty without such arms
    """
    whole = {name: arm for name, arm in study.arms.items() if not arm.stop_epoch}
    same = {name: arm for name, arm in whole.items() if arm.objective in ("random", "imported")}
    by_share: dict[float, dict[str, Arm]] = {}
    for name, arm in study.arms.items():
        # The first arm of an objective represents its method.
        first = next((other for other in whole.values() if other.objective == arm.objective), None)
        if arm.stop_epoch and first and _settings(arm) == _settings(first):
            share = arm.stop_epoch / recipe_of(study, name)[1].epochs
            by_share.setdefault(share, {})[name] = arm.model_copy(update={"stop_epoch": None})
    studies = [(share, same | by_share[share]) for share in sorted(by_share)]
    return [
        ResultsAt(study.model_copy(update={"arms": arms}), root, share=share)
        for share, arms in [*studies, *([(1.0, whole)] if studies else [])]
    ]


def _settings(arm: Arm) -> dict[str, object]:
    return arm.model_dump(exclude_unset=True, exclude={"stop_epoch", "seeds"})
