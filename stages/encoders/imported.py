"""Load published checkpoints as encoders of this study.

Sources for the content of the files and the computation of the encoders: facebookresearch/moco-v3 (vits.py,
moco/builder.py), microsoft/SimMIM (models/vision_transformer.py, models/simmim.py), facebookresearch/mae
(models_mae.py, models_vit.py), facebookresearch/dino (vision_transformer.py, utils.py), and timm's
vision_transformer.py.
"""

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from stages.encoders.architecture import Architecture, build_encoder
from stages.encoders.checkpoint_file import refuse_larger
from stages.encoders.declared import Declared, declared, refuse_unlike, with_declared
from stages.encoders.encoder_file import FORMATS, Weights, encoder_in
from stages.encoders.relative import RelativeAttention
from stages.encoders.weights_file import weights_file
from stages.encoders.wrappers import listed
from stages.study.errors import StudyError

# These widths have 16 heads (two SigLIP models, ViT-H, -g and -G); all other encoders have heads of width 64.
HEADS = {1152: 16, 1280: 16, 1408: 16, 1536: 16, 1664: 16}
MOCO_V3_HEADS = {384: 12}  # MoCo v3's ViT-S has 12 heads, as its ViT-B (vits.py)

# Along a side, with relative positions: their index grows with the fourth power.
MOST_PATCHES = 64
SHARED_TABLE = "rel_pos_bias.relative_position_bias_table"


class Imported(NamedTuple):
    """An encoder from a file."""

    encoder: VisionTransformer
    architecture: Architecture
    notes: tuple[str, ...]


def load_checkpoint(
    path: Path | str, *, format: str, num_heads: int | None = None, image_size: int | None = None
) -> nn.Module:
    """Load the encoder of a published checkpoint, in evaluation mode; for DINO, this is the teacher.

    format:     one of FORMATS
    num_heads:  None: from the file or its project, or else heads of width 64
    image_size: px; positions are resampled to it; None: the size of pre-training
    Raises StudyError if the file is unreadable or unsafe, or if keys do not fit, which it names.
    """
    return open_checkpoint(path, format=format, num_heads=num_heads, image_size=image_size).encoder


def open_checkpoint(
    path: Path | str, *, format: str, num_heads: int | None = None, image_size: int | None = None
) -> Imported:
    """Load a checkpoint as `load_checkpoint` does; also return its architecture and notes for the user.

    Tensors do not show the activation, the number of heads and the eps of the norms. These come from the
    config.json beside the file, or else from the project that the format names.
    """
    if format not in FORMATS:
        raise StudyError(f"format {format!r} is unknown; choose from: {', '.join(FORMATS)}")
    path = weights_file(Path(path))
    weights = encoder_in(path, format)
    facts = declared(path) if FORMATS[format].varied else None
    architecture = _architecture(weights, format, num_heads, facts)
    patch_size = architecture.patch_size
    if image_size is not None and (image_size < patch_size or image_size % patch_size):
        raise StudyError(
            f"{path}: patches of {patch_size} px do not divide images of {image_size} px; set "
            f"data.image_size to a multiple of {patch_size}"
        )
    trained_size = _trained_size(weights, architecture)
    matrices = (4 + 2 * architecture.mlp_ratio) * architecture.width**2  # of one block
    refuse_larger(path, architecture.depth * matrices, weights.tensors)
    encoder = build_encoder(vit=architecture, image_size=trained_size, seed=0)
    if facts is not None:
        refuse_unlike(encoder, facts)
    encoder.load_state_dict(_fitted(weights, encoder.state_dict(), format))
    if image_size is not None and image_size != trained_size:
        _resize(encoder, image_size)
    notes = weights.notes
    if FORMATS[format].varied and facts is None:
        notes += (
            f"no config.json beside it names the architecture: GELU, eps {architecture.norm_eps:g} and "
            f"{architecture.heads} heads are assumed",
        )
    return Imported(encoder.eval(), architecture, notes)


