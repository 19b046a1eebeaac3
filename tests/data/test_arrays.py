"""The arrays on disk and their loader: what is written is what is read."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.data import arrays
from stages.data.arrays import (
    batches,
    in_order,
    normalize,
    open_split,
    read_manifest,
    refuse_changed_images,
    unit_range,
)
from stages.study.errors import StudyError
from tests.data.stored import SIZE, images_of, write


@pytest.fixture
def data(tmp_path):
    write(tmp_path, train=images_of(20), test=images_of(7, seed=1))
    return tmp_path


def test_what_is_written_is_what_is_read(data):
    split = open_split("train", data)
    assert isinstance(split.images, np.memmap) and not split.images.flags.writeable
    assert np.array_equal(split.images, images_of(20))
    assert split.labels["class"].tolist() == [0, 1] * 10
    assert split.labels["class"].dtype == np.int64
    assert split.masks is None


def test_missing_data_says_what_to_run(tmp_path):
    with pytest.raises(StudyError, match="not found; run `dvc repro prepare`"):
        open_split("train", tmp_path)


@pytest.mark.parametrize("text", ["", "{}", '{"source": 3', '{"made_by": "another version"}'])
def test_a_manifest_that_is_none_says_what_to_run(data, text):
    (data / "manifest.json").write_text(text)
    with pytest.raises(StudyError, match="not a valid manifest; run `dvc repro"):
        read_manifest(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: np.save(path, np.load(path)[:-1]),
    ],
    ids=["missing", "empty", "cut short", "a row less"],
)
@pytest.mark.parametrize("file", ["images.npy", "class.npy"])
def test_incomplete_data_says_what_to_run(data, file, damage):
    damage(data / "train" / file)
    with pytest.raises(StudyError, match="run `dvc repro -f prepare`"):
        open_split("train", data)
    assert len(open_split("test", data).images) == 7


def test_a_split_that_is_none_lists_those_there_are(data):
    with pytest.raises(StudyError, match="no split 'val'; choose from: test, train"):
        open_split("val", data)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_those_of_the_order(data, workers):
    order = [np.array([3, 19, 3]), np.array([0])]
    images = open_split("train", data).images
    result = list(batches(images, order, workers=workers))
    assert [batch.shape for batch in result] == [(3, 3, SIZE, SIZE), (1, 3, SIZE, SIZE)]
    assert all(batch.dtype == torch.uint8 and batch.is_contiguous() for batch in result)
    for batch, indices in zip(result, order, strict=True):
        assert np.array_equal(batch.numpy().transpose(0, 2, 3, 1), images_of(20)[indices])


def test_batches_leave_the_random_state_of_the_process_alone(data):
    before = torch.get_rng_state()
    list(batches(open_split("train", data).images, [np.arange(4)]))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("part", [slice(None), slice(5, 15)])
def test_a_spawned_worker_finds_the_same_rows(data, part):
    images = open_split("train", data).images[part]
    rows = pickle.loads(pickle.dumps(arrays._Rows(images)))
    assert torch.equal(rows.__getitems__([2, 0]), arrays._Rows(images).__getitems__([2, 0]))


def test_a_whole_file_goes_to_a_spawned_worker_by_name(data):
    images = open_split("train", data).images
    assert len(pickle.dumps(arrays._Rows(images))) < images.nbytes / 2


@given(st.integers(0, 50), st.integers(1, 20))
def test_in_order_cuts_without_losing_any(count, batch_size):
    parts = in_order(np.arange(count), batch_size=batch_size)
    assert np.concatenate(parts).tolist() == list(range(count))
    assert all(len(part) == batch_size for part in parts[:-1])
    assert len(parts[-1]) <= batch_size


def test_stored_images_become_numbers_from_0_to_1_which_are_centred_and_scaled():
    images = unit_range(torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1))
    assert images.dtype == torch.float32 and images.flatten().tolist() == pytest.approx([0, 0.2, 1])
    normalized = normalize(images, mean=[0.5, 0.2, 0.0], std=[0.5, 0.1, 2.0])
    assert torch.allclose(normalized.flatten(), torch.tensor([-1.0, 0.0, 0.5]), atol=1e-6)


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_byte,
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: np.save(path, np.load(path)[:-1]),
    ],
    ids=["one bit", "missing", "empty", "a row less"],
)
@pytest.mark.parametrize("file", ["train/images.npy", "test/class.npy"])
def test_images_that_changed_are_refused_and_others_are_not(data, file, damage, monkeypatch):
    refuse_changed_images(data)
    monkeypatch.setattr(arrays, "CHUNK", 2 * SIZE * SIZE * 3)
    refuse_changed_images(data)
    damage(data / file)
    with pytest.raises(StudyError, match=r"the images changed since prepare wrote them; .*force prepare`$"):
        refuse_changed_images(data)
