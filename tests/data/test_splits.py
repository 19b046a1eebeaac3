"""Folders as people have them: which are splits, which are classes, and what is left out is named."""

import unicodedata

import pytest

from stages.data.listings import list_images, list_splits
from stages.study.errors import StudyError
from tests.data.pictures import class_files, png, write_folder


def splits(tmp_path, *prefixes, more=None, count=2):
    files = {}
    for prefix in prefixes:
        files |= class_files(prefix=prefix, count=count)
    return list_splits(str(write_folder(tmp_path, files | (more or {}))))


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "valid"),
        ("training", "testing"),
        ("train", "dev"),
        ("train", "eval"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("training_set/training_set", "test_set/test_set"),
        ("Train", "Validation"),
        ("train2017", "val2017"),
    ],
)
def test_known_names_of_splits(tmp_path, train, test):
    parts = splits(tmp_path, f"{train}/", f"{test}/")
    assert set(parts.train.classes) == set(class_files(prefix=f"{train}/", count=2))
    assert parts.test is not None and set(parts.test.classes) == set(class_files(prefix=f"{test}/", count=2))
    assert set(parts.test.classes.values()) == {"cat", "dog"}


def test_of_three_splits_the_one_that_nobody_uses_is_named(tmp_path):
    parts = splits(tmp_path, "train/", "valid/", "test/", "extra/")
    assert parts.test is not None and all(name.startswith("test/") for name in parts.test.classes)
    assert parts.notes == ("4 images of valid/ not used", "4 images of extra/ not used")


@pytest.mark.parametrize(
    "prefixes", [("dev/", "eval/"), ("train/", "query/"), ("", "test/"), ("fold/", "val/")]
)
def test_folders_that_look_like_splits_are_no_classes(tmp_path, prefixes):
    with pytest.raises(
        StudyError, match=r"look like splits, not classes: .*/ has the same classes as the others; set"
    ):
        splits(tmp_path, *prefixes)


@pytest.mark.parametrize("heads", [("gallery", "query"), ("Fold1", "fold_2"), ("probe", "others")])
def test_folders_of_retrieval_and_of_folds_are_no_classes(tmp_path, heads):
    with pytest.raises(StudyError, match=r"/ look like splits, not classes: .*; set data\.source to one"):
        splits(tmp_path, *(f"{head}/" for head in heads))


DOMAINS = ("amazon/", "dslr/", "webcam/")
THREE = ("bag", "cup", "pen")


def nested(tmp_path, files):
    return list_splits(str(write_folder(tmp_path, files)))


def test_folders_of_any_names_that_hold_the_same_folders_are_named_in_a_line(tmp_path):
    files = {name: content for head in DOMAINS for name, content in class_files(THREE, prefix=head).items()}
    parts = nested(tmp_path, files)
    assert parts.notes == (
        "amazon/, dslr/, webcam/ look like splits, because they hold the same folders (bag, cup, pen); if "
        "they are, set data.source to one and data.test_source to another",
    )
    assert set(parts.train.classes.values()) == {"amazon", "dslr", "webcam"}


def test_a_folder_that_one_of_the_splits_lacks_changes_nothing(tmp_path):
    many = tuple(f"class {number}" for number in range(10))
    files = class_files(many, prefix="new/", count=2) | class_files(many[1:], prefix="old/", count=2)
    assert "new/, old/ look like splits" in nested(tmp_path, files).notes[0]


@pytest.mark.parametrize(
    "files",
    [
        class_files(THREE, prefix="cat/images_") | class_files(THREE, prefix="dog/photos_"),  # other folders
        class_files(("images",), prefix="cat/") | class_files(("images",), prefix="dog/"),  # one folder each
        class_files(("train", "test"), prefix="cat/") | class_files(("train", "test"), prefix="dog/"),
        class_files(THREE, prefix="a/") | class_files(THREE, prefix="b/") | {"b/1.png": png()},
        class_files(THREE, prefix="a/") | class_files(THREE, prefix="b/") | {"c/1.png": png()},
        {  # more classes than folders in each
            name: content
            for label in THREE
            for name, content in class_files(("day", "night"), prefix=f"{label}/").items()
        },
    ],
)
def test_folders_within_classes_are_no_splits(tmp_path, files):
    parts = nested(tmp_path, files)
    assert parts.notes == () and len(set(parts.train.classes.values())) > 1


def test_a_class_may_be_called_train(tmp_path):
    files = class_files(("train", "plane", "car"))
    assert set(list_splits(str(write_folder(tmp_path, files))).train.classes.values()) == {
        "train",
        "plane",
        "car",
    }


FLAT = {f"test/{number}.png": png(number) for number in range(3)}


def test_a_split_without_classes_is_left_out_for_one_that_has_them(tmp_path):
    parts = splits(tmp_path, "train/", "val/", more=FLAT)
    assert parts.test is not None and all(name.startswith("val/") for name in parts.test.classes)
    assert parts.notes == ("3 images of test/ not used; it has no class folders",)
    parts = splits(tmp_path / "alone", "train/", more=FLAT)
    assert parts.test is None and len(parts.notes) == 1


