"""What the probes are given."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stages.data.arrays import normalize, open_split, read_manifest, unit_range
from stages.data.writer import SplitWriter, write_manifest
from stages.encoders.architecture import Architecture, build_encoder
from stages.encoders.settings import Vit
from stages.encoders.vit import save_encoder, trace
from stages.features import extract, frozen_features, subset
from stages.study.paths import features_dir, features_name, model_dir
from tests.project import copy_project

VIT = Vit(width=16, depth=2, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_features_are_those_of_timm():
    encoder = build_encoder(vit=VIT, image_size=16, seed=0).eval()
    images = draw(3, 3, 16, 16)
    features = frozen_features(encoder, images)
    tokens = encoder.forward_features(images)
    torch.testing.assert_close(features["pooled"], {"cls": tokens[:, 0], "mean": tokens[:, 1:].mean(dim=1)})
    torch.testing.assert_close(features["tokens"], {"patches": tokens[:, 1:].half()})


@pytest.mark.parametrize(
    "form",
    [{}, {"class_token": False, "pooled_norm": True}, {"register_tokens": 2}],
    ids=["plain", "no class token", "registers"],
)
def test_blocks_are_the_mean_patch_tokens_of_the_trace(form):
    vit = Architecture.model_validate(VIT.model_dump() | {"position": "learned"} | form)
    encoder = build_encoder(vit=vit, image_size=16, seed=0).eval()
    images = draw(3, 3, 16, 16)
    features = frozen_features(encoder, images)
    traced = trace(encoder, images)
    expected = {
        str(number): tokens[:, traced.num_prefix_tokens :].mean(dim=1)
        for number, tokens in enumerate(traced.tokens)
    }
    torch.testing.assert_close(features["blocks"], expected)
    assert ("cls" in features["pooled"]) == (form.get("class_token", True))
    assert features["tokens"]["patches"].shape == (3, 16, 16)


def test_files_hold_the_images_that_they_name(tmp_path, monkeypatch):
    project = copy_project(tmp_path / "study", changes={"features": {"block_images": 30, "token_images": 20}})
    monkeypatch.chdir(project)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    rng = np.random.default_rng(0)
    counts = {"train": 50, "test": 25}
    for split, rows in counts.items():
        writer = SplitWriter(project / "data/prepared" / split, rows=rows, image_size=16, labels=["kind"])
        images = rng.integers(256, size=(rows, 16, 16, 3), dtype=np.uint8)
        writer.put(np.arange(rows), images=images, kind=np.zeros(rows, dtype=np.int64))
        writer.close()
    write_manifest(project / "data/prepared", source="here", image_size=16, labels={"kind": ["one"]})
    for arm, seed in (("cl", 0), ("mim", 1)):
        encoder = build_encoder(vit=VIT, image_size=16, seed=seed).eval()
        save_encoder(model_dir(arm, 0), encoder, vit=VIT, image_size=16, about={})
        extract(arm, out=features_dir(arm, 0).parent)

    encoder = build_encoder(vit=VIT, image_size=16, seed=0).eval()
    for split, rows in counts.items():
        files = {
            kind: load_file(features_dir("cl", 0) / features_name(kind, split))
            for kind in ("pooled", "blocks", "tokens")
        }
        numbers = {kind: features.pop("image") for kind, features in files.items()}
        assert {kind: len(values) for kind, values in numbers.items()} == {
            "pooled": rows, "blocks": min(rows, 30), "tokens": 20,
        }  # fmt: skip
        assert set(files["pooled"]) == {"cls", "mean"} and set(files["blocks"]) == {"0", "1", "2"}
        images = torch.from_numpy(open_split(split).images[:].transpose(0, 3, 1, 2).copy())
        manifest = read_manifest()
        expected = frozen_features(
            encoder, normalize(unit_range(images), mean=manifest.mean, std=manifest.std)
        )
        for kind, features in files.items():
            for key, values in features.items():
                torch.testing.assert_close(values, expected[kind][key][numbers[kind]], rtol=1e-3, atol=1e-3)
        others = load_file(features_dir("mim", 0) / features_name("tokens", split))
        assert torch.equal(others["image"], numbers["tokens"])
        assert not torch.equal(others["patches"], files["tokens"]["patches"])


def test_a_subset_is_random_in_order_and_all_where_there_are_fewer():
    def drawn(total, at_most):
        return subset(total, at_most=at_most, generator=torch.Generator().manual_seed(0)).tolist()

    some = drawn(1000, 100)
    assert some == sorted(set(some)) and len(some) == 100
    assert 400 < np.mean(some) < 600 and some != list(range(0, 1000, 10))
    assert drawn(1000, 50) != some and set(drawn(1000, 50)) < set(some)
    assert drawn(7, 7) == drawn(7, 100) == list(range(7))
