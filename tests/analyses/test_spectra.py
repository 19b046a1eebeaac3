"""Singular values, ranks and their errors against closed forms and numpy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from stages.analyses.movement import principal_coordinates, unison
from stages.analyses.spectra import (
    ROUNDING,
    alpha_req,
    jackknife,
    log_covariance,
    log_spread,
    participation_ratio,
    pseudo_values,
    rankme,
    relative_log,
    scalars,
    singular_values,
    spread_shares,
)


def cloud(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthonormal(count, width):
    """Columns that are orthonormal and sum to 0, so that centring leaves them alone."""
    return torch.linalg.qr(torch.cat([torch.ones(count, 1).double(), cloud(count, width)], dim=1))[0][:, 1:]


@given(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
@examples(max_examples=40, deadline=None)
def test_singular_values_are_numpys(batch, count, width, seed):
    tokens = cloud(batch, count, width, seed=seed) + 3
    sigma = singular_values(tokens)
    assert sigma.shape == (batch, max(1, min(count - 1, width))) and sigma.dtype == torch.float64
    centred = tokens.numpy() - tokens.numpy().mean(axis=1, keepdims=True)
    expected = np.linalg.svd(centred, compute_uv=False)
    np.testing.assert_allclose(sigma.numpy(), expected[:, : sigma.shape[1]], rtol=1e-6, atol=1e-7)
    assert (sigma.diff(dim=-1) <= 0).all()


@pytest.mark.parametrize("statistic", [rankme, participation_ratio])
@pytest.mark.parametrize(("count", "width"), [(40, 5), (6, 9), (30, 1)])
def test_pseudo_values_are_the_statistic_and_its_derivative_by_weight(statistic, count, width):
    vectors = cloud(count, width) * torch.linspace(1, 3, width) + 2

    def weighted(weights):
        mean = weights @ vectors
        centred = vectors - mean
        eigenvalues = torch.linalg.eigvalsh(count * (weights[:, None] * centred).T @ centred).flip(0)
        return statistic(eigenvalues[: max(1, min(count - 1, width))].clamp(min=0).sqrt())

    values = pseudo_values(vectors, statistic)
    value = statistic(singular_values(vectors))
    torch.testing.assert_close(values.mean(), value)
    even, step = torch.full((count,), 1 / count).double(), 1e-5
    for image in (0, 3, count - 1):
        to_one = torch.nn.functional.one_hot(torch.tensor(image), count).double() - even
        slope = (weighted(even + step * to_one) - weighted(even - step * to_one)) / (2 * step)
        torch.testing.assert_close(values[image] - value, slope, rtol=1e-4, atol=1e-5)


def test_pseudo_values_spread_as_the_statistic_does_over_samples():
    vectors = cloud(8000, 6) * torch.linspace(1, 2, 6)
    values = torch.stack([participation_ratio(singular_values(part)) for part in vectors.split(200)])
    errors = [(pseudo_values(part, participation_ratio).var() / 200).sqrt() for part in vectors.split(200)]
    assert torch.stack(errors).mean().item() == pytest.approx(values.std().item(), rel=0.3)


def test_pseudo_values_of_images_that_are_all_alike_are_one_number():
    assert pseudo_values(torch.ones(5, 3), participation_ratio).tolist() == [0.0] * 5
    assert pseudo_values(torch.ones(5, 3), rankme).isfinite().all()


def test_what_is_left_out_is_what_centring_took():
    tokens = cloud(2, 5, 9)
    centred = (tokens - tokens.mean(1, keepdim=True)).numpy()
    assert np.linalg.svd(centred, compute_uv=False)[:, 4:].max() < 1e-12
    assert singular_values(tokens).shape == (2, 4)


@pytest.mark.parametrize("count", [3, 6, 9, 40])
def test_given_singular_values_are_found_again(count):
    sigma = torch.tensor([4.0, 1.0, 0.25][: min(3, count - 1)], dtype=torch.float64)
    turned = torch.linalg.qr(cloud(6, 6, seed=1))[0][: len(sigma)]
    tokens = orthonormal(count, len(sigma)) * sigma @ turned + torch.arange(6.0)
    torch.testing.assert_close(singular_values(tokens)[: len(sigma)], sigma, atol=1e-6, rtol=0)


@pytest.mark.parametrize("value", [0.0, 1 / 3, 1e4 / 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_constant_tokens_spread_in_no_direction(value, dtype):
    tokens = torch.full((2, 49, 7), value, dtype=dtype) * torch.arange(7, dtype=dtype)
    sigma = singular_values(tokens)
    assert (sigma == 0).all()
    log = relative_log(sigma)
    assert (log[:, 0] == 0).all() and (log[:, 1:] == math.log(ROUNDING)).all()
    measures = scalars(sigma)
    assert measures["rankme"].tolist() == pytest.approx([1, 1], abs=1e-4)
    assert measures["participation_ratio"].tolist() == [0, 0]
    assert (measures["alpha"] > 4).all() and measures["alpha"].isfinite().all()
    assert (principal_coordinates(tokens, tokens) == 0).all()


def test_one_image_alone_has_one_singular_value_which_is_0():
    sigma = singular_values(cloud(1, 8))
    assert sigma.tolist() == [0]
    assert [value.item() for value in scalars(sigma).values()] == pytest.approx([1, 0, 0], abs=1e-5)
    value, error = jackknife(cloud(1, 8), singular_values)
    assert value.tolist() == [0] and error.tolist() == [0]


def test_an_isotropic_cloud_fills_all_directions():
    sigma = singular_values(orthonormal(33, 32))
    assert relative_log(sigma).abs().max() < 1e-6
    assert rankme(sigma).item() == pytest.approx(32, abs=1e-3)
    assert participation_ratio(sigma).item() == pytest.approx(32)
    assert alpha_req(sigma).item() == pytest.approx(0, abs=1e-6)
    assert f"{alpha_req(torch.ones(32))}" == "0.0"  # not -0.0


def test_a_line_is_one_direction():
    sigma = singular_values(cloud(50, 1) @ cloud(1, 20, seed=1) + 5)
    assert rankme(sigma).item() == pytest.approx(1, abs=1e-4)
    assert participation_ratio(sigma).item() == pytest.approx(1)
    assert relative_log(sigma)[1:].tolist() == [math.log(ROUNDING)] * 19
    # More than a power law with two directions can decay.
    assert alpha_req(sigma).item() > 4


def test_effective_rank_is_the_entropy_of_the_shares():
    sigma = [3.0, 2.0, 2.0, 1.0, 0.0]
    shares = [value / 8 + 1e-7 for value in sigma]
    expected = math.exp(-sum(share * math.log(share) for share in shares))
    assert rankme(torch.tensor(sigma)).item() == pytest.approx(expected, rel=1e-6)
    assert participation_ratio(torch.tensor(sigma)).item() == pytest.approx(18**2 / (81 + 16 + 16 + 1))


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_scale_does_not_matter(scale):
    sigma = singular_values(cloud(40, 12))
    for name, value in scalars(scale * sigma).items():
        assert value.item() == pytest.approx(scalars(sigma)[name].item(), rel=1e-9)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("count", [2, 5, 63, 300])
def test_a_power_law_has_its_exponent(alpha, count):
    ranks = torch.arange(1, count + 1, dtype=torch.float64)
    variance = ranks**-alpha
    if count > 10:
        variance[:3] *= 10  # ranks that are not fitted, nor those after the 50th
        variance[50:] /= 1000
    assert alpha_req(variance.sqrt()).item() == pytest.approx(alpha, abs=1e-9)


def test_ranks_4_to_50_are_fitted_and_no_others():
    sigma = cloud(60).abs().sort(descending=True).values + 0.1
    ranks = np.arange(4, 51)
    slope = np.polyfit(np.log(ranks), np.log(sigma.numpy()[3:50] ** 2), 1, w=ranks**-0.5)[0]
    assert alpha_req(sigma).item() == pytest.approx(-slope, rel=1e-9)
    # Two of them make a line already.
    steep = torch.tensor([9.0, 5.0, 4.0, 3.0, 1.0]).double()
    assert alpha_req(steep).item() == pytest.approx(math.log(9) / math.log(5 / 4))
    # One does not, so that all ranks are fitted.
    ranks = np.arange(1, 5)
    slope = np.polyfit(np.log(ranks), np.log(steep.numpy()[:4] ** 2), 1, w=ranks**-0.5)[0]
    assert alpha_req(steep[:4]).item() == pytest.approx(-slope, rel=1e-9)


def test_the_line_is_numpys_weighted_fit_and_leaves_out_what_is_rounding():
    sigma = singular_values(cloud(64, 40) * torch.linspace(2, 0.1, 40))
    ranks = np.arange(4, 41)
    # polyfit weighs residuals before they are squared
    slope = np.polyfit(np.log(ranks), np.log(sigma.numpy()[3:] ** 2), 1, w=ranks**-0.5)[0]
    assert alpha_req(sigma).item() == pytest.approx(-slope, rel=1e-9)
    cut = torch.cat([sigma, torch.zeros(9)])
    assert alpha_req(cut).item() == pytest.approx(-slope, rel=1e-9)


def test_each_image_is_measured_by_itself():
    tokens = torch.stack([cloud(16, 8), cloud(16, 1) @ cloud(1, 8), torch.zeros(16, 8).double()])
    together = scalars(singular_values(tokens))
    for name, values in together.items():
        alone = [scalars(singular_values(one))[name].item() for one in tokens]
        assert values.tolist() == pytest.approx(alone, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_input_keeps_the_meaning(dtype):
    before, after = cloud(2, 25, 12), cloud(2, 25, 12, seed=1)
    narrow = before.to(dtype), after.to(dtype)
    assert unison(*narrow).dtype == torch.float32
    close = {"rtol": 0.02, "atol": 2e-3, "check_dtype": False}
    torch.testing.assert_close(unison(*narrow), unison(before, after), **close)
    torch.testing.assert_close(singular_values(narrow[0]), singular_values(before), **close)


def covariance_spectrum(vectors):
    """Singular values of a covariance matrix, by numpy."""
    return np.linalg.svd(np.cov(vectors.T.reshape(vectors.shape[1], -1), ddof=1), compute_uv=False)


@pytest.mark.parametrize(("count", "width"), [(30, 6), (5, 9)])
def test_the_spectrum_of_fig_7_is_that_of_the_covariance(count, width):
    """The author's definition: covariance over tokens, its singular values, logarithm."""
    tokens = cloud(2, count, width) + 3
    logs = log_covariance(tokens, sigma=singular_values(tokens))
    for image in range(2):
        expected = np.log(covariance_spectrum(tokens[image].numpy()))[: logs.shape[1]]
        np.testing.assert_allclose(logs[image].numpy(), expected, rtol=1e-5, atol=1e-6)


