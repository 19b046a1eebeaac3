"""The settings of probes in params.yaml, one class each."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from stages.study.section import Batch, Count, NonNegative, Positive, Section, Share


class Knn(Section):
    k: Count
    temperature: Positive


class Linear(Section):
    epochs: Count
    batch_size: Batch
    learning_rates: Annotated[list[Positive], Field(min_length=1)]
    validation_fraction: Annotated[float, Field(gt=0, lt=1)]


class Layerwise(Linear):
    """Settings of the linear probe of every block."""


class FewShot(Section):
    shares: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)]
    l2: Positive


class Attentive(Section):
    heads: Count
    epochs: Count
    batch_size: Batch
    learning_rates: Annotated[list[Positive], Field(min_length=1)]
    weight_decay: NonNegative
    validation_fraction: Annotated[float, Field(gt=0, lt=1)]


class ClassMean(Section):
    unit_length: bool


class Probes(Section):
    """The probes of a study. Only `knn` and `linear` are required; delete a section to skip its probe."""

    knn: Knn
    linear: Linear
    layerwise: Layerwise = Field(default=None)  # type: ignore[assignment]
    few_shot: FewShot = Field(default=None)  # type: ignore[assignment]
    attentive: Attentive = Field(default=None)  # type: ignore[assignment]
    class_mean: ClassMean = Field(default=None)  # type: ignore[assignment]

    def __iter__(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]  # pydantic says generator
        """Yield name and settings of every probe of the study."""
        return ((name, settings) for name, settings in super().__iter__() if settings is not None)


class Segmentation(Section):
    train_images: Annotated[int, Field(ge=2)]
    test_images: Count
    epochs: Count
    batch_size: Count
    learning_rates: Annotated[list[Positive], Field(min_length=1)]
    validation_fraction: Share
    bank: Count
    k: Count
    temperature: Positive
    finetune_epochs: Count
