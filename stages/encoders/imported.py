"""Published checkpoints: the files of MoCo v3, SimMIM, MAE, DINO and timm as encoders of this study.

Sources, for what the files hold and how the encoders compute: facebookresearch/moco-v3 (vits.py,
moco/builder.py), microsoft/SimMIM (models/vision_transformer.py, models/simmim.py), facebookresearch/mae
(models_mae.py, models_vit.py), facebookresearch/dino (vision_transformer.py, utils.py), and timm's
vision_transformer.py.
"""

import math
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from stages.encoders.architecture import Architecture, build_encoder
from stages.encoders.relative import RelativeAttention
from stages.study.errors import StudyError


class Format(NamedTuple):
    """Where in the files of one project the encoder is."""

    entry: str | None  # what the file calls the weights; a file of the weights alone is read as well
    prefixes: tuple[str, ...]  # before the names of the encoder; the first that the file has is taken
    left_out: tuple[str, ...]  # how the names of everything else begin, with the prefix or without it


FORMATS = {
    # A pre-training file, then that of a linear probe.
    "moco_v3": Format(
        "state_dict",
        ("module.base_encoder.", "module."),
        ("head.", "module.momentum_encoder.", "module.predictor."),
    ),
    # A pre-training file, then a fine-tuned one.
    "simmim": Format("model", ("encoder.", ""), ("head.", "mask_token", "decoder.")),
    "mae": Format("model", ("",), ("head.", "mask_token", "decoder_")),
    # The teacher of a whole training, distributed or not, then the backbone alone.
    "dino": Format("teacher", ("backbone.", "module.backbone.", "module.", ""), ("head.", "module.head.")),
    "timm": Format(None, ("",), ("head.", "attn_pool.")),
}

# Everywhere else heads are 64 wide; these widths have 16 of them: SigLIP's two, ViT-H, -g and -G.
HEADS = {1152: 16, 1280: 16, 1408: 16, 1536: 16, 1664: 16}
MOCO_V3_HEADS = {384: 12}  # of ViT-S, so that all its encoders up to ViT-B have as many (vits.py)

SHARED_TABLE = "rel_pos_bias.relative_position_bias_table"


class Weights(NamedTuple):
    """The tensors of an encoder by their names in the file, less the prefix."""

    path: Path
    prefix: str
    tensors: dict[str, Tensor]


def load_checkpoint(
    path: Path | str, *, format: str, num_heads: int | None = None, image_size: int | None = None
) -> nn.Module:
    """The encoder in a published file, in evaluation mode: the online one, of DINO the teacher.

    format:     moco_v3, simmim, mae, dino or timm
    num_heads:  None: what the file or its project says, else heads of 64
    image_size: px, to which positions are resampled; None: as trained
    The MLPs are taken to have the exact GELU and the norms to stand before attention and MLP: no file shows
    it, and a few of timm's (SigLIP with tanh, CLIP with quickgelu, *_rpn) differ.
    Raises StudyError if the file cannot be read as weights alone, or naming the keys that do not fit.
    """
    return open_checkpoint(path, format=format, num_heads=num_heads, image_size=image_size)[0]


def open_checkpoint(
    path: Path | str, *, format: str, num_heads: int | None = None, image_size: int | None = None
) -> tuple[VisionTransformer, Architecture]:
    """The same, with the architecture that the file turned out to have."""
    if format not in FORMATS:
        raise StudyError(f"format {format!r} is unknown; there are: {', '.join(FORMATS)}")
    weights = _encoder_in(Path(path), format)
    architecture = _architecture(weights, format, num_heads)
    patch_size = architecture.patch_size
    if image_size is not None and (image_size < patch_size or image_size % patch_size):
        raise StudyError(f"{path}: its patches of {patch_size} px do not divide images of {image_size} px")
    trained_size = _trained_size(weights, architecture)
    encoder = build_encoder(vit=architecture, image_size=trained_size, seed=0)
    encoder.load_state_dict(_fitted(weights, encoder.state_dict(), format))
    if image_size is not None and image_size != trained_size:
        _resize(encoder, image_size)
    return encoder.eval(), architecture


