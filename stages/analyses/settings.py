"""The settings of analyses in params.yaml."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from stages.study.errors import ParamsError
from stages.study.names import Name
from stages.study.section import Count, Fraction, Section


class AnalysisSettings(Section):
    """Settings of one analysis. Every analysis has `images`; other keys belong to the analysis."""

    model_config = ConfigDict(extra="allow", frozen=True)
    images: Count

    def whole_number(self, name: str, *, of: str) -> int:
        """Return a setting of the analysis that must be a whole number of at least 1.

        of: name of the analysis
        Raises ParamsError with the key and its value if the value is anything else.
        """
        value = (self.model_extra or {}).get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            key = f"params.yaml: analyses.{of}.{name}"
            raise ParamsError(f"{key} is {value!r}: set a whole number of at least 1")
        return value


class NoOther(AnalysisSettings):
    """Settings of an analysis without settings of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SingularValues(NoOther):
    spectrum_images: Count
    shown_images: Count


class AttentionMaps(NoOther):
    shown_images: Count
    shown_pixels: Count
    depths: Annotated[list[Fraction], Field(min_length=1)]


class TokenEmbedding(NoOther):
    classes: Count
    images_per_class: Count
    perplexity: Count


# Settings that the stage `check` validates. An analysis that is not listed validates its own when it runs.
DECLARED: dict[str, type[AnalysisSettings]] = {
    "attention": NoOther,
    "attention_maps": AttentionMaps,
    "fourier": NoOther,
    "similarity": NoOther,
    "singular_values": SingularValues,
    "token_embedding": TokenEmbedding,
    "token_norms": NoOther,
}


class Trajectory(Section):
    """Settings of the measurements at every snapshot of a training and at its end."""

    analyses: dict[Name, AnalysisSettings]
    probes: Annotated[list[Literal["linear", "layerwise"]], Field(min_length=1)]  # both with probes.linear
    train_images: Count  # of the probes
    test_images: Count
