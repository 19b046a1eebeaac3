"""The contract of a probe: a module of this folder that defines `PROBE = Probe(...)`."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

from torch import Generator, Tensor

Features = dict[str, Tensor]  # pooling or block -> (n, D); "patches" -> (n, N, D)


class Outcome(NamedTuple):
    """The predictions of a probe, one for each variant."""

    predictions: dict[str, Tensor]  # variant -> predicted class (n,) of the test images
    choice: dict[str, float]  # variant -> score; the highest is reported. Never computed from test images
    details: dict[str, float]  # other chosen values and counts, by name, for the metrics


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
        """Return the predictions for one label set.

        train, test: features of the kind that the probe reads
        labels:      (n,) of the training images, on the device of the features
        classes:     number of classes
        settings:    the probe's section of params.yaml
        generator:   random numbers of this probe and label set, the same for every arm
        """


class Probe(NamedTuple):
    """A classifier on frozen features, with its protocol in words."""

    reads: Literal["pooled", "blocks", "tokens"]  # the kind of features, see Features
    varies: str  # what the variants are: pooling, block, share
    protocol: Callable[[Any], str]  # settings -> the protocol in words, as printed beside every number
    fit_predict: FitPredict