def test_imagenet_as_kaggle_has_it(tmp_path):
    root = "ILSVRC/Data/CLS-LOC"
    files = class_files(("n01", "n02"), prefix=f"{root}/train/")
    files |= {f"{root}/val/ILSVRC2012_val_{number}.JPEG": png(number) for number in range(4)}
    files |= {f"{root}/test/ILSVRC2012_test_{number}.JPEG": png(number) for number in range(4)}
    files["ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_0.xml"] = b"<annotation/>"
    rows = [f"ILSVRC2012_val_{number},n0{1 + number % 2} 85 1 499 272 " for number in range(4)]
    files["LOC_val_solution.csv"] = "\n".join(["ImageId,PredictionString", *rows]).encode()
    parts = list_splits(str(write_folder(tmp_path, files)))
    assert set(parts.train.classes.values()) == {"n01", "n02"} and len(parts.train.classes) == 10
    assert parts.test is not None
    assert [parts.test.classes[f"{root}/val/ILSVRC2012_val_{n}.JPEG"] for n in range(4)] == ["n01", "n02"] * 2
    assert parts.notes == ("4 images of test/ not used; it has no class folders",)


def test_tiny_imagenet_as_distributed(tmp_path):
    files = {f"tiny/train/n0{n % 2}/images/n0{n % 2}_{n}.JPEG": png(n) for n in range(6)}
    files |= {f"tiny/train/n0{n}/n0{n}_boxes.txt": b"x" for n in range(2)}
    files |= {f"tiny/val/images/val_{n}.JPEG": png(n) for n in range(4)}
    files |= {f"tiny/test/images/test_{n}.JPEG": png(n) for n in range(4)}
    rows = [f"val_{n}.JPEG\tn0{n // 2}\t0\t32\t44\t62" for n in range(4)]
    files |= {"tiny/val/val_annotations.txt": "\n".join(rows).encode(), "tiny/wnids.txt": b"n00\nn01\n"}
    parts = list_splits(str(write_folder(tmp_path, files)))
    assert parts.test is not None
    assert [parts.test.classes[f"tiny/val/images/val_{n}.JPEG"] for n in range(4)] == [
        "n00",
        "n00",
        "n01",
        "n01",
    ]
    assert dict(parts.skipped) == {".txt: no image": 4}


def tiny():
    """Tiny ImageNet: train/ in folders of classes, val/ with a file of annotations."""
    files = {f"tiny/train/n0{n % 2}/images/n0{n % 2}_{n}.JPEG": png(n) for n in range(6)}
    files |= {f"tiny/val/images/val_{n}.JPEG": png(n) for n in range(4)}
    rows = [f"val_{n}.JPEG\tn0{n // 2}\t0\t32\t44\t62" for n in range(4)]
    return files | {"tiny/val/val_annotations.txt": "\n".join(rows).encode()}


@pytest.mark.parametrize("folder", ["test", "test/images", "dev", "valid/images"])
def test_annotations_do_not_label_images_of_the_same_names_in_another_split(tmp_path, folder):
    files = tiny() | {f"tiny/{folder}/val_{n}.JPEG": png(9 - n) for n in range(4)}
    parts = list_splits(str(write_folder(tmp_path, files)))
    assert parts.test is not None and all(name.startswith("tiny/val/") for name in parts.test.classes)
    assert parts.notes == (f"4 images of {folder.partition('/')[0]}/ not used; it has no class folders",)


@pytest.mark.parametrize("place", ["", "lists/"])
def test_annotations_beside_the_splits_label_the_images_of_val_alone(tmp_path, place):
    files = class_files(("n01", "n02"), prefix="train/")
    files |= {f"{split}/{number}.JPEG": png(number) for split in ("val", "test") for number in range(4)}
    rows = [f"{number},n0{1 + number % 2} 85 1 499 272 " for number in range(4)]
    files[f"{place}LOC_val_solution.csv"] = "\n".join(["ImageId,PredictionString", *rows]).encode()
    parts = list_splits(str(write_folder(tmp_path, files)))
    assert parts.test is not None
    assert parts.test.classes == {f"val/{number}.JPEG": f"n0{1 + number % 2}" for number in range(4)}


def test_the_folder_val_alone_is_labelled_by_its_annotations(tmp_path):
    write_folder(tmp_path, tiny())
    assert set(list_images(str(tmp_path / "tiny/val")).classes.values()) == {"n00", "n01"}


def test_names_with_accents_are_compared_whatever_their_spelling(tmp_path):
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    files = class_files((composed, "thé"), prefix="train/") | class_files((apart, "thé"), prefix="test/")
    parts = list_splits(str(write_folder(tmp_path, files)))
    assert parts.test is not None
    assert set(parts.train.classes.values()) == set(parts.test.classes.values()) == {composed, "thé"}


@pytest.mark.parametrize(
    ("suffix", "reason"),
    [("svg", "vector graphics"), ("dng", "raw camera file"), ("jxl", "unsupported format")],
)
def test_a_class_of_pictures_that_nothing_reads_does_not_vanish(tmp_path, suffix, reason):
    files = class_files() | {f"owl/{number}.{suffix}": b"x" for number in range(3)}
    with pytest.raises(StudyError) as error:
        list_images(str(write_folder(tmp_path, files)))
    line = str(error.value)
    assert f"1 of 3 classes have no readable image (owl); owl has 3 .{suffix} ({reason}" in line
    assert "\n" not in line


def test_files_left_out_are_counted_by_suffix_and_reason(tmp_path):
    files = class_files() | {
        "cat/x.svg": b"",
        "cat/y.SVG": b"",
        "dog/z.txt": b"",
        "dog/README": b"",
        "a.zip": b"",
    }
    assert list_splits(str(write_folder(tmp_path, files))).skipped == (
        (".svg: vector graphics; convert it to PNG", 2),
        (".txt: no image", 1),
        (".zip: an archive; unpack it", 1),
        ("no suffix: no image", 1),
    )
