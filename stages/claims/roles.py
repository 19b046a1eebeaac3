"""Choose the arm that represents a method, and collect the values of its trainings."""

from collections.abc import Callable, Mapping
from functools import reduce

import pandas as pd

from stages.claims.tables import OtherArm
from stages.results.files import MissingResult
from stages.study.params import seeds_of
from stages.study.settings import Arm
from stages.study.study import Study

PUBLISHED = {"moco_v3": "contrastive", "simmim": "masked", "mae": "autoencoder", "dino": "dino"}


def method_of(arm: Arm) -> str:
    """Return the method that trained an arm: its objective, or that of an imported checkpoint."""
    return PUBLISHED.get(arm.format or "", arm.objective)


def candidates(params: Study, method: str) -> list[str]:
    """Return the arms of a method in the order of params.yaml, those trained here before imported ones.

    Arms that stop before their last epoch do not count.
    """
    arms = [name for name, arm in params.arms.items() if method_of(arm) == method and not arm.stop_epoch]
    return sorted(arms, key=lambda name: params.arms[name].objective == "imported")


def values_of(method: str, *, measure: Callable[[str, int], pd.Series], params: Study) -> pd.DataFrame:
    """Return the values of the arm that represents a method: a row per image, a column per seed.

    measure: (arm, seed) -> values per image
    returns: of the method's first arm to which the measure applies; the columns' name is that of the arm
    Raises MissingResult if the study has no such arm.
    """
    unfit = None
    for name in candidates(params, method):
        try:
            values = pd.DataFrame({seed: measure(name, seed) for seed in seeds_of(params, name)})
            return values.dropna().rename_axis(columns=name)
        except OtherArm as error:
            unfit = unfit or error
    raise unfit or MissingResult(f"no arm has the objective {method}")


def aligned(sides: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the values of each side for the images that all sides share, in ascending order."""
    shared = reduce(pd.Index.intersection, (table.index for table in sides.values())).sort_values()
    return {side: table.loc[shared] for side, table in sides.items()}
