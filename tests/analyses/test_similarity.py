"""Similarity measures against closed forms, loops over pairs, and CKA against its kernel form."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity

from stages.analyses.settings import AnalysisSettings
from stages.analyses.similarity import (
    block_cosine,
    centred_position_cosine,
    cka_shares,
    head_cosine,
    linear_cka,
    mean_cosine,
    measure,
)
from stages.data.arrays import Split
from stages.encoders.vit import DeepTrace

SPLIT = Split(images=np.zeros((0, 8, 8, 3), dtype=np.uint8), labels={}, masks=None)  # not looked at


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mean_over_pairs(vectors):
    cosines = cosine_similarity(vectors)
    return np.mean([cosines[i, j] for i, j in combinations(range(len(vectors)), 2)])


def spread(tokens):
    return (tokens - tokens.mean(1, keepdim=True)).square().sum(-1).mean(1)


def trace_of(*, batch=3, patches=4, width=6, blocks=2, heads=2, prefix=1, seed=0, mean=0.0):
    tokens = [normal(batch, prefix + patches, width, seed=seed + k) + mean for k in range(blocks + 1)]
    outputs = [
        normal(batch, prefix + patches, heads, width // heads, seed=seed + 50 + k) for k in range(blocks)
    ]
    attended = [normal(batch, prefix + patches, width, seed=seed + 90 + k) for k in range(blocks)]
    return DeepTrace(tokens, [], prefix, attended, outputs)


def table_of(*traces):
    images = 0
    numbered = []
    for trace in traces:
        batch = len(trace.tokens[0])
        numbered.append((torch.arange(10 + images, 10 + images + batch), trace))
        images += batch
    return pd.concat(
        list(measure(numbered, settings=AnalysisSettings(images=images), patch_size=4, split=SPLIT))
    )


@given(st.integers(2, 9), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_mean_cosine_is_that_of_a_loop_over_pairs(count, width):
    vectors = normal(2, 3, count, width, seed=count)
    cosines = mean_cosine(vectors)
    assert cosines.shape == (2, 3)
    assert cosines[1, 2].item() == pytest.approx(mean_over_pairs(vectors[1, 2].numpy()), abs=1e-5)


def test_equal_orthogonal_opposite_and_zero_vectors():
    assert mean_cosine(torch.ones(5, 7)).item() == pytest.approx(1)
    assert mean_cosine(3 * torch.eye(4)).item() == pytest.approx(0, abs=1e-7)
    assert mean_cosine(torch.tensor([[1.0, 2], [-1, -2]])).item() == pytest.approx(-1)
    assert mean_cosine(torch.zeros(3, 4)).item() == 0
    with pytest.raises(ValueError, match="got 1"):
        mean_cosine(torch.ones(2, 1, 4))


def test_heads_are_compared_at_the_same_patch():
    outputs = normal(2, 5, 3, 4)
    expected = [
        np.mean([mean_over_pairs(outputs[image, patch].numpy()) for patch in range(5)]) for image in (0, 1)
    ]
    np.testing.assert_allclose(head_cosine(outputs), expected, atol=1e-6)


def test_a_vector_that_all_patches_of_a_head_share_is_what_centring_takes_away():
    outputs = normal(2, 200, 3, 8)
    shared = 20 * torch.ones(8)
    assert head_cosine(outputs + shared).min() > 0.95
    torch.testing.assert_close(
        head_cosine(outputs + shared, centred=True), head_cosine(outputs, centred=True), atol=1e-4, rtol=0
    )
    assert head_cosine(outputs, centred=True).abs().max() < 0.1
    same = outputs[:, :, :1].expand(-1, -1, 3, -1)
    torch.testing.assert_close(head_cosine(same, centred=True), torch.ones(2))


@pytest.mark.parametrize("centred", [False, True])
def test_blocks_are_compared_at_the_same_patch(centred):
    tokens = [normal(2, 7, 5, seed=block) + block for block in range(3)]
    cosines = block_cosine(tokens, centred=centred)
    assert cosines.shape == (2, 3, 3)
    torch.testing.assert_close(cosines, cosines.mT)
    torch.testing.assert_close(cosines.diagonal(dim1=1, dim2=2), torch.ones(2, 3))
    one, two = (tokens[block][1].numpy() for block in (0, 2))
    if centred:
        one, two = one - one.mean(0), two - two.mean(0)
    assert cosines[1, 0, 2].item() == pytest.approx(cosine_similarity(one, two).diagonal().mean(), abs=1e-6)


@given(st.integers(1, 6), st.integers(2, 6), st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_centred_positions_are_that_of_a_loop_over_pairs(images, patches, width):
    tokens = normal(images, patches, width, seed=images).double() + 3
    cosines = centred_position_cosine(tokens.mean(1), spread(tokens), patches)
    away = (tokens - tokens.mean((0, 1))).numpy()
    for image in range(images):
        gram = away[image] @ away[image].T
        expected = (gram.sum() - gram.trace()) / (patches - 1) / gram.trace()
        assert cosines[image].item() == pytest.approx(expected, abs=1e-9)


def test_centred_positions_tell_images_apart_from_patches():
    one_vector = normal(40, 1, 6).expand(40, 9, 6)
    cosines = centred_position_cosine(one_vector.mean(1), spread(one_vector), 9)
    torch.testing.assert_close(cosines, torch.ones(40, dtype=torch.float64))
    shared = normal(400, 9, 6) + 100
    assert mean_cosine(shared).min() > 0.99
    assert abs(centred_position_cosine(shared.mean(1), spread(shared), 9).mean()) < 0.02
    constant = torch.ones(4, 9, 6)
    assert centred_position_cosine(constant.mean(1), spread(constant), 9).tolist() == [0] * 4


def test_with_vectors_of_one_length_the_centred_one_is_the_cosine():
    # Each image holds the same 4 patches up to their order, ±: their mean over all images is 0.
    corners = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]])
    tokens = torch.stack([corners, -corners])
    cosines = centred_position_cosine(tokens.mean(1), spread(tokens), 4)
    torch.testing.assert_close(cosines.float(), mean_cosine(tokens))


def hsic(kernel, other):
    n = len(kernel)
    centring = np.eye(n) - np.ones((n, n)) / n
    return np.trace(kernel @ centring @ other @ centring)


@given(st.integers(2, 12), st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_cka_is_that_of_its_kernels(images, width, other):
    x = normal(images, width, seed=1) + 2
    y = normal(images, other, seed=2) - 1
    y[:, 0] += x[:, 0]
    k, m = (part.double().numpy() @ part.double().numpy().T for part in (x, y))
    expected = hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))
    assert linear_cka(x, y).item() == pytest.approx(expected, rel=1e-6)


def test_cka_knows_no_rotation_scale_and_shift_and_is_zero_for_what_does_not_vary():
    x = normal(30, 5)
    rotation = torch.linalg.qr(normal(5, 5, seed=1))[0]
    assert linear_cka(x, 3 * x @ rotation + 7).item() == pytest.approx(1, abs=1e-6)
    assert linear_cka(x, torch.ones(30, 2)).item() == 0
    assert linear_cka(normal(1, 4), normal(1, 4)).item() == 0
    assert 0 < linear_cka(torch.eye(4), normal(4, 2)).item() < 1


@pytest.mark.parametrize(
    "fn",
    [
        mean_cosine,
        lambda x: block_cosine([x, x.flip(1)]),
        lambda x: head_cosine(x[None]),
        lambda x: head_cosine(x[None], centred=True),
    ],
)
def test_bfloat16_keeps_the_meaning(fn):
    narrow = (normal(3, 20, 16) + 1).bfloat16()
    cosines = fn(narrow)
    assert cosines.dtype == torch.float32
    torch.testing.assert_close(cosines, fn(narrow.float()))


def test_the_table_is_whole_and_says_what_the_functions_say():
    trace = trace_of(mean=1.0)
    table = table_of(trace)
    assert list(table.columns) == ["image", "measure", "variant", "block", "other_block", "value"]
    assert np.isfinite(table["value"]).all()
    counts = table.groupby(["measure", "variant"]).size().to_dict()
    assert counts == {
        ("heads", "raw"): 3 * 2, ("heads", "centred"): 3 * 2,
        ("blocks", "raw"): 3 * 3, ("blocks", "centred"): 3 * 3,
        ("positions", "raw"): 3 * 3, ("positions", "centred"): 3 * 3,
        ("heads", "with prefix tokens"): 3 * 2, ("blocks", "with prefix tokens"): 3 * 3,
        ("positions", "with prefix tokens"): 3 * 3,
        ("cka", "centred"): 3, ("cka_share", "centred"): 3 * 2, ("branches", "raw"): 3 * 1,
    }  # fmt: skip
    assert (table["image"].isna() == (table["measure"] == "cka")).all()
    assert not table.duplicated(["image", "measure", "variant", "block", "other_block"]).any()
    patches = [tokens[:, 1:] for tokens in trace.tokens]

    def value(**where):
        rows = table
        for column, cell in where.items():
            rows = rows[rows[column] == cell]
        return rows["value"].item()

    assert value(image=11, measure="heads", variant="raw", block=2) == pytest.approx(
        head_cosine(trace.heads[1][:, 1:])[1].item()
    )
    assert value(image=12, measure="blocks", variant="centred", block=2, other_block=0) == pytest.approx(
        block_cosine(patches, centred=True)[2, 2, 0].item()
    )
    assert value(image=10, measure="positions", variant="raw", block=0) == pytest.approx(
        mean_cosine(patches[0])[0].item()
    )
    within = centred_position_cosine(patches[1].mean(1), spread(patches[1]), 4)
    assert value(image=12, measure="positions", variant="centred", block=1) == pytest.approx(within[2].item())
    everywhere = {"image": 12, "variant": "with prefix tokens", "block": 2}
    assert value(**everywhere, measure="heads") == pytest.approx(head_cosine(trace.heads[1])[2].item())
    assert value(**everywhere, measure="positions") == pytest.approx(mean_cosine(trace.tokens[2])[2].item())
    assert value(**everywhere, measure="blocks", other_block=0) == pytest.approx(
        block_cosine(trace.tokens)[2, 2, 0].item()
    )
    assert value(measure="cka", block=2, other_block=1) == pytest.approx(
        linear_cka(patches[2].mean(1), patches[1].mean(1)).item()
    )
    shares = table[(table["measure"] == "cka_share") & (table["block"] == 2)]
    assert shares["value"].mean() == pytest.approx(value(measure="cka", block=2, other_block=1))
    added = [
        after[1, 1:] - before[1, 1:] for before, after in zip(trace.tokens, trace.attended, strict=False)
    ]
    expected = np.mean([cosine_similarity(a[None], b[None])[0, 0] for a, b in zip(*added, strict=True)])
    assert value(image=11, measure="branches", block=2, other_block=1) == pytest.approx(expected, rel=1e-5)


def test_cka_shares_are_the_value_and_its_derivative_by_weight():
    x, y = normal(12, 4, seed=1) + 2, normal(12, 3, seed=2)
    y[:, 0] += x[:, 0]

    def weighted(weights):
        """CKA of images that count by a weight, from weighted covariances."""
        a, b = (part.double() - weights @ part.double() for part in (x, y))
        cross, first, second = ((weights[:, None] * u).T @ v for u, v in ((a, b), (a, a), (b, b)))
        return cross.square().sum() / (first.square().sum() * second.square().sum()).sqrt()

    shares = cka_shares(x, y)
    assert shares.mean().item() == pytest.approx(linear_cka(x, y).item())
    even, step = torch.full((12,), 1 / 12).double(), 1e-5
    for image in (0, 5, 11):
        to_one = torch.eye(12).double()[image] - even
        slope = (weighted(even + step * to_one) - weighted(even - step * to_one)) / (2 * step)
        assert (shares[image] - shares.mean()).item() == pytest.approx(slope.item(), rel=1e-4)
    assert cka_shares(x, torch.ones(12, 2)).tolist() == [0.0] * 12


def test_how_images_are_batched_does_not_matter():
    whole = trace_of(batch=5, mean=0.5)
    parts = [
        DeepTrace(
            [t[cut] for t in whole.tokens],
            [],
            1,
            [t[cut] for t in whole.attended],
            [h[cut] for h in whole.heads],
        )
        for cut in (slice(0, 2), slice(2, 5))
    ]
    places = ["measure", "variant", "block", "other_block", "image"]
    one, two = (
        table.sort_values(places).reset_index(drop=True) for table in (table_of(whole), table_of(*parts))
    )
    pd.testing.assert_frame_equal(one, two, rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "left_out"),
    [({"heads": 1}, "heads"), ({"patches": 1}, "positions"), ({"prefix": 0, "batch": 1}, None)],
)
def test_what_has_no_pair_has_no_rows_and_nothing_is_not_a_number(shape, left_out):
    table = table_of(trace_of(**shape))
    assert np.isfinite(table["value"]).all()
    assert set(table["measure"]) == {
        "heads", "blocks", "positions", "cka", "cka_share", "branches"
    } - {left_out}  # fmt: skip


def test_constant_tokens_are_finite():
    tokens = [torch.ones(2, 5, 6)] * 3
    table = table_of(DeepTrace(tokens, [], 1, [], [torch.zeros(2, 5, 2, 3)] * 2))
    means = table.groupby(["measure", "variant"])["value"].mean()
    assert means["positions", "raw"] == pytest.approx(1) and means["blocks", "raw"] == pytest.approx(1)
    assert means[["cka", "cka_share", "heads"]].abs().max() == 0
    assert means["positions", "centred"] == means["blocks", "centred"] == 0


def test_every_block_is_compared_with_the_one_before():
    trace = trace_of(blocks=3)
    table = table_of(trace)
    added = [
        after[1, 1:] - before[1, 1:] for before, after in zip(trace.tokens, trace.attended, strict=False)
    ]
    for block in (2, 3):
        row = table.query("measure == 'branches' and block == @block and image == 11")
        expected = cosine_similarity(added[block - 1], added[block - 2]).diagonal().mean()
        assert row["other_block"].tolist() == [block - 1]
        assert row["value"].item() == pytest.approx(expected, rel=1e-4)
