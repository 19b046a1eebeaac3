"""DINO: its views, its loss computed image by image, and what moves the teacher and the centre."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from stages.encoders.architecture import build_encoder
from stages.encoders.settings import Vit
from stages.objectives import dino
from stages.study.params import load_params
from stages.study.seeds import Draws
from stages.study.settings import Arm
from stages.training.loop import parameter_groups
from tests.objectives.descent import losses_of_training
from tests.objectives.reference import layer_norm, patch_tokens, run_blocks
from tests.objectives.test_objectives import follows, views_of

VIT = Vit(width=32, depth=2, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")
OBJECTIVES = load_params().objectives
SETTINGS = OBJECTIVES.dino.model_copy(
    update={"local_size": 8, "local_crops": 2, "hidden_dim": 48, "bottleneck_dim": 16, "output_dim": 64}
)


def make(**changes):
    settings = OBJECTIVES.model_copy(update={"dino": SETTINGS.model_copy(update=changes)})
    encoder = build_encoder(vit=VIT, image_size=16, seed=0)
    return dino.build(encoder, arm=Arm(objective="dino"), settings=settings, seed=0)


@pytest.fixture
def images():
    noise = torch.rand(32, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return F.interpolate(noise, size=16, mode="bilinear")


def part(task):
    """Move the student away from the teacher, and the centre from zero."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for network in (task.student_encoder, task.student_head):
            for parameter in network.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        task.center.copy_(0.1 * torch.randn(task.center.shape, generator=generator))
    return task


