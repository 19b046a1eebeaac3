"""Which arms stand for a method, and what each has of a measure."""

from collections.abc import Callable, Mapping

import pandas as pd

from stages.claims.decision import RESAMPLES, Mean, bootstrap
from stages.claims.tables import MissingInput, OtherArm
from stages.study.settings import Arm
from stages.study.study import Study

LAST_EPOCH = "the last epoch"
PUBLISHED = {"moco_v3": "contrastive", "simmim": "masked", "mae": "autoencoder", "dino": "dino"}


def method_of(arm: Arm) -> str:
    """What an arm was trained by: its objective, or that of the project whose checkpoint it is."""
    return PUBLISHED.get(arm.format or "", arm.objective)


def epochs_of(params: Study) -> list[str]:
    """The checkpoints that a study has arms of, in words: the last epoch, and those that arms stop at."""
    stops = {arm.stop_epoch for arm in params.arms.values() if arm.stop_epoch}
    return [LAST_EPOCH, *(f"epoch {stop}" for stop in sorted(stops))]


def candidates(params: Study, method: str, *, epoch: str = LAST_EPOCH) -> list[list[str]]:
    """The arms of a method, each with its replicates: those with the same objective and label.

    epoch: one of `epochs_of`; the untrained arm is the same at all of them
    Arms that were trained here come before imported ones; otherwise they are in the order of params.yaml.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for name, arm in params.arms.items():
        stops = f"epoch {arm.stop_epoch}" if arm.stop_epoch else LAST_EPOCH
        if method_of(arm) == method and (stops == epoch or arm.objective == "random"):
            groups.setdefault((arm.objective, arm.label or f"arm {name}"), []).append(name)
    return [names for (objective, _), names in sorted(groups.items(), key=lambda g: g[0][0] == "imported")]


def values_of(
    method: str, *, measure: Callable[[str], pd.Series], params: Study, epoch: str = LAST_EPOCH
) -> pd.DataFrame:
    """One value per image (rows) for each arm (columns) that stands for a method.

    measure: gives the values of an arm; epoch: of its training, one of `epochs_of`
    They are the first arm of the method that the measure is about, and its replicates.
    Raises MissingInput if there is none.
    """
    others = None
    for names in candidates(params, method, epoch=epoch):
        try:
            return pd.DataFrame({name: measure(name) for name in names}).dropna()
        except OtherArm as other:
            others = others or other
    after = "" if epoch == LAST_EPOCH else f" and ends at {epoch}"
    raise others or MissingInput(f"no arm has the objective {method}{after}")


def bootstrapped(
    sides: Mapping[str, pd.DataFrame], *, seed: int, resamples: int = RESAMPLES
) -> dict[str, Mean]:
    """The mean of each side over its arms and the images that all sides have."""
    shared = pd.concat(sides, axis=1, join="inner").sort_index()
    means = bootstrap([shared[side].to_numpy().T for side in sides], seed=seed, resamples=resamples)
    return dict(zip(sides, means, strict=True))
