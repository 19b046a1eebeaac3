"""The table of spectra and movement."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.analyses.movement import principal_coordinates, unison
from stages.analyses.settings import AnalysisSettings
from stages.analyses.singular_values import evenly, measure
from stages.analyses.spectra import (
    log_covariance,
    log_spread,
    participation_ratio,
    rankme,
    singular_values,
    spread_shares,
)
from stages.data.arrays import Split
from stages.encoders.vit import DeepTrace
from stages.study.errors import StudyError

SPLIT = Split(np.zeros((7, 0, 0, 3), dtype=np.uint8), {}, None)  # without pixels, which are not read

COLUMNS = ["measure", "level", "place", "block", "image", "index", "value", "error"]


def cloud(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.integers(1, 60), st.integers(1, 80))
def test_images_are_chosen_evenly(total, wanted):
    chosen = evenly(torch.arange(total), total=total, wanted=wanted)
    assert chosen.sum() == min(total, wanted) and chosen[0]
    gaps = chosen.nonzero()[:, 0].diff()
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


def traces(*, images=7, grid=3, width=8, blocks=4, prefix=1, dtype=torch.float32, batch=3):
    """Batches of a made-up encoder, and all of its tokens: lists of (images, N, D)."""
    shape = (images, prefix + grid * grid, width)
    tokens = [cloud(*shape, seed=block).to(dtype) for block in range(blocks + 1)]
    attended = [cloud(*shape, seed=100 + block).to(dtype) for block in range(blocks)]
    indices = 10 * torch.arange(images)
    parts = [
        (
            indices[start : start + batch],
            DeepTrace(
                [one[start : start + batch] for one in tokens],
                [],
                prefix,
                [one[start : start + batch] for one in attended],
                [],
            ),
        )
        for start in range(0, images, batch)
    ]
    return parts, tokens, attended


def table_of(parts, **settings):
    chosen = {"images": 7, "spectrum_images": 4, "shown_images": 2} | settings
    tables = measure(parts, settings=AnalysisSettings(**chosen), patch_size=4, split=SPLIT)
    return pd.concat(list(tables), ignore_index=True)


@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_the_table_holds_every_measure(prefix):
    parts, tokens, attended = traces(prefix=prefix)
    table = table_of(parts)
    assert list(table.columns) == COLUMNS
    assert not table.duplicated(COLUMNS[:6]).any() and np.isfinite(table[["value", "error"]]).all(axis=None)
    counts = table.groupby(["measure", "level"]).size()
    assert counts["unison", "token"] == 7 * 4
    assert counts["rankme", "token"] == counts["alpha", "token"] == 4 * 2 * 4
    assert counts["rankme", "image"] == 2 * 4
    assert counts["log_covariance", "token"] == 4 * 2 * 8
    assert counts["log_covariance", "image"] == 4 * 2 * 5  # seven images less one, centred
    assert counts["log_spread", "token"] == 4 * 4 and counts["log_spread", "image_share"] == 7 * 4
    assert counts["coordinate_1", "token"] == 2 * 3 * 2 * 9
    assert sorted(table[table.measure == "coordinate_3"].block.unique()) == [1, 2, 4]
    assert sorted(table[table.measure == "alpha"].image.unique()) == [-1, 0, 20, 40, 60]

    def rows(measure, block, **which):
        part = table[(table.measure == measure) & (table.block == block)]
        for key, value in which.items():
            part = part[part[key] == value]
        return part

    before, after = tokens[2][:, prefix:], attended[2][:, prefix:]
    assert rows("unison", 3, image=50).value.item() == pytest.approx(unison(before, after)[5].item())
    for place, cloud_ in (("before", before), ("after", after)):
        sigma = singular_values(cloud_[[0, 2, 4, 6]])
        rank = rows("rankme", 3, place=place, image=40, level="token").value.item()
        assert rank == pytest.approx(rankme(sigma)[2].item())
        spectrum = rows("log_covariance", 3, place=place, level="token")
        logs = log_covariance(cloud_[[0, 2, 4, 6]], sigma=sigma)
        np.testing.assert_allclose(spectrum.value, logs.mean(0), atol=1e-12)
        np.testing.assert_allclose(spectrum.error, logs.std(0) / 2, atol=1e-12)
        vectors = cloud_.mean(dim=1)
        covariance = np.cov(vectors.double().numpy().T)  # (D, D), whose eigenvalues are its singular values
        spectrum = rows("log_covariance", 3, place=place, level="image")
        eigenvalues = np.linalg.eigvalsh(covariance)[::-1][: len(spectrum)]
        np.testing.assert_allclose(spectrum.value, np.log(eigenvalues), rtol=1e-4)
        assert (spectrum.error > 0).all()
        pooled = singular_values(vectors)
        row = rows("participation_ratio", 3, place=place, level="image")
        assert row.value.item() == pytest.approx(participation_ratio(pooled).item(), rel=1e-5)
        assert row.error.item() > 0
        shares = rows("participation_ratio", 3, place=place, level="image_share")
        assert len(shares) == (7 if place == "after" else 0)
        assert place == "before" or shares.value.mean() == pytest.approx(row.value.item(), rel=1e-5)
    embedded = tokens[0][[0, 2, 4, 6], prefix:]
    late = attended[2][[0, 2, 4, 6], prefix:]
    spread = log_spread(late, embedded, sigma=singular_values(late), reference=singular_values(embedded))
    assert rows("log_spread", 3, level="token", image=40).value.item() == pytest.approx(spread[2].item())
    shares = spread_shares(*(part[:, prefix:].mean(dim=1).double() for part in (attended[2], tokens[0])))
    np.testing.assert_allclose(rows("log_spread", 3, level="image_share").value, shares, rtol=1e-6)
    of_images = table[(table.level == "token") & (table.measure != "log_covariance")]
    assert set(of_images.error) == {0}
    assert set(table[table.level == "image_share"].error) == {0}
    drawn = rows("coordinate_2", 4, place="after", image=40)
    expected = principal_coordinates(tokens[3][4, prefix:], attended[3][4, prefix:])[1, :, 1]
    np.testing.assert_allclose(drawn.value, expected)
    assert drawn["index"].tolist() == list(range(1, 10))


def test_the_table_does_not_depend_on_the_batches():
    whole, parts = (
        table_of(traces(batch=size)[0]).sort_values(COLUMNS[:6], ignore_index=True) for size in (7, 2)
    )
    pd.testing.assert_frame_equal(whole, parts, rtol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_image_and_one_block(dtype):
    parts, *_ = traces(images=1, blocks=1, dtype=dtype)
    table = table_of(parts, images=1, spectrum_images=9)
    assert np.isfinite(table[["value", "error"]]).all(axis=None)
    assert (table[table.level == "image"].error == 0).all()
    assert len(table[(table.measure == "log_covariance") & (table.level == "image")]) == 2


def test_spectra_that_do_not_differ_have_no_error():
    (_, trace), *_ = traces(images=1)[0]
    same = [one.expand(7, -1, -1) for one in trace.tokens]
    again = trace._replace(tokens=same, attended=[one.expand(7, -1, -1) for one in trace.attended])
    table = table_of([(torch.arange(7), again)], spectrum_images=7)
    spectra = table[(table.measure == "log_covariance") & (table.level == "token")]
    np.testing.assert_allclose(spectra["error"], 0, atol=1e-6)


def test_a_collapsed_encoder_has_a_table_of_finite_numbers():
    same = torch.ones(4, 10, 8)
    table = table_of([(torch.arange(4), DeepTrace([same] * 3, [], 1, [same] * 2, []))])
    assert np.isfinite(table[["value", "error"]]).all(axis=None)
    assert set(table[table.measure == "unison"].value) == {1.0}


@pytest.mark.parametrize("value", [None, 0, 1.5, True, "all"])
def test_a_setting_that_is_no_count_is_refused_in_one_line(value):
    with pytest.raises(
        StudyError, match=r"singular_values\.spectrum_images is .*whole number of at least 1$"
    ):
        table_of(traces()[0], spectrum_images=value)


def test_of_fewer_images_than_asked_for_as_many_are_chosen():
    parts, *_ = traces()
    table = table_of(parts, images=250, spectrum_images=4, shown_images=2)
    assert table.loc[table["measure"] == "rankme"].query("level == 'token'")["image"].nunique() == 4
    assert table.loc[table["measure"] == "coordinate_1", "image"].nunique() == 2
