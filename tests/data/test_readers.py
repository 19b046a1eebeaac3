"""Which images are trained on and which held out, in which order, and what becomes of each."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.data.listings import Listing
from stages.data.readers import find_images, hold_out, read_images, row_order, some
from stages.data.settings import Data
from stages.study.errors import StudyError
from tests.data.pictures import class_files, photo, write_folder, write_tar


def listing(**counts):
    """So many images of each class, nothing to read."""
    names = {f"{label}/{number}": label for label, count in counts.items() for number in range(count)}
    return Listing(names, lambda wanted: iter(()))


def data(source, **changes):
    values = {"source": str(source), "test_source": None, "root": None, "test_fraction": 0.2} | changes
    return Data.model_construct(**values)


COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(2, 30), min_size=2)


@given(COUNTS, st.floats(0.01, 0.99), st.integers(0, 9))
def test_held_out_is_a_share_of_every_class(counts, fraction, seed):
    train, test = hold_out(listing(**counts), fraction=fraction, seed=seed)
    assert train.classes | test.classes == listing(**counts).classes
    assert not train.classes.keys() & test.classes.keys()
    in_train, in_test = Counter(train.classes.values()), Counter(test.classes.values())
    for label, count in counts.items():
        assert in_train[label] >= 1 and in_test[label] >= 1
        assert abs(in_test[label] - fraction * count) <= 1


def test_the_seed_decides_what_is_held_out():
    images = listing(a=50, b=50)
    parts = [set(hold_out(images, fraction=0.2, seed=seed)[1].classes) for seed in (0, 0, 1)]
    assert parts[0] == parts[1] != parts[2]


def test_more_images_of_one_class_do_not_change_what_is_held_out_of_another():
    few = hold_out(listing(a=50, b=50), fraction=0.2, seed=0)[1].classes
    many = hold_out(listing(a=50, b=90), fraction=0.2, seed=0)[1].classes
    assert [name for name in few if name[0] == "a"] == [name for name in many if name[0] == "a"]


def test_nothing_can_be_held_out_of_one_image():
    with pytest.raises(StudyError, match="class b has only one image"):
        hold_out(listing(a=5, b=1), fraction=0.2, seed=0)


@given(COUNTS, st.data())
def test_every_beginning_of_the_rows_is_even_over_the_classes(counts, draw):
    images = listing(**counts)
    rows = row_order(images, keep=None, seed=0, split="train")
    assert sorted(rows) == sorted(images.classes)
    keep = draw.draw(st.integers(len(counts), len(rows)))
    assert row_order(images, keep=keep, seed=0, split="train") == rows[:keep]
    class_counts = Counter(images.classes[name] for name in rows[:keep])
    most = max(class_counts.values())
    for label, count in counts.items():
        assert class_counts[label] in {most, most - 1} or class_counts[label] == count


def test_rows_are_shuffled_by_the_seed():
    images = listing(a=40, b=40)
    first, again, other = (row_order(images, keep=None, seed=seed, split="train") for seed in (0, 0, 1))
    assert first == again != other
    numbers = [int(name.partition("/")[2]) for name in first if name[0] == "a"]
    assert numbers != sorted(numbers)


@pytest.mark.parametrize("split", ["train", "test"])
def test_fewer_images_than_classes_are_refused_in_the_words_of_their_setting(split):
    with pytest.raises(StudyError) as error:
        row_order(listing(a=3, b=3), keep=1, seed=0, split=split)
    assert str(error.value) == (
        f"params.yaml: data.max_{split}_images is 1, below the number of classes; set it to 2 or more"
    )


def test_the_folders_of_the_source_are_taken_by_their_word(tmp_path):
    files = class_files(prefix="train/", count=4) | class_files(prefix="val/", count=2)
    train, test, *_ = find_images(data(write_folder(tmp_path, files)), seed=0)
    assert len(train.classes) == 8
    assert set(test.classes) == set(class_files(prefix="val/", count=2))


def test_a_test_source_counts_before_the_folders(tmp_path):
    files = class_files(prefix="train/", count=4) | class_files(prefix="val/", count=2)
    other = write_tar(tmp_path / "other.tar", class_files(count=3))
    train, test, *_ = find_images(data(write_folder(tmp_path / "a", files), test_source=str(other)), seed=0)
    assert set(train.classes) == set(class_files(prefix="train/", count=4))
    assert set(test.classes) == set(class_files(count=3))
    assert len(list(test.read(test.classes))) == 6


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_a_test_source_that_is_the_source_is_refused(tmp_path, kind):
    source = write_folder(tmp_path / "images", class_files())
    if kind == "tar":
        source = write_tar(tmp_path / "images.tar", class_files())
    (tmp_path / "again").symlink_to(source)
    for same in (source, tmp_path / "again"):
        with pytest.raises(StudyError, match=r"data\.test_source .* is data\.source; .* held-out images"):
            find_images(data(source, test_source=str(same)), seed=0)


def test_a_test_source_with_training_images_is_refused(tmp_path):
    source = write_folder(tmp_path / "images", class_files(prefix="old/", count=3))
    held = write_folder(tmp_path / "held", class_files(count=2))
    splits = find_images(data(source, test_source=str(held)), seed=0)
    assert splits.test is not None and len(splits.test.classes) == 4
    (held / "cat/linked.png").symlink_to(source / "old/cat/001.png")
    with pytest.raises(StudyError, match=r"1 of 5 test images are training images: cat/linked\.png; "):
        find_images(data(source, test_source=str(held)), seed=0)
    with pytest.raises(StudyError, match=r"6 of 6 test images are training images: cat/000\.png, "):
        find_images(data(source, test_source=str(source / "old")), seed=0)


def test_a_test_source_inside_the_source_may_be_its_unused_split(tmp_path):
    files = class_files(prefix="train/", count=4) | class_files(prefix="val/") | class_files(prefix="test/")
    source = write_folder(tmp_path, files)
    splits = find_images(data(source, test_source=str(source / "val")), seed=0)
    assert splits.test is not None and set(splits.test.classes) == set(class_files())


def test_without_either_a_share_is_held_out(tmp_path):
    train, test, *_ = find_images(data(write_folder(tmp_path, class_files(count=10))), seed=0)
    assert (len(train.classes), len(test.classes)) == (16, 4)


def test_a_source_that_is_none_says_what_is_allowed():
    with pytest.raises(StudyError, match=r"'shape_textures'.*shapes_textures.*folder or tar.*torch/cifar10"):
        find_images(data("shape_textures"), seed=0)


def test_a_test_source_that_is_none(tmp_path):
    with pytest.raises(StudyError, match="nowhere: no such folder, tar or zip"):
        find_images(data(write_folder(tmp_path, class_files()), test_source="nowhere"), seed=0)


def test_classes_must_agree(tmp_path):
    files = class_files(("cat", "dog"), prefix="train/") | class_files(("cat", "cow"), prefix="test/")
    with pytest.raises(StudyError, match="only in training: dog; only in test: cow"):
        find_images(data(write_folder(tmp_path, files)), seed=0)


def test_one_class_is_not_enough(tmp_path):
    with pytest.raises(StudyError, match="needs at least two classes, but has only cat"):
        find_images(data(write_folder(tmp_path, class_files(["cat"]))), seed=0)


@pytest.mark.parametrize("threads", [1, 4])
def test_every_image_keeps_its_name_whichever_thread_is_first(tmp_path, threads):
    files = class_files(count=100) | {"cat/003.png": b"broken"}
    train, test, *_ = find_images(data(write_folder(tmp_path, files)), seed=0)
    names = [*train.classes, *test.classes]
    images = dict(read_images(train, names, image_size=12, threads=threads))
    assert images.keys() == files.keys()
    assert "cannot identify image file" in str(images.pop("cat/003.png"))
    for name, image in images.items():
        seed = 1000 * (name[:3] == "dog") + int(name[4:7])
        assert np.array_equal(image.pixels, np.asarray(photo(seed)))


@given(st.sets(st.text("abc", min_size=1), max_size=9), st.integers(1, 9))
def test_some_names_are_listed_and_the_others_counted(names, most):
    listed, _, rest = some(names, most).partition(" and ")
    shown = set(listed.split(", ")) if names else set()
    assert shown <= names
    assert len(shown) + (int(rest.split()[0]) if rest else 0) == len(names)
