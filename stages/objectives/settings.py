"""The settings of objectives in params.yaml, and their consistency with the images."""

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from stages.data.settings import WeakView
from stages.study.section import Count, Depth, Fraction, Positive, Section, Share, Width


class Contrastive(Section):
    temperature: Positive
    momentum: Fraction
    freeze_patch_embed: bool
    hidden_dim: Width
    output_dim: Width
    crop_scale_min: Annotated[float, Field(gt=0, le=1)]
    jitter_probability: Fraction
    jitter_strength: Annotated[float, Field(ge=0, le=2.5)]
    grey_probability: Fraction
    blur_probability: Fraction
    solarize_probability: Fraction


class Masked(WeakView):
    mask_ratio: Annotated[float, Field(gt=0, lt=1)]
    mask_unit: Count
    target_window: Annotated[int, Field(ge=3)] | None

    @model_validator(mode="after")
    def _has_a_centre(self) -> "Masked":
        if self.target_window is not None and not self.target_window % 2:
            raise ValueError(f"target_window {self.target_window} must be odd or null")
        return self


class Autoencoder(WeakView):
    mask_ratio: Annotated[float, Field(gt=0, lt=1)]
    normalize_target: bool
    decoder_width: Annotated[Width, Field(ge=4)]
    decoder_depth: Depth
    decoder_heads: Count

    @model_validator(mode="after")
    def _divisible(self) -> "Autoencoder":
        if self.decoder_width % self.decoder_heads:
            raise ValueError(
                f"decoder_width {self.decoder_width} must be a multiple of decoder_heads {self.decoder_heads}"
            )
        if self.decoder_width % 4:
            raise ValueError(
                f"decoder_width {self.decoder_width} must be a multiple of 4 for sincos positions"
            )
        return self


class Dino(Section):
    momentum: Fraction
    student_temperature: Positive
    teacher_temperature_start: Positive
    teacher_temperature: Positive
    teacher_temperature_warmup: Fraction
    center_momentum: Fraction
    freeze_last_layer: Fraction
    hidden_dim: Width
    bottleneck_dim: Width
    output_dim: Annotated[int, Field(ge=2, le=2**20)]
    global_scale_min: Annotated[float, Field(gt=0, le=1)]
    local_crops: Annotated[int, Field(ge=0, le=1000)]
    local_size: Count
    local_scale_min: Annotated[float, Field(gt=0, le=1)]
    local_scale_max: Annotated[float, Field(gt=0, le=1)]
    jitter_probability: Fraction
    jitter_strength: Annotated[float, Field(ge=0, le=2.5)]
    grey_probability: Fraction
    blur_probability: Fraction
    solarize_probability: Fraction

    @model_validator(mode="after")
    def _ordered(self) -> "Dino":
        if self.local_scale_min > self.local_scale_max:
            raise ValueError(
                f"local_scale_min {self.local_scale_min:g} must not exceed local_scale_max "
                f"{self.local_scale_max:g}"
            )
        return self


class Supervised(WeakView):
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]


class Latent(WeakView):
    """The settings of latent prediction; this section of params.yaml is optional."""

    crop_scale_min: Annotated[float, Field(gt=0, le=1)] = 0.3
    jitter_probability: Fraction = 0.0  # colour changes as under contrastive; none in the paper
    jitter_strength: Annotated[float, Field(ge=0, le=2.5)] = 1.0
    grey_probability: Fraction = 0.0
    momentum: Fraction = 0.996  # of the target encoder, rises to 1
    target_blocks: Count = 4
    target_scale: Share = 0.15  # share of the patches in each block; 0.15 to 0.2 in the paper
    normalize: Literal["image", "token"] = "image"  # of targets; token in the paper
    beta: Positive = 1.0  # of the smooth L1
    predictor_width: Annotated[Width, Field(ge=4)] = 32  # 384 in the paper
    predictor_depth: Depth = 2  # 6 in the paper, for 12 blocks
    predictor_heads: Count = 2

    def target_side(self, grid: int) -> int:
        """Return the side of a target block, in whole patches. grid: side of the image in patches"""
        return max(1, int(grid * math.sqrt(self.target_scale)))

    @model_validator(mode="after")
    def _divisible(self) -> "Latent":
        if self.predictor_width % self.predictor_heads or self.predictor_width % 4:
            raise ValueError(
                f"predictor_width {self.predictor_width} must be a multiple of 4 and of predictor_heads "
                f"{self.predictor_heads}"
            )
        return self


class Objectives(Section):
    contrastive: Contrastive
    masked: Masked
    autoencoder: Autoencoder
    dino: Dino
    supervised: Supervised
    latent: Latent = Latent()

    def check(self, *, used: set[str], image_size: int, patch_size: int) -> None:
        """Check the settings that also depend on the images.

        used:       names of the objectives of all arms
        image_size: px
        patch_size: px, divides image_size
        Raises ValueError with the key, its value and what is allowed.
        """
        grid = image_size // patch_size
        if grid % self.masked.mask_unit:
            raise ValueError(
                f"objectives.masked.mask_unit {self.masked.mask_unit} must divide {grid}, the number of "
                "patches along a side"
            )
        if "autoencoder" in used and math.ceil(self.autoencoder.mask_ratio * grid**2) == grid**2:
            raise ValueError(
                f"objectives.autoencoder.mask_ratio {self.autoencoder.mask_ratio} hides all "
                f"{grid**2} patches; lower it so that the encoder sees at least one"
            )
        hidden = self.latent.target_blocks * self.latent.target_side(grid) ** 2
        if "latent" in used and hidden >= grid**2:
            raise ValueError(
                f"objectives.latent.target_blocks {self.latent.target_blocks} of target_scale "
                f"{self.latent.target_scale} can hide all {grid**2} patches; lower one of them"
            )
        local_size = self.dino.local_size
        if "dino" in used and (local_size % patch_size or local_size > image_size):
            raise ValueError(
                f"objectives.dino.local_size {local_size} must be a multiple of vit.patch_size "
                f"{patch_size} and at most data.image_size {image_size}"
            )