def _architecture(
    weights: Weights, format: str, num_heads: int | None, facts: Declared | None
) -> Architecture:
    """Derive the architecture from the names and shapes of the tensors, and from config.json."""
    tensors = weights.tensors
    width, _, patch_size, across = _shape(weights, "patch_embed.proj.weight", 4)
    hidden = _shape(weights, "blocks.0.mlp.fc1.weight", 2)[0]
    if patch_size != across:
        raise StudyError(
            f"{weights.path}: patches of {patch_size} × {across} px, but only square ones are supported; "
            "choose another checkpoint"
        )
    blocks = {int(match[1]) for name in tensors if (match := re.match(r"blocks\.(\d{1,4})\.", name))}

    def has(*endings: str) -> bool:
        return any(name.endswith(endings) for name in tensors)

    # Optional parts are detected by their tensors; all other tensors are required.
    varied = FORMATS[format].varied
    class_token = not varied or "cls_token" in tensors
    register_tokens = tensors["reg_token"].shape[1] if varied and "reg_token" in tensors else 0
    positions = tensors["pos_embed"].shape[1] if "pos_embed" in tensors else 0
    # If only the patches have positions, timm calls this no_embed_class.
    bare_prefix = varied and class_token + register_tokens > 0 and _is_square(positions)
    scaled = has("gamma_1", "gamma_2") if format == "simmim" else varied and has("ls1.gamma")
    if facts and num_heads not in (None, facts.heads):
        raise StudyError(
            f"{facts.source} has {facts.heads} heads, not {num_heads}; remove heads from the arm"
        )
    settings: dict[str, Any] = dict(
        width=width,
        depth=max(blocks) + 1,
        heads=_heads(weights, format, width, facts.heads if facts else num_heads),
        patch_size=patch_size,
        # timm truncates width × ratio to an integer.
        mlp_ratio=hidden / width if hidden % width == 0 else (hidden + 0.5) / width,
        position="learned" if positions or format != "simmim" else "none",
        class_token=class_token,
        register_tokens=register_tokens,
        prefix_positions=not bare_prefix,
        relative_positions=format == "simmim" and (not positions or has("relative_position_bias_table")),
        qkv_bias=not (varied or format == "simmim") or has("qkv.bias", "q_bias", "v_bias"),
        qk_norm=varied and has("attn.q_norm.weight", "attn.k_norm.weight"),
        layer_scale=1.0 if scaled else None,  # initial value, which the file's values replace
        pre_norm=varied and has("norm_pre.weight"),
        pooled_norm=(varied or format in ("simmim", "mae")) and "fc_norm.weight" in tensors,
        # Encoders with a pre-norm come from CLIP and use PyTorch's default eps; all others use 1e-6.
        norm_eps=1e-5 if varied and has("norm_pre.weight") else 1e-6,
    )
    try:
        architecture = Architecture(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        raise StudyError(
            f"{weights.path}: {first['loc'][-1]} is {first['input']}: {first['msg']}; choose another file"
        ) from None
    return with_declared(architecture, facts) if facts else architecture


def _heads(weights: Weights, format: str, width: int, num_heads: int | None) -> int:
    """Return the number of heads, which few files show."""
    shown = None
    for name, value in weights.tensors.items():
        if name.endswith("relative_position_bias_table"):
            shown = value.shape[-1]
        elif name.endswith("attn.q_norm.weight"):
            shown = width // value.shape[-1]
    if shown and num_heads not in (None, shown):
        raise StudyError(f"{weights.path}: has {shown} heads, not {num_heads}; remove heads from the arm")
    published = HEADS | MOCO_V3_HEADS if format == "moco_v3" else HEADS
    heads = num_heads or shown or published.get(width)
    if heads is None and width % 64:
        raise StudyError(
            f"{weights.path}: the number of heads at width {width} is unknown; set num_heads "
            "(in params.yaml: heads)"
        )
    heads = heads or width // 64
    if width % heads:
        raise StudyError(f"{weights.path}: width {width} is not a multiple of {heads} heads; correct heads")
    return heads


def _trained_size(weights: Weights, architecture: Architecture) -> int:
    """Return the side in px of the images that the position embeddings were trained for."""
    if architecture.position == "learned":
        name, rows = "pos_embed", _shape(weights, "pos_embed", 3)[1]
        prefixed = architecture.class_token + architecture.register_tokens
        patches = rows - prefixed * architecture.prefix_positions
        grid = math.isqrt(max(patches, 0))
        fits = grid and grid**2 == patches
    else:
        # g patches along a side have 2g-1 displacements; the class token adds three rows.
        tables = [name for name in weights.tensors if name.endswith("relative_position_bias_table")]
        name = tables[0] if tables else SHARED_TABLE
        rows = _shape(weights, name, 2)[0]
        side = math.isqrt(max(rows - 3, 0))
        grid = (side + 1) // 2
        fits = side % 2 and side**2 == rows - 3 and grid <= MOST_PATCHES
    if not fits:
        most = f" of at most {MOST_PATCHES} × {MOST_PATCHES} patches" if grid > MOST_PATCHES else ""
        raise StudyError(
            f"{weights.path}: {weights.prefix}{name} has {rows} rows, which fit no square image{most}; "
            "choose another checkpoint"
        )
    return grid * architecture.patch_size


def _fitted(weights: Weights, expected: dict[str, Tensor], format: str) -> dict[str, Tensor]:
    """Return the tensors under the encoder's names.

    expected: the encoder's own tensors
    Raises StudyError, which names every key that is missing, unknown, not finite or of another shape.
    """
    fitted, missing, wrong, used = {}, [], [], set()
    for name, empty in expected.items():
        sources = _simmim_names(name, weights.tensors) if format == "simmim" else [name]
        used.update(sources)
        parts = [weights.tensors[source] for source in sources if source in weights.tensors]
        missing += [source for source in sources if source not in weights.tensors]
        # SimMIM has biases for queries and values only, because a bias of the keys does not change attention.
        shape = (empty.shape[0] // 3,) if len(sources) == 2 else tuple(empty.shape)
        unlike = [tuple(part.shape) for part in parts if part.shape != shape]
        wrong += [f"{sources[0]} is {other}, not {shape}" for other in unlike]
        if len(parts) == len(sources) and not unlike:
            first, last = parts[0].float(), parts[-1].float()
            fitted[name] = torch.cat([first, torch.zeros_like(first), last]) if len(parts) == 2 else first
    problems = {
        "missing": dict.fromkeys(missing),
        "unknown": [name for name in weights.tensors if name not in used],
        "of another shape": wrong,
        "not finite": [name for name, value in fitted.items() if not bool(torch.isfinite(value).all())],
    }
    lines = [
        f"{what}: {listed(weights.prefix + name for name in names)}"
        for what, names in problems.items()
        if names
    ]
    if lines:
        raise StudyError(
            f"{weights.path}: not a plain {format} encoder; {'; '.join(lines)}; check format, or choose "
            "another checkpoint"
        )
    return fitted


def _simmim_names(name: str, names: Iterable[str]) -> list[str]:
    """Return SimMIM's name of a tensor, or two names for the biases of query and value."""
    if name.endswith("attn.qkv.bias"):
        return [name.replace("qkv.bias", "q_bias"), name.replace("qkv.bias", "v_bias")]
    if name.endswith("relative_position_bias_table"):
        # The table is shared in pre-training; each block gets a copy, as in SimMIM's own fine-tuning.
        return [SHARED_TABLE if SHARED_TABLE in names else name.replace("attn.position.", "attn.")]
    return [name.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2")]


def _resize(encoder: VisionTransformer, image_size: int) -> None:
    """Resample absolute and relative positions with timm's functions."""
    encoder.set_input_size(img_size=(image_size, image_size))
    for block in encoder.blocks:
        if isinstance(block.attn, RelativeAttention):
            block.attn.position.set_window_size(encoder.patch_embed.grid_size)


def _shape(weights: Weights, name: str, dimensions: int) -> tuple[int, ...]:
    if name not in weights.tensors:
        raise StudyError(f"{weights.path}: {weights.prefix}{name} is missing; choose another checkpoint")
    shape = tuple(weights.tensors[name].shape)
    if len(shape) != dimensions:
        raise StudyError(
            f"{weights.path}: {weights.prefix}{name} has shape {shape}, not {dimensions} dimensions; "
            "choose another checkpoint"
        )
    return shape


def _is_square(number: int) -> bool:
    return math.isqrt(number) ** 2 == number
