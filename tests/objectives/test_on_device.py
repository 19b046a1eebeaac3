"""Views are made where the images are: nothing of an augmentation needs the host."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stages.data.arrays import normalize, unit_range
from stages.encoders.architecture import build_encoder
from stages.encoders.settings import Vit
from stages.objectives.contract import Objective
from stages.study.lookup import find, plugins
from stages.study.params import load_params
from stages.study.seeds import Draws
from stages.study.settings import Arm

VIT = Vit(width=16, depth=2, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")
TRAINING = [
    name
    for name in plugins(Path("stages/objectives"), constant="OBJECTIVE")
    if find(Objective, name).build is not None
]


class DrawnOnMeta(Draws):
    """Random numbers without content, on a device that refuses to mix with the CPU and to show values."""

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.empty(self.batch, *shape, device="meta")


@pytest.mark.parametrize("name", TRAINING)
def test_bytes_on_a_device_become_views_on_that_device(name: str) -> None:
    objective = find(Objective, name)
    arm = Arm.model_construct(objective=name, cl_weight=0.5, mim_block=1.0)
    encoder = build_encoder(vit=VIT, image_size=32, seed=0)
    assert objective.build is not None
    task: Any = objective.build(encoder, arm=arm, settings=load_params().objectives, seed=0, classes=[2])
    images = torch.empty(8, 3, 32, 32, dtype=torch.uint8, device="meta")
    labels = {"labels": torch.zeros(8, 1, dtype=torch.long, device="meta")} if objective.needs_labels else {}
    views = task.views(
        unit_range(images),
        normalize=lambda view: normalize(view, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2)),
        draws=DrawnOnMeta(torch.Generator(), batch=8),
        **labels,
    )
    assert len(views) >= 1 and {view.device.type for view in views} == {"meta"}
