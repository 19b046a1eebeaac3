"""Published files against the original encoders written out in originals.py."""

import copy
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.layers import RelPosBias
from timm.models.beit import Beit
from timm.models.vision_transformer import VisionTransformer
from timm.optim import param_groups_layer_decay

from stages.analyze import analyze
from stages.check import check
from stages.data.arrays import normalize, open_split, unit_range
from stages.encoders.architecture import Architecture, build_encoder
from stages.encoders.declared import channel_statistics
from stages.encoders.imported import load_checkpoint, open_checkpoint
from stages.encoders.vit import (
    as_trained,
    embed,
    encode,
    encode_class_token,
    load_encoder,
    save_encoder,
    trace,
    use_fused_attention,
)
from stages.features import extract, frozen_features
from stages.heads.classifier import Classifier
from stages.objectives.imported import published
from stages.prepare import prepare
from stages.pretrain import pretrain
from stages.study.errors import StudyError
from stages.study.params import load_params
from stages.study.settings import Arm
from tests.data.stored import images_of, write
from tests.encoders import originals
from tests.encoders.originals import DEPTH, HEADS, PATCH, SIZE, WIDTH, Encoder, FineTunedSimmim, SharedEncoder
from tests.forked import succeed
from tests.project import ROOT, copy_project, edit

FILES = {
    "moco_v3": ("moco_v3", Encoder, originals.moco_v3),
    "moco_v3 linear probe": ("moco_v3", Encoder, originals.moco_v3_linear),
    "simmim": ("simmim", SharedEncoder, originals.simmim),
    "simmim fine-tuned": ("simmim", FineTunedSimmim, originals.simmim_finetuned),
    "mae": ("mae", Encoder, originals.mae),
    "mae encoder alone": ("mae", Encoder, originals.mae_encoder_alone),
    "dino": ("dino", Encoder, originals.dino),
    "dino distributed": ("dino", Encoder, originals.dino_distributed),
    "dino backbone alone": ("dino", Encoder, originals.alone),
    "timm": ("timm", Encoder, originals.timm_with_head),
}


@pytest.fixture
def images():
    return torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def written(directory, name):
    """A file as its authors distribute it, its format, and the encoder that it was made of."""
    format, make, content = FILES[name]
    original = originals.filled(make())
    return originals.save(content(original), directory / "published.pth"), format, original


def close(result, expected):
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", FILES)
def test_every_file_gives_the_tokens_attention_and_features_of_the_original(name, tmp_path, images):
    path, format, original = written(tmp_path, name)
    encoder = load_checkpoint(path, format=format, num_heads=HEADS)
    assert not encoder.training
    with torch.no_grad():
        tokens, maps, features = original(images)
        seen = trace(encoder, images)
        assert (len(seen.tokens), len(seen.attention), seen.num_prefix_tokens) == (DEPTH + 1, DEPTH, 1)
        for value, expected in zip(seen.tokens + seen.attention, tokens + maps, strict=True):
            close(value, expected)
        for fused in (True, False):
            use_fused_attention(encoder, fused)
            close(encode(encoder, embed(encoder, images)), features)
        close(encode_class_token(encoder, embed(encoder, images)), features[:, 0])
        pooled = frozen_features(encoder, images)["pooled"]
        norm = getattr(original, "fc_norm", torch.nn.Identity())
        close(pooled["mean"], norm(features[:, 1:].mean(dim=1)))


def test_of_timm_every_kind_of_vit_is_read(tmp_path, images):
    kinds = {
        "registers": {"reg_tokens": 4, "no_embed_class": True, "init_values": 0.5},
        "registers with positions": {"reg_tokens": 2},
        "no class token": {"class_token": False, "global_pool": "avg", "qkv_bias": False},
        "clip": {"pre_norm": True, "norm_layer": lambda width, **_: torch.nn.LayerNorm(width, eps=1e-5)},
        "normed queries": {"qk_norm": True},
        "pooled norm": {"global_pool": "avg"},
    }
    for kind, settings in kinds.items():
        original = originals.filled(
            VisionTransformer(
                img_size=SIZE, patch_size=PATCH, embed_dim=WIDTH, depth=2, num_heads=HEADS, mlp_ratio=2.4,
                num_classes=7, **settings,
            )
        )  # fmt: skip
        path = tmp_path / f"{kind.replace(' ', '_')}.safetensors"
        save_file(original.state_dict(), path)
        encoder, architecture, _ = open_checkpoint(path, format="timm", num_heads=HEADS)
        close(encode(encoder, embed(encoder, images)), original.forward_features(images))
        close(encode_class_token(encoder, embed(encoder, images)), original.forward_features(images)[:, 0])
        pooled = frozen_features(encoder, images)["pooled"]
        assert ("cls" in pooled) == architecture.class_token
        save_encoder(tmp_path / "out", encoder, vit=architecture, image_size=SIZE, about={})
        close(load_encoder(tmp_path / "out")(images), encoder(images))


