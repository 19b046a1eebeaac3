"""Check params.yaml before anything runs: `python -m stages.tools.check`."""

import argparse
from pathlib import Path

from stages.data.listings import located
from stages.data.named import is_name
from stages.study.command import exit_with
from stages.study.params import load_params
from stages.study.recipe import recipe_of
from stages.study.section import ParamsError


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
        _exists(
            f"arms.{name}.objective", arm.objective, Path("stages/objectives"), apart={"losses", "settings"}
        )
        if arm.weights and not Path(arm.weights).is_file():
            raise ParamsError(f"params.yaml: arms.{name}.weights is {arm.weights!r}: no such file")
    for name in params.analyses:
        _exists(f"analyses.{name}", name, Path("stages/analyses"), apart={"settings"})
        if not Path(f"notebooks/{name}.ipynb").exists():
            raise ParamsError(f"params.yaml: analyses.{name}: it has no notebooks/{name}.ipynb to draw it")
    for name in params.robustness.corruptions:
        _exists(f"robustness.corruptions.{name}", name, Path("stages/corruptions"), apart={"settings"})
    data, attentive = params.data, params.probes.attentive
    sources = {"data.source": data.source, "data.test_source": data.test_source}
    if data.source == "shapes_textures" or is_name(data.source):
        del sources["data.source"]
    if data.masks:
        if data.source == "shapes_textures":
            raise ParamsError("params.yaml: data.masks: shapes_textures has masks of its own; take these out")
        sources |= {"data.masks.source": data.masks.source, "data.masks.test_source": data.masks.test_source}
    for name, stimuli in params.robustness.stimuli.items():
        sources[f"robustness.stimuli.{name}.source"] = stimuli.source
    for key, source in sources.items():
        if source and not located(source):
            raise ParamsError(f"params.yaml: {key} is {source!r}: no such file or folder")
    for name, arm in params.arms.items():
        width = recipe_of(params, name)[0].width
        if attentive and arm.objective != "imported" and width % attentive.heads:
            raise ParamsError(
                f"params.yaml: probes.attentive.heads is {attentive.heads}: "
                f"the width of arm {name}, {width}, is no multiple of it"
            )
    if params.runtime.accelerator in ("cuda", "mps"):
        _available(params.runtime.accelerator)
    return ""


def _available(accelerator: str) -> None:
    import torch  # takes seconds, and is not needed for the other checks

    if not (torch.cuda if accelerator == "cuda" else torch.backends.mps).is_available():
        raise ParamsError(
            f"params.yaml: runtime.accelerator is {accelerator!r}, which torch does not find here"
        )


def _exists(key: str, name: str, directory: Path, *, apart: set[str]) -> None:
    names = sorted({path.stem for path in directory.glob("*.py")} - {"__init__"} - apart)
    if name not in names:
        raise ParamsError(f"params.yaml: {key} is {name!r}; there are: {', '.join(names)}")


if __name__ == "__main__":
    main()
