"""Attention measures against closed forms, scikit-learn and loops."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from stages.analyses.attention import (
    attention_distance,
    attention_entropy,
    head_diversity,
    measure,
    normalized_mutual_information,
    patch_attention,
)
from stages.analyses.settings import AnalysisSettings
from stages.data.arrays import Split
from stages.encoders.vit import Trace

SPLIT = Split(np.zeros((0, 0, 0, 3), dtype=np.uint8), {}, None)  # not read


def random_attention(batch, heads, patches, seed=0):
    return torch.randn(batch, heads, patches, patches, generator=torch.Generator().manual_seed(seed)).softmax(
        -1
    )


@pytest.mark.parametrize(("grid", "patch", "pixels"), [(14, 16, 116.49), (8, 4, 16.55), (7, 32, 115.50)])
def test_uniform_attention_has_the_mean_distance_of_the_grid(grid, patch, pixels):
    uniform = torch.full((1, 1, grid**2, grid**2), 1 / grid**2)
    assert attention_distance(uniform, patch).item() == pytest.approx(pixels, abs=5e-3)


def test_attention_to_oneself_has_no_distance():
    assert attention_distance(torch.eye(49).expand(2, 3, 49, 49), 16).abs().max() == 0


@given(st.integers(1, 6), st.integers(1, 3), st.integers(1, 32))
@settings(max_examples=20, deadline=None)
def test_distance_is_that_of_a_loop_over_queries_and_keys(grid, heads, patch):
    attention = random_attention(2, heads, grid**2, seed=grid)
    expected = np.zeros((2, heads))
    for q in range(grid**2):
        for k in range(grid**2):
            away = patch * np.hypot(q // grid - k // grid, q % grid - k % grid)
            expected += attention[:, :, q, k].numpy() * away / grid**2
    np.testing.assert_allclose(attention_distance(attention, patch).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_patches_that_make_no_square_are_refused():
    with pytest.raises(ValueError, match="12 patches"):
        attention_distance(random_attention(1, 1, 12), 4)


def test_identity_tells_the_query_and_uniform_attention_tells_nothing():
    eye = patch_attention(torch.eye(197).expand(1, 2, 197, 197))
    assert normalized_mutual_information(eye).min() > 0.9999
    uniform = torch.full((1, 1, 64, 64), 1 / 64)
    assert normalized_mutual_information(uniform).abs().max() < 1e-6


def test_every_query_looking_at_the_same_key_is_collapse_and_not_a_number_is_never_returned():
    one_key = torch.zeros(1, 1, 16, 16)
    one_key[..., 3] = 1
    assert normalized_mutual_information(one_key).item() == 0
    assert normalized_mutual_information(torch.ones(1, 1, 1, 1)).item() == 0


def test_mutual_information_of_a_permutation_blocks_is_exact():
    # Queries in 4 groups of 4, each group looking at its own 4 keys: I = log 4, H(q) = H(k) = log 16.
    attention = torch.block_diag(*[torch.full((4, 4), 0.25)] * 4)[None, None]
    assert normalized_mutual_information(attention).item() == pytest.approx(0.5, abs=1e-6)


@given(st.integers(2, 20))
@settings(max_examples=15, deadline=None)
def test_mutual_information_is_that_of_the_joint_distribution(patches):
    attention = random_attention(1, 2, patches, seed=patches).double()
    attention /= attention.sum(-1, keepdim=True)
    joint = attention / patches  # p(q, k)
    for head in range(2):
        p = joint[0, head].numpy()
        q_k = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
        information = (p * np.log(p / q_k)).sum()
        entropies = [-(m * np.log(m)).sum() for m in (p.sum(0), p.sum(1))]
        expected = information / np.sqrt(entropies[0] * entropies[1])
        assert normalized_mutual_information(attention)[0, head].item() == pytest.approx(expected, abs=1e-9)


def test_entropy_of_even_and_of_single_minded_attention():
    even = torch.full((2, 3, 196, 196), 1 / 196)
    torch.testing.assert_close(attention_entropy(even), torch.full((2, 3), np.log(196), dtype=torch.float32))
    assert attention_entropy(torch.eye(16).expand(1, 2, 16, 16)).abs().max() == 0


@given(st.integers(1, 5), st.integers(1, 9))
@settings(max_examples=15, deadline=None)
def test_entropy_and_diversity_are_those_of_scipy(heads, patches):
    attention = random_attention(2, heads, patches, seed=heads)
    maps = attention.double().numpy()
    np.testing.assert_allclose(attention_entropy(attention), entropy(maps, axis=-1).mean(-1), atol=1e-5)
    expected = np.zeros((2, heads))
    for head in range(heads):
        others = [other for other in range(heads) if other != head]
        if others:
            apart = [jensenshannon(maps[:, head], maps[:, other], axis=-1) ** 2 for other in others]
            expected[:, head] = np.mean(apart, axis=(0, 2))
    np.testing.assert_allclose(head_diversity(attention), expected, atol=1e-5)


def test_heads_that_share_no_key_are_log_2_apart_and_equal_heads_not_at_all():
    keys = torch.eye(9)[:, [1, 2, 3, 4, 5, 6, 7, 8, 0]]
    disjoint = torch.stack([torch.eye(9), keys, keys @ keys])[None]
    torch.testing.assert_close(head_diversity(disjoint), torch.full((1, 3), np.log(2), dtype=torch.float32))
    assert head_diversity(random_attention(2, 1, 9).expand(2, 4, 9, 9)).abs().max() < 1e-6
    assert head_diversity(random_attention(2, 1, 9)).tolist() == [[0], [0]]


def test_prefix_tokens_are_dropped_and_rows_sum_to_one_again():
    attention = random_attention(2, 3, 18)
    patches = patch_attention(attention, num_prefix_tokens=2)
    assert patches.shape == (2, 3, 16, 16)
    torch.testing.assert_close(patches.sum(-1), torch.ones(2, 3, 16))
    weights = attention[:, :, 2:, 2:]
    torch.testing.assert_close(patches, weights / weights.sum(-1, keepdim=True), rtol=1e-4, atol=1e-6)


def test_a_row_that_looks_only_at_the_class_token_becomes_uniform():
    attention = torch.zeros(1, 1, 5, 5)
    attention[..., 0] = 1
    torch.testing.assert_close(patch_attention(attention), torch.full((1, 1, 4, 4), 0.25))


def test_bfloat16_keeps_the_meaning():
    attention = random_attention(1, 2, 64)
    narrow = attention.bfloat16()
    assert patch_attention(narrow, 0).dtype == torch.float32
    for fn in (
        lambda a: attention_distance(patch_attention(a, 0), 4),
        lambda a: normalized_mutual_information(patch_attention(a, 0)),
        lambda a: attention_entropy(patch_attention(a, 0)),
        lambda a: head_diversity(patch_attention(a, 0)),
    ):
        torch.testing.assert_close(fn(narrow), fn(attention), rtol=0.02, atol=2e-3)


@pytest.mark.parametrize("fn", [normalized_mutual_information, attention_entropy, head_diversity])
def test_sums_of_narrow_attention_are_those_of_the_same_numbers_in_float32(fn):
    narrow = random_attention(1, 2, 64).bfloat16()
    torch.testing.assert_close(fn(narrow), fn(narrow.float()), rtol=0, atol=0)


def test_the_table_has_one_row_for_every_image_block_and_head():
    attention = [random_attention(3, 2, 17, seed=block) for block in range(4)]
    tables = list(
        measure(
            [(torch.tensor([5, 7, 9]), Trace([], attention, 1))],
            settings=AnalysisSettings(images=3),
            patch_size=4,
            split=SPLIT,
        )
    )
    table = pd.concat(tables)
    assert list(table.columns) == [
        "image", "block", "head", "distance", "nmi", "entropy", "diversity",
        "distance_epsilon", "nmi_epsilon", "distance_prefix", "nmi_prefix",
    ]  # fmt: skip
    assert len(table.drop_duplicates(["image", "block", "head"])) == len(table) == 3 * 4 * 2
    row = table[(table.image == 7) & (table.block == 3) & (table["head"] == 2)].iloc[0]
    assert row.distance == pytest.approx(attention_distance(patch_attention(attention[2]), 4)[1, 1].item())
    patches = patch_attention(attention[2])
    assert row.entropy == pytest.approx(attention_entropy(patches)[1, 1].item())
    assert row.diversity == pytest.approx(head_diversity(patches)[1, 1].item())
    soft = attention[2][1, 1, 1:, 1:] + 1e-4
    soft = (soft / soft.sum(-1, keepdim=True))[None, None]
    assert row.distance_epsilon == pytest.approx(attention_distance(soft, 4).item())
    assert row.nmi_epsilon == pytest.approx(normalized_mutual_information(soft).item())
    assert row.nmi_prefix == pytest.approx(normalized_mutual_information(attention[2])[1, 1].item())
    # As far as it goes, times the share that goes anywhere, query by query.
    at = np.stack(np.divmod(np.arange(16), 4), axis=1)
    far = 4 * np.linalg.norm(at[:, None] - at, axis=-1)
    expected = (attention[2][1, 1, 1:, 1:].numpy() * far).sum(-1).mean()
    assert row.distance_prefix == pytest.approx(expected)


def test_without_prefix_tokens_it_does_not_matter_whether_they_count():
    traces = [(torch.arange(2), Trace([], [random_attention(2, 2, 16)], 0))]
    table = pd.concat(measure(traces, settings=AnalysisSettings(images=2), patch_size=4, split=SPLIT))
    for name in ("distance", "nmi"):
        np.testing.assert_allclose(table[f"{name}_prefix"], table[name], rtol=1e-4)
