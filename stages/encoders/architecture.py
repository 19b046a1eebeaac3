"""Build and initialise a plain ViT."""

import math
from functools import partial
from typing import Literal

import torch
from timm.layers import LayerNorm
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from stages.encoders.relative import RelativeAttention
from stages.encoders.settings import Vit


class Architecture(Vit):
    """The architecture of a ViT with the options of published ones; arms trained here use the defaults."""

    class_token: bool = True
    register_tokens: int = 0
    prefix_positions: bool = True  # class and register tokens have position embeddings too
    relative_positions: bool = False
    qkv_bias: bool = True
    qk_norm: bool = False
    pre_norm: bool = False  # a norm before the first block, and no bias in the patch projection
    pooled_norm: bool = False  # the final norm follows the mean over the patches instead of preceding it
    norm_eps: float = 1e-6
    activation: Literal["gelu", "gelu_tanh", "quick_gelu"] = "gelu"  # of the MLPs, in timm's names


def build_encoder(*, vit: Vit, image_size: int, seed: int, drop_path: float = 0.0) -> VisionTransformer:
    """Return a randomly initialised ViT without a head; by default it has a class token.

    image_size: px
    seed:       of the initialisation, which depends on no other randomness
    drop_path:  probability of dropping the last block in training; it decreases linearly towards the first
    All arms use the initialisation and the positions of MoCo v3. With timm's narrower initialisation, the
    attention of small encoders stays uniform for most of a short training.
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
            act_layer=form.activation,
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
            # Query, key and value share one tensor; Xavier initialisation applies to each of the three.
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
    """Return fixed two-dimensional sine-cosine position embeddings.

    returns: (grid·grid, width) in row-major order; the quarters of the width are the sine and the cosine of
             the column, and the sine and the cosine of the row
    Source: Vaswani et al. 2017 §3.5, in two dimensions as in MoCo v3.
    """
    frequency = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    steps = torch.arange(grid, dtype=torch.float64)
    row, column = torch.meshgrid(steps, steps, indexing="ij")
    angles = [position.reshape(-1, 1) * frequency for position in (column, row)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1).float()


def share_positions(encoder: VisionTransformer) -> None:
    """Let all blocks share one table of relative positions, if they have any.

    A loaded encoder has one copy per block, and fine-tuning may change each copy separately.
    Source: Xie et al. 2022 (SimMIM), public configurations of pre-training and of fine-tuning.
    """
    layers = [layer for layer in encoder.modules() if isinstance(layer, RelativeAttention)]
    for layer in layers:
        layer.position = layers[0].position


def without_drop_path(encoder: VisionTransformer) -> VisionTransformer:
    """Disable stochastic depth in an encoder, for copies that are not trained; return the encoder."""
    for block in encoder.blocks:
        block.drop_path1, block.drop_path2 = nn.Identity(), nn.Identity()
    return encoder
