"""The studies that the presets of arms make are the ones they are named after."""

import pytest
import yaml

from stages.study.params import label_of, seeds_of, validate
from stages.study.recipe import recipe_of
from stages.study.study import Study
from stages.tools.preset import merge
from tests.project import ROOT


def study(preset: str) -> Study:
    """params.yaml under a preset, or as it is."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    if preset:
        merge(values, yaml.safe_load((ROOT / f"stages/presets/{preset}.yaml").read_text()))
    return validate(values)


def test_lambda_has_the_weights_of_the_paper_and_its_parents() -> None:
    arms = study("lambda").arms
    hybrids = [arm for arm in arms.values() if arm.objective == "hybrid"]
    assert {arm.cl_weight for arm in hybrids} - {None} == {0.2, 0.4, 0.6, 0.8}
    assert {arm.gradient_ratio for arm in hybrids} - {None} == {0.25, 1.0}
    assert {arm.objective for arm in arms.values()} == {
        "random",
        "contrastive",
        "masked",
        "hybrid",
        "layered",
    }
    # The first hybrid stands for the paper's claims: it is the paper's best.
    assert next(arm.cl_weight for arm in arms.values() if arm.objective == "hybrid") == 0.2


def test_sizes_has_the_same_widths_of_every_method_with_heads_of_one_width() -> None:
    params = study("sizes")
    widths: dict[str, set[int]] = {}
    for name, arm in params.arms.items():
        vit = recipe_of(params, name)[0]
        widths.setdefault(arm.objective, set()).add(vit.width)
        assert vit.width // vit.heads == 16 and f"width {vit.width}" in label_of(params, name)
    assert widths == {name: {32, 64, 128} for name in ("random", "contrastive", "masked")}


def test_replicates_are_eight_seeds_of_every_arm() -> None:
    params = study("replicates")
    assert set(params.arms) == set(study("").arms)
    assert all(seeds_of(params, name) == list(range(8)) for name in params.arms)


@pytest.mark.parametrize("preset", ["lambda", "sizes", "replicates"])
def test_each_says_what_it_costs(preset: str) -> None:
    head = (ROOT / f"stages/presets/{preset}.yaml").read_text().splitlines()[0]
    assert head.startswith("# ") and "minutes on 2 cores" in head
