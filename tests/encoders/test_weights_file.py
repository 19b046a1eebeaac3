"""Files that are often taken for weights, and weights in several files."""

import io
import json
import shutil
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from stages.encoders.checkpoint_file import read_content
from stages.encoders.imported import load_checkpoint
from stages.study.errors import StudyError
from tests.encoders import originals
from tests.encoders.originals import HEADS, WIDTH, Encoder


def of_zip(**files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def of_numpy():
    content = io.BytesIO()
    np.savez(content, **{"embedding/kernel": np.ones(3)})
    return content.getvalue()


def of_jit():
    content = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), content)
    return content.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 343\n"
OTHERS = {
    "pointer": (POINTER, "a Git LFS pointer, not the weights; fetch them with `git lfs pull`"),
    "page": (b"\n<!DOCTYPE html><html><body>Quota exceeded", "a web page, not weights"),
    "error": (b"<?xml version='1.0'?><Error><Code>AccessDenied", "a web page"),
    "jit": (of_jit(), "a torch.jit program, which could run code"),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(100), "TensorFlow or Keras"),
    "jax": (of_numpy(), "NumPy arrays"),
    "zip": (of_zip(**{"model.pth": b"x"}), "a zip archive; unpack it"),
    "gzip": (b"\x1f\x8b\x08" + bytes(50), "a compressed file; unpack it"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_weights_is_named_for_what_it_is(tmp_path, name, suffix):
    content, words = OTHERS[name]
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(StudyError) as error:
        read_content(path)
    assert words in str(error.value) and "\n" not in str(error.value)


def sharded(folder, original):
    tensors = original.state_dict()
    names = list(tensors)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    weight_map = {name: file for file, part in shards.items() for name in part}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index, weight_map


def test_shards_are_put_together_from_an_index_and_from_a_folder(tmp_path):
    original = originals.filled(Encoder())
    index, _ = sharded(tmp_path, original)
    for path in (index, tmp_path):
        encoder = load_checkpoint(path, format="timm", num_heads=HEADS)
        assert torch.equal(encoder.blocks[2].mlp.fc2.weight, original.blocks[2].mlp.fc2.weight)
        assert encoder.embed_dim == WIDTH


def test_a_broken_index_is_one_line(tmp_path):
    index, weight_map = sharded(tmp_path, originals.filled(Encoder()))
    first = next(iter(weight_map))
    for changed, words in (
        ("{", "not an index"),
        (json.dumps({"weight_map": 3}), "not an index"),
        (json.dumps({"weight_map": weight_map | {first: "../secret.safetensors"}}), "which is not beside it"),
        (json.dumps({"weight_map": weight_map | {first: "/etc/passwd"}}), "which is not beside it"),
        (
            json.dumps({"weight_map": weight_map | {first: "gone.safetensors"}}),
            "gone.safetensors: no such file",
        ),
        (
            json.dumps({"weight_map": weight_map | {"blocks.9.x": weight_map[first]}}),
            "lack 1 of its tensors, such as blocks.9.x",
        ),
    ):
        index.write_text(changed)
        with pytest.raises(StudyError) as error:
            load_checkpoint(index, format="timm", num_heads=HEADS)
        assert words in str(error.value) and "\n" not in str(error.value)


def test_a_folder_without_weights_is_one_line(tmp_path):
    with pytest.raises(StudyError, match=r"a folder without model\.safetensors"):
        load_checkpoint(tmp_path, format="timm")
    shutil.rmtree(tmp_path)
    with pytest.raises(StudyError, match="no such file"):
        load_checkpoint(tmp_path, format="timm")
