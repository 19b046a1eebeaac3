"""Read from config.json what tensors do not show, and check that a plain ViT can represent the encoder.

Sources: the config.json files of timm ("architecture", "pretrained_cfg", "model_args") and of transformers
("model_type", "hidden_act", …).
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models._hub import load_model_config_from_path
from torch import nn

from stages.encoders.architecture import Architecture
from stages.study.errors import StudyError
from stages.study.paths import read_json

# Keys allowed in model_args of a config.json: numbers and switches of timm's VisionTransformer, no paths.
SETTABLE = {
    "img_size", "patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio", "qkv_bias", "qk_norm",
    "proj_bias", "init_values", "class_token", "pos_embed", "no_embed_class", "reg_tokens", "pre_norm",
    "final_norm", "fc_norm", "global_pool", "in_chans", "num_classes", "drop_rate", "drop_path_rate",
    "dynamic_img_size", "scale_attn_norm", "scale_mlp_norm",
}  # fmt: skip
ACTIVATIONS = {  # by class in timm or torch
    ("GELU", "none"): "gelu",
    ("GELU", "tanh"): "gelu_tanh",
    ("GELUTanh", "none"): "gelu_tanh",
    ("QuickGELU", "none"): "quick_gelu",
}
HIDDEN_ACTS = {  # by name in transformers
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
}
UNUSED = ("head", "head_drop", "attn_pool", "patch_drop", "pos_drop", "fc_norm", "norm")  # handled separately


class Declared(NamedTuple):
    """Facts from a config.json that tensors do not show."""

    source: str  # file and key, for messages
    heads: int
    activation: str
    norm_eps: float
    reference: nn.Module | None  # timm's own model, without weights; None: transformers


def declared(path: Path) -> Declared | None:
    """Return the facts in the config.json beside a weights file; None if there are none.

    Raises StudyError if the file is broken, or if the architecture is not a plain ViT.
    """
    config = path.with_name("config.json")
    if not config.is_file():
        return None
    content = _read(config)
    if isinstance(content.get("architecture"), str):
        return _timm(config)
    if isinstance(content.get("model_type"), str):
        return _transformers(config, content)
    return None


def channel_statistics(path: Path) -> tuple[list[float], list[float]]:
    """Return the mean and standard deviation per channel, for images in [0, 1], that the encoder expects.

    They come from timm's config.json or from the preprocessor_config.json of transformers beside the file, or
    else are those of ImageNet.
    Raises StudyError if the values are impossible for images in [0, 1].
    """
    settings: dict[str, Any] = {}
    config, preprocessor = path.with_name("config.json"), path.with_name("preprocessor_config.json")
    if config.is_file():
        content = _read(config)
        nested = content.get("pretrained_cfg")
        settings = nested if isinstance(nested, dict) else content
    if preprocessor.is_file():
        content = _read(preprocessor)
        settings |= {key: content[f"image_{key}"] for key in ("mean", "std") if f"image_{key}" in content}
    mean, std = settings.get("mean", IMAGENET_DEFAULT_MEAN), settings.get("std", IMAGENET_DEFAULT_STD)
    for name, values, least in (("mean", mean, 0.0), ("std", std, 1 / 255)):
        numbers = isinstance(values, list | tuple) and all(isinstance(value, int | float) for value in values)
        if not numbers or len(values) != 3 or not all(least <= value <= 1 for value in values):
            raise StudyError(
                f"{config}: {name} is {f'{values}'[:60]}, not three numbers in [0, 1]; "
                "correct or remove the file"
            )
    return [float(value) for value in mean], [float(value) for value in std]


def refuse_unlike(encoder: nn.Module, facts: Declared) -> None:
    """Refuse an encoder that computes anything else than timm's model of the declared architecture.

    Raises StudyError, which names the first part that differs.
    """
    if facts.reference is None:
        return
    ours, theirs = _parts(encoder), _parts(facts.reference)
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            raise StudyError(
                f"{facts.source}: {name} is {theirs.get(name, 'absent')}, but {ours.get(name, 'absent')} in "
                "this study's ViT; choose another checkpoint"
            )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise StudyError(
            f"{path}: cannot be read ({type(error).__name__}); correct or remove the file"
        ) from None
    if not isinstance(content, dict):
        raise StudyError(f"{path}: holds no settings; correct or remove the file")
    return content


def _timm(config: Path) -> Declared:
    try:
        _, name, arguments = load_model_config_from_path(config.parent)
    except Exception as error:  # of any kind, because anybody may have written the file
        raise StudyError(
            f"{config}: not in timm's format ({type(error).__name__}); correct or remove the file"
        ) from None
    label = repr(str(name)[:80])
    if not isinstance(name, str) or not timm.is_model(name) or ":" in name or "/" in name:
        raise StudyError(
            f"{config}: timm {timm.__version__} has no architecture {label}; correct or remove the file"
        )
    if not isinstance(arguments, dict) or not arguments.keys() <= SETTABLE:
        unknown = sorted(set(arguments) - SETTABLE) if isinstance(arguments, dict) else arguments
        raise StudyError(
            f"{config}: model_args {str(unknown)[:80]} are not supported; choose another checkpoint"
        )
    if not all(isinstance(value, int | float | str | bool | None | list) for value in arguments.values()):
        raise StudyError(f"{config}: model_args may hold only numbers and words; correct or remove the file")
    try:
        with torch.device("meta"):
            reference = timm.create_model(name, pretrained=False, **{**arguments, "num_classes": 0})
    except Exception as error:  # inconsistent arguments
        raise StudyError(
            f"{config}: timm cannot build {label} ({str(error).splitlines()[0][:100]}); correct model_args"
        ) from None
    source = f"{config}: architecture {label}"
    if type(reference) is not timm.models.vision_transformer.VisionTransformer:
        raise StudyError(
            f"{source}: a {type(reference).__name__}, but only plain ViTs are supported; "
            "choose another checkpoint"
        )
    block: Any = reference.blocks[0]
    if type(block).__name__ != "Block":
        raise StudyError(
            f"{source}: its blocks are {type(block).__name__}, but only plain blocks are supported; "
            "choose another checkpoint"
        )
    activation = _activation(getattr(block.mlp, "act", None))
    if activation is None:
        act = type(getattr(block.mlp, "act", None)).__name__
        raise StudyError(f"{source}: activation {act} is not supported, only gelu, gelu_tanh, quick_gelu")
    return Declared(
        source, block.attn.num_heads, activation, getattr(block.norm1, "eps", math.nan), reference
    )


def _transformers(config: Path, content: dict[str, Any]) -> Declared:
    kind, act = content["model_type"], content.get("hidden_act", "gelu")
    source = f"{config}: model_type {str(kind)[:40]!r}"
    if act not in HIDDEN_ACTS:
        raise StudyError(
            f"{source}: hidden_act {str(act)[:40]!r} is not supported, only {', '.join(HIDDEN_ACTS)}"
        )
    heads, eps = content.get("num_attention_heads", 12), content.get("layer_norm_eps", 1e-12)
    if not isinstance(heads, int) or not isinstance(eps, float) or not 0 <= eps < 1 or heads < 1:
        raise StudyError(f"{source}: num_attention_heads or layer_norm_eps is invalid; correct it")
    return Declared(source, heads, HIDDEN_ACTS[act], eps, None)


def _activation(module: Any) -> str | None:
    return ACTIVATIONS.get((type(module).__name__, getattr(module, "approximate", "none")))


def _parts(encoder: nn.Module) -> dict[str, str]:
    """Describe the computation of each part of a ViT, by name; parts that no feature passes are omitted."""
    parts = {
        "tokens": f"{encoder.num_prefix_tokens} before the patches, "
        f"{'without' if encoder.no_embed_class else 'with'} positions",
    }
    for name, module in encoder.named_modules():
        if name.split(".")[0] in UNUSED[:5] or not name or isinstance(module, nn.Dropout | nn.Identity):
            continue
        words = _activation(module) or type(module).__name__
        if isinstance(module, nn.LayerNorm):
            words = f"a LayerNorm of {module.normalized_shape[0]} with eps {module.eps:g}"
        elif hasattr(module, "num_heads"):
            words = f"{words} of {module.num_heads} heads, scale {getattr(module, 'scale', 1):.4g}"
        elif isinstance(module, nn.Linear):
            words = f"Linear {module.in_features} to {module.out_features}"
        parts[name] = words
    # The position of the final norm, before or after the mean, shows in the tensors and is not compared here.
    return {name: words for name, words in parts.items() if name not in ("norm", "fc_norm")} | {
        "final norm": next((parts[name] for name in ("norm", "fc_norm") if name in parts), "absent")
    }


def with_declared(architecture: Architecture, facts: Declared) -> Architecture:
    """Return the architecture, completed with the facts from config.json that tensors do not show."""
    return architecture.model_copy(update={"activation": facts.activation, "norm_eps": facts.norm_eps})
