"""Segmentation: targets against loops, the score against scikit-learn, heads against what must come out."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import jaccard_score

from stages.probes import linear
from stages.probes.linear import LinearHead
from stages.probes.segmentation import (
    IGNORED,
    NearestPatches,
    fit_linear,
    mean_iou,
    mean_iou_interval,
    overlaps,
    patch_classes,
    pixel_classes,
    upsampled,
)
from stages.probes.settings import Segmentation

SETTINGS = Segmentation(
    train_images=40, test_images=10, epochs=8, batch_size=64, learning_rates=[0.001, 1.0],
    validation_fraction=0.2, bank=10000, k=3, temperature=0.07, finetune_epochs=1,
)  # fmt: skip


def random_pixels(images=6, size=8, classes=4, seed=0):
    return torch.randint(classes, (images, size, size), generator=torch.Generator().manual_seed(seed))


def test_pixels_of_the_object_have_the_class_of_their_image():
    masks = torch.tensor([[[True, False], [False, True]], [[False, False], [True, True]]])
    classes = pixel_classes(masks, torch.tensor([0, 4]))
    assert classes.tolist() == [[[1, 0], [0, 1]], [[0, 0], [5, 5]]]


@given(st.integers(1, 4), st.integers(1, 3), st.integers(2, 4))
@examples(max_examples=20, deadline=None)
def test_a_patch_has_its_most_frequent_class(grid, side, classes):
    pixels = random_pixels(size=grid * side, classes=classes, seed=grid)
    result = patch_classes(pixels, grid=grid, classes=classes).unflatten(1, (grid, grid))
    for image, row, column in np.ndindex(len(pixels), grid, grid):
        part = pixels[image, row * side : (row + 1) * side, column * side : (column + 1) * side]
        counts = [(part == name).sum().item() for name in range(classes)]
        assert result[image, row, column] == counts.index(max(counts))


def test_the_score_is_that_of_scikit_learn():
    predicted, truth = random_pixels(classes=3, seed=1), random_pixels(classes=4, seed=2)
    both, either = overlaps(predicted, truth, classes=5)  # of class 4 there is no pixel
    expected = jaccard_score(truth.flatten(), predicted.flatten(), labels=range(4), average="macro")
    assert mean_iou(both, either) == pytest.approx(expected)
    counts = overlaps(predicted[2:3], truth[2:3], classes=5)
    for name in range(4):
        real, guess = truth[2] == name, predicted[2] == name
        assert counts[0][0, name] == (real & guess).sum() and counts[1][0, name] == (real | guess).sum()
    low, high = mean_iou_interval(both, either, seed=0)
    assert low < expected < high and (low, high) == mean_iou_interval(both, either, seed=0)
    perfect = overlaps(truth, truth, classes=5)
    assert mean_iou(*perfect) == 1 and mean_iou_interval(*perfect, seed=0) == (1, 1)


def test_the_interval_is_that_of_scipy():
    generator = np.random.default_rng(0)
    either = generator.integers(20, 60, (40, 3))
    both = generator.binomial(either, [0.9, 0.5, 0.2])
    theirs = stats.bootstrap(
        (np.arange(40),),
        lambda drawn: mean_iou(both[drawn], either[drawn]),
        n_resamples=4000, method="percentile", rng=1, vectorized=False,
    ).confidence_interval  # fmt: skip
    ours = mean_iou_interval(both, either, seed=0, resamples=4000)
    np.testing.assert_allclose(ours, (theirs.low, theirs.high), atol=0.001)


def test_ignored_pixels_do_not_count_and_memory_does_not_grow_with_the_classes():
    classes = 20_000  # a one-hot encoding of these pixels would take 38 GB
    truth = random_pixels(classes=4, seed=3)
    truth[0, :2] = IGNORED
    predicted = random_pixels(classes=4, seed=4)
    both, either = overlaps(predicted, truth, classes=classes)
    assert both.shape == either.shape == (len(truth), classes) and not either[:, 4:].any()
    for image, name in np.ndindex(len(truth), 4):
        counted = truth[image] != IGNORED
        real, guess = ((pixels[image] == name) & counted for pixels in (truth, predicted))
        assert both[image, name] == (real & guess).sum() and either[image, name] == (real | guess).sum()


def test_scores_are_interpolated_and_a_patch_keeps_its_middle():
    scores = torch.randn(2, 9, 3)
    pixels = upsampled(scores, size=15)
    torch.testing.assert_close(pixels[:, :, 2::5, 2::5], scores.transpose(1, 2).unflatten(2, (3, 3)))
    assert torch.equal(upsampled(torch.ones(1, 4, 2), size=6), torch.ones(1, 2, 6, 6))


def separable(images=40, seed=0):
    """Tokens (n, 4, 5) that say their class, and the classes of their patches."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(3, (images, 4), generator=generator)
    centres = torch.tensor([[4.0, 0, 0, 0, 9], [0, 4, 0, 0, 9], [0, 0, 4, 0, 9]])
    return (centres[targets] + 0.1 * torch.randn(images, 4, 5, generator=generator)).half(), targets


