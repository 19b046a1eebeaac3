"""The stage as it is run: from params.yaml to data/prepared/."""

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from stages.data import writer
from stages.data.arrays import open_split, read_manifest
from stages.data.decode import decode
from stages.data.decoding import decode_images
from stages.data.drawing import draw_images
from stages.data.photographs import Photographs
from stages.data.record import read_record
from stages.prepare import main, prepare
from stages.study.errors import StudyError
from stages.study.params import validate
from tests.data.photograph_store import needs_decoder
from tests.data.pictures import class_files, encoded, photo, png, write_folder, write_tar

ROOT = Path(__file__).parents[1]
IMAGE_SIZE = 16


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study of its own in an empty directory, and the way to set what is under data: there."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["data"]["shapes_textures"] |= {"train_images": 120, "test_images": 30}
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    Path("dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())

    def configure(**data):
        values["data"] |= data
        Path("params.yaml").write_text(yaml.safe_dump(values))
        return validate(values).data

    configure(image_size=IMAGE_SIZE)
    return configure


def contents(directory="data/prepared"):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(Path(directory).rglob("*"))
        if path.is_file()
    }


ODD = {
    "train/cat/empty.png": b"",
    "train/cat/cut.jpg": encoded(photo(size=(64, 64)), format="JPEG")[:900],
    "train/cat/text.png": b"not an image",
    "train/dog/grey.png": encoded(photo().convert("L"), format="PNG"),
    "train/dog/cmyk.jpg": encoded(photo().convert("CMYK"), format="JPEG"),
    "train/dog/really_a_png.jpg": png(5),
    "train/dog/deep.png": encoded(Image.fromarray(np.full((9, 9), 40000, np.uint16)), format="PNG"),
    "train/README.md": b"hello",
}


def test_the_built_in_images(study):
    assert prepare() == "120 train and 30 test images of shapes_textures, 16 px"
    manifest = read_manifest()
    assert set(contents()) == {"manifest.json"} | {
        f"{split}/{name}.npy"
        for split in ("train", "test")
        for name in ("images", "masks", "shape", "texture")
    }
    assert list(manifest.labels) == ["shape", "texture"]
    assert [len(names) for names in manifest.labels.values()] == [10, 10]
    assert manifest.splits["train"].images == 120 and manifest.splits["test"].images == 30
    train = open_split("train")
    assert train.masks is not None and train.images.shape == (120, 16, 16, 3)
    brightness = train.images.mean(axis=3).mean(axis=(1, 2), where=train.masks)
    assert brightness == pytest.approx(127, abs=35)


def test_the_built_in_images_may_be_limited_and_keep_the_first(study):
    prepare()
    all_images = np.array(open_split("train").images)
    study(max_train_images=50, max_test_images=500)
    assert prepare().startswith("50 train and 30 test")
    assert np.array_equal(open_split("train").images, all_images[:50])


@pytest.mark.parametrize("odd", [{}, ODD], ids=["built in", "real"])
def test_the_same_bytes_twice(study, odd):
    if odd:
        files = class_files(prefix="train/") | class_files(prefix="test/", count=2) | odd
        write_folder(Path("images"), files)
        study(source="images", max_unreadable=0.5)
    prepare()
    first = contents()
    prepare()
    assert contents() == first
    assert not any(str(Path.cwd()).encode() in content for content in first.values())


def test_a_folder_and_a_tar_of_it_are_the_same(study):
    files = class_files(("a", "b", "c"), count=9) | {"b/broken.png": b""}
    write_folder(Path("images"), files)
    backwards = {f"./deep/er/{name}": files[name] for name in sorted(files, reverse=True)}
    write_tar(Path("images.tar"), backwards)
    write_tar(Path("images.tgz"), backwards, mode="w:gz")
    results = []
    for source in ("images", "images.tar", "images.tgz"):
        study(source=source, max_unreadable=0.2)
        prepare()
        manifest = json.loads(Path("data/prepared/manifest.json").read_text())
        assert manifest.pop("source") == source
        assert [name.endswith("b/broken.png") for name in manifest.pop("unreadable")] == [True]
        results.append((manifest, {name: data for name, data in contents().items() if name.endswith("npy")}))
    assert results[0] == results[1] == results[2]


