"""Combine the common settings of objectives with the overrides of an arm."""

from pydantic import ValidationError

from stages.objectives.settings import Objectives
from stages.study.errors import ParamsError
from stages.study.lookup import find
from stages.study.params import arm_of
from stages.study.settings import Arm
from stages.study.study import Study


def objectives_of(study: Study, name: str) -> Objectives:
    """Return the settings of all objectives, with the overrides of one arm.

    Raises ParamsError, which names the arm, if an override is unknown or invalid.
    """
    arm = arm_of(study, name)
    if not arm.objectives:
        return study.objectives
    settings = study.objectives.model_dump()
    for section, values in arm.objectives.items():
        settings[section] = settings.get(section, {}) | values
    try:
        objectives = Objectives.model_validate(settings)
        objectives.check(
            used={arm.objective}, image_size=study.data.image_size, patch_size=study.vit.patch_size
        )
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise ParamsError(f"params.yaml: arms.{name}.objectives.{key}: {message}") from None
    except ValueError as error:
        raise ParamsError(f"params.yaml: arms.{name}: {error}") from None
    return objectives


def refuse_unfit(name: str, arm: Arm, *, position: str) -> None:
    """Refuse an arm whose positions or overrides do not fit its objective. position: of the tokens

    Raises ParamsError, which names the arm and the section.
    """
    from stages.objectives.contract import Objective  # imports torch, and the check of most studies does not

    objective = find(Objective, arm.objective)
    objective.check(arm=name, objective=arm.objective, position=position)
    for section in arm.objectives or {}:
        if section not in objective.settings:
            raise ParamsError(
                f"params.yaml: arms.{name}.objectives.{section}: objective {arm.objective} reads "
                f"{' and '.join(objective.settings) or 'no such section'}; remove {section}"
            )
