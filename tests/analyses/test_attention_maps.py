"""Maps of single queries against a loop, and the cosine between them against closed forms."""

import base64

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from stages.analyses.attention import patch_attention
from stages.analyses.attention_maps import encode_map, map_similarity, measure, query_maps, query_patches
from stages.analyses.settings import AnalysisSettings
from stages.data.arrays import Split
from stages.encoders.vit import Trace
from stages.study.errors import StudyError

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 12, 12, 3), dtype=np.uint8)
SPLIT = Split(PIXELS, {}, None)
COLUMNS = ["measure", "image", "block", "query", "row", "column"]


def random_attention(batch, heads, tokens, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, heads, tokens, tokens, generator=generator).softmax(-1)


def table_of(attention, *, prefix=1, batch=2, split=SPLIT, **settings):
    chosen = {"images": 5, "shown_images": 3, "shown_pixels": 12, "depths": [0, 0.5, 1]} | settings
    images = 2 * torch.arange(len(attention[0]))
    traces = [
        (images[start : start + batch], Trace([], [one[start : start + batch] for one in attention], prefix))
        for start in range(0, len(images), batch)
    ]
    tables = measure(traces, settings=AnalysisSettings(**chosen), patch_size=4, split=split)
    return pd.concat(list(tables), ignore_index=True)


@pytest.mark.parametrize(
    ("grid", "centre"), [(1, (0, 0)), (2, (1, 1)), (3, (1, 1)), (7, (3, 3)), (8, (4, 4))]
)
def test_the_queries_are_centre_and_corner(grid, centre):
    assert query_patches(grid) == (centre[0] * grid + centre[1], 0)


