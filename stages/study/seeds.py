"""One place where randomness comes from: named streams derived from the seed of the study."""

import hashlib

import torch


def derive(seed: int, *names: str | int) -> int:
    """A seed for one named use, independent of every other name.

    returns: integer in [0, 2**63)
    """
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator for one named use."""
    return torch.Generator(device=device).manual_seed(derive(seed, *names))
