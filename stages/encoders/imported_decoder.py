"""Load the decoder from a published MAE checkpoint; `imported.py` loads the encoder.

Source: facebookresearch/mae (models_mae.py), which publishes whole models only for its demonstration and
encoders for everything else.
"""

import math
from pathlib import Path

import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from stages.encoders.checkpoint_file import read_content, refuse_larger
from stages.encoders.decoder import Decoder
from stages.encoders.wrappers import choose, encoders_in, listed
from stages.study.errors import StudyError

HEADS = 16  # of every published decoder, all of width 512; the files do not show it
NAMES = {  # MAE's names for the parts of a Decoder
    "embed.": "decoder_embed.",
    "mask_token": "mask_token",
    "positions": "decoder_pos_embed",
    "blocks.": "decoder_blocks.",
    "norm.": "decoder_norm.",
    "pixels.": "decoder_pred.",
}


def open_decoder(path: Path | str, *, image_size: int | None = None) -> Decoder | None:
    """Load the decoder of an MAE file, in evaluation mode; return None if the file holds only an encoder.

    image_size: px; positions are resampled to it; None: the size of pre-training
    Raises StudyError if the file is unreadable or unsafe, or if keys do not fit, which it names.
    """
    path = Path(path)
    chosen = choose(encoders_in(read_content(path)), online=False)
    theirs = {
        name: value.float()
        for name, value in chosen.tensors.items()
        if name.startswith(tuple(NAMES.values()))
    }
    if not any(name.startswith("decoder_") for name in theirs):
        return None
    width, encoder_width = _shape(path, theirs, "decoder_embed.weight", 2)
    values = _shape(path, theirs, "decoder_pred.weight", 2)[0]
    rows = _shape(path, theirs, "decoder_pos_embed", 3)[1] - 1
    patch_size, grid = math.isqrt(values // 3), math.isqrt(max(rows, 0))
    if 3 * patch_size**2 != values or grid**2 != rows or width % HEADS:
        raise StudyError(
            f"{path}: not a decoder of MAE: {values} values per patch, {rows} positions and width {width} do "
            f"not match square RGB patches, square images and {HEADS} heads; choose another checkpoint"
        )
    blocks = {name.split(".")[1] for name in theirs if name.startswith("decoder_blocks.")}
    refuse_larger(path, len(blocks) * 12 * width**2 + width * encoder_width, theirs)
    decoder = Decoder(
        grid=grid,
        patch_size=patch_size,
        encoder_width=encoder_width,
        width=width,
        depth=len(blocks),
        heads=HEADS,
    )
    decoder.load_state_dict(_fitted(path, theirs, decoder.state_dict()))
    if image_size is not None and image_size != grid * patch_size:
        size = [image_size // patch_size] * 2
        resampled = resample_abs_pos_embed(decoder.positions[None], size, num_prefix_tokens=1)
        decoder.positions = resampled[0]
    return decoder.eval()


def _fitted(path: Path, theirs: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of an MAE decoder. Raises StudyError, which names every key that does not fit."""
    fitted, missing, wrong = {}, [], []
    unknown = set(theirs)
    for name, empty in expected.items():
        begins = next(begins for begins in NAMES if name.startswith(begins))
        source = NAMES[begins] + name.removeprefix(begins)
        unknown.discard(source)
        if source not in theirs:
            missing.append(source)
        # The mask token and the positions have leading dimensions of size 1.
        elif theirs[source].squeeze(0).squeeze(0).shape != empty.squeeze(0).shape:
            wrong.append(f"{source} is {tuple(theirs[source].shape)}, not of {tuple(empty.shape)} values")
        else:
            fitted[name] = theirs[source].reshape(empty.shape)
    problems = {"missing": missing, "unknown": sorted(unknown), "of another shape": wrong}
    lines = [f"{what}: {listed(names)}" for what, names in problems.items() if names]
    if lines:
        raise StudyError(
            f"{path}: not a complete decoder of MAE; {'; '.join(lines)}; choose another checkpoint"
        )
    return fitted


def _shape(path: Path, tensors: dict[str, Tensor], name: str, dimensions: int) -> torch.Size:
    if name not in tensors or tensors[name].dim() != dimensions:
        raise StudyError(f"{path}: not a complete decoder of MAE; missing: {name}; choose another checkpoint")
    return tensors[name].shape
