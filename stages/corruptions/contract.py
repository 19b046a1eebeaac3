"""The contract of a corruption: a module of this folder that defines `CORRUPTION = Corruption(...)`."""

from typing import NamedTuple, Protocol

from torch import Tensor

from stages.corruptions.settings import CorruptionSettings
from stages.study.seeds import Draws


class Corrupt(Protocol):
    """Corrupt images."""

    def __call__(
        self,
        images: Tensor,
        *,
        level: float,
        settings: CorruptionSettings,
        masks: Tensor | None,
        draws: Draws,
    ) -> Tensor:
        """Return the corrupted images (B, 3, S, S), in [0, 1] or, with noise, beyond.

        images: (B, 3, S, S) in [0, 1]
        level:  one of the levels in the settings, above 0, in units of the corruption
        masks:  (B, S, S), 1 for object pixels, else 0; None if the data set has no masks
        draws:  the source of all randomness, the same for every level and arm
        Raises ValueError if the level does not fit images of this size.
        """


class Corruption(NamedTuple):
    """A change of test images that no encoder is trained for."""

    corrupt: Corrupt
    needs_masks: bool = False  # True: skipped for data sets without object masks
