"""Masks of objects from files: which is whose, and that they are cut and scaled as the images are."""

import io
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.data.arrays import open_split, read_manifest
from stages.data.decode import decode
from stages.data.decoding import decode_images, refuse_numbers
from stages.data.deep import Unreadable
from stages.data.masks import decode_mask, pair, read_masks
from stages.data.settings import Masks
from stages.study.errors import StudyError
from stages.study.params import load_params

ANY = Masks(source="masks")


def png(values, mode="L"):
    file = io.BytesIO()
    image = Image.fromarray(np.asarray(values, dtype=np.uint8))
    if mode == "P":
        image = image.convert("P")
        image.putdata(np.asarray(values).reshape(-1).tolist())
        image.putpalette([value for colour in range(256) for value in (255 - colour, colour, 7)])
    image.save(file, "png")
    return file.getvalue()


def test_names_alone_pair_where_they_tell_the_images_apart():
    images = ["train/cat/cat_1.jpg", "train/dog/dog_1.jpg"]
    assert pair(images, ["cat_1.png", "dog_1.png", "other.png"], source="m") == {
        "train/cat/cat_1.jpg": "cat_1.png",
        "train/dog/dog_1.jpg": "dog_1.png",
    }


def test_folders_count_where_names_do_not_suffice():
    images = ["cat/1.jpg", "dog/1.jpg"]
    assert pair(images, ["x/cat/1.png"], source="m") == {"cat/1.jpg": "x/cat/1.png"}
    assert pair(images, ["1.png"], source="m") == {}
    three = ["train/cat/1.jpg", "test/cat/1.jpg", "train/dog/1.jpg"]
    masks = ["m/train/cat/1.png", "m/test/cat/1.png"]
    assert pair(three, masks, source="m") == {"train/cat/1.jpg": masks[0], "test/cat/1.jpg": masks[1]}


def test_two_masks_for_an_image_are_refused():
    with pytest.raises(StudyError, match=r"a/1\.png and b/1.png both match the image cat/1\.jpg"):
        pair(["cat/1.jpg", "dog/2.jpg"], ["a/1.png", "b/1.png"], source="m")
    with pytest.raises(StudyError, match="differ only in their suffix"):
        pair(["cat/1.jpg", "cat/1.png"], ["cat/1.png"], source="m")


@settings(max_examples=25, deadline=None)
@given(st.integers(4, 40), st.integers(4, 40), st.integers(8, 24))
def test_masks_are_cut_and_scaled_as_images_are(width, height, size):
    rng = np.random.default_rng(width + 100 * height)
    values = np.kron(rng.integers(0, 2, (2, 2)), np.ones((20, 20)))[:height, :width]
    image = decode(png(np.stack([255 * values] * 3, axis=-1)), image_size=size)
    mask = decode_mask(png(values), settings=ANY, image_size=size)
    assert mask.size == image.size == (width, height) and mask.object.shape == (size, size)
    assert not mask.ignored.any()
    # Where the picture is black or white beyond doubt, the mask says so.
    brightness = image.pixels[..., 0]
    sure = (brightness < 30) | (brightness > 225)
    assert np.array_equal(mask.object[sure], brightness[sure] > 128)


@pytest.mark.parametrize("mode", ["L", "P"])
def test_values_say_what_is_object_and_what_is_ignored(mode):
    values = np.repeat(np.repeat([[1, 2], [3, 255]], 4, axis=0), 4, axis=1)
    trimap = Masks(source="m", object=[1], ignored=[3])
    mask = decode_mask(png(values, mode), settings=trimap, image_size=8)
    assert np.array_equal(mask.object, values == 1) and np.array_equal(mask.ignored, values == 3)
    rest = decode_mask(png(values, mode), settings=Masks(source="m", ignored=[255]), image_size=8)
    assert np.array_equal(rest.object, values < 255) and np.array_equal(rest.ignored, values == 255)
    assert decode_mask(png(values * 0, mode), settings=ANY, image_size=8).object.sum() == 0


