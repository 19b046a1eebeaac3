"""What params.yaml may hold under robustness: corruptions, and stimuli of somebody else."""

from typing import Annotated

from pydantic import ConfigDict, Field

from stages.study.errors import ParamsError
from stages.study.names import Name
from stages.study.section import Count, Section


class CorruptionSettings(Section):
    """One corruption; it is applied at each of its levels, others may be added per corruption.

    amplitudes: each level is applied at each of them; None: the corruption has none
    images:     how many of those under robustness see it; None: all
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    levels: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]
    amplitudes: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)] | None = None
    images: Count | None = None

    def at(self, amplitude: float) -> "CorruptionSettings":
        """The same with one amplitude; 0: without."""
        return self.model_copy(update={"amplitudes": [amplitude] if amplitude else None})

    def amplitude(self, *, of: str) -> float:
        """The one amplitude at which the corruption is applied. of: its name

        Raises ParamsError with the key if the settings have none.
        """
        if not self.amplitudes:
            raise ParamsError(f"params.yaml: robustness.corruptions.{of}.amplitudes: missing: list them")
        return self.amplitudes[0]

    def positive(self, name: str, *, of: str) -> float:
        """One of the settings that a corruption adds, which must be a number above 0.

        of: name of the corruption
        Raises ParamsError with the key and its value if it is none.
        """
        value = (self.model_extra or {}).get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
            key = f"robustness.corruptions.{of}.{name}"
            raise ParamsError(f"params.yaml: {key} is {value!r}: set a number above 0")
        return float(value)


class Stimuli(Section):
    """Images of somebody else, whose classes are told in the words of the data."""

    source: Annotated[str, Field(min_length=1)]
    classes: Annotated[dict[str, str], Field(min_length=2)]


class Robustness(Section):
    images: Count
    reinitialise: bool
    corruptions: dict[Name, CorruptionSettings]
    stimuli: dict[Name, Stimuli]
