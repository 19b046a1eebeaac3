"""Published checkpoints as encoders of this study: which encoder a file holds, built and filled.

Sources, for what the files hold and how the encoders compute: facebookresearch/moco-v3 (vits.py,
moco/builder.py), microsoft/SimMIM (models/vision_transformer.py, models/simmim.py), facebookresearch/mae
(models_mae.py, models_vit.py), facebookresearch/dino (vision_transformer.py, utils.py), and timm's
vision_transformer.py.
"""

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from stages.encoders.architecture import Architecture, build_encoder
from stages.encoders.checkpoint_file import read_content
from stages.encoders.declared import Declared, declared, refuse_unlike, with_declared
from stages.encoders.relative import RelativeAttention
from stages.encoders.spelling import timm_names
from stages.encoders.weights_file import weights_file
from stages.encoders.wrappers import choose, encoders_in, inside, listed, project_of
from stages.study.errors import StudyError


class Format(NamedTuple):
    """What is known of the encoders of one project."""

    online: bool = False  # evaluated is the trained encoder, not an average of it
    varied: bool = False  # tensors may be there or not: what is there decides the architecture


FORMATS = {
    "moco_v3": Format(online=True),
    "simmim": Format(),
    "mae": Format(),
    "dino": Format(),  # iBOT's too
    "timm": Format(varied=True),  # DeiT, DINOv2, I-JEPA and MSN too, all under timm's names
    "transformers": Format(varied=True),
}
# Parts that no encoder of this study has: heads, projectors, what stands for masked patches, decoders.
LEFT_OUT = ("head.", "fc.", "attn_pool.", "mask_token", "masked_embed", "decoder", "pooler.", "pre_logits.")

# Everywhere else heads are 64 wide; these widths have 16 of them: SigLIP's two, ViT-H, -g and -G.
HEADS = {1152: 16, 1280: 16, 1408: 16, 1536: 16, 1664: 16}
MOCO_V3_HEADS = {384: 12}  # of ViT-S, so that all its encoders up to ViT-B have as many (vits.py)

SHARED_TABLE = "rel_pos_bias.relative_position_bias_table"


class Weights(NamedTuple):
    """The tensors of an encoder by their names in the file, less the prefix."""

    path: Path
    prefix: str
    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()  # what people should know of how the file was read


class Imported(NamedTuple):
    """An encoder from a file."""

    encoder: VisionTransformer
    architecture: Architecture
    notes: tuple[str, ...]


def load_checkpoint(
    path: Path | str, *, format: str, num_heads: int | None = None, image_size: int | None = None
) -> nn.Module:
    """The encoder in a published file, in evaluation mode: the online one, of DINO the teacher.

    format:     one of FORMATS
    num_heads:  None: what the file or its project says, else heads of 64
    image_size: px, to which positions are resampled; None: as trained
    Raises StudyError if the file cannot be read as weights alone, or naming the keys that do not fit.
    """
    return open_checkpoint(path, format=format, num_heads=num_heads, image_size=image_size).encoder


def open_checkpoint(
    path: Path | str, *, format: str, num_heads: int | None = None, image_size: int | None = None
) -> Imported:
    """Return the same, with the architecture that the file turned out to have, and notes for people.

    What no tensor shows (activation, heads, eps of the norms) is as the config.json beside the file says, and
    otherwise as in the project that the format names.
    """
    if format not in FORMATS:
        raise StudyError(f"format {format!r} is unknown; there are: {', '.join(FORMATS)}")
    path = weights_file(Path(path))
    weights = _encoder_in(path, format)
    said = declared(path) if FORMATS[format].varied else None
    architecture = _architecture(weights, format, num_heads, said)
    patch_size = architecture.patch_size
    if image_size is not None and (image_size < patch_size or image_size % patch_size):
        raise StudyError(f"{path}: its patches of {patch_size} px do not divide images of {image_size} px")
    trained_size = _trained_size(weights, architecture)
    encoder = build_encoder(vit=architecture, image_size=trained_size, seed=0)
    if said is not None:
        refuse_unlike(encoder, said)
    encoder.load_state_dict(_fitted(weights, encoder.state_dict(), format))
    if image_size is not None and image_size != trained_size:
        _resize(encoder, image_size)
    notes = weights.notes
    if FORMATS[format].varied and said is None:
        notes += (
            f"no config.json beside it names the architecture: GELU, eps {architecture.norm_eps:g} and "
            f"{architecture.heads} heads are assumed",
        )
    return Imported(encoder.eval(), architecture, notes)