class Unread:
    """Stands in for the settings and numbers beside the weights, which nothing here looks at."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


# What the projects' own files hold besides tensors: argparse.Namespace (MoCo v3, MAE, DINO), the scheduled
# rates of DINO, which are numpy numbers, and the configuration of SimMIM, a dictionary of yacs.
STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (Unread, "argparse.Namespace"),
    (Unread, "numpy.dtype"),
    (Unread, "numpy.core.multiarray.scalar"),
    (Unread, "numpy._core.multiarray.scalar"),
    (OrderedDict, "yacs.config.CfgNode"),
]


def _read(path: Path) -> Any:
    """What the file holds; of a pickle only tensors and plain values, and nothing in it is called."""
    if not path.is_file():
        raise StudyError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(STAND_INS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the age of the pickle
            # Mapped, so that the state of the optimiser, two thirds of many files, is not read.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if wanted := re.search(r"GLOBAL (\S+)", str(error)):
            raise StudyError(
                f"{path}: refused, because reading it would run {wanted[1]}; where you trust it, load it and "
                "save its weights alone with torch.save or safetensors"
            ) from None
        raise StudyError(f"{path}: not a file of torch.save with nothing but weights") from None
    except Exception as error:  # torch and safetensors raise many kinds for what is not theirs
        reason = " ".join(str(error).split())[:120]
        raise StudyError(f"{path}: cannot be read as weights ({type(error).__name__}: {reason})") from None


def read_entries(path: Path, format: str) -> dict[str, Any]:
    """What a published file holds where its project keeps the weights, by the names that it has there.

    Raises StudyError if the file cannot be read as weights alone.
    """
    content = _read(path)
    found = content.get(FORMATS[format].entry, content) if isinstance(content, dict) else {}
    return {str(name): value for name, value in found.items()} if isinstance(found, dict) else {}


def _encoder_in(path: Path, format: str) -> Weights:
    _, prefixes, left_out = FORMATS[format]
    found = read_entries(path, format)
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    prefix = next((prefix for prefix in prefixes if f"{prefix}patch_embed.proj.weight" in tensors), None)
    if prefix is None:
        raise StudyError(
            f"{path}: not a {format} checkpoint: {prefixes[0]}patch_embed.proj.weight is missing; "
            f"there are: {listed(found) or 'no names'}"
        )
    own = {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if not name.startswith(left_out) and not name.removeprefix(prefix).startswith(left_out)
    }
    if format == "simmim":  # the index of displacements is computed, not learned
        own = {name: value for name, value in own.items() if not name.endswith("relative_position_index")}
    return Weights(path, prefix, own)


def _architecture(weights: Weights, format: str, num_heads: int | None) -> Architecture:
    """What the names and shapes of the tensors say of the encoder."""
    tensors = weights.tensors
    width, _, patch_size, across = _shape(weights, "patch_embed.proj.weight", 4)
    hidden = _shape(weights, "blocks.0.mlp.fc1.weight", 2)[0]
    if patch_size != across:
        raise StudyError(f"{weights.path}: patches of {patch_size} × {across} px; only square ones are read")
    blocks = {int(found[1]) for name in tensors if (found := re.match(r"blocks\.(\d+)\.", name))}

    def has(*endings: str) -> bool:
        return any(name.endswith(endings) for name in tensors)

    # What only some files of a project have is looked for; the rest must be there.
    varied = format == "timm"
    class_token = not varied or "cls_token" in tensors
    register_tokens = tensors["reg_token"].shape[1] if varied and "reg_token" in tensors else 0
    positions = tensors["pos_embed"].shape[1] if "pos_embed" in tensors else 0
    # As many positions as patches is what timm calls no_embed_class.
    bare_prefix = varied and class_token + register_tokens > 0 and _is_square(positions)
    scaled = has("gamma_1", "gamma_2") if format == "simmim" else varied and has("ls1.gamma")
    return Architecture(
        width=width,
        depth=max(blocks) + 1,
        heads=_heads(weights, format, width, num_heads),
        patch_size=patch_size,
        # timm cuts the product with the width down to a whole number.
        mlp_ratio=hidden / width if hidden % width == 0 else (hidden + 0.5) / width,
        position="learned" if positions or format != "simmim" else "none",
        class_token=class_token,
        register_tokens=register_tokens,
        prefix_positions=not bare_prefix,
        relative_positions=format == "simmim" and (not positions or has("relative_position_bias_table")),
        qkv_bias=format not in ("simmim", "timm") or has("qkv.bias", "q_bias", "v_bias"),
        qk_norm=varied and has("attn.q_norm.weight", "attn.k_norm.weight"),
        layer_scale=1.0 if scaled else None,  # what it starts from, before the file's own values
        pre_norm=varied and has("norm_pre.weight"),
        pooled_norm=format in ("simmim", "mae", "timm") and "fc_norm.weight" in tensors,
        # Those with a norm in front are CLIP's, with PyTorch's own; all others, in every project, have 1e-6.
        norm_eps=1e-5 if varied and has("norm_pre.weight") else 1e-6,
    )


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


def listed(names: Iterable[str], most: int = 8) -> str:
    """The first names for people, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
