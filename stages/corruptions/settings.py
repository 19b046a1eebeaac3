"""The settings of robustness tests in params.yaml: corruptions, and images of other studies."""

from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from stages.study.errors import ParamsError
from stages.study.names import Name
from stages.study.section import Count, Positive, Section


class CorruptionSettings(Section):
    """Settings of one corruption; other keys belong to the corruption.

    levels:     the corruption is applied at each level
    amplitudes: each level is applied at each amplitude; None for corruptions without amplitude
    images:     number of corrupted images, out of `robustness.images`; None for all
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    levels: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]
    amplitudes: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)] | None = None
    images: Count | None = None

    def at(self, amplitude: float) -> "CorruptionSettings":
        """Return the settings for a single amplitude, or without amplitude if it is 0."""
        return self.model_copy(update={"amplitudes": [amplitude] if amplitude else None})

    def amplitude(self, *, of: str) -> float:
        """Return the amplitude at which the corruption is applied.

        of: name of the corruption
        Raises ParamsError with the key if the settings have no amplitude.
        """
        if not self.amplitudes:
            key = f"robustness.corruptions.{of}.amplitudes"
            raise ParamsError(f"params.yaml: {key} is missing: list at least one amplitude")
        return self.amplitudes[0]

    def positive(self, name: str, *, of: str) -> float:
        """Return a setting of the corruption that must be a number above 0.

        of: name of the corruption
        Raises ParamsError with the key and its value if the value is anything else.
        """
        value = (self.model_extra or {}).get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
            key = f"robustness.corruptions.{of}.{name}"
            raise ParamsError(f"params.yaml: {key} is {value!r}: set a number above 0")
        return float(value)


class FrequencyNoise(CorruptionSettings):
    model_config = ConfigDict(extra="forbid", frozen=True)
    amplitudes: Annotated[list[Positive], Field(min_length=1)]
    width: Positive


class PatchShuffle(CorruptionSettings):
    model_config = ConfigDict(extra="forbid", frozen=True)
    levels: Annotated[list[Annotated[float, Field(ge=1, multiple_of=1)]], Field(min_length=1)]


class UpToOne(CorruptionSettings):
    """Settings of a corruption whose levels are shares or contrasts."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    levels: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)]


class Stylised(UpToOne):
    cycles: Positive


# Settings that the stage `check` validates. A corruption that is not listed validates its own when it runs.
DECLARED: dict[str, type[CorruptionSettings]] = {
    "amplitude_exchange": UpToOne,
    "edges": UpToOne,
    "frequency_noise": FrequencyNoise,
    "patch_shuffle": PatchShuffle,
    "silhouette": UpToOne,
    "stylised": Stylised,
}


class Stimuli(Section):
    """Test images of another study. classes: name of a folder of `source` -> class of this data set"""

    source: Annotated[str, Field(min_length=1)]
    classes: Annotated[dict[str, str], Field(min_length=2)]


# Trials that every study has; stimuli cannot take their names.
CLEAN, LOST_BLOCK = "clean", "reinitialised"


class Robustness(Section):
    """Settings of all robustness tests. images: number of held-out images"""

    images: Count
    reinitialise: bool
    corruptions: dict[Name, CorruptionSettings]
    stimuli: dict[Name, Stimuli]

    @model_validator(mode="after")
    def _unlike_corruptions(self) -> "Robustness":
        for name in self.stimuli:
            if name in {CLEAN, LOST_BLOCK, *DECLARED, *self.corruptions}:
                raise ValueError(
                    f"stimuli.{name}: images of the study are tested under this name; choose another"
                )
        return self