def _encoder_in(path: Path, format: str) -> Weights:
    content = read_content(path)
    encoders = encoders_in(content)
    if not encoders:
        raise StudyError(f"{path}: not a {format} checkpoint: {inside(content)}")
    chosen = choose(encoders, online=FORMATS[format].online)
    if (project := project_of(chosen)) not in (None, format):
        raise StudyError(f"{path}: not a {format} checkpoint but one of {project}: set format: {project}")
    names = timm_names(chosen.tensors)
    tensors = {name: value for name, value in names.items() if not name.startswith(LEFT_OUT)}
    if format == "simmim":  # the index of displacements is computed, not learned
        tensors = {
            name: value for name, value in tensors.items() if not name.endswith("relative_position_index")
        }
    others = [other.name for other in encoders if other is not chosen]
    notes = (f"takes {chosen.name}, not {' or '.join(map(repr, others))}",) if others else ()
    return Weights(path, chosen.prefix, tensors, notes)


def _architecture(
    weights: Weights, format: str, num_heads: int | None, said: Declared | None
) -> Architecture:
    """Return what the names and shapes of the tensors say of the encoder, and what its config.json says."""
    tensors = weights.tensors
    width, _, patch_size, across = _shape(weights, "patch_embed.proj.weight", 4)
    hidden = _shape(weights, "blocks.0.mlp.fc1.weight", 2)[0]
    if patch_size != across:
        raise StudyError(f"{weights.path}: patches of {patch_size} × {across} px; only square ones are read")
    blocks = {int(found[1]) for name in tensors if (found := re.match(r"blocks\.(\d+)\.", name))}

    def has(*endings: str) -> bool:
        return any(name.endswith(endings) for name in tensors)

    # What only some files of a project have is looked for; the rest must be there.
    varied = FORMATS[format].varied
    class_token = not varied or "cls_token" in tensors
    register_tokens = tensors["reg_token"].shape[1] if varied and "reg_token" in tensors else 0
    positions = tensors["pos_embed"].shape[1] if "pos_embed" in tensors else 0
    # As many positions as patches is what timm calls no_embed_class.
    bare_prefix = varied and class_token + register_tokens > 0 and _is_square(positions)
    scaled = has("gamma_1", "gamma_2") if format == "simmim" else varied and has("ls1.gamma")
    if said and num_heads not in (None, said.heads):
        raise StudyError(f"{said.source} has {said.heads} heads, not {num_heads}; leave heads out")
    architecture = Architecture(
        width=width,
        depth=max(blocks) + 1,
        heads=_heads(weights, format, width, said.heads if said else num_heads),
        patch_size=patch_size,
        # timm cuts the product with the width down to a whole number.
        mlp_ratio=hidden / width if hidden % width == 0 else (hidden + 0.5) / width,
        position="learned" if positions or format != "simmim" else "none",
        class_token=class_token,
        register_tokens=register_tokens,
        prefix_positions=not bare_prefix,
        relative_positions=format == "simmim" and (not positions or has("relative_position_bias_table")),
        qkv_bias=not (varied or format == "simmim") or has("qkv.bias", "q_bias", "v_bias"),
        qk_norm=varied and has("attn.q_norm.weight", "attn.k_norm.weight"),
        layer_scale=1.0 if scaled else None,  # what it starts from, before the file's own values
        pre_norm=varied and has("norm_pre.weight"),
        pooled_norm=(varied or format in ("simmim", "mae")) and "fc_norm.weight" in tensors,
        # Those with a norm in front are CLIP's, with PyTorch's own; all others, in every project, have 1e-6.
        norm_eps=1e-5 if varied and has("norm_pre.weight") else 1e-6,
    )
    return with_declared(architecture, said) if said else architecture


def _heads(weights: Weights, format: str, width: int, num_heads: int | None) -> int:
    """The number of heads, which few files show."""
    said = None
    for name, value in weights.tensors.items():
        if name.endswith("relative_position_bias_table"):
            said = value.shape[-1]
        elif name.endswith("attn.q_norm.weight"):
            said = width // value.shape[-1]
    if said and num_heads not in (None, said):
        raise StudyError(f"{weights.path}: it has {said} heads, not {num_heads}; leave heads out")
    known = HEADS | MOCO_V3_HEADS if format == "moco_v3" else HEADS
    heads = num_heads or said or known.get(width)
    if heads is None and width % 64:
        raise StudyError(
            f"{weights.path}: of an encoder {width} wide the number of heads is not known; "
            "give num_heads (in params.yaml: heads)"
        )
    heads = heads or width // 64
    if width % heads:
        raise StudyError(f"{weights.path}: its width {width} is no multiple of {heads} heads")
    return heads


