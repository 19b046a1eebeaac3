"""The cost of a training is what can be counted by hand, and what PyTorch counts when it computes."""

import importlib
import json
import re
import sys
from itertools import count

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor

from stages.features import frozen_features
from stages.objectives.contract import Objective
from stages.objectives.losses import _window_means
from stages.study.documents import read_yaml
from stages.study.errors import StudyError
from stages.study.lookup import find
from stages.study.params import validate
from stages.study.seeds import Draws
from stages.tools.cost import hourly, in_words, scaled
from stages.tools.devices import GPUS, Device, device_named
from stages.tools.disk import Images, data_bytes, feature_bytes, images_of
from stages.tools.preset import merge
from stages.tools.pricing import cost_of, encoder_of, pretraining_step
from stages.tools.step import count_flops, expected_memory, peak_flops
from tests.project import ROOT, TOY

SIZE, PATCHES, WIDTH, DEPTH, HIDDEN = 16, 16, 16, 2, 32  # of the encoder at toy size; patches of 4 px
MADE_UP = Device(mixed=100, single=10, memory=1, utilisation=0.5, source="made up")


def toy(**changes):
    """The study at toy size with changes."""
    values = read_yaml(ROOT / "params.yaml")
    for overlay in (TOY, changes):
        merge(values, overlay)
    values["arms"] = changes.get("arms", values["arms"])
    values["labels"] = {}
    return validate(values)


def price(study, name, **about):
    device = about.pop("device", MADE_UP)
    return cost_of(study, name, images=about.pop("images", Images(96, 40)), device=device)


def test_flop_are_those_of_the_matrix_products():
    study = toy(objectives={"masked": {"target_window": None}})
    _window_means.cache_clear()
    tokens = PATCHES + 1
    attention = 2 * tokens * WIDTH * 4 * WIDTH + 2 * 2 * tokens**2 * WIDTH
    block = attention + 2 * 2 * tokens * WIDTH * HIDDEN
    pixels = 2 * PATCHES * WIDTH * 48  # of the projection, and of the decoder
    surroundings = 4 * 2 * 2 * SIZE**3  # means of windows of three channels and of what is visible
    # Forward, and twice that backward; but nothing asks for the gradient of the images.
    expected = 3 * DEPTH * block + 3 * pixels + 2 * pixels + surroundings
    cost = price(study, "mim")
    assert cost.flop_per_image == expected
    assert cost.finetuning_flop == 96 * (3 * DEPTH * block + 2 * pixels)  # of so many training images
    assert not isinstance(_window_means(SIZE, 9), FakeTensor)  # which a training would stumble over


ARMS = (
    {"objective": "contrastive", "precision": "bf16-mixed"},
    {"objective": "layered", "gradient_ratio": 1.0, "mim_block": 1},
    {"objective": "dino", "precision": "bf16-mixed"},
    {"objective": "latent"},
)


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm["objective"])
def test_tensors_without_content_cost_what_real_ones_do(arm):
    study = toy(arms={"one": arm})
    step = pretraining_step(study, "one", rows=8, at_once=8)
    plugin = find(Objective, arm["objective"])
    arm = study.arms["one"].model_copy(update={"cl_weight": 0.5})
    classes = [1000] if plugin.needs_labels else []
    task = plugin.build(encoder_of(study, "one"), arm=arm, settings=study.objectives, seed=0, classes=classes)

    def views(count):
        labels = {"labels": torch.zeros(count, 1, dtype=torch.long)} if classes else {}
        draws = Draws(torch.Generator().manual_seed(0), batch=count)
        return task.views(
            torch.rand(count, 3, SIZE, SIZE), normalize=lambda view: view, draws=draws, **labels
        )

    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=arm.precision is not None)
    memory = expected_memory(task, views(8), autocast=autocast)
    assert step.flop == count_flops(task, views(2)) / 2
    assert step.weights == pytest.approx(memory.weights * 2**20)
    # The statistics of batch norms are float32, which PyTorch does not say of bfloat16 without content.
    assert step.activations == pytest.approx(memory.activations * 2**20 / 8, rel=0.02)
    learning = sum(p.numel() for p in task.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in task.parameters() if not p.requires_grad)
    assert step.weights == 16 * learning + 4 * frozen


def test_a_micro_batch_encodes_once_more_where_the_loss_needs_the_whole_batch():
    whole, parts = toy(), toy(runtime={"micro_batch": 8})
    tokens = PATCHES + 1
    block = 2 * tokens * WIDTH * (4 * WIDTH + 2 * HIDDEN) + 4 * tokens**2 * WIDTH
    # Of the last block every token gives a key and a value, and only the class token asks.
    last = 4 * tokens * WIDTH**2 + 4 * WIDTH**2 + 4 * tokens * WIDTH + 4 * WIDTH * HIDDEN
    forward = 2 * PATCHES * WIDTH * 48 + block + last
    before, after = price(whole, "cl"), price(parts, "cl")
    assert after.flop_per_image - before.flop_per_image == 2 * forward  # of two views
    assert after.memory < before.memory and (before.at_once, after.at_once) == (32, 8)


def test_time_and_images_are_those_of_the_recipe():
    study = toy(arms={"mim": {"objective": "masked", "epochs": 10, "stop_epoch": 3}}, seeds=[0, 1, 2])
    cost = price(study, "mim", images=Images(100, 40))
    assert (cost.images_seen, cost.seeds) == (3 * 96, 3)  # three batches of 32 an epoch
    assert cost.flop == 288 * cost.flop_per_image
    assert cost.seconds == pytest.approx(cost.flop / 5e12)  # half of 10 TFLOP/s
    mixed = price(
        toy(arms={"random": {"objective": "random"}}, finetune={"precision": "bf16-mixed"}), "random"
    )
    assert (mixed.images_seen, mixed.flop, mixed.memory) == (0, 0, 0)
    assert mixed.finetuning_flop == cost.finetuning_flop * 96 / 100  # of so many training images
    assert mixed.finetuning_seconds == pytest.approx(mixed.finetuning_flop / 50e12)


