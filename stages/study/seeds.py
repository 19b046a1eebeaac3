"""The single source of randomness: named streams derived from the study's seed."""

import hashlib

import torch
from torch import Tensor


def derive(seed: int, *names: str | int) -> int:
    """Return a seed for one named use, independent of all other names: an integer in [0, 2**63)."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a torch generator for one named use."""
    return torch.Generator(device=device).manual_seed(derive(seed, *names))


class Draws:
    """Random numbers for some rows of a batch, equal to those that a process with the whole batch would draw.

    An image is therefore augmented the same way however many processes share its batch.
    """

    def __init__(self, generator: torch.Generator, *, batch: int, rows: slice = slice(None)) -> None:
        self.generator = generator
        self.batch = batch  # rows of the whole batch
        self.rows = rows  # rows of this process

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Return independent draws from [low, high), shape (rows, *shape), on the generator's device."""
        whole = torch.rand(self.batch, *shape, generator=self.generator, device=self.generator.device)
        return low + (high - low) * whole[self.rows]

    def seed(self) -> int:
        """Return a seed in [0, 2**31) that all processes share, for a library with its own generator."""
        return int(torch.randint(2**31, (), generator=self.generator, device=self.generator.device))