def _trained_size(weights: Weights, architecture: Architecture) -> int:
    """Pixels of a side of the images that the positions are for."""
    if architecture.position == "learned":
        name, rows = "pos_embed", _shape(weights, "pos_embed", 3)[1]
        prefixed = architecture.class_token + architecture.register_tokens
        patches = rows - prefixed * architecture.prefix_positions
        grid = math.isqrt(max(patches, 0))
        fits = grid and grid**2 == patches
    else:
        # A side of g patches has 2g-1 displacements; the class token has three of its own.
        tables = [name for name in weights.tensors if name.endswith("relative_position_bias_table")]
        name = tables[0] if tables else SHARED_TABLE
        rows = _shape(weights, name, 2)[0]
        side = math.isqrt(max(rows - 3, 0))
        fits = side % 2 and side**2 == rows - 3
        grid = (side + 1) // 2
    if not fits:
        raise StudyError(f"{weights.path}: {weights.prefix}{name} has {rows} rows, which no square image has")
    return grid * architecture.patch_size


def _fitted(weights: Weights, expected: dict[str, Tensor], format: str) -> dict[str, Tensor]:
    """The tensors under the names of the encoder to be filled.

    expected: what the encoder has
    Raises StudyError naming every key that is missing, unknown or of another shape.
    """
    found, missing, wrong, used = {}, [], [], set()
    for name, empty in expected.items():
        sources = _simmim_names(name, weights.tensors) if format == "simmim" else [name]
        used.update(sources)
        parts = [weights.tensors[source] for source in sources if source in weights.tensors]
        missing += [source for source in sources if source not in weights.tensors]
        # Of SimMIM's biases there are two: that of the keys, which changes no attention, is left out.
        shape = (empty.shape[0] // 3,) if len(sources) == 2 else tuple(empty.shape)
        unlike = [tuple(part.shape) for part in parts if part.shape != shape]
        wrong += [f"{sources[0]} is {other}, not {shape}" for other in unlike]
        if len(parts) == len(sources) and not unlike:
            first, last = parts[0].float(), parts[-1].float()
            found[name] = torch.cat([first, torch.zeros_like(first), last]) if len(parts) == 2 else first
    problems = {
        "missing": dict.fromkeys(missing),
        "unknown": [name for name in weights.tensors if name not in used],
        "of another shape": wrong,
        "not finite": [name for name, value in found.items() if not bool(torch.isfinite(value).all())],
    }
    said = [
        f"{what}: {listed(weights.prefix + name for name in names)}"
        for what, names in problems.items()
        if names
    ]
    if said:
        raise StudyError(f"{weights.path}: not the {format} encoder that it seems to be; {'; '.join(said)}")
    return found


def _simmim_names(name: str, names: Iterable[str]) -> list[str]:
    """What SimMIM calls a tensor of the encoder: one name, or two for the biases of query and value."""
    if name.endswith("attn.qkv.bias"):
        return [name.replace("qkv.bias", "q_bias"), name.replace("qkv.bias", "v_bias")]
    if name.endswith("relative_position_bias_table"):
        # Shared in pre-training; SimMIM's own fine-tuning gives every block a copy of it, and so does this.
        return [SHARED_TABLE if SHARED_TABLE in names else name.replace("attn.position.", "attn.")]
    return [name.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2")]


def _resize(encoder: VisionTransformer, image_size: int) -> None:
    """Resample the positions, absolute and relative, with timm's own functions."""
    encoder.set_input_size(img_size=(image_size, image_size))
    for block in encoder.blocks:
        if isinstance(block.attn, RelativeAttention):
            block.attn.position.set_window_size(encoder.patch_embed.grid_size)


def _shape(weights: Weights, name: str, dimensions: int) -> tuple[int, ...]:
    if name not in weights.tensors:
        raise StudyError(f"{weights.path}: {weights.prefix}{name} is missing")
    shape = tuple(weights.tensors[name].shape)
    if len(shape) != dimensions:
        raise StudyError(f"{weights.path}: {weights.prefix}{name} is {shape}, not of {dimensions} dimensions")
    return shape


def _is_square(number: int) -> bool:
    return math.isqrt(number) ** 2 == number
