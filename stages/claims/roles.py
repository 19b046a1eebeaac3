"""Choose the arm that represents a method, and collect the values of its trainings."""

from collections.abc import Callable, Mapping
from functools import reduce

import pandas as pd

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
    returns: of the method's first arm; the columns' name is that of the arm
    Raises MissingResult if the study has no such arm, or if no image has a value of every seed.
    """
    name = next(iter(candidates(params, method)), None)
    if name is None:
        raise MissingResult(f"no arm has the objective {method}")
    values = pd.DataFrame({seed: measure(name, seed) for seed in seeds_of(params, name)}).dropna()
    if values.empty:
        raise MissingResult(f"arm {name}: no image has a value of every seed")
    return values.rename_axis(columns=name)


def aligned(sides: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the values of each side for the images that all sides share, in ascending order."""
    shared = reduce(pd.Index.intersection, (table.index for table in sides.values())).sort_values()
    return {side: table.loc[shared] for side, table in sides.items()}
