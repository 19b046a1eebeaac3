"""What an arm sets otherwise of its objectives."""

from pathlib import Path

import pytest

from stages.objectives.overrides import objectives_of
from stages.study.errors import ParamsError
from stages.study.params import read_yaml, validate


@pytest.fixture
def values():
    return read_yaml(Path("params.yaml"))


def test_an_arm_overrides_settings_of_its_objectives(values):
    weaker = {"contrastive": {"crop_scale_min": 0.9}, "masked": {"mask_ratio": 0.5}}
    values["arms"]["mild"] = {"objective": "hybrid", "cl_weight": 0.2, "objectives": weaker}
    study = validate(values)
    objectives = objectives_of(study, "mild")
    assert (objectives.contrastive.crop_scale_min, objectives.masked.mask_ratio) == (0.9, 0.5)
    assert objectives.contrastive.temperature == study.objectives.contrastive.temperature
    assert objectives_of(study, "cl") == study.objectives


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"masked": {"mask_ratio": 2}}, ["arms.odd.objectives.masked.mask_ratio", "less than"]),
        ({"masked": {"mask_size": 2}}, ["arms.odd.objectives.masked.mask_size"]),
        ({"maske": {"mask_ratio": 0.5}}, ["arms.odd.objectives.maske"]),
        ({"masked": {"mask_unit": 3}}, ["arms.odd", "mask_unit 3"]),
    ],
)
def test_settings_that_an_objective_cannot_have_are_one_line(values, overrides, words):
    values["arms"]["odd"] = {"objective": "masked", "objectives": overrides}
    with pytest.raises(ParamsError) as error:
        objectives_of(validate(values), "odd")
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)
