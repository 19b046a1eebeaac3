"""The settings of encoders and of their cached features in params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from stages.study.section import Count, Depth, Positive, Section, Width


class Vit(Section):
    width: Annotated[Width, Field(ge=8)]
    depth: Depth
    heads: Count
    patch_size: Count
    mlp_ratio: Annotated[Positive, Field(le=64)]
    position: Literal["sincos", "learned", "relative", "none"]
    layer_scale: Positive | None = None

    @model_validator(mode="after")
    def _divisible(self) -> "Vit":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        if self.position == "sincos" and self.width % 4:
            raise ValueError(f"width {self.width} must be a multiple of 4 for sincos positions")
        return self


class Features(Section):
    block_images: Count
    token_images: Count
