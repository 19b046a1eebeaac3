"""The ImageNet presets against the settings that were published, and against themselves."""

import re

import pytest

from stages.study.params import read_yaml, seeds_of, validate
from stages.study.recipe import recipe_of
from stages.tools.preset import merge
from tests.project import ROOT


def study(preset):
    values = read_yaml(ROOT / "params.yaml")
    merge(values, read_yaml(ROOT / f"stages/presets/{preset}.yaml"))
    return validate(values)


@pytest.fixture(scope="module")
def published():
    return study("imagenet")


@pytest.fixture(scope="module")
def matched():
    return study("imagenet-matched")


# Chen et al. 2021, Xie et al. 2022, He et al. 2022, Caron et al. 2021 and their public configurations; the
# hybrid's from Table A.1 of the paper; the control's from Touvron et al. 2021, Table 9.
COLUMNS = (
    "epochs", "batch_size", "peak_lr", "min_lr", "schedule", "warmup_epochs", "weight_decay",
    "weight_decay_end", "decay_all", "beta2", "clip_grad", "drop_path",
)  # fmt: skip
RECIPES = {
    "cl": (300, 4096, 2.4e-3, 0, "cosine", 40, 0.1, None, True, 0.999, None, 0),
    "mim": (800, 2048, 4e-4, 0, "multistep", 10, 0.05, None, False, 0.999, 5.0, 0.1),
    "hybrid": (100, 1024, 2e-4, 0, "multistep", 10, 0.05, None, False, 0.999, 5.0, 0.1),
    "mae": (1600, 4096, 2.4e-3, 0, "cosine", 40, 0.05, None, False, 0.95, None, 0),
    "dino": (400, 1024, 5e-4 * 1024 / 256, 1e-6, "cosine", 10, 0.04, 0.4, False, 0.999, 3.0, 0.1),
    "supervised": (300, 1024, 1e-3, 1e-5, "cosine", 5, 0.05, None, False, 0.999, None, 0.1),
}
POSITIONS = {
    "random": ("sincos", None),
    "cl": ("sincos", None),
    "mim": ("relative", 0.1),
    "hybrid": ("relative", 0.1),
    "mae": ("sincos", None),
    "dino": ("learned", None),
    "supervised": ("sincos", None),
}
OBJECTIVES = {
    "contrastive": {
        "temperature": 0.2, "momentum": 0.99, "freeze_patch_embed": True, "hidden_dim": 4096,
        "output_dim": 256, "crop_scale_min": 0.08, "jitter_probability": 0.8, "jitter_strength": 1.0,
        "grey_probability": 0.2, "blur_probability": 1.0, "solarize_probability": 0.2,
    },
    "masked": {
        "mask_ratio": 0.6, "mask_unit": 2, "target_window": None, "crop_scale_min": 0.67,
        "jitter_probability": 0.0, "jitter_strength": 1.0, "grey_probability": 0.0,
    },
    "autoencoder": {
        "mask_ratio": 0.75, "normalize_target": True, "crop_scale_min": 0.2, "decoder_width": 512,
        "decoder_depth": 8, "decoder_heads": 16,
        "jitter_probability": 0.0, "jitter_strength": 1.0, "grey_probability": 0.0,
    },
    "dino": {
        "momentum": 0.996, "student_temperature": 0.1, "teacher_temperature_start": 0.04,
        "teacher_temperature": 0.07, "teacher_temperature_warmup": 30 / 400, "center_momentum": 0.9,
        "freeze_last_layer": 1 / 400, "hidden_dim": 2048, "bottleneck_dim": 256, "output_dim": 65536,
        "global_scale_min": 0.4, "local_crops": 8, "local_size": 96, "local_scale_min": 0.05,
        "local_scale_max": 0.4, "jitter_probability": 0.8, "jitter_strength": 1.0, "grey_probability": 0.2,
        "blur_probability": 1.0, "solarize_probability": 0.2,
    },
    "supervised": {
        "crop_scale_min": 0.08, "label_smoothing": 0.1,
        "jitter_probability": 0.0, "jitter_strength": 1.0, "grey_probability": 0.0,
    },
}  # fmt: skip
FINETUNE = {
    "epochs": 100, "batch_size": 2048, "lr": 1.25e-3 * 2048 / 512, "weight_decay": 0.05, "layer_decay": 0.65,
    "warmup_epochs": 20, "drop_path": 0.1, "crop_scale_min": 0.08, "mixup": 0.8, "cutmix": 1.0,
    "label_smoothing": 0.1, "randaugment": "rand-m9-mstd0.5-inc1", "clip_grad": 5.0,
}  # fmt: skip


def test_every_arm_has_the_recipe_of_its_publication(published):
    assert set(published.arms) == {"random", *RECIPES}
    for name, expected in RECIPES.items():
        recipe = recipe_of(published, name)[1]
        for column, value in zip(COLUMNS, expected, strict=True):
            setting = getattr(recipe, column)
            assert setting == (pytest.approx(value) if isinstance(value, float) else value), (name, column)
    assert recipe_of(published, "mim")[1].milestone == 700 / 800
    assert published.arms["hybrid"].cl_weight == 0.2


