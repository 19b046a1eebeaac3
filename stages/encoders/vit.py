"""The encoder: a plain ViT, how it is built, run, looked into, saved and loaded."""

import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from timm.layers import Attention, LayerNorm, resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from stages.data.arrays import Manifest
from stages.encoders.relative import RelativeAttention
from stages.encoders.settings import Vit
from stages.study.errors import StudyError
from stages.study.paths import read_json, write_json, writing


class Trace(NamedTuple):
    """What passes through an encoder.

    tokens:            L+1 tensors (B, prefix+N, D): after embedding, then after each block; no final norm
    attention:         L tensors (B, H, prefix+N, prefix+N), rows sum to 1
    num_prefix_tokens: class and register tokens in front of the N patches
    """

    tokens: list[Tensor]
    attention: list[Tensor]
    num_prefix_tokens: int


class DeepTrace(NamedTuple):
    """A Trace and what passes through inside each block, for the analyses.

    attention: as of a Trace; empty where it was not asked for
    attended: L tensors like tokens: after the self-attention is added, before the MLP
    heads:    L tensors (B, prefix+N, H, width of a head): attention times values, before the heads are mixed
    decoded:  what passes through the decoder of a masked autoencoder, which is shown the whole image: after
              its embedding, then after each of its blocks, (B, 1+N, its width); empty where there is none
    """

    tokens: list[Tensor]
    attention: list[Tensor]
    num_prefix_tokens: int
    attended: list[Tensor]
    heads: list[Tensor]
    decoded: Sequence[Tensor] = ()


class Architecture(Vit):
    """A Vit and what published ones have besides; by default none of it, as in every arm trained here."""

    class_token: bool = True
    register_tokens: int = 0
    prefix_positions: bool = True  # class and register tokens have absolute positions as the patches do
    relative_positions: bool = False
    qkv_bias: bool = True
    qk_norm: bool = False
    pre_norm: bool = False  # a norm in front of the blocks, and no bias in the patch projection
    pooled_norm: bool = False  # the final norm comes after the mean over the patches, none before it
    norm_eps: float = 1e-6


def build_encoder(*, vit: Vit, image_size: int, seed: int, drop_path: float = 0.0) -> VisionTransformer:
    """A randomly initialised ViT without a head, with a class token unless its Architecture says otherwise.

    image_size: px; seed: of the initialisation, which depends on nothing else
    drop_path: how often the last block is left out in training; linearly less often, the earlier the block
    Initialisation and positions as in MoCo v3, for every arm: with timm's narrower one the attention of
    small encoders stays uniform for most of a short training.
    Source: Chen et al. 2021 (MoCo v3), §4 and its public configuration.
    """
    form = Architecture.model_validate(vit.model_dump())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = VisionTransformer(
            img_size=image_size,
            patch_size=vit.patch_size,
            embed_dim=vit.width,
            depth=vit.depth,
            num_heads=vit.heads,
            mlp_ratio=vit.mlp_ratio,
            drop_path_rate=drop_path,
            num_classes=0,
            global_pool="avg" if form.pooled_norm else "",
            fc_norm=form.pooled_norm,
            pos_embed="none" if vit.position in ("relative", "none") else "learn",
            class_token=form.class_token,
            reg_tokens=form.register_tokens,
            no_embed_class=not form.prefix_positions,
            qkv_bias=form.qkv_bias,
            qk_norm=form.qk_norm,
            init_values=vit.layer_scale,
            pre_norm=form.pre_norm,
            norm_layer=partial(LayerNorm, eps=form.norm_eps),
        )
        if form.relative_positions or vit.position == "relative":
            for block in encoder.blocks:
                block.attn = RelativeAttention(
                    vit.width,
                    num_heads=vit.heads,
                    grid=image_size // vit.patch_size,
                    qkv_bias=form.qkv_bias,
                )
        _initialize(encoder)
    if vit.position == "sincos" and encoder.pos_embed is not None:
        grid = image_size // vit.patch_size
        encoder.pos_embed.data[0, 0] = 0
        encoder.pos_embed.data[0, 1:] = sincos_positions(grid, vit.width)
        encoder.pos_embed.requires_grad = False
    return encoder


