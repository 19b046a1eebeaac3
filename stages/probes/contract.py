"""What a probe is: a module of this folder with one `PROBE = Probe(...)`."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

from torch import Generator, Tensor

Features = dict[str, Tensor]  # pooling, block or "patches" -> (n, D), of patches (n, N, D)


class Outcome(NamedTuple):
    """What a probe predicts, once for each of what it varies."""

    predictions: dict[str, Tensor]  # variant -> predicted class (n,) of the test images
    choice: dict[str, float]  # variant -> the higher, the rather it is the one reported; never of test images
    details: dict[str, float]  # what else was chosen or counted, by name, for the metrics


class FitPredict(Protocol):
    """Fit a probe to the training images and predict the test images."""

    def __call__(
        self,
        train: Features,
        labels: Tensor,
        test: Features,
        *,
        classes: int,
        settings: Any,
        generator: Generator,
    ) -> Outcome:
        """What is predicted of one label set.

        train, test: features of the kind that the probe reads; labels: (n,) of the training images, on the
                     device of the features; classes: how many there are
        settings:    the probe's own section of params.yaml
        generator:   of this probe and label set, the same for every arm
        """


class Probe(NamedTuple):
    """How good frozen features are for a class, and by what protocol that is asked."""

    reads: Literal["pooled", "blocks", "tokens"]  # a kind of features/, see Features
    varies: str  # what its predictions differ in: pooling, block, share
    protocol: Callable[[Any], str]  # settings -> the protocol in words, to stand beside every number
    fit_predict: FitPredict
