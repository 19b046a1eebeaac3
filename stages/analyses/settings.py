"""What params.yaml may hold of an analysis."""

from pydantic import ConfigDict

from stages.study.errors import ParamsError
from stages.study.names import Name
from stages.study.section import Count, Section


class AnalysisSettings(Section):
    """One analysis; `images` is all that this project asks of it, others may be added per analysis."""

    model_config = ConfigDict(extra="allow", frozen=True)
    images: Count

    def whole_number(self, name: str, *, of: str) -> int:
        """One of the settings that an analysis adds, which must be a whole number from 1.

        of: name of the analysis
        Raises ParamsError with the key and its value if it is none.
        """
        value = (self.model_extra or {}).get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ParamsError(f"params.yaml: analyses.{of}.{name} is {value!r}: set a whole number from 1")
        return value


class Trajectory(Section):
    """What is measured of every encoder kept on the way, and of the end alike."""

    analyses: dict[Name, AnalysisSettings]
    train_images: Count  # of the linear probe
    test_images: Count
