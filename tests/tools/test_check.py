"""What everything named in params.yaml holds, in a line or two each."""

import shutil
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image

from stages.data.decode import decode
from stages.data.decoding import decode_images
from stages.study.errors import StudyError
from stages.study.params import load_params
from stages.tools import check
from stages.tools.check import look
from tests.data.pictures import class_files, encoded, photo, write_folder
from tests.encoders import originals
from tests.encoders.originals import HEADS, Encoder
from tests.project import ROOT, copy_project, edit


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The project with images of two classes and a checkpoint, in a folder of its own."""
    project = copy_project(tmp_path / "project")
    shutil.copy(ROOT / "params.yaml", project / "params.yaml")
    monkeypatch.chdir(project)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    files = class_files(prefix="train/") | class_files(prefix="val/", count=2)
    write_folder(tmp_path / "images", files | {"train/cat/x.heic": b"x", "train/notes.txt": b"x"})
    originals.save(originals.mae(originals.filled(Encoder())), tmp_path / "mae.pth")
    arm = {"objective": "imported", "weights": "../mae.pth", "format": "mae", "heads": HEADS}
    edit(project, {"data": {"source": "../images", "image_size": 40}, "arms": {"mae": arm}})
    return project


def lines(capsys):
    assert look() == "all files that params.yaml names can be used"
    return capsys.readouterr().out


def test_images_and_checkpoints_are_looked_into_and_nothing_is_written(project, capsys):
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*") if path.is_file()}
    output = lines(capsys)
    assert (
        "data.source: ../images: 2 classes (cat, dog), 10 train images (at least 5 per class) and 4" in output
    )
    assert ".heic" in output and "read 10 images" in output and "of 255" in output
    assert (
        "arms.mae.weights: ../mae.pth: mae: ViT with 3 blocks, width 48, 4 heads, patches of 8 px, trained"
        in output
    )
    assert "resampled from 32 to 40 px" in output
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*") if path.is_file()} == before


def test_assumed_heads_come_with_the_setting_that_corrects_them(project, tmp_path, capsys):
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 1, "num_heads": 2, "num_classes": 0}
    encoder = timm.create_model("vit_tiny_patch16_224", **sizes)
    torch.save(encoder.state_dict(), tmp_path / "timm.pth")
    arm = {"weights": "../timm.pth", "format": "timm", "heads": None}
    edit(project, {"arms": {"mae": arm}})
    assert "1 heads are assumed; `heads:` beside `weights:` sets their number" in lines(capsys)
    edit(project, {"arms": {"mae": arm | {"heads": 2}}})
    assert "2 heads are assumed\n" in lines(capsys)


def rotated(project, count=20, *, last_only=False):
    """Square photographs that EXIF turns, all or only the last, with their masks."""
    for number in range(count):
        exif = Image.Exif()
        exif[0x0112] = 1 if last_only and number < count - 1 else 6
        name = f"{('cat', 'dog')[number % 2]}/{number:02d}"
        jpeg = encoded(photo(number), format="JPEG", exif=exif)
        mask = encoded(Image.new("L", (12, 12), 255), format="PNG")
        write_folder(project.parent, {f"photos/{name}.jpg": jpeg, f"masks/{name}.png": mask})
    edit(project, {"data": {"source": "../photos", "masks": {"source": "../masks"}}})


@pytest.mark.parametrize("last_only", [False, True])
def test_masks_that_fit_with_and_without_a_rotation_are_refused_as_prepare_does(project, capsys, last_only):
    rotated(project, last_only=last_only)
    params = load_params()
    with pytest.raises(StudyError, match=r"set data\.masks\.turned") as of_prepare:
        decode_images(project / "decoded", data=params.data, seed=params.seed, threads=1)
    with pytest.raises(StudyError, match="1 of its entries"):
        look()
    line = str(of_prepare.value).removeprefix("data.masks: ")
    assert f"data.masks: cannot be used: {line}\n" in capsys.readouterr().out


@pytest.mark.parametrize(("setting", "most"), [(True, 16), (None, 17)])
def test_only_rotated_images_are_decoded_for_their_masks(project, capsys, monkeypatch, setting, most):
    rotated(project, last_only=True)
    # A mask of another size fits neither way, so prepare skips this image.
    write_folder(project.parent, {"masks/dog/19.png": encoded(Image.new("L", (11, 12)), format="PNG")})
    edit(project, {"data": {"masks": {"source": "../masks", "turned": setting}}})
    sizes = []
    monkeypatch.setattr(check, "decode", lambda *content, **rest: sizes.append(1) or decode(*content, **rest))
    output = lines(capsys)
    assert "16 train images (at least 8 per class) and 4 test images" in output and "data.masks: " in output
    assert len(sizes) == most


def test_fewer_images_than_classes_are_refused_as_prepare_does(project, capsys):
    edit(project, {"data": {"max_test_images": 1}})
    with pytest.raises(StudyError, match="1 of its entries"):
        look()
    assert "data.max_test_images is 1, below the number of classes" in capsys.readouterr().out


def test_images_drawn_here_and_addresses_are_said_without_a_network(project, capsys):
    arm = {"weights": "https://example.org/a.pth", "heads": None}
    drawn = {"source": "shapes_textures", "shapes_textures": {"train_images": 50, "test_images": 20}}
    edit(project, {"data": drawn, "arms": {"mae": arm}})
    output = lines(capsys)
    assert "data.source: drawn by prepare: 50 train and 20 test images" in output
    assert "arms.mae.weights: https://example.org/a.pth: not downloaded yet" in output


def test_a_study_without_one_of_the_compared_methods_is_named(project, capsys):
    assert "no arm of" not in lines(capsys)
    text = (project / "params.yaml").read_text().replace("  mim: {objective: masked}\n", "")
    (project / "params.yaml").write_text(text.replace("  mim: MIM (SimMIM)\n", ""))
    assert "arms: no arm of MIM, so claims that compare CL and MIM are not tested" in lines(capsys)


def test_everything_that_cannot_be_used_is_said_before_it_ends(project, capsys):
    weights = originals.mae(originals.filled(Encoder()))
    del weights["model"]["blocks.1.attn.proj.bias"]
    originals.save(weights, Path("../mae.pth"))
    shutil.rmtree("../images/val/dog")
    with pytest.raises(StudyError, match="2 of its entries"):
        look()
    output = capsys.readouterr().out
    assert "data.source: cannot be used: " in output and "only in training: dog" in output
    assert "arms.mae.weights: cannot be used: " in output and "missing: blocks.1.attn.proj.bias" in output


def test_stimuli_without_a_class_that_is_asked_for_are_said(project, capsys):
    stimuli = {"source": "../images/train", "classes": {"cat": "cat", "cow": "dog"}}
    edit(project, {"robustness": {"stimuli": {"own": stimuli}}})
    with pytest.raises(StudyError, match="1 of its entries"):
        look()
    assert (
        "robustness.stimuli.own: cannot be used: ../images/train: no images of class cow"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html>", "a web page"),
    ],
)
def test_the_stage_names_what_is_no_weights_before_anything_runs(project, weights, words):
    Path("../mae.pth").write_bytes(weights)
    with pytest.raises(StudyError, match=words) as error:
        look()
    assert str(error.value).startswith("params.yaml: arms.mae.weights is '../mae.pth': ")


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("http://example.org/x.pth", "set its sha256 too"),
        ("hf-hub:x", "not a name on the Hub"),
        ("https://drive.google.com/file/d/1/view", "needs a browser"),
        ("nowhere.pth", "no such file"),
    ],
)
def test_addresses_that_cannot_be_stop_the_study_at_once(project, weights, words):
    edit(project, {"arms": {"mae": {"weights": weights}}})
    with pytest.raises(StudyError, match=words) as error:
        look()
    assert "\n" not in str(error.value) and "arms.mae.weights" in str(error.value)


def test_weights_that_are_not_finite_are_named(project, capsys):
    content = originals.mae(originals.filled(Encoder()))
    content["model"]["blocks.0.norm1.bias"] = torch.full((48,), float("nan"))
    originals.save(content, Path("../mae.pth"))
    with pytest.raises(StudyError):
        look()
    assert "not finite: blocks.0.norm1.bias" in capsys.readouterr().out


def test_patches_that_do_not_fit_the_images_are_named(project, capsys):
    edit(project, {"data": {"image_size": 16}})
    with pytest.raises(StudyError):
        look()
    output = capsys.readouterr().out
    assert "arms.mae.weights: cannot be used: data.image_size 16 does not give 3 × 3 or more" in output