def test_one_bit_is_a_mask_and_colours_are_none():
    file = io.BytesIO()
    Image.fromarray(np.eye(8, dtype=bool)).save(file, "png")
    assert np.array_equal(decode_mask(file.getvalue(), settings=ANY, image_size=8).object, np.eye(8))
    for broken in (b"", b"no image", png(np.zeros((4, 4, 3)))):
        with pytest.raises(Unreadable):
            decode_mask(broken, settings=ANY, image_size=8)


def test_a_pixel_is_what_most_of_its_area_is():
    values = np.zeros((6, 6))
    values[:3, :3] = [[1, 1, 0], [1, 1, 0], [1, 0, 0]]  # five of nine
    values[3:, 3:] = [[9, 9, 9], [9, 9, 0], [0, 0, 0]]
    mask = decode_mask(png(values), settings=Masks(source="m", ignored=[9]), image_size=2)
    assert mask.object.tolist() == [[True, False], [False, False]]
    assert mask.ignored.tolist() == [[False, False], [False, True]]


def write_images(folder, count=12):
    """Images of two classes with masks beside them; a quarter of each is object."""
    rng = np.random.default_rng(0)
    for number in range(count):
        name, values = f"{('cat', 'dog')[number % 2]}/{number}", np.zeros((20, 30))
        values[:10, 5:15] = 255
        for part, pixels in (("images", rng.integers(0, 256, (20, 30, 3))), ("masks", values)):
            path = folder / part / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(pixels))


def prepared(folder, *, source="masks", **changes):
    data = load_params().data.model_copy(
        update={
            "source": str(folder / "images"),
            "image_size": 8,
            "masks": Masks(source=str(folder / source)),
        }
        | changes
    )
    (folder / "data").mkdir()
    return decode_images(folder / "data", data=data, seed=0, threads=1)


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_prepare_stores_them_beside_their_images(tmp_path, kind):
    write_images(tmp_path)
    if kind == "tar":
        with tarfile.open(tmp_path / "masks.tar", "w") as archive:
            archive.add(tmp_path / "masks", "whatever")
    prepared(tmp_path, source={"folder": "masks", "tar": "masks.tar"}[kind])
    for name in ("train", "test"):
        split = open_split(name, tmp_path / "data")
        assert split.masks.shape == split.ignored.shape == split.images.shape[:3]
        # The square in the middle is 20 px wide and begins 5 px from the left, as does the object.
        assert all(np.array_equal(mask, np.kron([[1, 0], [0, 0]], np.ones((4, 4)))) for mask in split.masks)
        assert not split.ignored.any()