def test_the_relative_bias_is_that_of_timms_beit(tmp_path, images):
    beit = originals.filled(
        Beit(
            img_size=SIZE, patch_size=PATCH, embed_dim=WIDTH, depth=2, num_heads=HEADS, num_classes=0,
            use_abs_pos_emb=False, use_shared_rel_pos_bias=True, init_values=0.1, global_pool="token",
        )
    )  # fmt: skip
    weights = {f"encoder.{name}": value for name, value in beit.state_dict().items() if "k_bias" not in name}
    torch.save({"model": weights}, tmp_path / "simmim.pth")
    encoder = load_checkpoint(tmp_path / "simmim.pth", format="simmim")
    close(encode(encoder, embed(encoder, images)), beit.forward_features(images))
    assert torch.equal(
        RelPosBias((4, 4), 1, prefix_tokens=1).relative_position_index.view(17, 17),
        originals.displacements(4),
    )


def test_heads_are_64_wide_except_where_a_project_says_otherwise(tmp_path):
    for width, heads in ((384, {"moco_v3": 12, "mae": 6, "dino": 6, "timm": 6}), (1280, {"mae": 16})):
        original = Encoder(width=width, depth=1, heads=2, patch=16, size=48)
        for format, expected in heads.items():
            content = FILES[format][2] if format != "timm" else originals.alone
            path = originals.save(content(original), tmp_path / "width.pth")
            assert load_checkpoint(path, format=format).blocks[0].attn.num_heads == expected
            assert load_checkpoint(path, format=format, num_heads=8).blocks[0].attn.num_heads == 8


