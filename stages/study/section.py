"""The base class of all sections of params.yaml, and types for bounded values."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stages.study.errors import ParamsError

MOST = 2**31 - 1
Count = Annotated[int, Field(ge=1, le=MOST)]
Batch = Annotated[int, Field(ge=2, le=MOST)]  # of images; a single image cannot be compared with others
Width = Annotated[int, Field(ge=1, le=65536)]  # of a layer; a matrix of two such widths takes 17 GB
Depth = Annotated[int, Field(ge=1, le=1000)]  # in blocks
Processes = Annotated[int, Field(ge=1, le=4096)]  # processes or threads
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
DropPath = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Seeds = Annotated[list[Seed], Field(min_length=1)]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]  # of matrix products; weights are always float32


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def __getattr__(self, name: str) -> Any:
        if name in type(self).model_fields:
            raise ParamsError(
                f"dvc.yaml: this stage reads {type(self).__name__.lower()}.{name}, which its "
                "params: list does not declare; add it there"
            )
        extra = self.__dict__ if name.startswith("__") else self.__pydantic_extra__
        if extra is not None and name in extra:
            return extra[name]
        raise AttributeError(name)