def test_every_encoder_is_a_vit_b_with_the_positions_of_its_publication(published):
    sizes = (768, 12, 12, 16, 4.0)
    for name, expected in POSITIONS.items():
        vit = recipe_of(published, name)[0]
        assert (vit.width, vit.depth, vit.heads, vit.patch_size, vit.mlp_ratio) == sizes
        assert (vit.position, vit.layer_scale) == expected, name
    assert published.data.image_size == 224


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_has_the_settings_of_its_publication(published, name):
    assert getattr(published.objectives, name).model_dump() == OBJECTIVES[name]


@pytest.mark.parametrize("preset", ["published", "matched"])
def test_fine_tuning_and_the_linear_probe_are_those_of_the_paper(preset, request):
    params = request.getfixturevalue(preset)
    numbers = params.finetune.model_dump()
    assert [numbers.pop(key) for key in ("poolings", "train_images", "head")] == [["mean"], None, "new"]
    unused = {"validation_fraction": 0.1}  # there is one pooling
    assert numbers == pytest.approx(FINETUNE | {"precision": "bf16-mixed"} | unused)
    assert (params.probes.linear.epochs, params.probes.linear.batch_size) == (50, 1024)


@pytest.mark.parametrize("preset", ["published", "matched"])
def test_every_arm_is_probed_on_augmented_images_by_the_recipe_of_moco(preset, request):
    params = request.getfixturevalue(preset)
    settings = params.linear_augmented
    assert settings.arms == list(params.arms)
    assert (settings.epochs, settings.batch_size, settings.crop_scale_min) == (90, 4096, 0.08)
    assert 3.0 in settings.learning_rates and settings.peak_lr == max(settings.learning_rates) * 16


def test_matched_arms_differ_in_objective_and_seed_alone(published, matched):
    for name, arm in matched.arms.items():
        vit, recipe = recipe_of(matched, name)[:2]
        assert (vit, recipe) == (matched.vit, matched.pretrain), name
        assert arm.model_fields_set <= {"objective", "seeds", "cl_weight"}
    assert set(published.arms) == set(matched.arms)
    assert matched.vit.model_dump() == published.vit.model_dump()


def test_matched_views_differ_in_number_alone(matched):
    sections = matched.objectives
    scales = {sections.dino.global_scale_min, sections.dino.local_scale_max}
    others = [sections.contrastive, sections.masked, sections.autoencoder, sections.supervised]
    assert {section.crop_scale_min for section in others} | scales == {0.2}
    for key in ("jitter_probability", "jitter_strength", "grey_probability"):
        assert len({getattr(section, key) for section in [*others, sections.dino]}) == 1, key
    for section in (sections.contrastive, sections.dino):
        assert section.blur_probability == section.solarize_probability == 0
    assert not sections.contrastive.freeze_patch_embed


def test_the_main_matched_arms_are_trained_from_three_seeds(matched):
    assert {name: len(seeds_of(matched, name)) for name in matched.arms} == {
        **dict.fromkeys(("random", "cl", "mim", "hybrid"), 3),
        **dict.fromkeys(("mae", "dino", "supervised"), 1),
    }


@pytest.mark.parametrize("preset", ["published", "matched"])
def test_the_probes_fit_a_vit_b_and_a_thousand_classes(preset, request):
    params, default = request.getfixturevalue(preset), validate(read_yaml(ROOT / "params.yaml"))
    # As params.yaml says beside these rates.
    rates = [rate / 10 for rate in default.probes.attentive.learning_rates]
    assert params.probes.attentive.learning_rates == pytest.approx(rates)
    assert params.probes.attentive.heads == params.vit.heads
    # Below ten images per class, the accuracy of a snapshot is that of a few-shot probe.
    assert params.trajectory.train_images >= 10 * 1000
    assert params.trajectory.test_images >= 5000


# GFLOP per image of a training, as counted for the comments of the presets.
GFLOP = {"cl": 261, "mim": 106, "hybrid": 367, "mae": 58, "dino": 405, "supervised": 98}
TWICE = {"cl", "hybrid", "dino"}  # with runtime.micro_batch, these run the trained encoder once more
EVALUATED = 31 + 10  # hours of fine-tuning and of linear_augmented, for each training


@pytest.mark.parametrize(("name", "preset"), [("imagenet", "published"), ("imagenet-matched", "matched")])
def test_the_hours_in_the_first_line_are_those_of_all_seeds(name, preset, request):
    params = request.getfixturevalue(preset)
    first = (ROOT / f"stages/presets/{name}.yaml").read_text().splitlines()[0]
    stated = float(re.search(r"about ([0-9,]+) GPU hours", first)[1].replace(",", ""))
    hours = 0.0
    for arm in params.arms:
        flop = 1e9 * GFLOP.get(arm, 0) * 1_281_167 * recipe_of(params, arm)[1].epochs
        training = flop / 120e12 / 3600 * (1.25 if arm in TWICE else 1)
        hours += len(seeds_of(params, arm)) * (training + EVALUATED)
    assert hours == pytest.approx(stated, rel=0.03)
