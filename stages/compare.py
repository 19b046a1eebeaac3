"""Compare the blocks of all arms with each other by CKA: `python -m stages.compare`."""

import argparse
from itertools import combinations_with_replacement

import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor

from stages.study.command import run
from stages.study.device import chosen_device, pick_device
from stages.study.params import load_params
from stages.study.paths import COMPARISON, features_dir, features_name, trained_seeds, write_table
from stages.study.words import counted


def main() -> None:
    """Read the command line and compare the arms."""
    argparse.ArgumentParser(prog="python -m stages.compare", description=__doc__).parse_args()
    run("compare", compare, about=chosen_device, writes=COMPARISON)


def compare() -> str:
    """Write the linear CKA of all pairs of blocks of all arms, on the same held-out images.

    Encoders of the same seed are compared. Memory holds the features of two encoders at a time.
    """
    params = load_params(stage="compare")
    device = pick_device(params.runtime)
    seeds = {arm: trained_seeds(arm) for arm in params.arms}
    tables = []
    for seed in sorted(set().union(*seeds.values())):
        arms = [arm for arm in params.arms if seed in seeds[arm]]
        tables.append(compare_seed(arms, seed=seed, device=device))
    write_table(COMPARISON, pd.concat(tables))
    return f"{counted(len(params.arms), 'arm')}, {counted(len(tables), 'seed')}"


def compare_seed(arms: list[str], *, seed: int, device: torch.device) -> pd.DataFrame:
    """Return the CKA of all pairs of blocks of the encoders of one seed."""
    cka: dict[tuple[str, int, str, int], float] = {}
    for arm, other in combinations_with_replacement(arms, 2):
        if arm == other:
            left = right = kernels_of(arm, seed, device)
        else:
            right = kernels_of(other, seed, device)
        for block, kernel in enumerate(left):
            for other_block, other_kernel in enumerate(right):
                value = (kernel.T @ other_kernel).square().sum().item()
                cka[arm, block, other, other_block] = cka[other, other_block, arm, block] = value
    places = {(arm, block): None for arm, block, _, _ in cka}
    rows = [(seed, *place, *other, cka[*place, *other]) for place in places for other in places]
    return pd.DataFrame(rows, columns=["seed", "arm", "block", "other_arm", "other_block", "cka"])


def kernels_of(arm: str, seed: int, device: torch.device) -> list[Tensor]:
    """Return the normalised features (n, D) of every block of an encoder, starting with the embedding."""
    features = load_file(features_dir(arm, seed) / features_name("blocks", "test"), device=str(device))
    del features["image"]
    # In numerical order; as text, block 10 precedes block 2.
    return [unit_kernel(features[f"{block}"]) for block in range(len(features))]


def unit_kernel(features: Tensor) -> Tensor:
    """Return centred features whose linear kernel has norm 1; the CKA of two of them is ‖XᵀY‖².

    features: (n, D), one vector per image
    returns:  (n, D), zero if all vectors are equal
    Source: Kornblith et al. 2019, §3.
    """
    centred = features.float() - features.float().mean(dim=0)
    norm = torch.linalg.matrix_norm(centred.T @ centred)
    return torch.where(norm > 0, centred / norm.sqrt(), 0.0)


if __name__ == "__main__":
    main()
