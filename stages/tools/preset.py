"""Apply a preset to params.yaml: `python -m stages.tools.preset NAME`. Without a name: list the presets."""

import argparse
import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from stages.study.command import exit_with
from stages.study.errors import StudyError
from stages.study.params import read_yaml, validate
from stages.study.paths import write_text
from stages.study.study import Study

PARAMS = Path("params.yaml")


def main() -> None:
    """Read the command line and apply or list presets."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.preset", description=__doc__)
    parser.add_argument("name", nargs="?", help="name of a file in stages/presets, without .yaml")
    name = parser.parse_args().name
    exit_with("preset", lambda: apply(name) if name else describe())


def describe() -> str:
    """Return the available presets, each with its first comment."""
    lines = [f"{path.stem:<16} {first_line(path)}" for path in _presets()]
    return "\n".join(lines)


def first_line(path: Path) -> str:
    """Return the first comment of a preset, which has its cost."""
    return path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")


def apply(name: str) -> str:
    """Overlay a preset on params.yaml, preserve the comments, and return the changes in words.

    Mappings are merged. A null instead of an arm or an analysis removes it.
    Raises StudyError if the preset does not exist or the result is not valid; params.yaml is then unchanged.
    """
    _, overlay = settings_and_overlay(name)
    yaml = YAML()
    yaml.preserve_quotes = True
    try:
        params = yaml.load(PARAMS.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:  # a repeated key, which other readers accept
        raise StudyError(f"{PARAMS}: not YAML: {error.problem}") from None
    changes = merge(params, overlay)
    text = io.StringIO()
    yaml.dump(params, text)
    validate(YAML(typ="safe").load(text.getvalue()), where=f"params.yaml with preset {name}")
    write_text(PARAMS, text.getvalue())
    return "\n".join(changes) or f"params.yaml already matches preset {name}"


def study_with(name: str) -> Study:
    """Return the settings of params.yaml with a preset, without writing them.

    Raises StudyError as `apply`.
    """
    values, overlay = settings_and_overlay(name)
    merge(values, overlay)
    return validate(values, where=f"params.yaml with preset {name}")


def settings_and_overlay(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return params.yaml and a preset.

    Raises StudyError if there is no such preset, or if one of the two holds no settings.
    """
    chosen = [path for path in _presets() if path.stem == name]
    if not chosen:
        raise StudyError(f"no preset {name!r}; there are: {', '.join(path.stem for path in _presets())}")
    both = read_yaml(PARAMS), read_yaml(chosen[0])
    for path, values in zip((PARAMS, chosen[0]), both, strict=True):
        if not isinstance(values, dict):
            raise StudyError(f"{path}: holds no settings; `git checkout {path}` restores them")
    return both


def merge(values: dict[str, Any], overlay: dict[str, Any], path: str = "") -> list[str]:
    """Merge the overlay into values in place; return one line per change."""
    changes = []
    for key, new in overlay.items():
        where = f"{path}{key}"
        old = values.get(key)
        if isinstance(new, dict) and isinstance(old, dict):
            changes += merge(old, new, path=f"{where}.")
        elif new is None and path in ("arms.", "analyses."):
            if key in values:
                changes.append(f"{where} removed")
                del values[key]
        elif old != new or key not in values:
            changes.append(f"{where} {'added' if key not in values else f'{old} → {new}'}")
            values[key] = new
    return changes


def _presets() -> list[Path]:
    return sorted(Path("stages/presets").glob("*.yaml"))


if __name__ == "__main__":
    main()
