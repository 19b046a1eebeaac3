"""What an objective is: a module of this folder with one `OBJECTIVE = Objective(...)`."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from timm.models.vision_transformer import VisionTransformer

from stages.encoders.architecture import Architecture
from stages.objectives.settings import Objectives
from stages.study.errors import ParamsError
from stages.study.settings import Arm
from stages.training.task import Artifacts, Task


class Build(Protocol):
    def __call__(
        self, encoder: VisionTransformer, *, arm: Arm, settings: Objectives, seed: int, classes: Sequence[int]
    ) -> Task:
        """A task around the encoder; what else it trains is initialised from the seed.

        classes: how many each label set has; empty unless the objective needs labels
        """


class Opened(NamedTuple):
    encoder: VisionTransformer
    architecture: Architecture
    artifacts: Artifacts  # what else of the file is of use
    about: dict[str, Any]  # what to note of it in encoder.json


class Open(Protocol):
    def __call__(self, arm: Arm, *, image_size: int) -> Opened:
        """The encoder of an arm from the file that the arm names, for images of image_size px."""


class Objective(NamedTuple):
    """What pre-trains an encoder, and what it declares so that nobody need look inside.

    The task of `build` has two methods besides those of every Task:
    views(images, *, normalize, draws) -> tensors of as many rows as images (B, 3, S, S) in [0, 1]: what the
        encoder is shown of them, normalised, random by `draws` alone; if the objective needs labels, and only
        then, it is given `labels` (B, label sets) too
    forward(*views) -> {"loss": scalar, and others to note by name}
    """

    build: Build | None = None  # None: nothing is trained
    opens: Open | None = None  # the encoder comes from a file, and not from a seed
    settings: tuple[str, ...] = ()  # the sections of objectives: that a training depends on
    needs_labels: bool = False
    shows_parts: bool = False  # the encoder sees small crops, or the visible patches of an image alone

    def check(self, *, arm: str, objective: str, position: str) -> None:
        """Raise ParamsError where an arm asks for positions that the objective cannot have."""
        if position == "relative" and self.shows_parts:
            raise ParamsError(
                f"params.yaml: arms.{arm}: position relative needs the whole image, of which objective "
                f"{objective} shows parts; choose sincos, learned or none"
            )