def test_images_and_labels_stay_together(study):
    write_folder(Path("images"), class_files(("ant", "bee"), count=20, size=(16, 16)))
    study(source="images", max_train_images=20)
    assert prepare() == "20 train and 8 test images of images, 16 px"
    seen = set()
    for split, per_class in (("train", 10), ("test", 4)):
        images, labels, masks, _ = open_split(split)
        assert masks is None
        assert np.bincount(labels["class"]).tolist() == [per_class, per_class]
        for image, label in zip(images, labels["class"], strict=True):
            original = [
                n for n in range(20) if np.array_equal(image, np.asarray(photo(1000 * label + n, (16, 16))))
            ]
            assert len(original) == 1
            seen.add((int(label), original[0]))
    assert len(seen) == 28  # none is in both splits


def test_unreadable_images_are_left_out_and_listed(study):
    write_folder(Path("images"), class_files(prefix="train/") | class_files(prefix="val/", count=2) | ODD)
    study(source="images", max_unreadable=0.2)
    assert prepare() == (
        "14 train and 4 test images of images, 16 px; 3 unreadable (listed in data/prepared/manifest.json); "
        "0 is black and 65535 white in 1 image of whole numbers (data.value_range)"
    )
    manifest = read_manifest()
    assert manifest.unreadable == ["train/cat/cut.jpg", "train/cat/empty.png", "train/cat/text.png"]
    assert manifest.converted == {"CMYK": 1, "I;16": 1, "L": 1}
    assert manifest.splits["train"].per_class == {"class": [5, 9]}
    deep = [image for image in open_split("train").images if (image == round(40000 / 257)).all()]
    assert len(deep) == 1


@needs_decoder
def test_photographs_are_those_of_the_squares_without_the_unreadable(study):
    files = class_files(prefix="train/", size=(40, 28)) | class_files(prefix="val/", count=2) | ODD
    write_folder(Path("images"), files)
    study(source="images", store="photographs", max_unreadable=0.2)
    assert prepare().startswith("14 train and 4 test images of images, 16 px; 3 unreadable")
    images, folder = open_split("train").images, Path("data/prepared/train")
    photographs = Photographs(folder, image_size=IMAGE_SIZE)
    assert len(photographs) == len(images) == 14
    for row, square in enumerate(images):
        whole = encoded(Image.fromarray(photographs.read(row).permute(1, 2, 0).numpy()), format="PNG")
        assert np.array_equal(decode(whole, image_size=IMAGE_SIZE).pixels, square)
    stored = sum(photographs.entry(row).length for row in range(14))
    assert folder.joinpath("photographs-000.bin").stat().st_size == stored  # nothing of unreadable files
    assert not list(Path("data/prepared/test").glob("photographs*"))


def test_unreadable_images_of_a_second_source_are_named_with_it(study):
    write_folder(Path("images"), class_files())
    write_tar(Path("held.tar"), class_files() | {"cat/x.png": b""})
    study(source="images", test_source="held.tar", max_unreadable=0.5)
    prepare()
    assert read_manifest().unreadable == ["held.tar/cat/x.png"]


@pytest.mark.parametrize("store", ["squares", "photographs"])
def test_too_many_unreadable_images_stop_the_stage(study, store):
    broken = {f"cat/broken{number:02d}.png": b"" for number in range(13)}
    write_folder(Path("images"), class_files() | broken)
    study(source="images", store=store, max_unreadable=0.5)
    with pytest.raises(StudyError) as raised:
        prepare()
    message = str(raised.value)
    assert "13 of 23 images are unreadable, more than data.max_unreadable 0.5 allows" in message
    assert "cat/broken00.png, cat/broken01.png" in message and "broken09.png and 3 more; fix" in message
    assert "\n" not in message


@pytest.mark.parametrize("store", ["squares", "photographs"])
def test_a_failure_leaves_the_data_there_was(study, store):
    prepare()
    before = contents()
    write_folder(Path("images"), class_files() | {"cat/x.png": b""})
    study(source="images", store=store, max_unreadable=0)
    with pytest.raises(StudyError):
        prepare()
    assert contents() == before
    assert not list(Path().rglob(".prepared*"))


def test_a_mistake_is_one_line_and_code_2(study, capsys):
    study(source="imagse")
    with pytest.raises(SystemExit) as stopped:
        main()
    out, err = capsys.readouterr()
    assert stopped.value.code == 2
    assert (
        out == "prepare\n"
        and err.startswith("prepare: params.yaml: data.source 'imagse'")
        and err.count("\n") == 1
    )


