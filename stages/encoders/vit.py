"""Run, trace, save and load an encoder, a plain ViT."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from timm.layers import Attention, resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from stages.data.arrays import Manifest
from stages.encoders.architecture import Architecture, build_encoder
from stages.encoders.relative import RelativeAttention
from stages.encoders.settings import Vit
from stages.study.errors import StudyError
from stages.study.paths import read_json, write_json, writing


class Trace(NamedTuple):
    """Tokens and attention at every depth of an encoder.

    tokens:            L+1 tensors (B, prefix+N, D): after embedding, then after each block; no final norm
    attention:         L tensors (B, H, prefix+N, prefix+N), rows sum to 1
    num_prefix_tokens: number of class and register tokens before the N patches
    """

    tokens: list[Tensor]
    attention: list[Tensor]
    num_prefix_tokens: int


class DeepTrace(NamedTuple):
    """A Trace with the values inside each block, for the analyses.

    attention: as in Trace; empty if not requested
    attended:  L tensors like tokens: after the self-attention is added, before the MLP
    heads:     L tensors (B, prefix+N, H, head width): attention times values, before the heads are mixed
    decoded:   tokens of a masked autoencoder's decoder, which sees the whole image: after its embedding, then
               after each block, (B, 1+N, decoder width); empty without a decoder
    """

    tokens: list[Tensor]
    attention: list[Tensor]
    num_prefix_tokens: int
    attended: list[Tensor]
    heads: list[Tensor]
    decoded: Sequence[Tensor] = ()


def embed(encoder: VisionTransformer, images: Tensor, *, frozen_projection: bool = False) -> Tensor:
    """Return patch embeddings without positions.

    images:            (B, 3, S, S), normalised
    frozen_projection: block gradients to the patch projection
    returns:           (B, N, D)
    """
    patches = encoder.patch_embed(images)
    return patches.detach() if frozen_projection else patches


def add_positions(encoder: VisionTransformer, patches: Tensor) -> Tensor:
    """Return the input tokens of the first block: class token and patches with their positions.

    patches: (B, N, D), from `embed`; for a square grid of another size, positions are interpolated
    returns: (B, prefix+N, D)
    Source: Dosovitskiy et al. 2021 (ViT), §3.2; timm's interpolation.
    """
    if encoder.pos_embed is None or patches.shape[1] == encoder.patch_embed.num_patches:
        return encoder.norm_pre(encoder._pos_embed(patches))
    grid = math.isqrt(patches.shape[1])
    positions = resample_abs_pos_embed(
        encoder.pos_embed, new_size=[grid, grid], num_prefix_tokens=encoder.num_prefix_tokens
    )
    class_token = cast(Tensor, encoder.cls_token).expand(len(patches), -1, -1)
    return encoder.norm_pre(torch.cat([class_token, patches], dim=1) + positions)


def encode(encoder: VisionTransformer, patches: Tensor, *, until: int | None = None) -> Tensor:
    """Add positions and the class token, run all blocks and the final norm.

    patches: (B, N, D), from `embed`
    until:   number of blocks to run, without the final norm; None: all blocks and the norm
    returns: (B, prefix+N, D)
    """
    tokens = add_positions(encoder, patches)
    for block in encoder.blocks[:until]:
        tokens = block(tokens)
    return encoder.norm(tokens) if until is None else tokens


def encode_visible(encoder: VisionTransformer, patches: Tensor, visible: Tensor) -> Tensor:
    """Encode only the visible patches, each with its own position.

    patches: (B, N, D), from `embed`
    visible: (B, n) indices of the visible patches of each image
    returns: (B, prefix+n, D)
    Source: He et al. 2022 (MAE), §3 "MAE encoder".
    """
    prefix = encoder.num_prefix_tokens
    tokens = add_positions(encoder, patches)
    chosen = visible[:, :, None].expand(-1, -1, tokens.shape[2])
    tokens = torch.cat([tokens[:, :prefix], tokens[:, prefix:].gather(1, chosen)], dim=1)
    for block in encoder.blocks:
        tokens = block(tokens)
    return encoder.norm(tokens)


def encode_class_token(encoder: VisionTransformer, patches: Tensor) -> Tensor:
    """Return the class token of `encode`, computing the last block only for this token.

    patches: (B, N, D), from `embed`
    returns: (B, D)
    """
    tokens = add_positions(encoder, patches)
    for block in encoder.blocks[:-1]:
        tokens = block(tokens)
    last: Any = encoder.blocks[-1]
    layer, class_token = last.attn, tokens[:, :1]
    # All tokens provide keys and values; only the class token provides a query.
    parts = (layer.attn_dim, 2 * layer.attn_dim)
    weights = layer.qkv.weight.split(parts)
    biases = (None, None) if layer.qkv.bias is None else layer.qkv.bias.split(parts)
    normed = last.norm1(tokens)
    query = F.linear(normed[:, :1], weights[0], biases[0])
    key, value = F.linear(normed, weights[1], biases[1]).chunk(2, dim=-1)
    query, key, value = (
        part.unflatten(-1, (layer.num_heads, -1)).transpose(1, 2) for part in (query, key, value)
    )
    bias = layer.position.get_bias()[:, :, :1] if isinstance(layer, RelativeAttention) else None
    answer = F.scaled_dot_product_attention(layer.q_norm(query), layer.k_norm(key), value, attn_mask=bias)
    answer = answer.transpose(1, 2).flatten(2)  # (B, 1, D)
    class_token = class_token + last.drop_path1(last.ls1(layer.proj(answer)))
    class_token = class_token + last.drop_path2(last.ls2(last.mlp(last.norm2(class_token))))
    return encoder.norm(class_token)[:, 0]


def pooled(encoder: VisionTransformer, tokens: Tensor) -> dict[str, Tensor]:
    """Return the possible inputs of a linear head.

    tokens:  (B, prefix+N, D), from `encode`, after the final norm
    returns: cls (B, D), the class token, if the encoder has one; mean (B, D), the mean of the patch tokens
    """
    mean = encoder.fc_norm(tokens[:, encoder.num_prefix_tokens :].mean(dim=1))
    # The norm after pooling is the identity, except in encoders that have it instead of a final norm.
    return {"cls": encoder.fc_norm(tokens[:, 0]), "mean": mean} if encoder.has_class_token else {"mean": mean}


@torch.no_grad()
def pooled_features(encoder: VisionTransformer, images: Tensor) -> dict[str, Tensor]:
    """Return the possible inputs of a linear head for normalised images (B, 3, S, S), see `pooled`."""
    return pooled(encoder, encode(encoder, embed(encoder, images)))


def use_fused_attention(module: nn.Module, fused: bool) -> None:
    """Use scaled_dot_product_attention in every block, or plain attention, which exposes its maps."""
    for child in module.modules():
        if isinstance(child, Attention):
            child.fused_attn = fused  # type: ignore[misc]  # declared final in timm, for TorchScript


def trace(encoder: VisionTransformer, images: Tensor) -> Trace:
    """Run the encoder in evaluation mode and float32; return every block's tokens and attention.

    images: (B, 3, S, S), normalised
    Raises StudyError if a block does not expose its attention.
    """
    return Trace(*trace_deeply(encoder, images)[:3])


@torch.no_grad()
def trace_deeply(encoder: VisionTransformer, images: Tensor, *, attention: bool = True) -> DeepTrace:
    """Trace the encoder as `trace` does, including the values inside each block.

    images:    (B, 3, S, S), normalised
    attention: return attention too; for small encoders, it takes half of the time and most of the memory
    Raises StudyError if a block does not expose its attention, or the tokens between attention and MLP.
    """
    was_training = encoder.training
    layers = [module for module in encoder.modules() if isinstance(module, Attention)]
    was_fused = [layer.fused_attn for layer in layers]
    record = DeepTrace([], [], encoder.num_prefix_tokens, [], [])
    hooks = [encoder.blocks[0].register_forward_pre_hook(lambda _, inputs: record.tokens.append(inputs[0]))]
    for block in encoder.blocks:
        hooks.append(block.register_forward_hook(lambda _, __, output: record.tokens.append(output)))
        if attention:
            drop = block.get_submodule("attn.attn_drop")  # its output is the attention
            hooks.append(drop.register_forward_hook(lambda _, __, output: record.attention.append(output)))
        mixing = block.get_submodule("attn.proj")  # its input is the concatenated heads
        hooks.append(mixing.register_forward_pre_hook(lambda _, inputs: record.heads.append(inputs[0])))
        between = block.get_submodule("norm2")  # its input is x + attention(norm1(x))
        hooks.append(between.register_forward_pre_hook(lambda _, inputs: record.attended.append(inputs[0])))
    try:
        encoder.eval()
        if attention:
            use_fused_attention(encoder, False)
        with torch.autocast(images.device.type, enabled=False):
            encode(encoder, embed(encoder, images.float()))
    finally:
        for hook in hooks:
            hook.remove()
        for layer, fused in zip(layers, was_fused, strict=True):
            layer.fused_attn = fused  # type: ignore[misc]
        encoder.train(was_training)
    expected = (*([record.attention] if attention else []), record.attended, record.heads)
    if not all(len(tensors) == len(encoder.blocks) for tensors in expected):
        raise StudyError(
            "trace: a block does not expose its attention; install the timm version in requirements.lock"
        )
    heads = [
        outputs.unflatten(-1, (layer.num_heads, -1))
        for outputs, layer in zip(record.heads, layers, strict=True)
    ]
    return record._replace(heads=heads)


def save_encoder(
    directory: Path, encoder: VisionTransformer, *, vit: Vit, image_size: int, about: dict[str, Any]
) -> None:
    """Write an encoder as encoder.safetensors and encoder.json; their bytes depend only on the content.

    vit:        architecture of the encoder
    image_size: px of the images that the encoder is used with
    about:      further facts for encoder.json, e.g. the arm and its objective
    """
    with writing(directory / "encoder.safetensors") as temporary:
        # Cloned, because safetensors refuses tensors that share memory.
        weights = {name: value.detach().cpu().clone() for name, value in encoder.state_dict().items()}
        save_file(weights, temporary)
    write_json(directory / "encoder.json", about | {"vit": vit.model_dump(), "image_size": image_size})


def load_encoder(directory: Path | str, *, drop_path: float = 0.0) -> VisionTransformer:
    """Load an encoder from its folder, in evaluation mode.

    Raises StudyError if the folder does not hold a complete encoder.
    """
    directory = Path(directory)
    try:
        about = read_json(directory / "encoder.json")
        weights = load_file(directory / "encoder.safetensors")
        vit = Architecture.model_validate(about["vit"])
    except (OSError, ValueError, KeyError, SafetensorError, json.JSONDecodeError) as error:
        raise StudyError(
            f"{directory}: not a complete encoder ({error}); run `dvc repro` to make it"
        ) from None
    encoder = build_encoder(vit=vit, image_size=about["image_size"], seed=0, drop_path=drop_path)
    encoder.load_state_dict(weights)
    return encoder.eval()


def as_trained(directory: Path, manifest: Manifest) -> Manifest:
    """Return the manifest with the channel statistics of the encoder's training.

    These are the statistics of the data, unless encoder.json has its own mean and std (published encoders).
    """
    about = read_json(directory / "encoder.json")
    return manifest.model_copy(update={key: about[key] for key in ("mean", "std") if key in about})
