"""Other projects' names of the tensors of a ViT, in timm's spelling.

Sources, for the names: huggingface/transformers (vit, vit_mae, dinov2, ijepa), facebookresearch/dinov2.
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
    """Return the same tensors under timm's names; those that have them already as they are.

    Query, key and value that lie apart are put together. Registers that have no positions, as in DINOv2, are
    timm's without positions of the class token: its position is added to it.
    """
    found = dict(tensors)
    if any(name.startswith("embeddings.patch_embeddings.") for name in found):
        found = {_renamed(name): value for name, value in found.items()}
    if any(re.match(r"blocks\.\d+\.\d+\.", name) for name in found):  # DINOv2 shards its blocks in chunks
        found = {
            re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", name): value for name, value in found.items()
        }
    for name in [name for name in found if re.search(r"\.attn\.query\.(weight|bias)$", name)]:
        parts = [name.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
        if all(part in found for part in parts):
            found[name.replace(".query.", ".qkv.")] = torch.cat([found.pop(part) for part in parts])
    if {"register_tokens", "cls_token", "pos_embed"} <= found.keys():
        positions = found.pop("pos_embed")
        found["reg_token"] = found.pop("register_tokens")
        found["cls_token"] = found["cls_token"] + positions[:, :1]
        found["pos_embed"] = positions[:, 1:]
    return found


def _renamed(name: str) -> str:
    for pattern, replacement in TRANSFORMERS:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name)
    return name
