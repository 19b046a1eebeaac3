"""Checkpoints that want to run code, and metadata that wants to be more than metadata."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.data.arrays import Manifest, open_split
from stages.encoders.checkpoint_file import read_content
from stages.encoders.imported import load_checkpoint
from stages.encoders.sources import refuse_weights
from stages.encoders.vit import load_encoder
from stages.study.errors import StudyError, printable
from stages.study.paths import read_json
from tests.encoders import originals
from tests.encoders.originals import HEADS, Encoder


class Owned:
    """Creates a file when it is unpickled, by one of many ways to call code."""

    def __init__(self, way, path):
        self.way, self.path = way, path

    def __reduce__(self):
        import builtins
        import os
        import runpy
        import subprocess

        return {
            "touch": (Path.touch, (self.path,)),
            "system": (os.system, (f"touch {self.path}",)),
            "popen": (subprocess.Popen, (["touch", f"{self.path}"],)),
            "exec": (builtins.exec, (f"open({str(self.path)!r}, 'w')",)),
            "load": (torch.load, (f"{self.path}",)),
            "run": (runpy.run_path, (f"{self.path}",)),
            "getattr": (getattr, (self.path, "touch")),
        }[self.way]


WAYS = ("touch", "system", "popen", "exec", "load", "run", "getattr")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt", ".tar", ".safetensors", ".index.json"])
def test_no_pickle_runs_whatever_it_is_called(tmp_path, suffix):
    for way in WAYS:
        payload = Owned(way, tmp_path / "ran")
        for legacy in (False, True):
            path = tmp_path / f"model{suffix}"
            content = {"model": originals.alone(Encoder()), "args": payload}
            torch.save(content, path, _use_new_zipfile_serialization=not legacy)
            with pytest.raises(StudyError) as error:
                read_content(path)
            assert "\n" not in str(error.value)
        path.write_bytes(pickle.dumps(payload))
        with pytest.raises(StudyError):
            read_content(path)
    assert not (tmp_path / "ran").exists()


def test_no_pickle_runs_from_a_folder_of_weights(tmp_path):
    torch.save(Owned("touch", tmp_path / "ran"), tmp_path / "pytorch_model.bin")
    with pytest.raises(StudyError):
        load_checkpoint(tmp_path, format="timm", num_heads=HEADS)
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_of_our_own_that_was_replaced_does_not_run(tmp_path):
    torch.save(Owned("touch", tmp_path / "ran"), tmp_path / "encoder.safetensors")
    (tmp_path / "encoder.json").write_text("{}")
    with pytest.raises(Exception):  # noqa: B017  # of any kind
        load_encoder(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_arrays_of_objects_do_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data/prepared/train"
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", np.array([Owned("touch", tmp_path / "ran")], dtype=object))
    np.save(folder / "class.npy", np.array([Owned("touch", tmp_path / "ran")], dtype=object))
    manifest = Manifest(
        source="x", image_size=8, labels={"class": ["a", "b"]}, mean=[0.5] * 3, std=[0.1] * 3, digest="0",
        splits={}, unreadable=[], converted={},
    )  # fmt: skip
    (tmp_path / "data/prepared/manifest.json").write_text(json.dumps(manifest.model_dump()))
    with pytest.raises((StudyError, ValueError)):
        open_split("train")
    assert not (tmp_path / "ran").exists()


CONFIGS = {
    "a path": {"architecture": "../../etc/passwd"},
    "code": {"architecture": "vit_tiny_patch16_224", "model_args": {"block_fn": "os.system"}},
    "a hub": {"architecture": "hf-hub:x/y"},
    "a line": {"architecture": "a\nb\u202e"},
    "huge": {"architecture": "vit_tiny_patch16_224", "model_args": {"embed_dim": 10**30, "depth": 3}},
    "negative": {"architecture": "vit_tiny_patch16_224", "model_args": {"depth": -1}},
    "heads": {"model_type": "vit", "num_attention_heads": 10**30},
    "an act": {"model_type": "vit", "hidden_act": "<script>\n"},
    "a list": [1, 2],
    "a mean": {"architecture": "vit_tiny_patch16_224", "mean": ["<b>", {}, None]},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_hostile_configuration_beside_weights_is_one_line(tmp_path, name):
    path = originals.save(originals.alone(Encoder()), tmp_path / "w.pth")
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS[name]))
    with pytest.raises(StudyError) as error:
        load_checkpoint(path, format="timm", num_heads=None)
    assert printable(str(error.value)).isprintable() and len(str(error.value)) < 600


def test_json_without_end_is_one_line(tmp_path):
    deep = "[" * 100_000
    (tmp_path / "config.json").write_text(deep)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(tmp_path / "config.json")
    path = originals.save(originals.alone(Encoder()), tmp_path / "w.pth")
    with pytest.raises(StudyError, match="cannot be read"):
        load_checkpoint(path, format="timm", num_heads=HEADS)
    (tmp_path / "w.index.json").write_text(deep)
    with pytest.raises(StudyError, match="its index is broken"):
        refuse_weights("arms.a.weights", f"{tmp_path}/w.index.json", sha256=None)


@pytest.mark.parametrize(
    "file", ["../w.pth", "/etc/passwd", "..\\w.pth", "a/b.pth", "x.index.json", "", "a\0b"]
)
def test_an_index_leads_nowhere_else(tmp_path, file):
    (tmp_path / "w.index.json").write_text(json.dumps({"weight_map": {"a": file}}))
    with pytest.raises(StudyError, match=r"arms\.a\.weights"):
        refuse_weights("arms.a.weights", f"{tmp_path}/w.index.json", sha256=None)


def test_names_of_tensors_change_no_line(tmp_path):
    weights = originals.alone(Encoder()) | {"blocks.0.\n\x1b[31mcheck: valid\u202e": torch.ones(1)}
    path = originals.save(weights, tmp_path / "w.pth")
    with pytest.raises(StudyError) as error:
        load_checkpoint(path, format="timm", num_heads=HEADS)
    assert printable(str(error.value)).isprintable()
