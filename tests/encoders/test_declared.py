"""config.json beside a file: what no tensor shows, for every ViT that timm knows."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from stages.encoders.declared import channel_statistics
from stages.encoders.imported import open_checkpoint
from stages.encoders.vit import embed, encode
from stages.study.errors import StudyError
from tests.encoders import originals
from tests.encoders.originals import HEADS, WIDTH, Encoder

SMALL = {"embed_dim": 48, "depth": 1, "num_heads": 4}
NAMES = timm.list_models(module="vision_transformer")


def distributed(folder, name, **arguments):
    """A small model of timm with its file and config.json as timm distributes them, and the model."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, **arguments).eval()
    originals.filled(model)
    config = {"architecture": name, "num_classes": 0, "pretrained_cfg": {}, "model_args": arguments}
    save_file(model.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return model


def kinds():
    """One name of timm for each kind of ViT, with arguments that make it small."""
    seen = set()
    for name in NAMES:
        try:
            with torch.device("meta"):
                model = timm.create_model(name, num_classes=0, **SMALL)
                patch = model.patch_embed.patch_size[0]
        except (AttributeError, TypeError, AssertionError):  # it takes no size or no depth
            continue
        kind = (repr(model), getattr(model, "no_embed_class", None))
        if kind not in seen:
            seen.add(kind)
            yield name, SMALL | {"img_size": 3 * patch}


def test_every_vit_of_timm_computes_as_timms_or_is_refused_by_name(tmp_path):
    equal, refused = [], []
    for name, arguments in kinds():
        model = distributed(tmp_path, name, **arguments)
        try:
            encoder = open_checkpoint(tmp_path / "model.safetensors", format="timm").encoder
        except StudyError as error:
            assert "\n" not in str(error)
            refused.append(name)
            continue
        images = torch.randn(2, 3, arguments["img_size"], arguments["img_size"])
        with torch.no_grad():
            tokens, expected = encode(encoder, embed(encoder, images)), model.forward_features(images)
        torch.testing.assert_close(tokens, expected, atol=1e-5, rtol=1e-5, msg=name)
        equal.append(name)
    for words in ("quickgelu", "dinov2", "siglip"):
        assert any(words in name for name in equal), words
    assert "vit_base_patch16_rpn_224" in refused
    assert len(equal) >= 15 and len(refused) >= 5


def refusal(path, **settings):
    """What is said of a file, in one line."""
    with pytest.raises(StudyError) as error:
        open_checkpoint(path, format="timm", **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_without_a_config_the_notes_say_what_is_assumed(tmp_path):
    path = originals.save(originals.alone(originals.filled(Encoder())), tmp_path / "x.pth")
    notes = open_checkpoint(path, format="timm", num_heads=HEADS).notes
    assert notes == (
        "no config.json beside it names the architecture: GELU, eps 1e-06 and 4 heads are assumed",
    )
    distributed(tmp_path, "vit_tiny_patch16_224", **SMALL, img_size=48)
    assert open_checkpoint(tmp_path / "model.safetensors", format="timm").notes == ()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"architecture": "resnet18"}, "architecture 'resnet18': a ResNet, but only plain ViTs"),
        ({"architecture": "vit_pe_core_tiny_patch16_384"}, "'vit_pe_core_tiny_patch16_384': a Eva"),
        ({"architecture": "deit_tiny_distilled_patch16_224"}, "a VisionTransformerDistilled"),
        ({"architecture": "vit_tiny_r_s16_p8_224"}, "in this study's ViT"),
        ({"architecture": "vit_no_such"}, "has no architecture 'vit_no_such'"),
        ({"architecture": "hf-hub:evil/x"}, "has no architecture"),
        ({"architecture": "local-dir:/tmp/x"}, "has no architecture"),
        ({"architecture": "vit_base_patch16_siglip_224"}, "in this study's ViT"),
        (
            {
                "architecture": "vit_tiny_patch16_224",
                "pretrained_cfg": {},
                "model_args": {"checkpoint_path": "x"},
            },
            "model_args ['checkpoint_path'] are not supported",
        ),
        (
            {"architecture": "vit_tiny_patch16_224", "pretrained_cfg": {}, "model_args": {"depth": -1}},
            "cannot",
        ),
        (
            {"architecture": "vit_tiny_patch16_224", "pretrained_cfg": {}, "model_args": 3},
            "not in timm's format",
        ),
        ({"model_type": "vit", "hidden_act": "relu"}, "hidden_act 'relu' is not supported"),
        ({"model_type": "vit", "num_attention_heads": "x"}, "is invalid"),
        ([], "holds no settings"),
    ],
)
def test_a_config_that_cannot_be_followed_is_one_line(tmp_path, config, words):
    distributed(tmp_path, "vit_tiny_patch16_224", **SMALL, img_size=48)
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert words in refusal(tmp_path / "model.safetensors")


def test_a_broken_config_and_other_heads_are_one_line(tmp_path):
    distributed(tmp_path, "vit_tiny_patch16_224", **SMALL, img_size=48)
    assert "has 4 heads, not 2" in refusal(tmp_path / "model.safetensors", num_heads=2)
    (tmp_path / "config.json").write_text("{")
    assert "cannot be read" in refusal(tmp_path / "model.safetensors")


def test_channel_statistics_are_read_flat_nested_and_of_transformers(tmp_path):
    config, path = tmp_path / "config.json", tmp_path / "model.safetensors"
    for content in ({"architecture": "x", "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 1]},
                    {"pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 1]}}):  # fmt: skip
        config.write_text(json.dumps(content))
        assert channel_statistics(path) == ([0.1, 0.2, 0.3], [0.5, 0.5, 1.0])
    config.write_text(json.dumps({"model_type": "vit"}))
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3})
    )
    assert channel_statistics(path) == ([0.5] * 3, [0.25] * 3)


@pytest.mark.parametrize(
    "statistics",
    [{"mean": [127.5] * 3}, {"std": [0, 0, 0]}, {"mean": "x"}, {"std": [1]}, {"std": [float("nan")] * 3}],
)
def test_channel_statistics_that_are_none_are_refused(tmp_path, statistics):
    (tmp_path / "config.json").write_text(json.dumps(statistics))
    with pytest.raises(StudyError, match=r"config.json: (mean|std) .* not three numbers in"):
        channel_statistics(tmp_path / "model.safetensors")


def test_files_of_transformers_have_the_tokens_of_the_original(tmp_path):
    original = originals.filled(Encoder())
    images = torch.randn(2, 3, 32, 32)
    for name, kind in (("vit.", "vit"), ("", "vit"), ("", "dinov2")):
        save_file(originals.transformers(original, prefix=name, kind=kind), tmp_path / "model.safetensors")
        config = {"model_type": kind, "num_attention_heads": HEADS, "layer_norm_eps": 1e-6}
        (tmp_path / "config.json").write_text(json.dumps(config))
        encoder, _, notes = open_checkpoint(tmp_path, format="transformers")
        with torch.no_grad():
            tokens = encode(encoder, embed(encoder, images))
        torch.testing.assert_close(tokens, original(images)[2], atol=1e-5, rtol=1e-5)
        assert notes == () and encoder.embed_dim == WIDTH
