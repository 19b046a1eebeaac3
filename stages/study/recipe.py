"""What an arm is trained with: the common recipe, and what the arm sets otherwise."""

from typing import Any, get_args

from pydantic import ValidationError

from stages.encoders.settings import Vit
from stages.study.errors import ParamsError
from stages.study.params import arm_of
from stages.study.section import Section
from stages.study.settings import Arm
from stages.study.study import Study
from stages.training.settings import Pretrain


def recipe_of(study: Study, name: str) -> tuple[Vit, Pretrain]:
    """Architecture and pre-training recipe of one arm: the common ones, with what the arm overrides.

    The architecture of an imported arm is not here but in its file.
    Raises ParamsError if the arm's overrides do not fit together.
    """
    arm = arm_of(study, name)
    try:
        own = {} if arm.objective == "imported" else overrides(arm, Vit)
        vit = Vit.model_validate(study.vit.model_dump() | own)
        recipe = Pretrain.model_validate(study.pretrain.model_dump() | overrides(arm, Pretrain))
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ParamsError(f"params.yaml: arms.{name}: {message}") from None
    if arm.stop_epoch is not None and arm.stop_epoch >= recipe.epochs:
        raise ParamsError(
            f"params.yaml: arms.{name}.stop_epoch {arm.stop_epoch} must be before the last of its "
            f"{recipe.epochs} epochs"
        )
    return vit, recipe


def overrides(arm: Arm, section: type[Section]) -> dict[str, Any]:
    """What an arm sets of a section of the common recipe; a null only where the section may hold one."""
    nullable = {
        key for key, field in section.model_fields.items() if type(None) in get_args(field.annotation)
    }
    return {
        key: value
        for key, value in arm
        if key in section.model_fields
        and (value is not None or (key in nullable and key in arm.model_fields_set))
    }