def test_an_image_without_a_mask_of_its_size_is_left_out_and_named(tmp_path):
    write_images(tmp_path, count=24)
    (tmp_path / "masks/cat/0.png").unlink()
    (tmp_path / "masks/dog/1.png").write_bytes(png(np.ones((20, 29))))
    (tmp_path / "masks/cat/2.png").write_bytes(b"no image")
    with pytest.raises(StudyError, match="3 of 24 images are unreadable or have no matching mask"):
        prepared(tmp_path)
    for path in sorted((tmp_path / "data").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (tmp_path / "data").rmdir()
    prepared(tmp_path, max_unreadable=0.5)
    manifest = read_manifest(tmp_path / "data")
    assert manifest.unreadable == ["cat/0.png", "cat/2.png", "dog/1.png"]
    assert sum(split.images for split in manifest.splits.values()) == 21


def test_masks_without_any_object_are_refused(tmp_path):
    write_images(tmp_path)
    masks = Masks(source=str(tmp_path / "masks"), object=[1])
    with pytest.raises(StudyError, match=r"none of \d+ masks has an object pixel"):
        prepared(tmp_path, masks=masks)


def test_images_without_names_have_no_masks():
    data = load_params().data.model_copy(update={"source": "torch/cifar10", "masks": ANY})
    with pytest.raises(StudyError, match="no names to match masks by"):
        refuse_numbers(data)


def test_values_cannot_be_object_and_ignored():
    with pytest.raises(ValueError, match=r"share values \[1\]"):
        Masks(source="m", object=[1, 2], ignored=[1])


def test_missing_masks_are_said_to_be_missing(tmp_path):
    with pytest.raises(StudyError, match="nowhere: no such folder, tar or zip"):
        list(read_masks({"a": 1}, images=["a"], source=str(tmp_path / "nowhere"), settings=ANY, image_size=8))


def turned_image(folder, name, size, *, mask):
    """An image that EXIF turns by a quarter, with its mask: as it is stored, a bright object on the left."""
    values = np.zeros(size)
    values[:, : size[1] // 2] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(np.stack([values] * 3, axis=-1).astype(np.uint8)).save(file, "png", exif=exif)
    seen = np.rot90(values, -1)
    for part, content in (("images", file.getvalue()), ("masks", png({"raw": values, "seen": seen}[mask]))):
        path = folder / part / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize("drawn", ["raw", "seen"])
@pytest.mark.parametrize("turned", [None, True, False])
def test_a_mask_is_turned_with_its_image_where_sizes_tell_or_the_setting_says(tmp_path, drawn, turned):
    for number in range(8):
        turned_image(tmp_path, f"{('cat', 'dog')[number % 2]}/{number}", (20, 30), mask=drawn)
    masks = Masks(source=str(tmp_path / "masks"), turned=turned)
    if turned is not None and turned != (drawn == "raw"):
        with pytest.raises(StudyError, match=r"8 mask of [0-9x ]+ pixels, not"):
            prepared(tmp_path, masks=masks)
        return
    prepared(tmp_path, masks=masks)
    for name in ("train", "test"):
        split = open_split(name, tmp_path / "data")
        assert np.array_equal(split.masks, split.images[..., 0] > 127) and split.masks.any()


def test_a_mask_that_could_be_turned_or_not_is_refused_unless_the_setting_says(tmp_path):
    for number in range(8):
        turned_image(tmp_path, f"{('cat', 'dog')[number % 2]}/{number}", (20, 20), mask="raw")
    with pytest.raises(
        StudyError, match=r"EXIF rotates the image (cat|dog)/\d\.png.* set data\.masks\.turned"
    ):
        prepared(tmp_path)
    for path in sorted((tmp_path / "data").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (tmp_path / "data").rmdir()
    prepared(tmp_path, masks=Masks(source=str(tmp_path / "masks"), turned=True))
    split = open_split("train", tmp_path / "data")
    assert np.array_equal(split.masks, split.images[..., 0] > 127)


def test_masks_are_found_whatever_the_spelling_of_accents():
    assert pair(["caf\u00e9/1.jpg", "th/1.jpg"], ["cafe\u0301/1.png"], source="m") == {
        "caf\u00e9/1.jpg": "cafe\u0301/1.png"
    }


def test_masks_that_fit_an_image_of_each_split_are_refused_unless_both_sources_are_named(tmp_path):
    write_images(tmp_path)
    write_images(tmp_path / "held", count=4)
    held, masks = str(tmp_path / "held/images"), str(tmp_path / "masks")
    with pytest.raises(
        StudyError,
        match=r"data\.masks: .*/masks: 4 masks match a training and a test image, such as cat/0\.png; "
        r"set data\.masks\.test_source",
    ):
        prepared(tmp_path, test_source=held)
    (tmp_path / "data").rmdir()
    named = Masks(source=masks, test_source=masks)
    prepared(tmp_path, test_source=held, masks=named)
    assert open_split("test", tmp_path / "data").masks.shape == (4, 8, 8)


def test_one_folder_may_hold_the_masks_of_two_sources(tmp_path):
    write_images(tmp_path)
    write_images(tmp_path / "held", count=4)
    for part in ("images", "masks"):
        for path in sorted((tmp_path / "held" / part).rglob("*.png")):
            path.rename(path.with_name(f"held_{path.name}"))
    for path in sorted((tmp_path / "held/masks").rglob("*.png")):
        path.rename(tmp_path / "masks" / path.parent.name / path.name)
    prepared(tmp_path, test_source=str(tmp_path / "held/images"))
    assert open_split("test", tmp_path / "data").masks.shape == (4, 8, 8)
