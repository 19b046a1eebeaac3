"""Refuse user paths that overlap with the outs of stages.

DVC deletes the outs of a stage, with everything in them, before it runs the stage's command.
"""

import os
from pathlib import Path

from stages.study.documents import read_yaml
from stages.study.errors import ParamsError
from stages.study.study import Study

ADDRESSES = ("https://", "http://")


def refuse_places(study: Study, *, project: Path = Path(".")) -> None:
    """Refuse every path in params.yaml that lies in an out, contains an out or contains the project.

    project: folder of dvc.yaml; in a temporary run of DVC, the original project is checked too
    Raises ParamsError: one line with the key, its value and what to do.
    """
    outs = outs_of(project / "dvc.yaml")
    roots = [Path(os.path.abspath(folder)) for folder in (project, os.environ.get("DVC_ROOT", project))]
    for root in dict.fromkeys(roots):
        refuse_linked_outs(outs, root=root)
        for key, path in named_paths(study).items():
            if reason := conflict(path, outs=outs, root=root):
                raise ParamsError(f"params.yaml: {key} is {path!r}, which {reason}")


def named_paths(study: Study) -> dict[str, str]:
    """Return every path in params.yaml, by its key.

    A source may also be the name of a built-in or timm data set; read as a path, it overlaps with no out.
    """
    data = study.data
    paths = {"data.source": data.source, "data.test_source": data.test_source, "data.root": data.root}
    if data.masks:
        paths |= {"data.masks.source": data.masks.source, "data.masks.test_source": data.masks.test_source}
    for name, stimuli in study.robustness.stimuli.items():
        paths[f"robustness.stimuli.{name}.source"] = stimuli.source
    for name, place in study.report.compare_with.items():
        paths[f"report.compare_with.{name}"] = "" if is_address(place) else place
    for name, arm in study.arms.items():
        paths[f"arms.{name}.weights"] = arm.weights
    return {key: path for key, path in paths.items() if path}


def is_address(place: str) -> bool:
    """Return whether a place is a web address rather than a path."""
    return place.startswith(ADDRESSES)


def outs_of(graph: Path) -> dict[Path, str]:
    """Return the outs in dvc.yaml, each with the stage that writes it; `models/${key}` counts as `models`.

    graph: path of dvc.yaml
    """
    outs: dict[Path, str] = {}
    for stage, entry in read_yaml(graph)["stages"].items():
        body = entry.get("do", entry)
        for out in (out for kind in ("outs", "metrics", "plots") for out in body.get(kind, [])):
            name = out if isinstance(out, str) else next(iter(out))
            constant, template, _ = name.partition("${")
            outs.setdefault(Path(constant.rpartition("/")[0] if template else name), stage)
    return outs


def conflict(path: str, *, outs: dict[Path, str], root: Path) -> str:
    """Return why a user's path would be deleted or mixed with results, in words; empty if it is safe.

    outs: folders and files that stages write, relative to root
    root: absolute path of the project
    """
    if "\0" in path:
        return "contains a zero byte, which no path can; remove it"
    place = os.path.join(root, os.path.expanduser(path))
    # The path as written, and with its links resolved.
    places = [Path(os.path.normpath(place)), Path(os.path.realpath(place))]
    for out, stage in outs.items():
        if any(place.is_relative_to(target) for place in places for target in _spellings(root / out)):
            return f"lies in {out}: DVC deletes it before it runs stage {stage}; move your files elsewhere"
    for target, words in [(root, "the project folder"), *((root / out, f"{out}") for out in outs)]:
        if any(spelling.is_relative_to(place) for spelling in _spellings(target) for place in places):
            return f"contains {words}, whose files would count as yours; name a folder with only your files"
    return ""


def refuse_linked_outs(outs: dict[Path, str], *, root: Path) -> None:
    """Refuse links in place of output folders, because DVC does not track files behind a link.

    Output files may be links: DVC creates them if its cache.type is symlink.
    Raises ParamsError with the DVC settings that store large files elsewhere.
    """
    folders = (folder for out in outs for folder in [*out.parents, out] if not folder.suffix)
    for folder in dict.fromkeys(folders):
        link = root / folder
        if folder != Path(".") and link.is_symlink() and not link.is_file():
            cache = Path(os.path.realpath(link)) / "dvc-cache"
            raise ParamsError(
                f"{folder} is a link, and DVC cannot track outs behind links; make it a folder, and keep "
                "large files in DVC's cache elsewhere: "
                f"`dvc cache dir {cache}` and `dvc config cache.type symlink`"
            )


def _spellings(target: Path) -> list[Path]:
    """Return an absolute path as written, and with the links of its folder resolved."""
    return [target, Path(os.path.realpath(target.parent)) / target.name]
