"""Stage check: validate params.yaml before all other stages.

DVC deletes the outs of a stage before running its command. So a wrong value must stop the study in a stage
whose out costs nothing. This out never changes, so the stage triggers no other.
"""

import argparse
from pathlib import Path

from stages.data.named import is_name
from stages.data.sources import located
from stages.encoders.downloads import refuse_address
from stages.encoders.sources import HUB, hub_name, is_remote, local_path
from stages.encoders.weights_file import refuse_other_kinds, weights_files
from stages.objectives.overrides import objectives_of
from stages.study.command import exit_with
from stages.study.documents import read_text
from stages.study.errors import ParamsError, StudyError
from stages.study.lookup import plugins
from stages.study.params import load_params
from stages.study.paths import CHECKED, write_text
from stages.study.places import named_paths
from stages.study.recipe import recipe_of
from stages.study.study import Study

VALID = '{"params.yaml": "valid"}\n'


def main() -> None:
    """Read the command line, validate params.yaml and write the out."""
    argparse.ArgumentParser(prog="python -m stages.check", description=__doc__).parse_args()
    exit_with("check", write)


def write() -> str:
    """Validate params.yaml, and write the out if it is missing.

    Raises ParamsError as `check` does.
    """
    check()
    if not CHECKED.is_file() or CHECKED.read_text(encoding="utf-8") != VALID:
        write_text(CHECKED, VALID)
    return ""


def check() -> str:
    """Check all values and paths, and that every named objective, analysis, probe and corruption exists.

    Raises ParamsError with the key, the value and the allowed values in one line.
    """
    if Path("dvc.lock").is_file():
        read_text(Path("dvc.lock"))  # names a merge conflict, which DVC reports as corruption
    params = load_params()
    refuse_unknown_names(params)
    refuse_absent_files(params)
    refuse_unfit_recipes(params)
    refuse_absent_devices(params)
    return ""


def refuse_unknown_names(params: Study) -> None:
    """Refuse objectives, analyses, probes and corruptions that no file of stages/ defines."""
    for name, arm in params.arms.items():
        _defined(f"arms.{name}.objective", arm.objective, room="objectives", constant="OBJECTIVE")
    for name in params.analyses:
        _defined(f"analyses.{name}", name, room="analyses", constant="ANALYSIS")
        if not Path(f"notebooks/{name}.ipynb").exists():
            raise ParamsError(
                f"params.yaml: analyses.{name}: notebooks/{name}.ipynb, which draws it, does not exist; "
                "add the notebook or remove the analysis"
            )
    for name, _ in params.probes:
        _defined(f"probes.{name}", name, room="probes", constant="PROBE")
    for name in params.robustness.corruptions:
        _defined(f"robustness.corruptions.{name}", name, room="corruptions", constant="CORRUPTION")


def refuse_absent_files(params: Study) -> None:
    """Refuse paths that do not exist, except data.root, which timm creates for its downloads."""
    data = params.data
    if data.masks and data.source == "shapes_textures":
        raise ParamsError("params.yaml: data.masks: shapes_textures draws its own masks; remove this section")
    for key, path in named_paths(params).items():
        built_in = key == "data.source" and (path == "shapes_textures" or is_name(path))
        if built_in or key == "data.root":
            continue
        if key.startswith("arms."):
            refuse_weights(key, path, sha256=params.arms[key.split(".")[1]].sha256)
            continue
        single = key.startswith("report.")  # a file, never a folder
        try:
            exists = Path(path).is_file() if single else located(path)
        except OSError as error:  # such as a name that is too long, or an unreadable folder
            raise ParamsError(f"params.yaml: {key} is {path!r}: {error.strerror}") from None
        if not exists:
            raise ParamsError(f"params.yaml: {key} is {path!r}: no such file{'' if single else ' or folder'}")


def refuse_weights(key: str, weights: str, *, sha256: str | None) -> None:
    """Refuse weights that do not exist, are files of another kind, or have an impossible address.

    The network is not used.
    """
    try:
        if weights.startswith(HUB):
            hub_name(weights)
        elif is_remote(weights):
            refuse_address(weights, sha256=sha256)
        else:
            for file in weights_files(local_path(weights)):
                refuse_other_kinds(file)
    except OSError as error:  # such as a name that is too long, or an unreadable folder
        raise ParamsError(f"params.yaml: {key} is {weights!r}: {error.strerror}") from None
    except StudyError as error:
        raise ParamsError(f"params.yaml: {key} is {weights!r}: {str(error).partition(': ')[2]}") from None


def refuse_unfit_recipes(params: Study) -> None:
    """Refuse arms with contradictory settings, or whose width does not fit the attentive probe."""
    attentive = params.probes.attentive
    for name, arm in params.arms.items():
        vit = recipe_of(params, name)[0]
        objectives_of(params, name)
        if attentive and arm.objective != "imported" and vit.width % attentive.heads:
            key = f"params.yaml: probes.attentive.heads is {attentive.heads}"
            raise ParamsError(f"{key}: it must divide {vit.width}, the width of arm {name}")


def refuse_absent_devices(params: Study) -> None:
    """Refuse an accelerator that this machine does not have."""
    accelerator = params.runtime.accelerator
    if accelerator not in ("cuda", "mps"):
        return
    import torch  # takes seconds, and the other checks do not need it

    if not (torch.cuda if accelerator == "cuda" else torch.backends.mps).is_available():
        raise ParamsError(
            f"params.yaml: runtime.accelerator is {accelerator!r}: torch finds none; set auto or cpu"
        )


def _defined(key: str, name: str, *, room: str, constant: str) -> None:
    names = plugins(Path("stages") / room, constant=constant)
    if name not in names:
        raise ParamsError(f"params.yaml: {key} is {name!r}; choose from: {', '.join(names)}")


if __name__ == "__main__":
    main()
