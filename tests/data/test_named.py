"""Data sets by name, through timm's own entry, from files in the forms that the libraries behind it read."""

import gzip
import io
import json
import sys
from urllib.error import URLError

import numpy as np
import pytest
import timm.data
from timm.data.dataset import ImageDataset, IterableImageDataset

from stages.data.named import columns_of, is_name, list_named
from stages.study.errors import StudyError
from tests.data.pictures import photo, png


@pytest.fixture
def mnist(tmp_path):
    """MNIST as its authors store it, with 7 training and 3 test images."""
    folder = tmp_path / "MNIST/raw"
    folder.mkdir(parents=True)
    for prefix, count in (("train", 7), ("t10k", 3)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 3
        for kind, array, magic in (("images-idx3", pixels, 2051), ("labels-idx1", labels, 2049)):
            header = np.array([magic, *array.shape], dtype=">i4").tobytes()
            (folder / f"{prefix}-{kind}-ubyte").write_bytes(header + array.tobytes())
            (folder / f"{prefix}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
    return tmp_path


@pytest.mark.parametrize(
    "source", ["torch/cifar10", "hfds/uoft-cs/cifar10", "TFDS/mnist", "wds/x-{0..3}.tar"]
)
def test_what_reads_like_a_name(source):
    assert is_name(source)


@pytest.mark.parametrize(
    "source", ["shapes_textures", "torch", "torch/", "images/cifar10", "cifar10.tar", ""]
)
def test_what_does_not(source):
    assert not is_name(source)


def test_a_torchvision_set(mnist):
    train, test = list_named("torch/mnist", root=str(mnist))
    assert list(train.classes) == [f"train/{index}" for index in range(7)]
    assert [label[0] for label in train.classes.values()] == list("0120120")
    assert test is not None and [label[0] for label in test.classes.values()] == list("012")
    names = {"train/5", "train/2"}
    pixels = np.random.default_rng(7).integers(0, 256, (7, 28, 28), dtype=np.uint8)
    images = {name: np.asarray(image) for name, image in train.read(names)}
    assert images.keys() == names
    assert np.array_equal(images["train/5"], pixels[5])


def test_a_root_of_a_user_who_does_not_exist_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(timm.data, "create_dataset", create(train=ImageDataset(None, reader=TargetReader())))
    list_named("hfds/pets", root="~nosuchuser/pets")
    assert (tmp_path / "~nosuchuser/pets").is_dir()


class Reader:
    """What timm's reader of Hugging Face data sets looks like from outside."""

    class_to_idx = {"dog": 1, "cat": 0}  # noqa: RUF012
    files = [png(0), b"", png(2)]  # noqa: RUF012
    labels = [1, 0, 1]  # noqa: RUF012

    def __getitem__(self, index):
        return io.BytesIO(self.files[index]), self.labels[index]

    def __len__(self):
        return len(self.files)

    def __iter__(self):
        return iter([(photo(0), 1), (photo(1), 0), (photo(2), 1)])


class TargetReader(Reader):
    def iter_targets(self):
        return iter(self.labels)


def create(**splits):
    """A stand-in for timm.data.create_dataset with these splits."""

    def create_dataset(name, *, root, split, download, is_training):
        if split not in splits:
            raise ValueError(f"Unknown split {split!r}")
        return splits[split]

    return create_dataset


def test_a_reader_gives_whole_files_and_none_in_the_place_of_another(tmp_path, monkeypatch):
    dataset = ImageDataset(None, reader=TargetReader())
    monkeypatch.setattr(timm.data, "create_dataset", create(train=dataset, test=dataset))
    train, test = list_named("hfds/pets", root=str(tmp_path))
    assert train.classes == {"train/0": "dog", "train/1": "cat", "train/2": "dog"}
    assert test is not None and list(test.classes) == ["test/0", "test/1", "test/2"]
    assert dict(train.read(train.classes)) == {"train/0": png(0), "train/1": b"", "train/2": png(2)}


def test_a_stream(tmp_path, monkeypatch):
    monkeypatch.setattr(
        timm.data, "create_dataset", create(train=IterableImageDataset(None, reader=Reader()))
    )
    train, test = list_named("wds/pets", root=str(tmp_path))
    assert train.classes == {"train/0": "dog", "train/1": "cat", "train/2": "dog"}
    assert test is None
    ((name, image),) = train.read({"train/2"})
    assert name == "train/2" and np.array_equal(np.asarray(image), np.asarray(photo(2)))


def test_classes_without_names_are_numbered_so_that_they_sort(tmp_path, monkeypatch):
    class Plain(list):
        targets = (0, 10, 2)

    monkeypatch.setattr(timm.data, "create_dataset", create(train=Plain([photo()] * 3)))
    train, _ = list_named("torch/plain", root=str(tmp_path))
    assert list(train.classes.values()) == ["00", "10", "02"]


def test_images_without_labels_are_refused(tmp_path, monkeypatch):
    class Unlabelled(TargetReader):
        labels = [1, -1, 0]  # noqa: RUF012

    dataset = ImageDataset(None, reader=Unlabelled())
    monkeypatch.setattr(timm.data, "create_dataset", create(train=dataset))
    with pytest.raises(StudyError, match="hfds/pets: train: some images have no label"):
        list_named("hfds/pets", root=str(tmp_path))


def one_line(raised):
    return "\n" not in str(raised.value)


def test_an_unknown_name(tmp_path):
    with pytest.raises(StudyError, match=r"torch/cifar11: train: .*Unknown torchvision dataset") as raised:
        list_named("torch/cifar11", root=str(tmp_path))
    assert one_line(raised)


def test_no_training_split(tmp_path, monkeypatch):
    monkeypatch.setattr(timm.data, "create_dataset", create(test=None))
    with pytest.raises(StudyError, match="hfds/pets: train: ValueError: Unknown split 'train'"):
        list_named("hfds/pets", root=str(tmp_path))


def test_no_network(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise URLError("no route to host\nat all")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", fail)
    with pytest.raises(StudyError, match="torch/cifar10: train: URLError") as raised:
        list_named("torch/cifar10", root=str(tmp_path))
    assert one_line(raised)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.delitem(sys.modules, "timm.data.readers.reader_hfds", raising=False)
    with pytest.raises(StudyError, match=r"install the package that it needs: .*datasets"):
        list_named("hfds/uoft-cs/cifar10", root=str(tmp_path))


def test_downloads_lie_in_scratch_unless_told(tmp_path, monkeypatch):
    roots = []
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(
        timm.data,
        "create_dataset",
        lambda name, **given: roots.append(given["root"]) or ImageDataset(None, reader=TargetReader()),
    )
    list_named("hfds/pets", root=None)
    assert set(roots) == {str(tmp_path / "scratch/downloads")}


def test_a_class_of_several_words_has_the_first_and_one_whose_word_another_took_its_number(
    tmp_path, monkeypatch
):
    # As torchvision's ImageNet tells its classes.
    class Words:
        targets = [0, 1, 2, 3]  # noqa: RUF012
        class_to_idx = {"tench": 0, "Tinca tinca": 0, "crane": 3, "goldfish": 1}  # noqa: RUF012

    monkeypatch.setattr(timm.data, "create_dataset", lambda *args, **kwargs: Words())
    train, _ = list_named("torch/imagenet", root=str(tmp_path))
    assert list(train.classes.values()) == ["tench", "goldfish", "2", "crane"]


class Value:
    """A column of numbers or texts, as the package datasets describes it."""

    def __init__(self, dtype):
        self.dtype = dtype


PICTURES = type("Image", (), {"dtype": "PIL.Image.Image"})()
CLASSES = type("ClassLabel", (), {"dtype": "int64"})()


@pytest.mark.parametrize(
    ("features", "columns"),
    [
        ({"image": PICTURES, "label": CLASSES}, ("image", "label")),
        ({"img": PICTURES, "label": CLASSES, "id": Value("int64")}, ("img", "label")),
        ({"image": PICTURES, "labels": CLASSES, "caption": Value("string")}, ("image", "labels")),
        ({"picture": PICTURES, "species": Value("string"), "n": Value("int64")}, ("picture", "species")),
        ({"x": PICTURES, "y": Value("int32"), "share": Value("float32")}, ("x", "y")),
        ({"image": PICTURES, "mask": PICTURES, "label": CLASSES, "family": CLASSES}, ("image", "label")),
    ],
)
def test_the_only_columns_of_images_and_classes_are_taken(features, columns):
    chosen = columns_of(features, source="hfds/x", image=None, label=None)
    assert chosen == {"input_key": columns[0], "target_key": columns[1]}


CIFAR100 = {"img": PICTURES, "fine_label": CLASSES, "coarse_label": CLASSES}


def test_of_several_columns_the_settings_choose():
    with pytest.raises(StudyError, match=r"set data\.label_column \(fine_label, coarse_label\)"):
        columns_of(CIFAR100, source="hfds/x", image=None, label=None)
    assert columns_of(CIFAR100, source="hfds/x", image=None, label="coarse_label") == {
        "input_key": "img",
        "target_key": "coarse_label",
    }
    with pytest.raises(StudyError, match=r"data\.label_column is 'fine': .* img, fine_label, coarse_label"):
        columns_of(CIFAR100, source="hfds/x", image=None, label="fine")
    with pytest.raises(StudyError, match=r"set data\.image_column \(none among label\)"):
        columns_of({"label": CLASSES}, source="hfds/x", image=None, label=None)


def test_classes_that_are_texts_are_classes(tmp_path, monkeypatch):
    class Texts(TargetReader):
        class_to_idx = None
        labels = ["owl", "cat", "owl"]  # noqa: RUF012

    dataset = ImageDataset(None, reader=Texts())
    monkeypatch.setattr(timm.data, "create_dataset", create(train=dataset))
    train, _ = list_named("hfds/pets", root=str(tmp_path))
    assert train.classes == {"train/0": "owl", "train/1": "cat", "train/2": "owl"}


def test_a_data_set_of_hugging_face_is_read_by_its_columns(tmp_path):
    pytest.importorskip("datasets")
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    kind = arrow.struct({"bytes": arrow.binary(), "path": arrow.string()})
    pictures = arrow.array([{"bytes": png(number), "path": None} for number in range(4)], kind)
    columns = {
        "img": pictures,
        "fine": arrow.array([0, 1, 1, 0], arrow.int64()),
        "kind": ["a", "b", "b", "a"],
    }
    features = {
        "img": {"_type": "Image"},
        "fine": {"_type": "ClassLabel", "names": ["cat", "dog"]},
        "kind": {"_type": "Value", "dtype": "string"},
    }
    described = {"huggingface": json.dumps({"info": {"features": features}})}
    (tmp_path / "pets").mkdir()
    table = arrow.table(columns).replace_schema_metadata(described)
    parquet.write_table(table, tmp_path / "pets/train-0.parquet")
    source = f"hfds/{tmp_path}/pets"
    train, _ = list_named(source, root=str(tmp_path / "cache"))
    assert list(train.classes.values()) == ["cat", "dog", "dog", "cat"]
    train, _ = list_named(source, root=str(tmp_path / "cache"), label_column="kind")
    assert list(train.classes.values()) == ["a", "b", "b", "a"]
    assert all(content for _, content in train.read(train.classes))