def test_as_dvc_runs_it(study):
    write_folder(Path("images"), class_files())
    study(source="images")
    done = subprocess.run(
        [sys.executable, "-m", "stages.prepare"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    begun, ended = done.stdout.splitlines()
    assert begun == "prepare" and ended.startswith("prepare · done in ")
    assert ended.endswith(" · 8 train and 2 test images of images, 16 px · data/prepared")
    assert done.stderr == ""  # no progress bar where nobody watches, no warnings
    assert read_manifest().labels == {"class": ["cat", "dog"]}


def deep(level):
    return encoded(Image.fromarray(np.full((16, 16), level, np.uint16)), format="PNG")


def test_all_deep_images_of_a_source_are_read_in_one_range(study):
    files = {f"{split}/{label}/{level}.png": deep(level + (label == "b"))
             for split in ("train", "test") for label in "ab" for level in (400, 4000)}  # fmt: skip
    write_folder(Path("images"), files)
    study(source="images")
    assert prepare() == (
        "4 train and 4 test images of images, 16 px; "
        "0 is black and 4095 white in 8 images of whole numbers (data.value_range)"
    )
    assert sorted({int(image.mean()) for image in open_split("train").images}) == [25, 249]
    assert read_record().ranges == {"whole numbers": (0, 4095)}
    study(value_range=[0, 8190])
    assert prepare() == "4 train and 4 test images of images, 16 px"
    assert sorted({int(image.mean()) for image in open_split("train").images}) == [12, 125]


def test_what_is_not_used_is_said_and_recorded_with_reasons(study):
    files = {}
    for split, count in (("train", 30), ("valid", 2), ("test", 3)):
        files |= class_files(prefix=f"{split}/", count=count)
    values = np.full((16, 16), np.nan, np.float32)
    files |= {"train/cat/a.svg": b"", "train/cat/a.txt": b"", "train/cat/empty.png": b""}
    files |= {"train/dog/nan.tif": encoded(Image.fromarray(values), format="TIFF")}
    write_folder(Path("images"), files)
    study(source="images", max_unreadable=0.1)
    assert prepare() == (
        "60 train and 6 test images of images, 16 px; 2 unreadable (listed in data/prepared/manifest.json); "
        "skipped: 1 .svg: vector graphics; convert it to PNG; 4 images of valid/ not used"
    )
    record = read_record()
    assert record.unreadable == {
        "train/cat/empty.png": "empty file, larger than 512 MB, or no permission to read it",
        "train/dog/nan.tif": "some pixels are NaN or infinite",
    }
    assert record.skipped == {".svg: vector graphics; convert it to PNG": 1, ".txt: no image": 1}
    assert record.notes == ["4 images of valid/ not used"]


def test_a_class_of_which_no_image_can_be_read_stops_the_stage(study):
    write_folder(Path("images"), class_files(count=300) | {f"owl/{number}.png": b"x" for number in range(4)})
    study(source="images", max_unreadable=0.01)
    with pytest.raises(StudyError) as error:
        prepare()
    assert str(error.value) == (
        "data.source images: 1 of 3 classes have no readable train image: owl (4 cannot identify image "
        "file); add images or remove the classes"
    )


def peak_memory(work):
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_a_tar(study, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "CHUNK", 2**18)
    peaks = []
    for count in (20, 100, 300):
        files = class_files(count=count // 2)
        write_tar(tmp_path / f"{count}.tar", files)
        data = study(source=str(tmp_path / f"{count}.tar"), image_size=64)
        peaks.append(peak_memory(lambda: decode_images(tmp_path / f"d{count}", data=data, seed=0, threads=1)))  # noqa: B023
    # Names and labels stay in memory: about 1 kB an image, not its 12 kB; the first run only warms up.
    assert peaks[2] - peaks[1] < 200 * 2500


def test_memory_does_not_grow_with_the_built_in_images(study, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "CHUNK", 2**18)
    peaks = []
    for count in (100, 150, 600):
        data = study(shapes_textures=study().shapes_textures.model_dump() | {"train_images": count})
        peaks.append(peak_memory(lambda: draw_images(tmp_path / f"d{count}", data=data, seed=0)))  # noqa: B023
    assert peaks[2] - peaks[1] < 450 * 300  # an image and its mask are 1024 bytes
