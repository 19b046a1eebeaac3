"""The tensors of the encoder in a published checkpoint, whatever else the file holds."""

from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from stages.encoders.checkpoint_file import read_content
from stages.encoders.spelling import timm_names
from stages.encoders.wrappers import choose, encoders_in, inside, project_of
from stages.study.errors import StudyError


class Format(NamedTuple):
    """Properties of the encoders of one project."""

    online: bool = False  # the authors evaluate the trained encoder, not its moving average
    varied: bool = False  # some tensors are optional, and their presence decides the architecture


FORMATS = {
    "moco_v3": Format(online=True),
    "simmim": Format(),
    "mae": Format(),
    "dino": Format(),  # also iBOT
    "timm": Format(varied=True),  # also DeiT, DINOv2, I-JEPA and MSN, in timm's names
    "transformers": Format(varied=True),
}

# Parts that no encoder of this study has: heads, projectors, mask tokens, decoders.
LEFT_OUT = ("head.", "fc.", "attn_pool.", "mask_token", "masked_embed", "decoder", "pooler.", "pre_logits.")


class Weights(NamedTuple):
    """The tensors of an encoder by their names in the file, without the prefix."""

    path: Path
    prefix: str
    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()  # choices made while reading, for the user


def encoder_in(path: Path, format: str) -> Weights:
    """Return the tensors of the encoder in a checkpoint, by timm's names.

    Raises StudyError if the file has no encoder, or one of another project.
    """
    content = read_content(path)
    encoders = encoders_in(content)
    if not encoders:
        raise StudyError(f"{path}: not a {format} checkpoint: {inside(content)}")
    chosen = choose(encoders, online=FORMATS[format].online)
    if (project := project_of(chosen)) not in (None, format):
        raise StudyError(f"{path}: a {project} checkpoint, not {format}; set format: {project}")
    names = timm_names(chosen.tensors)
    tensors = {name: value for name, value in names.items() if not name.startswith(LEFT_OUT)}
    if format == "simmim":  # the index of relative positions is computed, not learned
        tensors = {
            name: value for name, value in tensors.items() if not name.endswith("relative_position_index")
        }
    others = [other.name for other in encoders if other is not chosen]
    notes = (f"takes {chosen.name}, not {' or '.join(map(repr, others))}",) if others else ()
    return Weights(path, chosen.prefix, tensors, notes)
