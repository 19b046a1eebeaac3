"""Which arm stands for a method, and what each of its trainings has of a measure."""

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
    """What an arm was trained by: its objective, or that of the project whose checkpoint it is."""
    return PUBLISHED.get(arm.format or "", arm.objective)


def candidates(params: Study, method: str) -> list[str]:
    """The arms of a method: those trained here before imported ones, otherwise in the order of params.yaml.

    An arm that stops before its last epoch is none of them.
    """
    arms = [name for name, arm in params.arms.items() if method_of(arm) == method and not arm.stop_epoch]
    return sorted(arms, key=lambda name: params.arms[name].objective == "imported")


def values_of(method: str, *, measure: Callable[[str, int], pd.Series], params: Study) -> pd.DataFrame:
    """One value per image (rows) for each training (columns: seeds) of the arm that stands for a method.

    measure: gives the values of one seed of an arm
    returns: the columns are named after the arm: the first of the method that the measure applies to
    Raises MissingResult if there is none.
    """
    others = None
    for name in candidates(params, method):
        try:
            values = pd.DataFrame({seed: measure(name, seed) for seed in seeds_of(params, name)})
            return values.dropna().rename_axis(columns=name)
        except OtherArm as other:
            others = others or other
    raise others or MissingResult(f"no arm has the objective {method}")


def aligned(sides: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the values of each side for the images that all sides have, in the order of the images."""
    shared = reduce(pd.Index.intersection, (table.index for table in sides.values())).sort_values()
    return {side: table.loc[shared] for side, table in sides.items()}