def logits(encoder, head, image):
    """The logits (K,) of one image (3, s, s), from the weights."""
    positions = encoder.pos_embed[0, 1:]
    if image.shape[1] < 16:
        grid = positions.T.reshape(1, -1, 4, 4)
        grid = F.interpolate(grid, size=image.shape[1] // 4, mode="bicubic", antialias=True)
        positions = grid.reshape(len(positions[0]), -1).T
    placed = torch.stack(patch_tokens(encoder, image)) + positions
    tokens = run_blocks(encoder.blocks, torch.cat([encoder.cls_token[0], placed]))
    value = layer_norm(tokens, encoder.norm)[0]
    for index in (0, 2, 4):
        value = head.perceptron[index].weight @ value + head.perceptron[index].bias
        value = F.gelu(value) if index < 4 else value
    directions = head.last_layer.parametrizations.weight.original1
    return torch.stack([value @ each / each.norm() for each in directions]) / value.norm()


def test_the_loss_is_that_computed_image_by_image_and_the_centre_moves_to_the_mean_logits(images):
    task = part(make(teacher_temperature_start=0.05, teacher_temperature_warmup=0.0))
    task.before_step(1.0)
    views = views_of(task, images[:3])
    center = task.center.clone()
    student = partial(logits, task.student_encoder, task.student_head)
    teacher = partial(logits, task.encoder, task.head)
    terms, answers = [], []
    for crops in zip(*views, strict=True):
        for i in (0, 1):
            answer = teacher(crops[i])
            answers.append(answer)
            target = ((answer - center) / SETTINGS.teacher_temperature).softmax(dim=0)
            for j in range(len(crops)):
                if i != j:
                    scores = (student(crops[j]) / SETTINGS.student_temperature).log_softmax(dim=0)
                    terms.append(-(target * scores).sum())
    loss = task(*views)["loss"]
    assert len(terms) == 3 * (2 + 2 * SETTINGS.local_crops)
    torch.testing.assert_close(loss, torch.stack(terms).mean(), rtol=1e-4, atol=1e-4)
    expected = 0.9 * center + 0.1 * torch.stack(answers).mean(dim=0)
    torch.testing.assert_close(task.center, expected, rtol=1e-4, atol=1e-5)


def test_under_autocast_the_logits_are_cosines_in_float32(images):
    task = make()
    views = views_of(task, images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, loss = task.teacher_logits(views[0]), task(*views)["loss"]
    assert logits.dtype == loss.dtype == task.center.dtype == torch.float32
    assert len(logits.unique()) > 1000  # bfloat16 has some 250 numbers from 0.25 to 1


def test_only_the_student_learns_and_the_norms_of_the_last_layer_do_not(images):
    task = part(make())
    task.before_step(0.5)
    task(*views_of(task, images))["loss"].backward()
    learnt = {name for name, p in task.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert {name for name, p in task.named_parameters() if p.requires_grad} == learnt
    assert all(name.startswith("student_") for name in learnt)
    assert not any(name.endswith("original0") for name in learnt)
    torch.testing.assert_close(task.student_head.last_layer.weight.norm(dim=1), torch.ones(64))


def test_all_weights_but_directions_and_matrices_are_kept_from_decay():
    task = make()
    names = {id(p): name for name, p in task.named_parameters()}
    groups = parameter_groups(task, weight_decay=0.1, layer_decay=None)
    decayed = {names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}
    free = {names[id(p)] for group in groups if not group["weight_decay"] for p in group["params"]}
    assert "student_head.last_layer.parametrizations.weight.original1" in decayed
    assert "student_encoder.cls_token" in free and "student_head.perceptron.0.bias" in free
    assert not any("original0" in name or not name.startswith("student_") for name in decayed | free)


def test_the_teacher_follows_the_student_and_is_what_is_kept():
    encoder = build_encoder(vit=VIT, image_size=16, seed=0)
    settings = OBJECTIVES.model_copy(update={"dino": SETTINGS})
    task = dino.build(encoder, arm=Arm(objective="dino"), settings=settings, seed=0)
    assert task.encoder is encoder
    before = copy.deepcopy(encoder.state_dict())
    with torch.no_grad():
        for parameter in task.student_encoder.blocks.parameters():
            parameter.add_(1.0)
    task.before_step(0.0)
    name = "blocks.0.attn.qkv.weight"
    moved = encoder.state_dict()[name] - before[name]
    torch.testing.assert_close(moved, torch.full_like(moved, 1 - SETTINGS.momentum), rtol=1e-3, atol=1e-6)
    still = copy.deepcopy(encoder.state_dict())
    task.before_step(1.0)  # momentum has risen to 1
    assert all(torch.equal(value, still[key]) for key, value in encoder.state_dict().items())


def test_the_last_layer_waits_and_the_temperature_warms_up(images):
    task = part(make(freeze_last_layer=0.1, teacher_temperature_warmup=0.5))
    views = views_of(task, images)
    last = task.student_head.last_layer.parametrizations.weight.original1
    gradients, temperatures = {}, []
    for progress in (0.0, 0.05, 0.25, 0.5, 1.0):
        task.before_step(progress)
        task.zero_grad()
        task(*views)["loss"].backward()
        gradients[progress] = last.grad.abs().max()  # zero, and never missing
        assert task.student_head.perceptron[0].weight.grad.abs().max() > 0
        temperatures.append(task.teacher_temperature())
    assert gradients[0.0] == gradients[0.05] == 0 < gradients[0.25]
    start, end = SETTINGS.teacher_temperature_start, SETTINGS.teacher_temperature
    assert temperatures == pytest.approx([start, start + (end - start) / 10, (start + end) / 2, end, end])
    assert make(teacher_temperature_warmup=0.0).teacher_temperature() == pytest.approx(start)


def test_in_parts_it_has_the_gradient_and_the_centre_of_the_whole(images):
    whole, parts = part(make()), part(make())
    parts.micro_batch = 5
    views = views_of(whole, images)
    for task in (whole, parts):
        task.before_step(0.5)
        task(*views)["loss"].backward()
    torch.testing.assert_close(parts.center, whole.center)
    for (name, ours), (_, theirs) in zip(parts.named_parameters(), whole.named_parameters(), strict=True):
        if theirs.requires_grad:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    ("crops", "large", "small", "together"), [(4, 32, 16, 4), (8, 224, 96, 4), (3, 32, 16, 3), (5, 32, 16, 1)]
)
def test_small_crops_are_encoded_together_as_far_as_a_large_one_has_room(crops, large, small, together):
    assert dino.crops_per_image(crops, large=large, small=small) == together


def test_several_processes_move_the_centre_to_the_mean_of_all(images):
    task, others = part(make()), torch.randn(1, 64, generator=torch.Generator().manual_seed(5))
    before = task.center.clone()
    task.gather = lambda rows: torch.cat([rows, others])
    task(*views_of(task, images))
    large = torch.cat(views_of(task, images)[:2])
    mean = (task.teacher_logits(large).mean(dim=0) + others[0]) / 2
    torch.testing.assert_close(task.center, 0.9 * before + 0.1 * mean)


def test_views_are_two_large_and_several_small_and_only_the_second_is_solarised(images):
    plain = {"jitter_probability": 0.0, "grey_probability": 0.0, "blur_probability": 0.0}
    task = make(**plain, solarize_probability=1.0)
    draws = Draws(torch.Generator().manual_seed(0), batch=32)
    bright = 0.6 + 0.4 * images  # solarised from 0.5 on
    views = task.views(bright, normalize=lambda view: view, draws=draws)
    assert [view.shape[-1] for view in views] == [16, 16, 8, 8]
    assert [bool(view.mean() > 0.5) for view in views] == [True, False, True, True]
    position = torch.linspace(0, 1, 16).expand(32, 3, 16, 16)  # the range of a crop tells its width
    task = make(**plain, solarize_probability=0.0)
    views = task.views(position, normalize=lambda view: view, draws=draws)
    widths = [(view.amax(dim=(1, 2, 3)) - view.amin(dim=(1, 2, 3))).mean() for view in views]
    assert min(widths[:2]) > 0.7 > 0.6 > max(widths[2:])


def test_the_second_large_crop_is_blurred_a_tenth_as_often_and_small_ones_half_as_often(monkeypatch):
    kinds = []

    def colours(view, **options):
        kinds.append((view.shape[-1], options["blur_probability"], options["solarize_probability"]))
        return view

    monkeypatch.setattr(dino, "random_colors", colours)
    views_of(make(blur_probability=0.8, solarize_probability=0.3), torch.rand(2, 3, 16, 16))
    expected = [(16, 0.8, 0.0), (16, 0.08, 0.3), *2 * [(8, 0.4, 0.0)]]
    assert [kind[0] for kind in kinds] == [16, 16, 8, 8]
    for kind, published in zip(kinds, expected, strict=True):
        assert kind == pytest.approx(published)


def test_without_small_crops_it_compares_the_large_ones(images):
    task = make(local_crops=0)
    views = views_of(task, images)
    assert len(views) == 2
    assert torch.isfinite(task(*views)["loss"])


def test_the_loss_falls_towards_a_teacher_that_stands_still(images):
    task = part(make(momentum=1.0, center_momentum=1.0))
    losses = losses_of_training(task, lambda step: views_of(task, images, seed=step))
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_positions_may_be_learned_or_missing(images):
    for position in ("learned", "none"):
        encoder = build_encoder(vit=VIT.model_copy(update={"position": position}), image_size=16, seed=0)
        settings = OBJECTIVES.model_copy(update={"dino": SETTINGS})
        task = dino.build(encoder, arm=Arm(objective="dino"), settings=settings, seed=0)
        assert torch.isfinite(task(*views_of(task, images))["loss"])


def test_the_teacher_follows_the_student_with_its_head():
    task = make()
    pairs = [(task.encoder, task.student_encoder), (task.head, task.student_head)]
    follows(task, pairs, momentum=task.settings.momentum)
