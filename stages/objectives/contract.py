"""The contract of objectives: each is a module in this folder with one `OBJECTIVE = Objective(...)`."""

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
        """Return a task for the encoder; the seed initialises all other trained parts.

        classes: number of classes of each label set; empty unless the objective needs labels
        """


class Opened(NamedTuple):
    encoder: VisionTransformer
    architecture: Architecture
    artifacts: Artifacts  # other useful parts of the file
    about: dict[str, Any]  # facts for encoder.json


class Open(Protocol):
    def __call__(self, arm: Arm, *, image_size: int) -> Opened:
        """Load the encoder of an arm from the arm's file, for images of image_size px."""


class Objective(NamedTuple):
    """A pre-training method and its declared properties.

    The task that `build` returns has two methods besides those of every Task:
    views(images, *, normalize, draws) -> normalised inputs of the encoder, tensors with one row per image.
        images: (B, 3, S, S) in [0, 1], or photographs (stages/data/photograph_views.py); all randomness comes
        from `draws`. Only an objective that needs labels also receives `labels` (B, label sets)
    forward(*views) -> {"loss": scalar, ...} with further values to record by name
    """

    build: Build | None = None  # None: nothing is trained
    opens: Open | None = None  # loads the encoder from a file; None: the encoder is initialised from a seed
    settings: tuple[str, ...] = ()  # sections of objectives: that a training depends on
    needs_labels: bool = False
    shows_parts: bool = False  # the encoder sees small crops, or only the visible patches of an image

    def check(self, *, arm: str, objective: str, position: str) -> None:
        """Raise ParamsError if an arm has positions that do not work with its objective."""
        if position == "relative" and self.shows_parts:
            raise ParamsError(
                f"params.yaml: arms.{arm}: position relative needs whole images, but objective {objective} "
                "shows parts of them; choose sincos, learned or none"
            )