def test_the_linear_head_learns_what_tokens_say_and_is_the_layer_that_training_starts_from():
    tokens, targets = separable()
    head, rate = fit_linear(
        tokens, targets, classes=3, settings=SETTINGS, generator=torch.Generator().manual_seed(0)
    )
    assert rate in SETTINGS.learning_rates and torch.equal(head(tokens).argmax(dim=2), targets)
    layer = head.layer()
    torch.testing.assert_close(layer(tokens.float()), head(tokens), rtol=1e-4, atol=1e-3)
    assert layer.weight.shape == (3, 5) and isinstance(head, LinearHead)


def test_nearest_patches_vote_as_in_a_loop():
    tokens, targets = separable(images=10)
    queries, _ = separable(images=3, seed=1)
    nearest = NearestPatches(
        tokens, targets, classes=3, settings=SETTINGS, generator=torch.Generator().manual_seed(0)
    )
    shares = nearest(queries)
    assert shares.shape == (3, 4, 3)
    bank = torch.nn.functional.normalize(tokens.float().flatten(0, 1), dim=1)
    for image, patch in np.ndindex(3, 4):
        query = torch.nn.functional.normalize(queries[image, patch].float(), dim=0)
        similarity = bank @ query
        votes = torch.zeros(3)
        for index in similarity.argsort(descending=True)[: SETTINGS.k]:
            votes[targets.flatten()[index]] += (similarity[index] / SETTINGS.temperature).exp()
        torch.testing.assert_close(shares[image, patch], votes / votes.sum(), rtol=1e-3, atol=1e-4)
    few = SETTINGS.model_copy(update={"bank": 7})
    small = NearestPatches(
        tokens, targets, classes=3, settings=few, generator=torch.Generator().manual_seed(0)
    )
    assert len(small.bank) == 7


def test_the_rate_is_chosen_on_images_that_were_not_fitted():
    """Tokens without information about their classes are predicted by chance."""
    generator = torch.Generator().manual_seed(0)
    tokens, targets = (
        torch.randn(60, 4, 300, generator=generator),
        torch.randint(2, (60, 4), generator=generator),
    )
    used, predict = [], linear.predict

    def watched(features, weights):
        scores = predict(features, weights)
        used.append(scores)
        return scores

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear, "predict", watched)
        fit_linear(tokens, targets, classes=2, settings=SETTINGS, generator=torch.Generator().manual_seed(0))
    held, _ = linear.held_out(60, share=0.2, generator=torch.Generator().manual_seed(0))
    hits = (used[0] == targets[held].flatten()).float().mean(dim=1)
    assert used[0].shape[1] == 4 * len(held) and 0.3 < hits.max() < 0.7