def test_the_log_spread_is_the_mean_growth_of_the_directions_of_the_embedding():
    embedded = cloud(3, 20, 4)
    flat = torch.cat([embedded, torch.zeros(3, 20, 2)], dim=-1)  # two directions that it does not have
    scale = torch.tensor([2.0, 3.0, 5.0, 7.0, 11.0, 13.0])
    grown = torch.cat([embedded, 1e-9 * cloud(3, 20, 2, seed=1)], dim=-1) * 2
    sigma, reference = singular_values(grown), singular_values(flat)
    spread = log_spread(grown, flat, sigma=sigma, reference=reference)
    assert spread.tolist() == pytest.approx([2 * math.log(2)] * 3)
    turned = cloud(3, 20, 6, seed=2) * scale
    spreads = log_spread(turned, flat, sigma=singular_values(turned), reference=reference)
    for image in range(3):
        late, early = (np.log(covariance_spectrum(part[image].numpy())[:4]) for part in (turned, embedded))
        assert spreads[image].item() == pytest.approx((late - early).mean(), rel=1e-5)
    # A direction that is lost counts as lost, down to rounding.
    lost = torch.cat([embedded[..., :3], torch.zeros(3, 20, 3)], dim=-1)
    assert (log_spread(lost, flat, sigma=singular_values(lost), reference=reference) < -3).all()
    same = torch.ones(1, 5, 3)
    zero = singular_values(same)
    assert log_spread(same, same, sigma=zero, reference=zero).tolist() == [0.0]


