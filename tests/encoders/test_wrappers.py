"""Checkpoints in whatever wraps them: which encoder is taken, and what is said where there is none."""

import pytest
import torch

from stages.encoders.imported import open_checkpoint
from stages.encoders.vit import embed, encode
from stages.study.errors import StudyError
from tests.encoders import originals
from tests.encoders.originals import DEPTH, HEADS, PATCH, SIZE, WIDTH, Encoder, head, prefixed


@pytest.fixture(scope="module")
def original():
    return originals.filled(Encoder())


@pytest.fixture(scope="module")
def other():
    return originals.filled(Encoder(), seed=1)


def read(directory, content, format):
    return open_checkpoint(
        originals.save(content, directory / "file.pth"),
        format=format,
        num_heads=HEADS if format != "x" else None,
    )


def same(encoder, original):
    images = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens = encode(encoder, embed(encoder, images))
    torch.testing.assert_close(tokens, original(images)[2], atol=1e-5, rtol=1e-5)


WRAPPERS = {
    "lightning": ("timm", lambda e, o: {"state_dict": prefixed(e, "backbone.") | head("projector.")}),
    "lightly": ("mae", lambda e, o: {"state_dict": prefixed(e, "backbone.vit.") | head("decoder.mlp.")}),
    "lightly teacher": (
        "dino",
        lambda e, o: {"state_dict": prefixed(o, "student_backbone.") | prefixed(e, "teacher_backbone.")},
    ),
    "solo-learn": (
        "moco_v3",
        lambda e, o: {"state_dict": prefixed(o, "momentum_backbone.") | prefixed(e, "backbone.")},
    ),
    "compiled": ("timm", lambda e, o: prefixed(e, "_orig_mod.")),
    "compiled blocks": (
        "timm",
        lambda e, o: {
            name.replace("blocks.1.", "blocks.1._orig_mod."): value for name, value in prefixed(e, "").items()
        },
    ),
    "wrapped twice": ("timm", lambda e, o: {"model": prefixed(e, "module.module.")}),
    "compiled and distributed": ("timm", lambda e, o: {"state_dict": prefixed(e, "_orig_mod.module.")}),
    "ema": ("timm", lambda e, o: {"state_dict": prefixed(o, ""), "state_dict_ema": prefixed(e, "")}),
    "deit": ("timm", lambda e, o: {"model": prefixed(e, "") | {"head.weight": torch.ones(10, WIDTH)}}),
    "deit ema": ("timm", lambda e, o: {"model": prefixed(o, ""), "model_ema": prefixed(e, "")}),
    "dinov2": ("timm", lambda e, o: prefixed(e, "") | {"mask_token": torch.zeros(1, WIDTH)}),
    "dinov2 in chunks": (
        "timm",
        lambda e, o: {
            "teacher": {
                f"backbone.{name.replace('blocks.', 'blocks.0.')}": value
                for name, value in e.state_dict().items()
            }
        },
    ),
    "ibot": (
        "dino",
        lambda e, o: {
            "student": prefixed(o, "module.backbone."),
            "teacher": prefixed(e, "backbone.") | {"backbone.masked_embed": torch.ones(1, WIDTH)},
        },
    ),
    "msn": (
        "timm",
        lambda e, o: {
            "encoder": prefixed(o, "module."),
            "target_encoder": prefixed(e, "module.") | head("module.fc.fc"),
            "prototypes": torch.ones(4, 4),
        },
    ),
    "moco v3 without module": (
        "moco_v3",
        lambda e, o: {"state_dict": prefixed(e, "base_encoder.") | prefixed(o, "momentum_encoder.")},
    ),
    "fsdp": ("timm", lambda e, o: {"model": prefixed(e, "_fsdp_wrapped_module.")}),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_the_encoder_that_is_evaluated_is_found_in_every_wrapper(name, tmp_path, original, other):
    format, content = WRAPPERS[name]
    encoder, architecture, notes = read(tmp_path, content(original, other), format)
    assert (architecture.depth, architecture.width) == (DEPTH, WIDTH)
    same(encoder, original)
    several = any(word in name for word in ("ema", "teacher", "solo", "ibot", "msn", "moco"))
    assert any(note.startswith("takes ") and ", not '" in note for note in notes) == several


def test_i_jepa_has_no_class_token_and_its_target_is_taken(tmp_path, original, other):
    def bare(encoder):
        names = prefixed(encoder, "module.")
        del names["module.cls_token"]
        return names | {"module.pos_embed": names["module.pos_embed"][:, 1:]}

    content = {
        "encoder": bare(other),
        "predictor": {},
        "target_encoder": bare(original),
        "opt": {},
        "epoch": 300,
    }
    encoder, architecture, notes = read(tmp_path, content, "timm")
    assert not architecture.class_token and "takes target_encoder module, not 'encoder module'" in notes[0]
    assert torch.equal(encoder.blocks[0].attn.qkv.weight, original.blocks[0].attn.qkv.weight)


def test_registers_of_dinov2_have_no_positions(tmp_path, original):
    registers = torch.randn(1, 4, WIDTH)
    content = prefixed(original, "") | {"register_tokens": registers, "mask_token": torch.zeros(1, WIDTH)}
    encoder, architecture, _ = read(tmp_path, content, "timm")
    assert (architecture.register_tokens, architecture.prefix_positions) == (4, False)
    images = torch.randn(1, 3, SIZE, SIZE)
    patches = embed(encoder, images)
    first = encoder._pos_embed(patches)
    torch.testing.assert_close(first[:, :1], original.cls_token + original.pos_embed[:, :1])
    torch.testing.assert_close(first[:, 1:5], registers)
    torch.testing.assert_close(first[:, 5:], patches + original.pos_embed[:, 1:])
    assert patches.shape[1] == (SIZE // PATCH) ** 2


def refusal(directory, content, format):
    with pytest.raises(StudyError) as error:
        read(directory, content, format)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"conv_proj.weight": torch.ones(1)}, "torchvision; load it into timm's vit_*"),
        ({"visual.conv1.weight": torch.ones(1)}, "OpenAI's CLIP"),
        ({"backbone.patch_embed.projection.weight": torch.ones(1)}, "mmpretrain"),
        ({"layer1.0.conv1.weight": torch.ones(1)}, "a ResNet, but only ViTs are supported"),
        ({"a": torch.ones(1), "b": 2}, "among its names: state_dict, a, b"),
        (
            {"blocks.0.mlp.w12.weight": torch.ones(2, 2), "patch_embed.proj.weight": torch.ones(48, 3, 8, 8)},
            "fc1",
        ),
    ],
)
def test_what_is_inside_is_shown_and_the_conversion_named(tmp_path, names, words):
    assert words in refusal(tmp_path, {"state_dict": names}, "timm")


def test_a_file_of_another_project_names_the_format_to_set(tmp_path, original):
    assert "set format: mae" in refusal(tmp_path, originals.mae(original), "timm")
    assert "set format: transformers" in refusal(tmp_path, originals.transformers(original), "timm")
    shared = originals.simmim(originals.filled(originals.SharedEncoder()))
    assert "set format: simmim" in refusal(tmp_path, shared, "mae")


def test_a_broken_encoder_is_not_passed_over_for_another(tmp_path, original, other):
    teacher = prefixed(original, "backbone.")
    del teacher["backbone.patch_embed.proj.weight"]
    content = {"student": prefixed(other, "backbone."), "teacher": teacher}
    assert "backbone.patch_embed.proj.weight is missing" in refusal(tmp_path, content, "dino")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(tmp_path, original, value):
    weights = {name: tensor.clone() for name, tensor in original.state_dict().items()}
    weights["blocks.1.mlp.fc1.weight"][3, 4] = value
    assert "not finite: blocks.1.mlp.fc1.weight" in refusal(tmp_path, weights, "timm")
