"""Writing the arrays: any order, rows that never come, digests of the content, memory that does not grow."""

import sys
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.data import writer as writer_module
from stages.data.arrays import batches, digests, in_order, normalize, open_split, read_manifest, unit_range
from stages.data.writer import SplitWriter, write_manifest
from stages.study.errors import StudyError
from tests.data.stored import SIZE, images_of, write


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(9)), st.integers(1, 8))
def test_rows_may_come_in_any_order_and_some_never(tmp_path_factory, order, missing):
    folder = tmp_path_factory.mktemp("split") / "train"
    writer = SplitWriter(folder, rows=9, image_size=SIZE, labels=["class"], masks=["masks"])
    images, masks = images_of(9), images_of(9)[..., 0] > 100
    for row in order[missing:]:
        put = np.array([row])
        writer.put(put, images=images[put], masks=masks[put], **{"class": put})
    writer.close()
    rows = sorted(order[missing:])
    assert np.array_equal(np.load(folder / "images.npy"), images[rows])
    assert np.array_equal(np.load(folder / "masks.npy"), masks[rows])
    assert np.load(folder / "class.npy").tolist() == rows
    assert sorted(path.name for path in folder.iterdir()) == ["class.npy", "images.npy", "masks.npy"]


def test_a_split_of_which_nothing_was_written_is_refused(tmp_path):
    writer = SplitWriter(tmp_path / "test", rows=3, image_size=SIZE, labels=["class"])
    with pytest.raises(StudyError, match="no readable test images"):
        writer.close()


def test_a_forgotten_array_is_refused(tmp_path):
    writer = SplitWriter(tmp_path / "train", rows=3, image_size=SIZE, labels=["class"])
    with pytest.raises(KeyError, match="class"):
        writer.put(np.array([0]), images=images_of(1))


def test_the_manifest_counts_and_measures(tmp_path):
    write(tmp_path, train=images_of(20), test=images_of(7, seed=1))
    manifest = read_manifest(tmp_path)
    scaled = images_of(20) / 255
    assert manifest.mean == pytest.approx(scaled.mean(axis=(0, 1, 2)), rel=1e-5)
    assert manifest.std == pytest.approx(scaled.std(axis=(0, 1, 2)), rel=1e-5)
    assert {name: split.images for name, split in manifest.splits.items()} == {"train": 20, "test": 7}
    assert manifest.splits["test"].per_class == {"class": [4, 3]}


def test_each_array_has_the_digest_of_its_content(tmp_path):
    train, test = images_of(20), images_of(7, seed=1)
    first = write(tmp_path / "1", train=train, test=test)
    same = write(tmp_path / "2", train=train, test=test, source="elsewhere")
    changed = test.copy()
    changed[-1, -1, -1, -1] ^= 1
    other = write(tmp_path / "3", train=train, test=changed)
    assert first.arrays == same.arrays == digests(tmp_path / "1")
    assert {path for path in first.arrays if first.arrays[path] != other.arrays[path]} == {"test/images"}


def test_images_that_are_all_alike_can_be_normalized(tmp_path):
    manifest = write(tmp_path, train=images_of(4) * 0 + 7, test=images_of(2))
    pixels = torch.full((1, 3, SIZE, SIZE), 7, dtype=torch.uint8)
    normalized = normalize(unit_range(pixels), mean=manifest.mean, std=manifest.std)
    assert torch.allclose(normalized, torch.zeros(1), atol=1e-4)


@pytest.mark.parametrize("split", ["train", "test"])
def test_no_room_on_the_disk_says_so(tmp_path, split):
    with pytest.raises(
        StudyError,
        match=rf"1000000000 {split} images need 3\.44e\+06 GiB of disk, but .* are free; free some space, or "
        rf"lower data\.max_{split}_images or",
    ):
        SplitWriter(tmp_path / split, rows=10**9, image_size=1110, labels=["class"])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reserves space")
def test_space_is_reserved_before_images_are_written(tmp_path):
    writer = SplitWriter(tmp_path / "train", rows=1000, image_size=32, labels=["class"])
    size = (tmp_path / "train/images.npy").stat()
    assert size.st_blocks * 512 >= size.st_size > 3_000_000
    assert not writer.arrays["images"].any()


def peak_memory(directory, count):
    tracemalloc.start()
    for split in ("train", "test"):
        writer = SplitWriter(directory / split, rows=count, image_size=32, labels=["class"])
        for start in range(0, count - 50, 50):  # the last 50 rows are left out
            rows = np.arange(start, start + 50)
            images = np.full((50, 32, 32, 3), start % 256, dtype=np.uint8)
            writer.put(rows, images=images, **{"class": rows % 2})
        writer.close()
    write_manifest(directory, source="", image_size=32, labels={"class": ["a", "b"]})
    images = open_split("train", directory).images
    for _ in batches(images, in_order(np.arange(len(images)), batch_size=50)):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_images(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "CHUNK", 2**18)
    peak_memory(tmp_path / "warm", 100)
    small, large = peak_memory(tmp_path / "small", 400), peak_memory(tmp_path / "large", 4000)
    # Only the labels and the list of batches stay in memory: 30 bytes an image, not its 3072.
    assert large - small < 3600 * 100
