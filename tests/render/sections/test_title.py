"""The title block counts operations as PyTorch does and shows the marks of the figures."""

import re

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from stages.encoders.architecture import build_encoder
from stages.encoders.vit import use_fused_attention
from stages.render.encoder_size import forward_flops
from stages.render.figures.style import palette
from stages.render.sections.title import title_block
from stages.study.params import load_params
from stages.study.settings import Arm
from stages.study.study import Study
from tests.render.synthetic import ROOT
from tests.render.synthetic_claims import manifest


@pytest.fixture(scope="module")
def study() -> Study:
    return load_params(ROOT / "params.yaml")


@pytest.mark.parametrize("change", [{}, {"width": 128, "depth": 2}, {"mlp_ratio": 4.0, "patch_size": 8}])
def test_operations_are_those_that_torch_counts(study: Study, change: dict[str, float]) -> None:
    vit = study.vit.model_copy(update=change)
    encoder = build_encoder(vit=vit, image_size=32, seed=0).eval()
    use_fused_attention(encoder, False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder(torch.zeros(1, 3, 32, 32))
    assert counter.get_total_flops() == forward_flops(vit, image_size=32)


def test_the_largest_published_encoder_has_its_published_operations(study: Study) -> None:
    base = study.vit.model_copy(
        update={"width": 768, "depth": 12, "heads": 12, "patch_size": 16, "mlp_ratio": 4}
    )
    assert forward_flops(base, image_size=224) / 2e9 == pytest.approx(17.5, abs=0.1)  # GMACs of ViT-B/16


def test_arms_have_the_marks_of_the_figures_and_their_number_of_seeds(study: Study) -> None:
    arms = {f"a{n}": Arm(objective="masked", seeds=[0]) for n in range(7)} | {"r": Arm(objective="random")}
    arms |= {"s": Arm(objective="hybrid", cl_weight=0.2, seeds=[0, 1, 2])}
    study = study.model_copy(update={"arms": arms, "labels": {"s": "Both <1>"}})
    html = title_block(study, manifest(), inks=palette(study))
    assert html.count('<svg class="swatch"') == 9
    assert len(set(re.findall(r'stroke="(#\w+)"', html))) == 7  # six colours and the grey of the control
    assert "Both &lt;1&gt; (hybrid, λ =\u00a00.2, 3 seeds)" in html and "a0 (masked, one training)" in html


def test_compute_covers_only_trained_arms(study: Study) -> None:
    def block(**arms: Arm) -> str:
        one = study.model_copy(update={"arms": arms, "seeds": [0]})
        return title_block(one, manifest(), inks=palette(one))

    masked, random = Arm(objective="masked"), Arm(objective="random")
    assert "1 training on 32,000 images" in block(a=masked, r=random)
    assert "1 training on 31,500 images" in block(
        a=Arm(objective="masked", batch_size=125 * 3)
    )  # whole batches
    assert "2 trainings, each on 8,000 or 32,000 images" in block(
        a=masked, b=Arm(objective="masked", epochs=1)
    )
    assert "1 encoder; probes" in block(a=masked) and "2 encoders; probes" in block(a=masked, r=random)
    assert "1 training on 0 images" in block(a=Arm(objective="masked", epochs=0))
    assert "3 trainings, each on" in block(a=Arm(objective="masked", seeds=[3, 4, 5]))
    assert "forward pass" not in block(r=random) and "million parameters" in block(r=random)
    foreign = Arm(objective="imported", weights="x.pth", format="mae")
    assert "parameters" not in block(a=foreign).partition("Compute")[2]


def test_without_a_training_the_compute_is_no_empty_sentence(study: Study) -> None:
    arms = {"theirs": Arm(objective="imported", weights="a.pth", format="mae")}
    study = study.model_copy(update={"arms": arms})
    assert "<dd>The appendix lists" in title_block(study, manifest(), inks=palette(study))
