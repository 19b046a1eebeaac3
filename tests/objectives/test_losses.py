"""Losses against closed forms and loops."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stages.objectives.losses import (
    dino_loss,
    info_nce,
    masked_l1,
    masked_mse,
    mean_of_surroundings,
    normalized_in_windows,
)


@pytest.mark.parametrize("temperature", [0.1, 0.2, 1.0])
def test_info_nce_of_identical_one_hot_pairs(temperature):
    batch = 8
    pairs = torch.eye(batch)
    # One similarity of 1 and batch - 1 of 0.
    expected = 2 * temperature * math.log(1 + (batch - 1) * math.exp(-1 / temperature))
    assert info_nce(pairs, 3 * pairs, temperature).item() == pytest.approx(
        expected, rel=1e-4, abs=1e-7
    )  # float32 near 1


def test_info_nce_of_indistinguishable_pairs_is_that_of_guessing():
    same = torch.ones(16, 4)
    assert info_nce(same, same, 0.2).item() == pytest.approx(0.4 * math.log(16), rel=1e-5)


def test_info_nce_is_a_loop_over_queries():
    q, k = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))
    total = 0.0
    for i in range(6):
        logits = [F.cosine_similarity(q[i], k[j], dim=0).item() / 0.2 for j in range(6)]
        total -= logits[i] - math.log(sum(math.exp(value) for value in logits))
    assert info_nce(q, k, 0.2).item() == pytest.approx(2 * 0.2 * total / 6, rel=1e-4)


@pytest.mark.parametrize("outputs", [2, 100])
def test_dino_loss_of_equal_logits_is_that_of_guessing(outputs):
    same = torch.full((4, outputs), 0.3)
    center = torch.full((outputs,), 0.1)
    loss = dino_loss([same] * 5, [same] * 2, center, 0.1, 0.04)
    assert loss.item() == pytest.approx(math.log(outputs), rel=1e-5)


def test_dino_loss_of_two_views_is_a_loop_over_images_and_leaves_each_view_to_the_other():
    student, teacher = torch.randn(2, 2, 3, 5, generator=torch.Generator().manual_seed(0))
    center = torch.linspace(-1, 1, 5)
    terms = []
    for image in range(3):
        for teacher_view, student_view in ((0, 1), (1, 0)):
            target = (10 * (teacher[teacher_view, image] - center)).exp()
            scores = (2 * student[student_view, image]).exp()
            for output in range(5):
                share = target[output] / target.sum()
                terms.append(-share * (scores[output] / scores.sum()).log())
    loss = dino_loss(list(student), list(teacher), center, 0.5, 0.1)
    assert loss.item() == pytest.approx(sum(terms).item() / 6, rel=1e-4)


def test_dino_loss_against_one_sharp_answer_is_that_of_its_class():
    teacher = 100 * torch.eye(4)
    student = torch.zeros(4, 4)
    assert dino_loss([student] * 2, [teacher] * 2, torch.zeros(4), 0.1, 0.04).item() == pytest.approx(
        math.log(4), rel=1e-5
    )
    # A centre that is the answer takes it away.
    centred = dino_loss([teacher] * 2, [teacher[:1]] * 2, teacher[0], 100.0, 1.0)
    expected = torch.log_softmax(teacher / 100, dim=1).mean()
    assert centred.item() == pytest.approx(-expected.item(), rel=1e-4)


def test_masked_l1_counts_hidden_pixels_only():
    images = torch.zeros(1, 3, 8, 8)
    reconstruction = torch.ones(1, 3, 8, 8)
    reconstruction[:, :, :4, :4] = 5.0  # the first patch
    mask = torch.zeros(1, 2, 2)
    mask[0, 0, 0] = 1
    assert masked_l1(reconstruction, images, mask).item() == 5
    mask[0, 1, 1] = 1
    assert masked_l1(reconstruction, images, mask).item() == 3
    assert masked_l1(reconstruction, images, torch.zeros(1, 2, 2)).item() == 0


def test_patches_need_not_be_square():
    generator = torch.Generator().manual_seed(0)
    images, other = torch.rand(2, 2, 3, 8, 8, generator=generator)
    mask = torch.tensor([[[1.0, 0, 0, 0], [0, 0, 1, 0]], [[0, 0, 0, 1], [0, 1, 0, 0]]])  # patches of 4 × 2
    patches, targets, errors = [], [], []
    for b in range(2):
        for n in range(8):
            rows, columns = slice(4 * (n // 4), 4 * (n // 4) + 4), slice(2 * (n % 4), 2 * (n % 4) + 2)
            patches.append(other[b, :, rows, columns].permute(1, 2, 0).flatten())
            targets.append(images[b, :, rows, columns].permute(1, 2, 0).flatten())
            if mask[b].flatten()[n]:
                errors.append(patches[-1] - targets[-1])
    apart = torch.stack(errors)
    assert masked_l1(other, images, mask).item() == pytest.approx(apart.abs().mean().item())
    predicted = torch.stack(patches).view(2, 8, 24)
    assert masked_mse(predicted, images, mask, normalize=False).item() == pytest.approx(
        apart.square().mean().item()
    )
    assert masked_mse(predicted, images, torch.zeros(2, 2, 4)).item() == 0


@pytest.mark.parametrize("window", [3, 5, 21])
def test_normalized_in_windows_is_a_loop_over_pixels(window):
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    images[0, 0] = 0.3  # and where nothing varies there is nothing to predict
    result, reach = normalized_in_windows(images.bfloat16(), window), window // 2
    images = images.bfloat16().double().numpy()
    for row in range(8):
        for column in range(8):
            rows = slice(max(0, row - reach), row + reach + 1)
            columns = slice(max(0, column - reach), column + reach + 1)
            near = images[:, :, rows, columns]
            expected = images[:, :, row, column] - near.mean(axis=(2, 3))
            expected = expected / np.sqrt(near.var(axis=(2, 3)) + 1e-6)
            np.testing.assert_allclose(result[:, :, row, column], expected, atol=2e-4)
    assert result[0, 0].abs().max() < 1e-3


def test_masked_mse_is_a_loop_over_patches_and_perfect_prediction_is_zero():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 8, 8, generator=generator)
    predicted = torch.randn(2, 4, 48, generator=generator)
    mask = torch.tensor([[[1.0, 0], [0, 1]], [[0, 1], [0, 0]]])
    errors, targets = [], torch.zeros(2, 4, 48)
    for b in range(2):
        for n in range(4):
            r, c = divmod(n, 2)
            patch = images[b, :, 4 * r : 4 * r + 4, 4 * c : 4 * c + 4].permute(1, 2, 0).flatten()
            targets[b, n] = (patch - patch.mean()) / (patch.var() + 1e-6).sqrt()
            if mask[b, r, c]:
                errors.append((predicted[b, n] - targets[b, n]).square().mean().item())
    assert masked_mse(predicted, images, mask).item() == pytest.approx(np.mean(errors), rel=1e-5)
    assert masked_mse(targets, images, mask).item() == pytest.approx(0, abs=1e-10)
    assert masked_mse(predicted, images, mask, normalize=False).item() != pytest.approx(
        np.mean(errors), rel=1e-3
    )


def test_losses_are_taken_in_float32():
    q, k = torch.randn(2, 64, 128, generator=torch.Generator().manual_seed(0))
    assert info_nce(q.bfloat16(), k.bfloat16(), 0.2).dtype == torch.float32
    of_dino = dino_loss([q.bfloat16()] * 2, [k.bfloat16()] * 2, torch.zeros(128), 0.1, 0.04)
    assert of_dino.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = info_nce(q, k, 0.2)
    torch.testing.assert_close(mixed, info_nce(q, k, 0.2), rtol=0, atol=0)
    assert (
        masked_l1(torch.ones(1, 3, 4, 4).bfloat16(), torch.zeros(1, 3, 4, 4), torch.ones(1, 2, 2)).dtype
        == torch.float32
    )


def test_the_mean_of_the_surroundings_is_that_of_a_loop_over_pixels():
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 4, 4)
    mask[0, :, :2] = 1  # the left half: its first column sees nothing visible in a window of 3 patches
    mask[1, 1, 2] = 1
    predicted = mean_of_surroundings(images, mask, patches=3)
    reach = 3 * 2 // 2
    for image in range(2):
        visible = mask[image].repeat_interleave(2, 0).repeat_interleave(2, 1) == 0
        for row, column in ((0, 0), (3, 3), (5, 7), (2, 5)):
            near = torch.zeros(8, 8, dtype=torch.bool)
            near[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = True
            chosen = near & visible if (near & visible).any() else visible
            expected = images[image][:, chosen].mean(dim=1)
            torch.testing.assert_close(predicted[image, :, row, column], expected)
    assert (mean_of_surroundings(torch.full((1, 3, 8, 8), 0.7), mask[:1]) - 0.7).abs().max() < 1e-6
    # Of a constant image it predicts everything, of noise no more than the mean does.
    noise = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    hidden = mask[1:].repeat(20, 1, 1)
    assert masked_l1(mean_of_surroundings(noise, hidden), noise, hidden).item() == pytest.approx(0.8, abs=0.1)