def test_shares_of_the_log_spread_are_the_value_and_its_derivative_by_weight():
    embedded, late = cloud(25, 4), cloud(25, 4, seed=1) * torch.tensor([1.0, 2, 3, 4])

    def weighted(weights):
        logs = []
        for vectors in (late, embedded):
            centred = vectors - weights @ vectors
            logs.append(torch.linalg.eigvalsh((weights[:, None] * centred).T @ centred).log().mean())
        return logs[0] - logs[1]

    shares = spread_shares(late, embedded)
    even, step = torch.full((25,), 1 / 25).double(), 1e-5
    assert shares.mean().item() == pytest.approx(weighted(even).item())
    for image in (0, 7, 24):
        to_one = torch.eye(25).double()[image] - even
        slope = (weighted(even + step * to_one) - weighted(even - step * to_one)) / (2 * step)
        assert (shares[image] - shares.mean()).item() == pytest.approx(slope.item(), rel=1e-4, abs=1e-5)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    vectors = cloud(400, 3)
    value, error = jackknife(vectors, lambda part: part.mean(dim=0), groups=400)
    torch.testing.assert_close(value, vectors.mean(dim=0))
    torch.testing.assert_close(error, vectors.std(dim=0) / 20)


@pytest.mark.parametrize(("widths", "ratio"), [((1, 0.6, 0.3, 0.1), 1.0), ((1, 1, 1, 1), 1.35)])
def test_ten_groups_tell_how_new_samples_differ(widths, ratio):
    """Where all directions are alike the rank is at its maximum, and the error is on the wide side."""

    def sample(seed):
        return cloud(100, 4, seed=seed) * torch.tensor(widths)

    def rank(vectors):
        return rankme(singular_values(vectors))[None]

    errors = torch.cat([jackknife(sample(seed), rank)[1] for seed in range(60)])
    spread = torch.cat([rank(sample(seed)) for seed in range(400)]).std()
    assert (errors.square().mean().sqrt() / spread).item() == pytest.approx(ratio, abs=0.15)


def test_few_vectors_keep_what_every_part_has():
    value, error = jackknife(cloud(6, 20), singular_values)
    assert len(value) == len(error) == 4  # five vectors, centred
    assert (error > 0).all()
    # Of eleven vectors in ten groups, one part lacks two and the others one.
    value, error = jackknife(cloud(11, 20), singular_values)
    assert len(value) == len(error) == 8
