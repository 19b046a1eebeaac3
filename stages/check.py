"""Stage check: read all of params.yaml before DVC deletes anything; every other stage comes after it.

DVC deletes the outs of a stage before it runs its command, so a wrong value has to stop the study in a stage
whose out costs nothing. The out never changes, so no stage runs because of this one.
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
    """Read the command line, check, and write the out."""
    argparse.ArgumentParser(prog="python -m stages.check", description=__doc__).parse_args()
    exit_with("check", write)


def write() -> str:
    """Check, and write the out unless it is there.

    Raises ParamsError as check does.
    """
    check()
    if not CHECKED.is_file() or CHECKED.read_text(encoding="utf-8") != VALID:
        write_text(CHECKED, VALID)
    return ""


def check() -> str:
    """Check every value, every path, and that every named objective, analysis and corruption exists.

    Raises ParamsError: one line with the key, the value and what is allowed.
    """
    if Path("dvc.lock").is_file():
        read_text(Path("dvc.lock"))  # may hold a merge conflict, which DVC calls corruption
    params = load_params()
    refuse_unknown_names(params)
    refuse_absent_files(params)
    refuse_unfit_recipes(params)
    refuse_absent_devices(params)
    return ""


def refuse_unknown_names(params: Study) -> None:
    """Refuse what no file of stages/ defines."""
    for name, arm in params.arms.items():
        _defined(f"arms.{name}.objective", arm.objective, room="objectives", constant="OBJECTIVE")
    for name in params.analyses:
        _defined(f"analyses.{name}", name, room="analyses", constant="ANALYSIS")
        if not Path(f"notebooks/{name}.ipynb").exists():
            raise ParamsError(f"params.yaml: analyses.{name}: it has no notebooks/{name}.ipynb to draw it")
    for name, _ in params.probes:
        _defined(f"probes.{name}", name, room="probes", constant="PROBE")
    for name in params.robustness.corruptions:
        _defined(f"robustness.corruptions.{name}", name, room="corruptions", constant="CORRUPTION")


def refuse_absent_files(params: Study) -> None:
    """Refuse paths at which there is nothing; what timm downloads to data.root need not be there yet."""
    data = params.data
    if data.masks and data.source == "shapes_textures":
        raise ParamsError("params.yaml: data.masks: shapes_textures has masks of its own; take these out")
    for key, path in named_paths(params).items():
        built_in = key == "data.source" and (path == "shapes_textures" or is_name(path))
        if built_in or key == "data.root":
            continue
        if key.startswith("arms."):
            refuse_weights(key, path, sha256=params.arms[key.split(".")[1]].sha256)
            continue
        single = key.startswith("report.")  # a file, never a folder
        try:
            there = Path(path).is_file() if single else located(path)
        except OSError as error:  # a name too long, a folder that nobody may read
            raise ParamsError(f"params.yaml: {key} is {path!r}: {error.strerror}") from None
        if not there:
            raise ParamsError(f"params.yaml: {key} is {path!r}: no such file{'' if single else ' or folder'}")


def refuse_weights(key: str, weights: str, *, sha256: str | None) -> None:
    """Refuse weights that are not there, are often taken for weights, or have an address that cannot be.

    Nothing is asked of the network.
    """
    try:
        if weights.startswith(HUB):
            hub_name(weights)
        elif is_remote(weights):
            refuse_address(weights, sha256=sha256)
        else:
            for file in weights_files(local_path(weights)):
                refuse_other_kinds(file)
    except OSError as error:  # a name too long, a folder that nobody may read
        raise ParamsError(f"params.yaml: {key} is {weights!r}: {error.strerror}") from None
    except StudyError as error:
        raise ParamsError(f"params.yaml: {key} is {weights!r}: {str(error).partition(': ')[2]}") from None


def refuse_unfit_recipes(params: Study) -> None:
    """Refuse arms whose settings do not fit together, or do not fit the attentive probe."""
    attentive = params.probes.attentive
    for name, arm in params.arms.items():
        vit = recipe_of(params, name)[0]
        objectives_of(params, name)
        if attentive and arm.objective != "imported" and vit.width % attentive.heads:
            key = f"params.yaml: probes.attentive.heads is {attentive.heads}"
            raise ParamsError(f"{key}: the width of arm {name}, {vit.width}, is no multiple of it")


def refuse_absent_devices(params: Study) -> None:
    """Refuse an accelerator that this machine lacks."""
    accelerator = params.runtime.accelerator
    if accelerator not in ("cuda", "mps"):
        return
    import torch  # takes seconds, and is not needed for the other checks

    if not (torch.cuda if accelerator == "cuda" else torch.backends.mps).is_available():
        raise ParamsError(f"params.yaml: runtime.accelerator is {accelerator!r}, which torch does not find")


def _defined(key: str, name: str, *, room: str, constant: str) -> None:
    names = plugins(Path("stages") / room, constant=constant)
    if name not in names:
        raise ParamsError(f"params.yaml: {key} is {name!r}; choose from: {', '.join(names)}")


if __name__ == "__main__":
    main()
