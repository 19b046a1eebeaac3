"""Read params.yaml: check the whole file, then give a stage only the values that dvc.yaml declares for it."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from stages.study.documents import read_yaml
from stages.study.errors import ParamsError
from stages.study.names import refuse_lost_names
from stages.study.places import refuse_places
from stages.study.plain import refuse_extreme_numbers, refuse_odd_content, shown
from stages.study.section import Section
from stages.study.settings import Arm
from stages.study.study import Study


def load_params(path: Path = Path("params.yaml"), *, stage: str | None = None, **chosen: str) -> Study:
    """Read and check params.yaml; given a stage, return only the values that dvc.yaml declares for it.

    stage:  name in dvc.yaml, without the part after @; `runtime` is always readable
    chosen: the item of the stage, e.g. arm="cl"
    Raises ParamsError: one line with the key, its value and the allowed values.
    """
    study = validate(read_yaml(path), where=str(path))
    refuse_places(study, project=path.parent)
    if stage is None:
        return study
    declared = declared_params(stage, study, path.parent / "dvc.yaml", **chosen)
    return _only(study, [*declared, "runtime"])


def validate(values: Any, *, where: str = "params.yaml") -> Study:
    """Check the content of params.yaml.

    Raises ParamsError: one line with the key, its value and the allowed values.
    """
    refuse_odd_content(values, where=where)
    refuse_lost_names(values, where=where)
    try:
        study = Study.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"] if part != "[key]")
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            fields = ", ".join(_fields_at(first["loc"][:-1]))
            raise ParamsError(f"{where}: {key}: unknown key; valid keys here: {fields}") from None
        if first["type"] == "missing":
            raise ParamsError(f"{where}: {key}: missing; add this key") from None
        value = "" if isinstance(first["input"], dict | Section) else f" is {shown(first['input'])}"
        raise ParamsError(f"{where}: {key or 'study'}{value}: {message}") from None
    refuse_extreme_numbers(study, values, at="", where=where)
    return study


def declared_params(stage: str, study: Study, path: Path, **chosen: str) -> list[str]:
    """Return the params: list of a stage in dvc.yaml, with its templates filled in as DVC does.

    Raises ParamsError if dvc.yaml has no such stage.
    """
    stages = read_yaml(path)["stages"]
    if stage not in stages:
        raise ParamsError(f"{path}: no stage {stage!r}; choose from: {', '.join(stages)}")
    entry = stages[stage].get("do", stages[stage])
    values = {f"item.{axis}": name for axis, name in chosen.items()}
    if "arm" in chosen:
        arm = arm_of(study, chosen["arm"])
        values |= {"key": chosen["arm"], "item.objective": arm.objective}
    declared = []
    for param in entry.get("params", []):
        for template, value in values.items():
            param = param.replace("${" + template + "}", value)
        declared.append(param)
    return declared


def arm_of(study: Study, name: str) -> Arm:
    """Return one arm by its name.

    Raises ParamsError, which lists the arms.
    """
    if name not in study.arms:
        raise ParamsError(f"params.yaml: no arm {name!r}; choose from: {', '.join(study.arms)}")
    return study.arms[name]


def seeds_of(study: Study, name: str) -> list[int]:
    """Return the seeds of one arm; an imported arm is a single encoder and counts as seed 0."""
    arm = arm_of(study, name)
    if arm.objective == "imported":
        return [0]
    return arm.seeds or study.seeds


def label_of(study: Study, name: str) -> str:
    """Return the name of an arm in the report."""
    return study.labels.get(name, name)


def _only(section: Any, paths: list[str]) -> Any:
    """Return the section with nothing but these dotted paths; reading any other key raises ParamsError."""
    values: dict[str, Any] = {}
    for head in dict.fromkeys(path.split(".")[0] for path in paths):
        value = section[head] if isinstance(section, dict) else getattr(section, head)
        tails = [path.split(".", 1)[1] for path in paths if path.startswith(head + ".")]
        values[head] = value if head in paths else _only(value, tails)
    if isinstance(section, dict):
        return values
    view = type(section).model_construct()
    object.__setattr__(view, "__dict__", values)
    return view


def _fields_at(location: tuple[Any, ...]) -> list[str]:
    model: Any = Study
    for part in location:
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[str(part)].annotation
        elif getattr(model, "__origin__", None) is dict:
            model = model.__args__[1]
    return list(model.model_fields)
