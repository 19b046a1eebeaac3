"""Compare every block of every arm with those of all arms: `python -m stages.compare`."""

import argparse
from itertools import combinations_with_replacement

import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor

from stages.study.command import run
from stages.study.device import chosen_device, pick_device
from stages.study.params import load_params
from stages.study.paths import COMPARISON, features_dir, features_name, write_text


def main() -> None:
    """Read the command line and compare."""
    argparse.ArgumentParser(prog="python -m stages.compare", description=__doc__).parse_args()
    run("compare", compare, about=chosen_device, writes=COMPARISON)


def compare() -> str:
    """Write the linear CKA of all pairs of blocks of all arms, on the same held-out images.

    The features of two arms are in memory at a time.
    """
    params = load_params(stage="compare")
    device = pick_device(params.runtime)
    alike: dict[tuple[str, int, str, int], float] = {}
    for arm, other in combinations_with_replacement(params.arms, 2):
        if arm == other:
            left = right = kernels_of(arm, device)
        else:
            right = kernels_of(other, device)
        for block, kernel in enumerate(left):
            for other_block, other_kernel in enumerate(right):
                value = (kernel.T @ other_kernel).square().sum().item()
                alike[arm, block, other, other_block] = alike[other, other_block, arm, block] = value
    places = {(arm, block): None for arm, block, _, _ in alike}
    rows = [(*place, *other, alike[*place, *other]) for place in places for other in places]
    columns = ["arm", "block", "other_arm", "other_block", "cka"]
    table = pd.DataFrame(rows, columns=columns)
    write_text(COMPARISON, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    return f"{len(places)} blocks of {len(params.arms)} arms on {len(left[0])} images"


def kernels_of(arm: str, device: torch.device) -> list[Tensor]:
    """The features (n, D) of every block of an arm as `unit_kernel` gives them, from the embedding on."""
    features = load_file(features_dir(arm) / features_name("blocks", "test"), device=str(device))
    del features["image"]
    # By number: as words, block 10 would come before block 2.
    return [unit_kernel(features[f"{block}"]) for block in range(len(features))]


def unit_kernel(features: Tensor) -> Tensor:
    """Centred features whose linear kernel has norm 1, so that the CKA of two of them is ‖XᵀY‖².

    features: (n, D), a vector of each image
    returns:  (n, D), zero where all images have the same vector
    Source: Kornblith et al. 2019, §3.
    """
    centred = features.float() - features.float().mean(dim=0)
    norm = torch.linalg.matrix_norm(centred.T @ centred)
    return torch.where(norm > 0, centred / norm.sqrt(), 0.0)


if __name__ == "__main__":
    main()
