"""params.yaml as it is read: checked whole, then only what dvc.yaml declares for the stage that asks."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from stages.study.documents import read_yaml
from stages.study.errors import ParamsError
from stages.study.names import refuse_lost_names
from stages.study.places import refuse_places
from stages.study.section import Section
from stages.study.settings import Arm
from stages.study.study import Study


def load_params(path: Path = Path("params.yaml"), *, stage: str | None = None, **chosen: str) -> Study:
    """Read and check params.yaml; with a stage, give only what dvc.yaml declares for that stage.

    stage:  name in dvc.yaml, without what follows an @; `runtime` is always readable
    chosen: what the stage was selected by, e.g. arm="cl"
    Raises ParamsError: one line with the key, the value and what is allowed.
    """
    study = validate(read_yaml(path), where=str(path))
    refuse_places(study, project=path.parent)
    if stage is None:
        return study
    declared = declared_params(stage, study, path.parent / "dvc.yaml", **chosen)
    return _only(study, [*declared, "runtime"])


def validate(values: Any, *, where: str = "params.yaml") -> Study:
    """Check the content of params.yaml.

    Raises ParamsError: one line with the key, the value and what is allowed.
    """
    refuse_lost_names(values, where=where)
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"] if part != "[key]")
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            known = ", ".join(_fields_at(first["loc"][:-1]))
            raise ParamsError(f"{where}: {key}: unknown key; known here: {known}") from None
        if first["type"] == "missing":
            raise ParamsError(f"{where}: {key}: missing") from None
        value = "" if isinstance(first["input"], dict | Section) else f" is {first['input']!r}"
        raise ParamsError(f"{where}: {key or 'study'}{value}: {message}") from None


def declared_params(stage: str, study: Study, path: Path, **chosen: str) -> list[str]:
    """The params: list of a stage in dvc.yaml, its templates filled in as DVC fills them.

    Raises ParamsError if dvc.yaml has no such stage.
    """
    stages = read_yaml(path)["stages"]
    if stage not in stages:
        raise ParamsError(f"{path}: no stage {stage!r}; there are: {', '.join(stages)}")
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
    """One arm by its name.

    Raises ParamsError naming the arms there are.
    """
    if name not in study.arms:
        raise ParamsError(f"params.yaml: no arm {name!r}; there are: {', '.join(study.arms)}")
    return study.arms[name]


def seeds_of(study: Study, name: str) -> list[int]:
    """The seeds that one arm is trained from; an imported arm is one encoder, which counts as seed 0."""
    arm = arm_of(study, name)
    if arm.objective == "imported":
        return [0]
    return arm.seeds or study.seeds


def label_of(study: Study, name: str) -> str:
    """What the report calls an arm."""
    return study.labels.get(name, name)


def _only(section: Any, paths: list[str]) -> Any:
    """The same section with nothing in it but the dotted paths; reading another raises ParamsError."""
    kept: dict[str, Any] = {}
    for head in dict.fromkeys(path.split(".")[0] for path in paths):
        value = section[head] if isinstance(section, dict) else getattr(section, head)
        tails = [path.split(".", 1)[1] for path in paths if path.startswith(head + ".")]
        kept[head] = value if head in paths else _only(value, tails)
    if isinstance(section, dict):
        return kept
    view = type(section).model_construct()
    object.__setattr__(view, "__dict__", kept)
    return view


def _fields_at(location: tuple[Any, ...]) -> list[str]:
    model: Any = Study
    for part in location:
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[str(part)].annotation
        elif getattr(model, "__origin__", None) is dict:
            model = model.__args__[1]
    return list(model.model_fields)
