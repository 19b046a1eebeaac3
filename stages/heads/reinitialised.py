"""Fine-tuned encoders with one block reset to its initial weights, to test which blocks matter.

Source: Zhang, Bengio & Singer 2019, "Are all layers created equal?" (re-initialisation).
"""

import copy
from collections.abc import Iterator
from pathlib import Path

import torch
from timm.models.vision_transformer import VisionTransformer

from stages.encoders.architecture import Architecture, build_encoder
from stages.study.paths import read_json
from stages.study.seeds import derive


def initial_encoder(directory: Path) -> VisionTransformer:
    """Return the encoder of an arm before any training, in evaluation mode.

    directory: out of the pre-training. For an imported encoder, the result is a random one of the same
               architecture
    """
    about = read_json(directory / "encoder.json")
    vit = Architecture.model_validate(about["vit"])
    seed = derive(about["seed"], "init")  # the seed from which pre-training starts
    return build_encoder(vit=vit, image_size=about["image_size"], seed=seed).eval()


def reinitialised(
    tuned: VisionTransformer, initial: VisionTransformer
) -> Iterator[tuple[int, VisionTransformer]]:
    """Reset one block after another to its initial weights.

    yields: number of the block, from 1, and a copy of `tuned` with this block of `initial`
    """
    for number, block in enumerate(initial.blocks, start=1):
        changed = copy.deepcopy(tuned)
        with torch.no_grad():
            changed.blocks[number - 1].load_state_dict(block.state_dict())
        yield number, changed
