"""Stage check: validate params.yaml before all other stages.

DVC deletes the outs of a stage before running its command. So a wrong value must stop the study in a stage
whose out costs nothing. This out never changes, so the stage triggers no other.
"""

import argparse
from pathlib import Path

from stages.data.named import is_name
from stages.data.sources import located
from stages.encoders.size import parameters
from stages.encoders.sources import refuse_weights
from stages.objectives.overrides import objectives_of, refuse_unfit
from stages.study.command import exit_with
from stages.study.documents import read_text
from stages.study.errors import ParamsError
from stages.study.lookup import refuse_unknown_names
from stages.study.params import load_params
from stages.study.paths import CHECKED, write_text
from stages.study.places import named_paths
from stages.study.plain import refuse_extreme_numbers
from stages.study.recipe import recipe_of
from stages.study.study import Study

MOST_PARAMETERS = 10**11  # of an encoder; the largest published ViT has 2.2e10
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
    refuse_absent_libraries(params)
    return ""


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
            exists = Path(path).expanduser().is_file() if single else located(path)
        except OSError as error:  # such as a name that is too long, or an unreadable folder
            raise ParamsError(f"params.yaml: {key} is {path!r}: {error.strerror}") from None
        if not exists:
            raise ParamsError(f"params.yaml: {key} is {path!r}: no such file{'' if single else ' or folder'}")


def refuse_unfit_recipes(params: Study) -> None:
    """Refuse arms with settings that contradict each other, their objective or the attentive probe."""
    attentive = params.probes.attentive
    for name, arm in params.arms.items():
        vit = recipe_of(params, name)[0]
        refuse_extreme_numbers(objectives_of(params, name), arm.objectives, at=f"arms.{name}.objectives")
        count = parameters(vit, image_size=params.data.image_size)
        if count > MOST_PARAMETERS and arm.objective != "imported":
            raise ParamsError(
                f"params.yaml: vit.width {vit.width} and vit.depth {vit.depth} give arm {name} {count:.0e} "
                f"parameters, more than {MOST_PARAMETERS:.0e}; lower one of them"
            )
        if arm.objectives or vit.position == "relative":  # few studies; it imports torch
            refuse_unfit(name, arm, position=vit.position)
        if attentive and arm.objective != "imported" and vit.width % attentive.heads:
            key = f"params.yaml: probes.attentive.heads is {attentive.heads}"
            raise ParamsError(f"{key}: it must divide {vit.width}, the width of arm {name}")


def refuse_absent_libraries(params: Study) -> None:
    """Refuse photographs without their decoder, and an accelerator that this machine does not have."""
    if params.data.store == "photographs":
        from stages.data.photographs import jpeg_decoder  # imports torch, as below

        jpeg_decoder()
    accelerator = params.runtime.accelerator
    if accelerator not in ("cuda", "mps"):
        return
    import torch  # takes seconds, and the other checks do not need it

    if not (torch.cuda if accelerator == "cuda" else torch.backends.mps).is_available():
        raise ParamsError(
            f"params.yaml: runtime.accelerator is {accelerator!r}: torch finds none; set auto or cpu"
        )


if __name__ == "__main__":
    main()