def test_files_are_as_large_as_what_they_hold():
    study = toy()
    cost, encoder = price(study, "cl"), encoder_of(study, "cl")
    numbers = sum(value.numel() for value in encoder.state_dict().values())
    assert cost.encoder == 3 * 4 * numbers and cost.finetuned == 4 * numbers  # with two snapshots
    written = frozen_features(encoder, torch.rand(5, 3, SIZE, SIZE))
    size = sum(value.nbytes for kind in written.values() for value in kind.values())
    assert feature_bytes(study.vit, study.features, images=Images(3, 2), image_size=SIZE) == size
    # 80 blocks and 64 token maps of the 96 training images.
    per_image = {
        kind: sum(value.nbytes for value in values.values()) // 5 for kind, values in written.items()
    }
    capped = 136 * per_image["pooled"] + 120 * per_image["blocks"] + 104 * per_image["tokens"]
    assert cost.features == capped
    assert data_bytes(study, Images(96, 40)) == 136 * SIZE**2 * 4  # a byte of each mask
    photo_study = toy(data={"source": "photos/", "store": "photographs"})
    assert data_bytes(photo_study, Images(96, 40)) == 136 * SIZE**2 * 3 + 96 * 110_000  # bytes of a file


def test_images_are_counted_before_they_are_prepared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert images_of(toy()) == (96, 40)
    other = toy(data={"source": "photos", "max_train_images": 50})
    assert images_of(other, numbers=(70, 20)) == (50, 20)
    with pytest.raises(StudyError, match="photos: the number of images is not known yet; add --images"):
        images_of(other)


def test_a_device_is_one_of_the_table_or_this_core():
    assert device_named("h100").peak("bf16-mixed") == 989.4e12 and GPUS["a100"].peak("32-true") == 19.5e12
    core = device_named("cpu")
    assert 1e9 < core.peak("32-true") < 1e13 and core.memory > 0.5
    with pytest.raises(StudyError, match="--device abacus: unknown device; choose one of cpu, h100"):
        device_named("abacus")


@pytest.mark.parametrize(("long", "sizes"), [(0.6, {256}), (0.1, {256, 512, 1024, 2048})])
def test_a_slow_processor_is_not_measured_for_minutes(monkeypatch, long, sizes):
    now, tried = iter(count()), set()
    monkeypatch.setattr(torch, "matmul", lambda a, b: tried.add(len(a)))
    speed = peak_flops(torch.device("cpu"), precision="bf16-mixed", clock=lambda: long * next(now))
    assert tried == sizes and speed == pytest.approx(2 * max(sizes) ** 3 / long)


@pytest.mark.parametrize(
    ("value", "words"), [(0, "0 "), (999.4, "999 "), (999.6, "1 k"), (1281167, "1.28 M"), (2.61e11, "261 G")]
)
def test_numbers_have_three_digits(value, words):
    assert scaled(value) == words


@pytest.fixture
def cost(capsys, monkeypatch):
    """Run the tool on a study at toy size."""
    monkeypatch.setitem(GPUS, "tiny", MADE_UP._replace(memory=0.002))

    def run(*words, arms):
        monkeypatch.setattr("stages.tools.cost.load_params", lambda: toy(arms=arms))
        monkeypatch.setattr(sys, "argv", ["cost", *words])
        importlib.import_module("stages.tools.cost").main()
        return capsys.readouterr().out

    return run


def test_the_table_and_the_words_below_it(cost):
    arms = {"random": {"objective": "random"}, "mim": {"objective": "masked", "batch_size": 96}}
    output = cost("--device", "tiny", "--utilisation", "0.25", arms=arms)
    lines = [line for line in output.splitlines() if line and not line.startswith(" ")]
    rows = {line.split()[0]: line.split() for line in lines}
    assert rows["random"].count("–") == 8 and rows["mim"][2] == "32-true"
    assert "Speed: 25% of 10 TFLOP/s (32-true), made up." in output
    assert "Images: 96 for training and 40 held out.\n" in output
    crowded = [line for line in output.splitlines() if line.startswith("mim:")]
    pattern = r"mim: \S+ MB do not fit into 0\.002 GB; set runtime\.micro_batch to \d+ or less"
    assert re.fullmatch(pattern, crowded[0])


def test_images_counted_in_prepared_data_may_be_those_of_other_settings():
    assert in_words(Images(1200, 50), prepared=True) == (
        "Images: 1,200 for training and 50 held out in data/prepared/; if data: changed since, add --images."
    )


@pytest.mark.parametrize(
    ("hours", "words"), [(0.754, "0.754"), (12.34, "12.3"), (99.96, "100"), (1935.2, "1,935")]
)
def test_hours_are_never_written_with_an_exponent(hours, words):
    assert hourly(hours) == words


def test_programs_read_json(cost):
    values = json.loads(cost("--device", "a100", "--json", arms={"random": {"objective": "random"}}))
    (arm,) = values["arms"]
    assert arm["finetuning_flop"] / (0.38 * 19.5e12) == pytest.approx(arm["finetuning_seconds"])
    assert values["disk"]["data"] == data_bytes(toy(), Images(96, 40))