@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 2))
@examples(max_examples=25, deadline=None)
def test_maps_are_those_of_a_loop(grid, heads, prefix):
    attention = random_attention(2, heads, prefix + grid**2, seed=grid)
    maps = query_maps(attention, prefix)
    assert maps.shape == (2, 2, grid, grid)
    for image in range(2):
        for place, query in enumerate(query_patches(grid)):
            expected = np.zeros((grid, grid))
            for head in range(heads):
                row = attention[image, head, prefix + query].double().numpy()[prefix:]
                for key, weight in enumerate(row):
                    expected[key // grid, key % grid] += weight / row.sum() / heads
            np.testing.assert_allclose(maps[image, place].numpy(), expected, atol=1e-6)


def test_patches_that_make_no_square_are_refused():
    with pytest.raises(ValueError, match="12 patches"):
        query_maps(random_attention(1, 1, 13), 1)


def test_the_cosine_is_1_where_maps_do_not_depend_on_the_query_and_0_where_each_sees_itself():
    one_row = random_attention(3, 2, 9)[:, :, :1].expand(3, 2, 9, 9)
    torch.testing.assert_close(map_similarity(query_maps(one_row, 0)), torch.ones(3))
    assert map_similarity(query_maps(torch.eye(9).expand(3, 2, 9, 9), 0)).max() < 1e-6
    # Two patches each, one of them in common.
    half = torch.zeros(1, 1, 9, 9)
    half[..., 4, [4, 8]] = half[..., 0, [0, 8]] = 0.5
    assert map_similarity(query_maps(half, 0)).item() == pytest.approx(0.5, abs=1e-6)


def test_one_patch_is_both_queries():
    assert map_similarity(query_maps(torch.ones(1, 1, 1, 1), 0)).tolist() == pytest.approx([1])


def test_bfloat16_keeps_the_meaning():
    attention = random_attention(2, 2, 50)
    narrow = query_maps(attention.bfloat16(), 1)
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow, query_maps(attention, 1), rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("prefix", [0, 1])
def test_the_table_has_a_similarity_of_all_images_and_maps_of_some(prefix):
    attention = [random_attention(5, 2, prefix + 9, seed=block) for block in range(4)]
    table = table_of(attention, prefix=prefix)
    assert list(table.columns) == [*COLUMNS, "value", "map"] and not table.duplicated(COLUMNS).any()
    value = table.set_index(COLUMNS)["value"]
    assert len(table[table["measure"] == "similarity"]) == 5 * 4
    for block in range(4):
        expected = map_similarity(query_maps(attention[block], prefix))
        for number in range(5):
            similarity = value["similarity", 2 * number, block + 1, "both", 0, 0]
            assert similarity == pytest.approx(expected[number].item(), abs=1e-6)
    weights = table[table["measure"] == "weight"]
    assert set(weights["image"]) == {0, 2, 4} and set(weights["block"]) == {1, 2, 4}
    assert len(weights) == 3 * 3 * 2 * 9
    maps = query_maps(attention[1], prefix)
    assert value["weight", 4, 2, "corner", 3, 1] == pytest.approx(maps[2, 1, 2, 0].item())
    assert value["weight", 2, 2, "centre", 1, 3] == pytest.approx(maps[1, 0, 0, 2].item())
    assert value["green", 4, 0, "-", 12, 5] == PIXELS[4, 11, 4, 1]
    assert len(table[table["measure"] == "blue"]) == 3 * 144


def test_every_query_of_the_images_shown_has_its_map_in_bytes():
    attention = [random_attention(5, 2, 10, seed=block) for block in range(4)]
    table = table_of(attention)
    maps = table[table["measure"] == "map"]
    assert len(maps) == 3 * 4 * 9 and set(table[table["measure"] != "map"]["map"]) == {""}
    chosen = maps.set_index(["image", "block", "row", "column"]).loc[(4, 3, 2, 1)]
    expected = patch_attention(attention[2], 1)[2, :, 3].mean(dim=0).numpy()
    levels = np.frombuffer(base64.b64decode(chosen["map"]), dtype=np.uint8)
    assert chosen["value"] == pytest.approx(expected.max()) and levels.max() == 255
    np.testing.assert_allclose(levels / 255 * chosen["value"], expected, atol=expected.max() / 500)
    assert base64.b64decode(encode_map(np.zeros(4))) == bytes(4)


def test_batches_do_not_matter():
    attention = [random_attention(5, 2, 10, seed=block) for block in range(2)]
    whole, parts = (table_of(attention, batch=n).sort_values(COLUMNS, ignore_index=True) for n in (5, 2))
    pd.testing.assert_frame_equal(whole, parts)


@pytest.mark.parametrize(("shown_pixels", "side"), [(6, 6), (5, 4), (100, 12)])
def test_large_images_are_averaged_over_squares(shown_pixels, side):
    table = table_of([random_attention(1, 1, 10)], shown_pixels=shown_pixels)
    red = table[table["measure"] == "red"]
    assert red["row"].max() == side == red["column"].max()
    step = 12 // side
    block = PIXELS[0, :step, step : 2 * step, 0]
    value = red[(red["row"] == 1) & (red["column"] == 2)]["value"].item()
    assert value == pytest.approx(block.mean(), abs=0.5)


def test_squares_that_reach_over_the_edge_are_averaged_inside_the_image():
    images = np.random.default_rng(1).integers(0, 256, (1, 7, 10, 3), dtype=np.uint8)
    table = table_of([random_attention(1, 1, 10)], split=Split(images, {}, None), shown_pixels=4)
    blue = table[table["measure"] == "blue"].set_index(["row", "column"])["value"]
    expected = {
        (1 + row // 3, 1 + column // 3): images[0, row : row + 3, column : column + 3, 2].mean()
        for row in range(0, 7, 3)
        for column in range(0, 10, 3)
    }
    assert len(expected) == 12 and sorted(blue.index) == sorted(expected)
    assert all(abs(blue[place] - mean) <= 0.5 and blue[place] % 1 == 0 for place, mean in expected.items())


def test_settings_that_do_not_fit_are_one_line():
    for name, value in (("shown_images", 0), ("shown_pixels", None), ("depths", []), ("depths", [0, 1.5])):
        with pytest.raises(StudyError, match=rf"attention_maps\.{name} is "):
            table_of([random_attention(1, 1, 10)], **{name: value})
