"""Combine the common recipe with the overrides of an arm."""

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
    """Return the architecture and the pre-training recipe of one arm, with the arm's overrides applied.

    For an imported arm, the architecture returned is the common one; the checkpoint file defines its own.
    Raises ParamsError if the arm's overrides are inconsistent.
    """
    arm = arm_of(study, name)
    try:
        architecture = {} if arm.objective == "imported" else overrides(arm, Vit)
        vit = Vit.model_validate(study.vit.model_dump() | architecture)
        recipe = Pretrain.model_validate(study.pretrain.model_dump() | overrides(arm, Pretrain))
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ParamsError(f"params.yaml: arms.{name}: {message}") from None
    if arm.stop_epoch is not None and arm.stop_epoch >= recipe.epochs:
        raise ParamsError(
            f"params.yaml: arms.{name}.stop_epoch is {arm.stop_epoch}; it must be below the arm's number of "
            f"epochs, {recipe.epochs}"
        )
    return vit, recipe


def images_seen(study: Study, name: str, *, images: int) -> int:
    """Return how many images one training of an arm sees, with repetitions.

    images: in the training set; an epoch leaves out an incomplete batch
    """
    recipe = recipe_of(study, name)[1]
    epochs = arm_of(study, name).stop_epoch or recipe.epochs
    return epochs * (images - images % recipe.batch_size)


def overrides(arm: Arm, section: type[Section]) -> dict[str, Any]:
    """Return the values of a section that an arm overrides; a null counts only if the section allows null."""
    nullable = {
        key for key, field in section.model_fields.items() if type(None) in get_args(field.annotation)
    }
    return {
        key: value
        for key, value in arm
        if key in section.model_fields
        and (value is not None or (key in nullable and key in arm.model_fields_set))
    }
