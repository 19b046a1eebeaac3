"""Compare every block of every arm with those of all arms: `python -m stages.compare`."""

import argparse
from itertools import product

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
    """Write the linear CKA of all pairs of blocks of all arms, on the same held-out images."""
    params = load_params(stage="compare")
    device = pick_device(params.runtime)
    kernels: dict[tuple[str, int], Tensor] = {}
    for arm in params.arms:
        features = load_file(features_dir(arm) / features_name("blocks", "test"), device=str(device))
        images = len(features.pop("image"))
        # By number: as words, block 10 would come before block 2.
        kernels |= {(arm, block): unit_kernel(features[f"{block}"]) for block in range(len(features))}
    rows = [
        (arm, block, other_arm, other_block, (left.T @ right).square().sum().item())
        for ((arm, block), left), ((other_arm, other_block), right) in product(kernels.items(), repeat=2)
    ]
    columns = ["arm", "block", "other_arm", "other_block", "cka"]
    table = pd.DataFrame(rows, columns=columns)
    write_text(COMPARISON, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    return f"{len(kernels)} blocks of {len(params.arms)} arms on {images} images"


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