def test_positions_are_resampled_to_another_size(tmp_path):
    larger = torch.randn(1, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    for name in ("mae", "simmim", "simmim fine-tuned"):
        path, format, original = written(tmp_path, name)
        encoder, architecture, _ = open_checkpoint(path, format=format, num_heads=HEADS, image_size=48)
        seen = trace(encoder, larger)
        assert seen.attention[0].shape == (1, HEADS, 37, 37)
        if name == "mae":
            close(encoder.pos_embed[:, 0], original.pos_embed[:, 0])
            assert encoder.pos_embed.shape[1] == 37  # their order: test_imported_decoder.py
        elif name == "simmim":
            table = encoder.blocks[1].attn.position.relative_position_bias_table
            trained = original.rel_pos_bias.relative_position_bias_table
            assert table.shape == (11 * 11 + 3, HEADS)
            close(table[-3:], trained[-3:])
            close(table[11 * 11 // 2], trained[7 * 7 // 2])  # no displacement
        save_encoder(tmp_path / "out", encoder, vit=architecture, image_size=48, about={})
        again = trace(load_encoder(tmp_path / "out"), larger)
        for value, expected in zip(again.tokens + again.attention, seen.tokens + seen.attention, strict=True):
            assert torch.equal(value, expected)
        with pytest.raises(StudyError, match="patches of 8 px do not divide images of 36 px"):
            load_checkpoint(path, format=format, num_heads=HEADS, image_size=36)


@pytest.mark.parametrize("name", ["moco_v3", "simmim", "mae", "dino", "timm"])
def test_saved_and_loaded_it_is_the_same(name, tmp_path, images):
    path, format, _ = written(tmp_path, name)
    encoder, architecture, _ = open_checkpoint(path, format=format, num_heads=HEADS)
    save_encoder(tmp_path / "out", encoder, vit=architecture, image_size=SIZE, about={})
    ours, theirs = trace(encoder, images), trace(load_encoder(tmp_path / "out"), images)
    for value, expected in zip(ours.tokens + ours.attention, theirs.tokens + theirs.attention, strict=True):
        assert torch.equal(value, expected)


def test_keys_that_do_not_fit_are_named(tmp_path):
    for name in ("moco_v3", "simmim", "simmim fine-tuned", "mae", "dino", "timm"):
        format, make, distributed = FILES[name]
        whole = distributed(originals.filled(make()))
        entry = {"moco_v3": "state_dict", "dino": "teacher"}.get(format, "model")
        weights = whole.get(entry, whole)
        start = next(key for key in weights if key.endswith("cls_token")).removesuffix("cls_token")
        some = ["patch_embed.proj.weight", "blocks.0.mlp.fc1.weight", "blocks.1.attn.proj.bias", "cls_token"]
        some += ["blocks.0.gamma_1", "blocks.2.attn.q_bias"] if format == "simmim" else ["pos_embed"]
        if name == "simmim":
            some += ["rel_pos_bias.relative_position_bias_table"]
        for missing in some if format != "timm" else some[:3]:
            broken = copy.copy(weights)
            del broken[start + missing]
            assert start + missing in refusal(
                tmp_path, {entry: broken} if format != "timm" else broken, format
            )
        for unlike, words in (
            (weights | {start + "blocks.1.extra": torch.ones(2)}, f"unknown: {start}blocks.1.extra"),
            (
                weights | {start + "blocks.1.norm1.bias": torch.ones(7)},
                f"of another shape: {start}blocks.1.norm1.bias is (7,), not (48,)",
            ),
        ):
            assert words in refusal(tmp_path, {entry: unlike} if format != "timm" else unlike, format)


def refusal(directory, content, format):
    """What is said of a file that does not fit, in one line."""
    path = originals.save(content, directory / "broken.pth")
    with pytest.raises(StudyError) as error:
        load_checkpoint(path, format=format, num_heads=HEADS)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    return str(error.value)


def test_another_projects_file_and_none_at_all_are_one_line(tmp_path):
    file = originals.moco_v3(Encoder())
    assert "set format: moco_v3" in refusal(tmp_path, file, "mae")
    assert "not a dino checkpoint" in refusal(tmp_path, {"student": {}}, "dino")
    assert "not a mae checkpoint" in refusal(tmp_path, [torch.ones(2)], "mae")
    for content in (b"", b"not weights at all", b"PK\x03\x04 nor this"):
        (tmp_path / "file.pth").write_bytes(content)
        (tmp_path / "file.safetensors").write_bytes(content)
        for name in ("file.pth", "file.safetensors"):
            with pytest.raises(StudyError, match=name) as error:
                load_checkpoint(tmp_path / name, format="timm")
            assert "\n" not in str(error.value)
    with pytest.raises(StudyError, match="no such file"):
        load_checkpoint(tmp_path / "nowhere.pth", format="timm")
    with pytest.raises(StudyError, match="choose from: moco_v3, simmim, mae, dino, timm, transformers"):
        load_checkpoint(tmp_path / "file.pth", format="beit")
    path = originals.save(originals.alone(Encoder()), tmp_path / "narrow.pth")
    with pytest.raises(StudyError, match="number of heads at width 48 is unknown"):
        load_checkpoint(path, format="timm")
    with pytest.raises(StudyError, match="width 48 is not a multiple of 5"):
        load_checkpoint(path, format="timm", num_heads=5)


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class Evaluate(Touch):
    def __reduce__(self):
        return eval, (f"open({str(self.path)!r}, 'w')",)


@pytest.mark.parametrize("kind", [Touch, Evaluate])
def test_a_file_that_wants_to_run_code_is_refused_and_does_not_run(kind, tmp_path):
    content = originals.mae(Encoder()) | {"args": kind(tmp_path / "ran")}
    assert "refused" in refusal(tmp_path, content, "mae")
    torch.save(content, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(kind(tmp_path / "ran")))
    for name in ("old.pth", "plain.pth"):
        with pytest.raises(StudyError, match=r"refused|weights-only") as error:
            load_checkpoint(tmp_path / name, format="mae", num_heads=HEADS)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_a_file_of_an_old_torch_is_read(tmp_path, images):
    original = originals.filled(Encoder())
    torch.save(originals.dino(original), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    encoder = load_checkpoint(tmp_path / "old.pth", format="dino", num_heads=HEADS)
    close(encode(encoder, embed(encoder, images)), original(images)[2])


def test_it_is_fine_tuned_like_every_arm(tmp_path, images):
    settings = load_params(ROOT / "params.yaml").finetune
    manifest = write(tmp_path / "data", train=images_of(4), test=images_of(2))
    for name in ("simmim", "mae"):
        path, format, _ = written(tmp_path, name)
        encoder, architecture, _ = open_checkpoint(path, format=format, num_heads=HEADS)
        save_encoder(tmp_path / "out", encoder, vit=architecture, image_size=SIZE, about={})
        encoder = load_encoder(tmp_path / "out", drop_path=0.1)
        task = Classifier(encoder, classes=[3], settings=settings, manifest=manifest, seed=0).train()
        groups = param_groups_layer_decay(task.encoder, layer_decay=0.5)
        scale = {id(parameter): group["lr_scale"] for group in groups for parameter in group["params"]}
        assert scale[id(encoder.head.weight)] == 1.0
        assert scale[id(encoder.blocks[0].attn.qkv.weight)] < scale[id(encoder.blocks[2].attn.qkv.weight)]
        optimizer = torch.optim.AdamW(groups, lr=1e-3)
        targets = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
        for precision in (torch.float32, torch.bfloat16):
            with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
                before = task(images, targets)["loss"]
            before.backward()
        if format == "simmim":
            tables = [block.attn.position.relative_position_bias_table for block in encoder.blocks]
            assert all(table.grad.abs().max() > 0 for table in tables)
            assert scale[id(tables[0])] < scale[id(tables[2])]
        optimizer.step()
        assert torch.isfinite(task(images, targets)["loss"])


def test_an_encoder_sees_the_statistics_it_was_trained_with(tmp_path):
    manifest = write(tmp_path / "data", train=images_of(4), test=images_of(2))
    about = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    for name, content in (("own", {}), ("imported", about)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "encoder.json").write_text(json.dumps(content))
    assert as_trained(tmp_path / "own", manifest) == manifest
    assert as_trained(tmp_path / "imported", manifest) == manifest.model_copy(update=about)
    assert channel_statistics(tmp_path / "model.safetensors")[0] == [0.485, 0.456, 0.406]
    (tmp_path / "config.json").write_text(
        json.dumps({"pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}})
    )
    assert channel_statistics(tmp_path / "model.safetensors") == ([0.5] * 3, [0.5] * 3)


def test_the_architecture_of_our_own_arms_is_the_default():
    params = load_params(ROOT / "params.yaml")
    ours = build_encoder(vit=params.vit, image_size=32, seed=0).state_dict()
    theirs = build_encoder(vit=Architecture(**params.vit.model_dump()), image_size=32, seed=0).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours | theirs)


def test_an_imported_arm_goes_through_the_study(tmp_path, monkeypatch):
    project = copy_project(tmp_path / "project", changes={"data": {"image_size": 40}})
    path, _, _ = written(tmp_path, "simmim")
    shutil.copy(path, project / "published.pth")
    arm = {"objective": "imported", "weights": "published.pth", "format": "simmim"}
    edit(project, {"arms": {"theirs": arm | {"heads": HEADS}}})
    monkeypatch.chdir(project)
    assert check() == ""
    prepare()
    assert "1 encoder" in succeed(project, "pretrain", "--arm", "theirs").stdout
    about = json.loads(Path("models/theirs/0/encoder.json").read_text())
    assert about["vit"]["width"] == WIDTH and about["vit"]["patch_size"] == PATCH
    assert len(about["weights_sha256"]) == 64 and "published.pth" not in json.dumps(about)
    assert about["mean"] == [0.485, 0.456, 0.406]
    larger = torch.randn(1, 3, 40, 40)
    encoder = load_encoder("models/theirs/0")
    expected = trace(load_checkpoint(path, format="simmim", image_size=40), larger)
    for ours, theirs in zip(trace(encoder, larger)[:2], expected[:2], strict=True):
        assert all(map(torch.equal, ours, theirs))
    extract("theirs", out=Path("features/theirs"))
    test_images = torch.from_numpy(open_split("test").images[:2].copy()).permute(0, 3, 1, 2)
    normalized = normalize(unit_range(test_images), mean=about["mean"], std=about["std"])
    close(
        load_file("features/theirs/0/test.safetensors")["cls"][:2],
        frozen_features(encoder, normalized)["pooled"]["cls"],
    )
    analyze(arm="theirs", analysis="attention")
    table = Path("results/analysis/attention/theirs.csv").read_text()
    assert len(table.splitlines()) > DEPTH * HEADS
    edit(project, {"arms": {"theirs": {"weights": "gone.pth"}}})
    for command in (check, lambda: pretrain("theirs")):
        with pytest.raises(StudyError, match=r"gone\.pth'?: no such file"):
            command()


def test_images_of_too_few_patches_are_one_line(tmp_path):
    path, format, _ = written(tmp_path, "mae")
    arm = Arm(objective="imported", weights=str(path), format=format, heads=HEADS)
    with pytest.raises(StudyError, match=r"2 × 2 patches.* set data.image_size to 24 or more"):
        published(arm, image_size=16)
