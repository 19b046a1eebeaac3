"""Check params.yaml before anything runs: `python -m stages.tools.check`."""

import argparse
from pathlib import Path

from stages.study.command import exit_with
from stages.study.params import ParamsError, load_params, recipe_of


def main() -> None:
    """Read the command line and check."""
    argparse.ArgumentParser(prog="python -m stages.tools.check", description=__doc__).parse_args()
    exit_with("check", check)


def check() -> str:
    """Check every value, and that every named objective, probe, analysis and notebook exists.

    Raises ParamsError: one line with the key, the value and what is allowed.
    """
    params = load_params()
    for name, arm in params.arms.items():
        recipe_of(params, name)
        _exists(f"arms.{name}.objective", arm.objective, Path("stages/objectives"), apart={"losses"})
    for name in params.analyses:
        _exists(f"analyses.{name}", name, Path("stages/analyses"), apart=set())
        if not Path(f"notebooks/{name}.ipynb").exists():
            raise ParamsError(f"params.yaml: analyses.{name}: it has no notebooks/{name}.ipynb to draw it")
    return ""


def _exists(key: str, name: str, directory: Path, *, apart: set[str]) -> None:
    names = sorted({path.stem for path in directory.glob("*.py")} - {"__init__"} - apart)
    if name not in names:
        raise ParamsError(f"params.yaml: {key} is {name!r}; there are: {', '.join(names)}")


if __name__ == "__main__":
    main()