def _initialize(encoder: VisionTransformer) -> None:
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Linear):
            # Query, key and value are three matrices that share one tensor: Xavier over each of them.
            rows = module.weight.shape[0] // (3 if name.endswith("qkv") else 1)
            bound = math.sqrt(6 / (rows + module.weight.shape[1]))
            nn.init.uniform_(module.weight, -bound, bound)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    projection = encoder.patch_embed.proj
    bound = math.sqrt(6 / (projection.weight[0].numel() + projection.weight.shape[0]))
    nn.init.uniform_(projection.weight, -bound, bound)
    if projection.bias is not None:
        nn.init.zeros_(projection.bias)
    if encoder.cls_token is not None:
        nn.init.normal_(encoder.cls_token, std=1e-6)


def sincos_positions(grid: int, width: int) -> Tensor:
    """Fixed two-dimensional sine-cosine position embedding.

    returns: (grid·grid, width), rows in row-major order; a quarter of the width each for the sine and the
             cosine of the column and the sine and the cosine of the row
    Source: Vaswani et al. 2017 §3.5, in two dimensions as in MoCo v3.
    """
    frequency = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    steps = torch.arange(grid, dtype=torch.float64)
    row, column = torch.meshgrid(steps, steps, indexing="ij")
    angles = [position.reshape(-1, 1) * frequency for position in (column, row)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1).float()


def embed(encoder: VisionTransformer, images: Tensor, *, frozen_projection: bool = False) -> Tensor:
    """Patch embeddings without positions.

    images:            (B, 3, S, S), normalised
    frozen_projection: no gradient reaches the patch projection
    returns:           (B, N, D)
    """
    patches = encoder.patch_embed(images)
    return patches.detach() if frozen_projection else patches


def add_positions(encoder: VisionTransformer, patches: Tensor) -> Tensor:
    """The tokens that enter the first block: the class token and the patches, each with its position.

    patches: (B, N, D), from `embed`; a square grid of another size than the encoder's takes its positions
             from in between
    returns: (B, prefix+N, D)
    Source: Dosovitskiy et al. 2021 (ViT), §3.2 for the interpolation, which timm does.
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
    until:   stop after so many blocks, without the norm, which belongs to the last; None: run all
    returns: (B, prefix+N, D)
    """
    tokens = add_positions(encoder, patches)
    for block in encoder.blocks[:until]:
        tokens = block(tokens)
    return encoder.norm(tokens) if until is None else tokens


