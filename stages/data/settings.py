"""What params.yaml may hold of images and of their augmentation."""

from typing import Annotated

from pydantic import Field, model_validator

from stages.study.section import Count, Fraction, Section


class ShapesTextures(Section):
    train_images: Count
    test_images: Count
    size_min: Annotated[float, Field(gt=0, le=1)]
    size_max: Annotated[float, Field(gt=0, le=1)]
    rotation: Annotated[float, Field(ge=0, le=180)]
    shift: Annotated[float, Field(ge=0, le=0.5)]
    colour: Fraction
    clutter: Fraction
    contrast: Annotated[float, Field(ge=0, le=0.5)]
    texture_contrast: Annotated[float, Field(gt=0, le=0.5)]

    @model_validator(mode="after")
    def _ordered(self) -> "ShapesTextures":
        if self.size_min > self.size_max:
            raise ValueError("size_min must not exceed size_max")
        return self


class Masks(Section):
    source: Annotated[str, Field(min_length=1)]
    test_source: str | None = None
    object: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None
    ignored: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    turned: bool | None = None  # whether EXIF of an image turns its mask too; null: as their sizes say

    @model_validator(mode="after")
    def _apart(self) -> "Masks":
        if both := set(self.object or ()) & set(self.ignored):
            raise ValueError(f"object and ignored must not share values, but share {sorted(both)}")
        return self


class Data(Section):
    source: Annotated[str, Field(min_length=1)]
    test_source: str | None
    root: str | None
    test_fraction: Annotated[float, Field(gt=0, lt=1)]
    image_size: Annotated[int, Field(ge=8, le=1024)]
    max_train_images: Count | None
    max_test_images: Count | None
    max_unreadable: Fraction
    value_range: tuple[float, float] | None = None  # black and white of more than 8 bits; null: see deep.py
    masks: Masks | None
    shapes_textures: ShapesTextures

    @model_validator(mode="after")
    def _rises(self) -> "Data":
        if self.value_range and not self.value_range[0] < self.value_range[1]:
            raise ValueError(f"value_range {list(self.value_range)} must rise: black first, then white")
        return self


class WeakView(Section):
    """A crop, and colours of objectives whose publication leaves them alone."""

    crop_scale_min: Annotated[float, Field(gt=0, le=1)]
    jitter_probability: Fraction
    jitter_strength: Annotated[float, Field(ge=0, le=2.5)]
    grey_probability: Fraction
