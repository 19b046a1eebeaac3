"""Movement of tokens against closed forms and plain loops."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from stages.analyses.movement import principal_coordinates, unison


def cloud(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_common_shift_is_unison_and_opposite_pairs_are_none():
    tokens = cloud(3, 16, 8).float()
    assert unison(tokens, tokens + cloud(3, 1, 8, seed=1)).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    half = cloud(3, 8, 8, seed=2)
    assert unison(tokens, tokens + torch.cat([half, -half], dim=1)).abs().max() < 1e-9
    assert unison(tokens, tokens).tolist() == [1, 1, 1]
    assert unison(tokens[:, :1], 2 * tokens[:, :1]).tolist() == pytest.approx([1, 1, 1])


def test_independent_moves_are_in_unison_by_chance_only():
    tokens = torch.zeros(400, 25, 6)
    assert unison(tokens, cloud(400, 25, 6)).mean().item() == pytest.approx(1 / 25, rel=0.05)


def test_unison_written_out():
    before, after = cloud(9, 4), cloud(9, 4, seed=1)
    moves = [(b - a).numpy() for a, b in zip(before, after, strict=True)]
    mean = sum(moves) / 9
    expected = (mean @ mean) / (sum(move @ move for move in moves) / 9)
    assert unison(before, after).item() == pytest.approx(expected)


@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 99))
@examples(max_examples=40, deadline=None)
def test_coordinates_are_a_principal_projection(count, width, seed):
    before, after = cloud(2, count, width, seed=seed), cloud(2, count, width, seed=seed + 1)
    coordinates = principal_coordinates(before, after)
    assert coordinates.shape == (2, 2, count, 3)
    for image in range(2):
        both = np.concatenate([before[image].numpy(), after[image].numpy()])
        left, sigma, _ = np.linalg.svd(both - both.mean(axis=0), full_matrices=False)
        directions = min(3, len(sigma), 2 * count - 1)
        expected = np.abs(left * sigma)[:, :directions]
        ours = coordinates[image].reshape(2 * count, 3).numpy()
        np.testing.assert_allclose(np.abs(ours[:, :directions]), expected, atol=1e-6)
        assert (ours[:, directions:] == 0).all()
    whole = principal_coordinates(before, after, directions=width)
    torch.testing.assert_close(
        torch.cdist(whole.flatten(1, 2), whole.flatten(1, 2)),
        torch.cdist(torch.cat([before, after], 1), torch.cat([before, after], 1)),
        atol=1e-6,
        rtol=1e-6,
    )


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_coordinates_are_in_units_of_the_tokens(scale):
    plane = cloud(2, 9, 2) @ cloud(2, 6, seed=1)
    before, after = plane.split(1)
    coordinates = principal_coordinates(scale * before, scale * after)
    assert (coordinates[..., 2] == 0).all() and (coordinates[..., :2] != 0).all()
    torch.testing.assert_close(coordinates, scale * principal_coordinates(before, after), atol=0, rtol=1e-6)


def test_directions_point_to_their_largest_component():
    line = torch.tensor([[1.0, -3.0, 2.0]])
    steps = torch.tensor([[-1.0], [0.0], [1.0]])
    for sign in (1, -1):
        coordinates = principal_coordinates(steps @ (sign * line), steps @ (sign * line))
        # The second component is the largest, so the direction is that of -line whatever the sign.
        torch.testing.assert_close(coordinates[0, :, 0], (-sign * 14**0.5 * steps[:, 0]).double())
    # Two components of one size: the first of them is positive.
    tied = principal_coordinates(steps @ torch.tensor([[2.0, -2.0]]), steps @ torch.tensor([[2.0, -2.0]]))
    assert tied[0, 2, 0] > 0
