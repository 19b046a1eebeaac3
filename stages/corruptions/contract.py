"""What a corruption is: a module of this folder with one `CORRUPTION = Corruption(...)`."""

from typing import NamedTuple, Protocol

from torch import Tensor

from stages.corruptions.settings import CorruptionSettings
from stages.study.seeds import Draws


class Corrupt(Protocol):
    """Change images."""

    def __call__(
        self,
        images: Tensor,
        *,
        level: float,
        settings: CorruptionSettings,
        masks: Tensor | None,
        draws: Draws,
    ) -> Tensor:
        """The images (B, 3, S, S), changed; in [0, 1] or, with noise, beyond.

        images: (B, 3, S, S) in [0, 1]; level: one of the settings, above 0, in units of the corruption
        masks:  (B, S, S) of 0 and 1, the object's pixels; None where the data have none
        draws:  all that is random, the same for every level and arm
        Raises ValueError if the level does not fit images of this size.
        """


class Corruption(NamedTuple):
    """A change of images that an encoder was not trained for."""

    corrupt: Corrupt
    needs_masks: bool = False  # it is left out where the data do not say which pixels are the object's
