"""The settings of images and of their augmentation in params.yaml."""

from typing import Annotated, Literal

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
            raise ValueError(f"size_min {self.size_min:g} must not exceed size_max {self.size_max:g}")
        return self


class Masks(Section):
    source: Annotated[str, Field(min_length=1)]
    test_source: str | None = None
    object: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None
    ignored: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    turned: bool | None = None  # whether an image's EXIF rotation applies to its mask; null: decided by size

    @model_validator(mode="after")
    def _apart(self) -> "Masks":
        if both := set(self.object or ()) & set(self.ignored):
            raise ValueError(f"object and ignored share values {sorted(both)}; list each value only once")
        return self


class Data(Section):
    source: Annotated[str, Field(min_length=1)]
    test_source: str | None
    root: str | None
    image_column: str | None = None  # of hfds/ data sets; null: the only column of images
    label_column: str | None = None  # likewise, of classes
    test_fraction: Annotated[float, Field(gt=0, lt=1)]
    image_size: Annotated[int, Field(ge=8, le=1024)]
    store: Literal["squares", "photographs"] = "squares"  # what the views of pre-training are cropped from
    max_train_images: Count | None
    max_test_images: Count | None
    max_unreadable: Fraction
    value_range: tuple[float, float] | None = None  # of images of more than 8 bits; null: see deep.py
    masks: Masks | None
    shapes_textures: ShapesTextures

    @model_validator(mode="after")
    def _rises(self) -> "Data":
        if self.value_range and not self.value_range[0] < self.value_range[1]:
            raise ValueError(f"value_range {list(self.value_range)} must rise; give black first, then white")
        return self

    @model_validator(mode="after")
    def _has_photographs(self) -> "Data":
        if self.store == "photographs" and self.source == "shapes_textures":
            raise ValueError(
                "store photographs needs image files, and shapes_textures has none; set store: squares"
            )
        return self


class WeakView(Section):
    """Random crop, with optional colour changes, for objectives that are published without them."""

    crop_scale_min: Annotated[float, Field(gt=0, le=1)]
    jitter_probability: Fraction
    jitter_strength: Annotated[float, Field(ge=0, le=2.5)]
    grey_probability: Fraction
