"""The settings of analyses in params.yaml."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from stages.study.errors import ParamsError
from stages.study.names import Name
from stages.study.section import Count, Section


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


class Trajectory(Section):
    """Settings of the measurements at every snapshot of a training and at its end."""

    analyses: dict[Name, AnalysisSettings]
    probes: Annotated[list[Literal["linear", "layerwise"]], Field(min_length=1)]  # both with probes.linear
    train_images: Count  # of the probes
    test_images: Count
