"""Checkpoints that want to run code, and metadata that wants to be more than metadata."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from stages.data.arrays import Manifest, open_split
from stages.encoders.checkpoint_file import read_content
from stages.encoders.imported import load_checkpoint
from stages.encoders.imported_decoder import open_decoder
from stages.encoders.sources import refuse_weights
from stages.encoders.vit import load_encoder
from stages.study.errors import StudyError
from stages.study.paths import read_json
from tests.encoders import originals
from tests.encoders.originals import HEADS, WIDTH, Encoder, SharedEncoder
from tests.hostile.one_line import one_line


class Owned:
    """Creates a file when it is unpickled, by one of many ways to call code."""

    def __init__(self, way, path):
        self.way, self.path = way, path

    def __reduce__(self):
        import builtins
        import os
        import shutil
        import subprocess

        return {
            "touch": (Path.touch, (self.path,)),
            "system": (os.system, (f"touch {self.path}",)),
            "call": (subprocess.call, (["touch", f"{self.path}"],)),
            "exec": (builtins.exec, (f"open({str(self.path)!r}, 'w')",)),
            "copy": (shutil.copy, (__file__, f"{self.path}")),
        }[self.way]


WAYS = ("touch", "system", "call", "exec", "copy")


@pytest.mark.parametrize("way", WAYS)
def test_each_way_would_run(tmp_path, way):
    pickle.loads(pickle.dumps(Owned(way, tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


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
        source="x", image_size=8, labels={"class": ["a", "b"]}, mean=[0.5] * 3, std=[0.1] * 3, arrays={},
        splits={"train": {"images": 1, "per_class": {"class": [1, 0]}}}, unreadable=[], converted={},
    )  # fmt: skip
    (tmp_path / "data/prepared/manifest.json").write_text(json.dumps(manifest.model_dump()))
    with pytest.raises(StudyError, match="incomplete"):
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
        load_checkpoint(path, format="timm", num_heads=3 if "vit_tiny" in str(CONFIGS[name]) else HEADS)
    assert "config.json" in str(error.value) and len(str(error.value)) < 600
    assert one_line(error.value)


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
    assert one_line(error.value)


HOLLOW = {
    "a stride of 0": torch.ones(1).expand(10**5, 10**5),
    "overlaps": torch.ones(10**4).as_strided((10**4, 10**4), (0, 1)),
    "no numbers": torch.empty(10**12, 0),
    "no storage": torch.empty(2, 2, device="meta"),
    "a sparse tensor": torch.eye(3).to_sparse(),
    "a quantised tensor": torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", HOLLOW)
def test_numbers_that_the_file_does_not_hold_fill_no_memory(tmp_path, name):
    for legacy in (False, True):
        weights = originals.alone(Encoder()) | {"pos_embed": HOLLOW[name]}
        content = {"model": weights, "optimizer": [torch.ones(2).expand(3, 2)]}  # as small as this, it may be
        torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
        with pytest.raises(StudyError, match=r"pos_embed of shape .*: the file holds only a part") as error:
            read_content(tmp_path / "w.pth")
        assert "\n" not in str(error.value)


def test_dimensions_without_numbers_fill_no_memory(tmp_path):
    save_file({"patch_embed.proj.weight": torch.empty(10**12, 0, 16, 16)}, tmp_path / "w.safetensors")
    with pytest.raises(StudyError, match="holds only a part of its numbers"):
        load_checkpoint(tmp_path / "w.safetensors", format="timm", num_heads=HEADS)


LARGE = {
    "deep": {"blocks.999.norm1.weight": torch.ones(WIDTH)},
    "deeper": {f"blocks.{'9' * 5000}.norm1.weight": torch.ones(WIDTH)},
    "wide": {"patch_embed.proj.weight": torch.ones(16_384, 3, 1, 1)},
    "wider": {"patch_embed.proj.weight": torch.ones(70_000, 3, 1, 1)},
    "narrow": {"patch_embed.proj.weight": torch.ones(4, 3, 8, 8)},
}


@pytest.mark.parametrize("name", LARGE)
def test_an_encoder_larger_than_its_file_is_not_built(tmp_path, name):
    path = originals.save(originals.alone(Encoder()) | LARGE[name], tmp_path / "w.pth")
    with pytest.raises(StudyError) as error:
        load_checkpoint(path, format="timm", num_heads=1)
    assert "\n" not in str(error.value) and len(str(error.value)) < 6000


def test_a_table_of_a_huge_image_is_not_built(tmp_path):
    weights = simmim_weights(rows=1999**2 + 3)
    path = originals.save({"model": weights}, tmp_path / "w.pth")
    with pytest.raises(StudyError, match="of at most 64 × 64 patches"):
        load_checkpoint(path, format="simmim")


def simmim_weights(*, rows):
    weights = originals.prefixed(SharedEncoder(), "encoder.")
    name = next(name for name in weights if name.endswith("relative_position_bias_table"))
    return weights | {name: torch.zeros(rows, HEADS, dtype=torch.float16)}


def test_a_decoder_larger_than_its_file_is_not_built(tmp_path):
    weights = originals.mae(Encoder())["model"]
    weights |= {"decoder_embed.weight": torch.ones(32_768, 1), "decoder_pos_embed": torch.ones(1, 2, 32_768)}
    path = originals.save({"model": weights}, tmp_path / "w.pth")
    with pytest.raises(StudyError, match="parameters, but it holds only"):
        open_decoder(path)