def encode_visible(encoder: VisionTransformer, patches: Tensor, visible: Tensor) -> Tensor:
    """What `encode` gives when the encoder is shown a part of the patches, each with its own position.

    patches: (B, N, D), from `embed`
    visible: (B, n) indices of the patches shown, of each image its own
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
    """What `encode` gives the class token, the last block being computed for that token alone.

    patches: (B, N, D), from `embed`
    returns: (B, D)
    """
    tokens = add_positions(encoder, patches)
    for block in encoder.blocks[:-1]:
        tokens = block(tokens)
    last: Any = encoder.blocks[-1]
    layer, class_token = last.attn, tokens[:, :1]
    # Every token gives a key and a value; only the class token asks.
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
    """What a linear head may see of an image.

    tokens:  (B, prefix+N, D), from `encode`, after the final norm
    returns: cls (B, D), the class token, if the encoder has one; mean (B, D), the mean of the patch tokens
    """
    mean = encoder.fc_norm(tokens[:, encoder.num_prefix_tokens :].mean(dim=1))
    return {"cls": tokens[:, 0], "mean": mean} if encoder.has_class_token else {"mean": mean}


@torch.no_grad()
def pooled_features(encoder: VisionTransformer, images: Tensor) -> dict[str, Tensor]:
    """What a linear head may see of images (B, 3, S, S), normalised: `pooled` of their tokens."""
    return pooled(encoder, encode(encoder, embed(encoder, images)))


def share_positions(encoder: VisionTransformer) -> None:
    """Let all blocks learn one table of relative positions, where they have any.

    An encoder that is loaded again has a copy for each block, which fine-tuning may move apart.
    Source: Xie et al. 2022 (SimMIM), public configurations of pre-training and of fine-tuning.
    """
    layers = [layer for layer in encoder.modules() if isinstance(layer, RelativeAttention)]
    for layer in layers:
        layer.position = layers[0].position


def without_drop_path(encoder: VisionTransformer) -> VisionTransformer:
    """The same encoder, its blocks no longer left out at random: for a slow copy, which only answers."""
    for block in encoder.blocks:
        block.drop_path1, block.drop_path2 = nn.Identity(), nn.Identity()
    return encoder


def use_fused_attention(module: nn.Module, fused: bool) -> None:
    """Choose scaled_dot_product_attention or plain attention, whose maps can be seen, in every block."""
    for child in module.modules():
        if isinstance(child, Attention):
            child.fused_attn = fused  # type: ignore[misc]  # timm declares it final for TorchScript


def trace(encoder: VisionTransformer, images: Tensor) -> Trace:
    """Run the encoder in evaluation mode and float32, and keep every block's tokens and attention.

    images: (B, 3, S, S), normalised
    Raises StudyError if a block does not show its attention.
    """
    return Trace(*trace_deeply(encoder, images)[:3])


@torch.no_grad()
def trace_deeply(encoder: VisionTransformer, images: Tensor, *, attention: bool = True) -> DeepTrace:
    """What `trace` gives, and what each block does between its parts.

    images:    (B, 3, S, S), normalised
    attention: whether it is kept too, which takes half of the time and most of the memory of a small encoder
    Raises StudyError if a block does not show its attention, or the tokens between attention and MLP.
    """
    was_training = encoder.training
    layers = [module for module in encoder.modules() if isinstance(module, Attention)]
    was_fused = [layer.fused_attn for layer in layers]
    found = DeepTrace([], [], encoder.num_prefix_tokens, [], [])
    hooks = [encoder.blocks[0].register_forward_pre_hook(lambda _, inputs: found.tokens.append(inputs[0]))]
    for block in encoder.blocks:
        hooks.append(block.register_forward_hook(lambda _, __, output: found.tokens.append(output)))
        if attention:
            drop = block.get_submodule("attn.attn_drop")  # what it is given is the attention
            hooks.append(drop.register_forward_hook(lambda _, __, output: found.attention.append(output)))
        mixing = block.get_submodule("attn.proj")  # it is given the heads side by side
        hooks.append(mixing.register_forward_pre_hook(lambda _, inputs: found.heads.append(inputs[0])))
        between = block.get_submodule("norm2")  # it is given x + attention(norm1(x))
        hooks.append(between.register_forward_pre_hook(lambda _, inputs: found.attended.append(inputs[0])))
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
    expected = (*([found.attention] if attention else []), found.attended, found.heads)
    if not all(len(kept) == len(encoder.blocks) for kept in expected):
        raise StudyError("trace: a block of this encoder does not show its attention; timm may have changed")
    heads = [
        outputs.unflatten(-1, (layer.num_heads, -1))
        for outputs, layer in zip(found.heads, layers, strict=True)
    ]
    return found._replace(heads=heads)


def save_encoder(
    directory: Path, encoder: VisionTransformer, *, vit: Vit, image_size: int, about: dict[str, Any]
) -> None:
    """Write one encoder as encoder.safetensors and encoder.json, whose bytes depend on nothing but content.

    vit:   its architecture; image_size: px, that it is used at
    about: what else to know of it, e.g. its arm and objective
    """
    with writing(directory / "encoder.safetensors") as temporary:
        # Cloned, because the file holds nothing that tensors share.
        weights = {name: value.detach().cpu().clone() for name, value in encoder.state_dict().items()}
        save_file(weights, temporary)
    write_json(directory / "encoder.json", about | {"vit": vit.model_dump(), "image_size": image_size})


def load_encoder(directory: Path | str, *, drop_path: float = 0.0) -> VisionTransformer:
    """The encoder of one arm, from the out of its pre-training, in evaluation mode.

    Raises StudyError if the directory holds no whole encoder.
    """
    directory = Path(directory)
    try:
        about = read_json(directory / "encoder.json")
        weights = load_file(directory / "encoder.safetensors")
        vit = Architecture.model_validate(about["vit"])
    except (OSError, ValueError, KeyError, SafetensorError, json.JSONDecodeError) as error:
        raise StudyError(f"{directory}: not a whole encoder ({error}); run `dvc repro` to make it") from None
    encoder = build_encoder(vit=vit, image_size=about["image_size"], seed=0, drop_path=drop_path)
    encoder.load_state_dict(weights)
    return encoder.eval()


def as_trained(directory: Path, manifest: Manifest) -> Manifest:
    """The manifest with the channel statistics that the encoder of an arm was trained with.

    They are those of the data, unless its encoder.json has a mean and std of its own, as published ones do.
    """
    about = read_json(directory / "encoder.json")
    return manifest.model_copy(update={key: about[key] for key in ("mean", "std") if key in about})
