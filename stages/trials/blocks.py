"""Which blocks matter: held-out images seen by an encoder that has lost what one of its blocks learnt.

Source: Zhang, Bengio & Singer 2019, "Are all layers created equal?": re-initialisation.
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
    """The encoder of an arm as it was before any training, in evaluation mode.

    directory: the out of its pre-training; of an imported encoder it is one of the same form, from the seed
    """
    about = read_json(directory / "encoder.json")
    vit = Architecture.model_validate(about["vit"])
    seed = derive(about["seed"], "init")  # the very one that pre-training starts from
    return build_encoder(vit=vit, image_size=about["image_size"], seed=seed).eval()


def reinitialised(
    tuned: VisionTransformer, initial: VisionTransformer
) -> Iterator[tuple[int, VisionTransformer]]:
    """The encoder with one block after another as it was before training, and the number of the block.

    yields: block, from 1, and a copy of `tuned` in which it is that of `initial`
    """
    for number, block in enumerate(initial.blocks, start=1):
        changed = copy.deepcopy(tuned)
        with torch.no_grad():
            changed.blocks[number - 1].load_state_dict(block.state_dict())
        yield number, changed
