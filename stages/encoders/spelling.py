"""Translate other projects' names of a ViT's tensors into timm's names.

Sources for the names: huggingface/transformers (vit, vit_mae, dinov2, ijepa), facebookresearch/dinov2.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

TRANSFORMERS = (
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.register_tokens$", "register_tokens"),
    (r"^embeddings\.mask_token$", "mask_token"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^encoder\.layer\.(\d+)\.attention\.attention\.", r"blocks.\1.attn."),
    (r"^encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"blocks.\1.attn.proj."),
    (r"^encoder\.layer\.(\d+)\.intermediate\.dense\.", r"blocks.\1.mlp.fc1."),
    (r"^encoder\.layer\.(\d+)\.output\.dense\.", r"blocks.\1.mlp.fc2."),
    (r"^encoder\.layer\.(\d+)\.layernorm_before\.", r"blocks.\1.norm1."),
    (r"^encoder\.layer\.(\d+)\.layernorm_after\.", r"blocks.\1.norm2."),
    (r"^encoder\.layer\.(\d+)\.layer_scale(\d)\.lambda1$", r"blocks.\1.ls\2.gamma"),
    (r"^encoder\.layer\.(\d+)\.", r"blocks.\1."),  # norm1, norm2 and mlp of Dinov2
    (r"^layernorm\.", "norm."),
)


def timm_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under timm's names; tensors that already have timm's names stay unchanged.

    Separate query, key and value tensors are concatenated. In DINOv2, register tokens have no positions. In
    timm, the class token then has none either, so its position is added to the class token itself.
    """
    renamed = dict(tensors)
    if any(name.startswith("embeddings.patch_embeddings.") for name in renamed):
        renamed = {_renamed(name): value for name, value in renamed.items()}
    if any(re.match(r"blocks\.\d+\.\d+\.", name) for name in renamed):  # DINOv2 groups blocks into chunks
        renamed = {
            re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", name): value for name, value in renamed.items()
        }
    for name in [name for name in renamed if re.search(r"\.attn\.query\.(weight|bias)$", name)]:
        parts = [name.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
        if all(part in renamed for part in parts):
            renamed[name.replace(".query.", ".qkv.")] = torch.cat([renamed.pop(part) for part in parts])
    if {"register_tokens", "cls_token", "pos_embed"} <= renamed.keys():
        positions = renamed.pop("pos_embed")
        renamed["reg_token"] = renamed.pop("register_tokens")
        renamed["cls_token"] = renamed["cls_token"] + positions[:, :1]
        renamed["pos_embed"] = positions[:, 1:]
    return renamed


def _renamed(name: str) -> str:
    for pattern, replacement in TRANSFORMERS:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name)
    return name
