"""What objectives declare of themselves, against what they do."""

from pathlib import Path

import pytest

from stages.encoders.architecture import build_encoder
from stages.encoders.settings import Vit
from stages.objectives.contract import Objective
from stages.study.errors import ParamsError
from stages.study.lookup import find, plugins
from stages.study.params import load_params
from stages.study.settings import Arm
from stages.training.task import Task

VIT = Vit(width=16, depth=2, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")
NAMES = plugins(Path("stages/objectives"), constant="OBJECTIVE")


@pytest.mark.parametrize("name", NAMES)
def test_an_objective_trains_an_encoder_or_opens_one_or_is_the_control(name):
    objective = find(Objective, name)
    settings = load_params().objectives
    assert set(objective.settings) <= set(type(settings).model_fields)
    if objective.build is None:
        assert (name == "imported") == (objective.opens is not None) and objective.settings == ()
        return
    arm = Arm.model_construct(objective=name, cl_weight=0.5, mim_block=1.0)
    encoder = build_encoder(vit=VIT, image_size=32, seed=0)
    task = objective.build(encoder, arm=arm, settings=settings, seed=0, classes=[2, 3])
    assert isinstance(task, Task) and task.encoder is encoder
    artifacts = task.artifacts()
    assert set(artifacts.files) == ({"decoder"} if name == "autoencoder" else set())
    assert set(artifacts.tables) == ({"gradients"} if name in ("hybrid", "layered") else set())


@pytest.mark.parametrize("name", NAMES)
def test_positions_that_need_the_whole_image_are_refused_where_parts_are_shown(name):
    objective = find(Objective, name)
    objective.check(arm="odd", objective=name, position="learned")
    if not objective.shows_parts:
        objective.check(arm="odd", objective=name, position="relative")
        return
    with pytest.raises(ParamsError) as error:
        objective.check(arm="odd", objective=name, position="relative")
    for word in ("arms.odd", "position relative", name, "sincos"):
        assert word in str(error.value) and "\n" not in str(error.value)


def test_those_that_show_parts_are_known():
    assert {name for name in NAMES if find(Objective, name).shows_parts} == {"autoencoder", "dino", "latent"}
