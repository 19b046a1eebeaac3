"""Silhouettes of tokens against scikit-learn and closed forms, and the plane they are drawn in."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sklearn.metrics import silhouette_samples
from threadpoolctl import threadpool_limits

from stages.analyses import token_embedding
from stages.analyses.settings import AnalysisSettings
from stages.analyses.token_embedding import cosine_silhouette, embed, first_of_each, measure
from stages.data.arrays import Split
from stages.encoders.vit import Trace
from stages.study.errors import StudyError

LABELS = np.array([2, 0, 1, 0, 2, 1, 0, 2])
SPLIT = Split(np.zeros((8, 4, 4, 3), dtype=np.uint8), {"shape": LABELS, "texture": 1 - LABELS % 2}, None)


def cloud(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def table_of(tokens, *, prefix=1, images=None, batch=3, **settings):
    chosen = {"images": 8, "classes": 2, "images_per_class": 2, "perplexity": 3} | settings
    images = torch.arange(len(tokens)) if images is None else images
    traces = (
        (one, Trace([torch.full_like(part, torch.nan), part], [], prefix))
        for one, part in zip(images.split(batch), tokens.split(batch), strict=True)
    )
    tables = measure(traces, settings=AnalysisSettings(**chosen), patch_size=4, split=SPLIT)
    return pd.concat(list(tables), ignore_index=True)


@given(st.integers(2, 6), st.integers(1, 5), st.integers(1, 4), st.integers(0, 99))
@examples(max_examples=30, deadline=None)
def test_silhouettes_are_those_of_scikit_learn(images, patches, width, seed):
    tokens = cloud(images, patches, width, seed=seed) + 0.5
    tokens[0, 0] = 0  # a direction it has not
    groups = torch.arange(images) if patches > 1 else torch.arange(images) // 2
    if 1 < len(groups.unique()) < images * patches:
        expected = silhouette_samples(
            tokens.flatten(0, 1).double().numpy(), groups.repeat_interleave(patches).numpy(), metric="cosine"
        )
        np.testing.assert_allclose(cosine_silhouette(tokens, groups).flatten().numpy(), expected, atol=1e-9)


def test_groups_of_unequal_size_are_those_of_scikit_learn():
    tokens, groups = cloud(9, 4, 6), torch.tensor([5, 5, 5, 5, 0, 0, 7, 7, 3])
    expected = silhouette_samples(
        tokens.flatten(0, 1).double().numpy(), groups.repeat_interleave(4), metric="cosine"
    )
    np.testing.assert_allclose(cosine_silhouette(tokens, groups).flatten().numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_images_far_apart_have_1_and_alike_tokens_0(dtype):
    apart = torch.eye(5, dtype=dtype)[:, None].expand(5, 4, 5)
    torch.testing.assert_close(cosine_silhouette(apart, torch.arange(5)), torch.ones(5, 4).double())
    alike = torch.full((5, 4, 3), 1 / 3, dtype=dtype)
    assert (cosine_silhouette(alike, torch.arange(5)) == 0).all()
    assert (cosine_silhouette(torch.zeros(5, 4, 3, dtype=dtype), torch.arange(5)) == 0).all()


def test_rounding_leaves_no_silhouette_beyond_1():
    images = cloud(40, 7)[:, None].expand(40, 5, 7)
    silhouettes = cosine_silhouette(images, torch.arange(40))
    assert silhouettes.max() == 1 and silhouettes.min() > 0.9
    # A token of image 0 in the very middle of another image, and the others of its image far from it.
    inside = images.clone()
    inside[::2, 0] = images[1::2, 0]
    silhouettes = cosine_silhouette(inside, torch.arange(40))[::2, 0]
    assert silhouettes.min() == -1 and silhouettes.max() < -0.9


def test_two_groups_at_right_angles_and_a_mixed_one():
    # Image 0: e1 and e2; image 1: e1 twice. Of e1 in image 0: a = 1, b = 0; of e2: a = b = 1; of image 1:
    # a = 0, b = 1/2.
    tokens = torch.tensor([[[1.0, 0], [0, 1]], [[1, 0], [1, 0]]])
    assert cosine_silhouette(tokens, torch.arange(2)).tolist() == [[-1, 0], [1, 1]]


def test_scale_of_a_token_does_not_matter():
    tokens = cloud(4, 5, 6)
    scaled = tokens * torch.rand(4, 5, 1).add(0.1)
    torch.testing.assert_close(
        cosine_silhouette(scaled, torch.arange(4)),
        cosine_silhouette(tokens, torch.arange(4)),
        atol=1e-6,
        rtol=0,
    )


def test_one_group_has_no_silhouette_and_a_lone_token_0():
    with pytest.raises(ValueError, match="two groups"):
        cosine_silhouette(cloud(3, 4, 2), torch.zeros(3, dtype=torch.int64))
    assert (cosine_silhouette(cloud(3, 1, 2), torch.arange(3)) == 0).all()


def test_the_first_of_each_of_the_first_labels():
    assert first_of_each(torch.from_numpy(LABELS), groups=2, each=2).tolist() == [1, 3, 2, 5]
    assert first_of_each(torch.from_numpy(LABELS), groups=9, each=3).tolist() == [1, 3, 6, 2, 5, 0, 4, 7]


def test_separate_groups_stay_separate_in_the_plane_whatever_the_threads():
    tokens = torch.cat([cloud(30, 8) + 20 * torch.eye(8)[i] for i in range(3)])
    groups = np.repeat(range(3), 30)
    places = embed(tokens, perplexity=10)
    assert places.shape == (90, 2) and silhouette_samples(places.numpy(), groups).mean() > 0.6
    with threadpool_limits(limits=2):
        assert torch.equal(embed(tokens, perplexity=10), places)
    constant = embed(torch.full((20, 3), 2.0), perplexity=4)
    assert constant.isfinite().all()


class Start:
    """In place of t-SNE: where it would start."""

    def __init__(self, *, init, **_):
        self.init = init

    def fit_transform(self, _):
        return self.init


@pytest.mark.parametrize("seed", range(4))  # whichever way the directions point at first
@pytest.mark.parametrize("scale", [0.01, 1.0])
def test_the_plane_starts_from_the_two_principal_components(monkeypatch, scale, seed):
    monkeypatch.setattr(token_embedding, "TSNE", Start)
    tokens = scale * (cloud(40, 5, seed=seed) * torch.tensor([0.3, 2.0, 0.1, 4.0, 0.2]) + 7)
    centred = tokens.double().numpy() - tokens.double().numpy().mean(axis=0)
    _, _, right = np.linalg.svd(centred, full_matrices=False)
    # Each direction points to where its largest component is positive.
    signs = np.array([row[np.abs(row).argmax()] for row in right[:2]]) > 0
    expected = centred @ np.where(signs[:, None], right[:2], -right[:2]).T
    plane = embed(tokens, perplexity=5).numpy()
    assert plane.dtype == np.float32 and plane[:, 0].std() == pytest.approx(1e-4, rel=1e-4)
    np.testing.assert_allclose(plane, 1e-4 * expected / expected[:, 0].std(), rtol=1e-3, atol=1e-9)
    assert (embed(torch.full((6, 3), 2.0), perplexity=5) == 0).all()


def test_the_table_measures_all_images_and_places_some():
    tokens = cloud(8, 1 + 9, 6)
    tokens[:, 0] = torch.nan  # the class token is not looked at
    table = table_of(tokens)
    assert list(table.columns) == ["measure", "image", "class", "block", "index", "value"]
    assert not table.duplicated(["measure", "image", "index"]).any() and np.isfinite(table["value"]).all()
    assert (table["block"] == 1).all() and (table["class"] == LABELS[table["image"]]).all()
    counts = table["measure"].value_counts()
    assert counts.to_dict() == {
        "silhouette_image": 8, "silhouette_class": 8, "x": 36, "y": 36, "plane_image": 4, "plane_class": 4
    }  # fmt: skip
    assert table.loc[table["measure"] == "x", "image"].unique().tolist() == [1, 3, 2, 5]
    value = table.set_index(["measure", "image", "index"])["value"]
    for name, groups in (("image", torch.arange(8)), ("class", torch.from_numpy(LABELS))):
        expected = cosine_silhouette(tokens[:, 1:], groups).mean(dim=1)
        np.testing.assert_allclose(value[f"silhouette_{name}"].to_numpy(), expected)
    places = np.stack([value[name].to_numpy() for name in "xy"], axis=1)
    plane = silhouette_samples(places.astype(np.float32), np.repeat(range(4), 9)).reshape(4, 9).mean(axis=1)
    np.testing.assert_allclose(value["plane_image"].to_numpy(), plane, atol=1e-5)


def test_neither_batches_nor_a_missing_prefix_matter():
    tokens = cloud(8, 1 + 9, 6)
    whole = table_of(tokens, batch=8)
    pd.testing.assert_frame_equal(table_of(tokens, batch=3), whole)
    pd.testing.assert_frame_equal(table_of(tokens[:, 1:], prefix=0), whole)


def test_one_image_or_one_class_is_left_out():
    alone = table_of(cloud(1, 10, 6))
    assert set(alone["measure"]) == {"x", "y"}
    same = table_of(cloud(3, 10, 6), images=torch.tensor([1, 3, 6]))
    assert set(same["measure"]) == {"silhouette_image", "plane_image", "x", "y"}
    # Images of one patch are lone tokens, which have no silhouette in the plane.
    lone = table_of(cloud(8, 2, 6))
    assert set(lone["measure"]) == {"silhouette_image", "silhouette_class", "plane_class", "x", "y"}


def test_settings_that_do_not_fit_are_one_line():
    with pytest.raises(StudyError, match=r"token_embedding\.perplexity is 36: it must be below 36"):
        table_of(cloud(8, 10, 6), perplexity=36)
    with pytest.raises(StudyError, match=r"token_embedding\.classes is None: set a whole number"):
        table_of(cloud(8, 10, 6), classes=None)
