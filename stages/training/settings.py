"""The settings of all trainings in params.yaml."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from stages.study.names import Name
from stages.study.section import (
    MOST,
    Batch,
    Count,
    DropPath,
    NonNegative,
    Positive,
    Precision,
    Section,
    Share,
)


class Pretrain(Section):
    epochs: Annotated[int, Field(ge=0, le=MOST)]
    batch_size: Batch
    lr: Positive
    lr_scaling_batch: Literal[256, 512] | None
    min_lr: NonNegative
    schedule: Literal["cosine", "multistep"]
    milestone: Share
    weight_decay: NonNegative
    weight_decay_end: NonNegative | None
    decay_all: bool
    beta2: Share
    warmup_epochs: NonNegative
    clip_grad: Positive | None
    drop_path: DropPath
    precision: Precision
    snapshots: list[Share]  # shares of the training after which a copy of the encoder is saved

    @property
    def peak_lr(self) -> float:
        """Return the highest learning rate of the training, at its batch size."""
        return self.lr * self.batch_size / self.lr_scaling_batch if self.lr_scaling_batch else self.lr

    @model_validator(mode="after")
    def _ordered(self) -> "Pretrain":
        if self.min_lr > self.peak_lr:
            scaled = ", which is lr × batch_size / lr_scaling_batch" if self.lr_scaling_batch else ""
            raise ValueError(
                f"min_lr {self.min_lr:g} exceeds the peak rate {self.peak_lr:g}{scaled}; lower min_lr"
            )
        if self.weight_decay_end is not None and self.weight_decay == 0:
            raise ValueError(
                "weight_decay_end needs a weight_decay above 0; raise weight_decay or leave the end empty"
            )
        names = {f"{share:g}" for share in self.snapshots}  # of their folders, with six digits
        if self.snapshots != sorted(self.snapshots) or len(names) < len(self.snapshots):
            raise ValueError(f"snapshots {self.snapshots} must rise; sort them and remove duplicates")
        return self


class LinearAugmented(Section):
    """A linear probe on augmented images, for the listed arms only."""

    arms: list[Name]
    epochs: Count
    batch_size: Batch
    learning_rates: Annotated[list[Positive], Field(min_length=1)]
    crop_scale_min: Annotated[float, Field(gt=0, le=1)]
    validation_fraction: Share
    precision: Precision

    @property
    def peak_lr(self) -> float:
        """Return the initial rate of the head with the highest rate, at its batch size."""
        return max(self.learning_rates) * self.batch_size / 256

    # No publication uses weight decay, warm-up or clipping here.
    weight_decay: ClassVar[float] = 0.0
    warmup_epochs: ClassVar[float] = 0.0
    clip_grad: ClassVar[float | None] = None


Pooling = Literal["mean", "token"]  # of the patch tokens; the class token


class Finetune(Section):
    poolings: Annotated[list[Pooling], Field(min_length=1)]
    validation_fraction: Share
    train_images: Count | None
    head: Literal["new", "linear_probe"]
    epochs: Count
    batch_size: Batch
    lr: Positive
    weight_decay: NonNegative
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    warmup_epochs: NonNegative
    drop_path: DropPath
    crop_scale_min: Annotated[float, Field(gt=0, le=1)]
    mixup: NonNegative
    cutmix: NonNegative
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    randaugment: Annotated[str, Field(pattern=r"^rand(-(m|n|p|mstd|mmax|inc)[0-9.]+)*$")] | None
    clip_grad: Positive
    precision: Precision

    @property
    def peak_lr(self) -> float:
        """Return the highest learning rate of the training, at its batch size."""
        return self.lr

    @field_validator("poolings")
    @classmethod
    def _differ(cls, poolings: list[Pooling]) -> list[Pooling]:
        if len(set(poolings)) < len(poolings):
            raise ValueError(f"poolings {poolings} must differ; remove the duplicates")
        return poolings
