"""Keep the result tables of a study without its encoders: `python -m stages.tools.tables pack FILE`.

    pack FILE          write params.yaml and all tables from which claims and report are made
    unpack FILE...     put them into a fresh clone; several files with the same settings are joined

Afterwards, `dvc repro --single-item decide` tests all claims anew, without any training.
"""

import argparse
import csv
import io
import json
import subprocess
import zipfile
import zlib
from collections.abc import Container, Mapping, Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import pyarrow
import pyarrow.parquet
from ruamel.yaml import YAML

from stages.results.metrics import over_seeds
from stages.results.study_results import CLAIMS, MANIFEST, SPECIFICATIONS, TRAJECTORIES
from stages.study.command import exit_with
from stages.study.errors import StudyError
from stages.study.params import load_params, seeds_of, validate
from stages.study.paths import CHECKED, COMPARISON, write_text, writing
from stages.study.words import counted

PARAMS = Path("params.yaml")
FOLDERS = (Path("models"), Path("results"))
DECIDED = (CLAIMS, SPECIFICATIONS, TRAJECTORIES, CHECKED)  # written anew from the tables
COLUMNS = ".parquet"  # added to the name of a table that is stored by columns
OWN = ("seeds", "labels", "runtime", "arms")  # settings in which joined studies may differ
PLACES = ("source", "test_source", "root")  # where images lie; the manifest tells whether they are the same

Contents = dict[str, bytes]  # by path in the project


def main() -> None:
    """Read the command line, and pack or unpack tables."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.tables", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("pack").add_argument("file", type=Path)
    actions.add_parser("unpack").add_argument("files", type=Path, nargs="+", metavar="file")
    options = parser.parse_args()
    exit_with(
        "tables", lambda: pack(options.file) if options.action == "pack" else unpack(options.files, Path())
    )


def pack(target: Path, project: Path = Path()) -> str:
    """Write the settings and tables of a finished study into one ZIP file; return what it holds, in words.

    Tables are stored by columns, which needs about a third of the space; their text returns unchanged.
    Raises StudyError if params.yaml is invalid or the study has no tables.
    """
    study = load_params(project / PARAMS)
    paths = [
        path.relative_to(project)
        for folder in FOLDERS
        for path in sorted((project / folder).rglob("*"))
        if path.suffix in (".csv", ".json")
        and path.relative_to(project) not in DECIDED
        and is_of(study.arms, path.relative_to(project))
    ]
    if not (project / MANIFEST).is_file() or not paths:
        raise StudyError(f"{project / FOLDERS[1]}: no finished study; run `make study` first")
    with writing(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for path in [PARAMS, MANIFEST, *paths]:
            name, content = path.as_posix(), (project / path).read_bytes()
            if path.suffix == ".csv" and (columns := by_columns(content)) is not None:
                name, content = name + COLUMNS, columns
            entry = zipfile.ZipInfo(name)  # without the time, so that equal tables give equal files
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, compresslevel=9)
    arms = ", ".join(f"{arm} {counted(len(seeds_of(study, arm)), 'seed')}" for arm in study.arms)
    return f"{target}: {counted(len(paths), 'file')}, {target.stat().st_size / 1e6:.1f} MB: {arms}"


def unpack(files: Sequence[Path], project: Path) -> str:
    """Write the joined tables of packed studies into a project; return their arms and seeds, in words.

    Raises StudyError if the project has results of its own, if a file is damaged, or if the studies have
    different images or settings, or results of the same training.
    """
    refuse_results(project)
    studies = {f"{file}": of_its_arms(contents(file)) for file in files}
    params = joined_params({name: study[f"{PARAMS}"] for name, study in studies.items()})
    whole = {
        path: joined(path, {name: study[path] for name, study in studies.items() if path in study})
        for path in sorted(set().union(*studies.values()) - {f"{PARAMS}"})
    }
    for path, content in whole.items():
        with writing(project / path) as temporary:
            temporary.write_bytes(content)
    write_text(project / PARAMS, params)
    study = load_params(project / PARAMS)
    seeds = (f"{arm} {', '.join(map(str, seeds_of(study, arm)))}" for arm in study.arms)
    return f"{counted(len(whole), 'file')}; seeds: {'; '.join(seeds)}"


def contents(file: Path) -> Contents:
    """Return the files of a packed study. Raises StudyError if it is missing or damaged."""
    try:
        with zipfile.ZipFile(file) as archive:
            found = {name: archive.read(name) for name in archive.namelist()}
    except FileNotFoundError:
        raise StudyError(f"{file}: not found") from None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OSError) as error:
        raise StudyError(f"{file}: not a complete ZIP file ({error}); copy it again") from None
    outside = [name for name in found if not is_inside(PurePosixPath(name))]
    if outside or not {f"{PARAMS}", MANIFEST.as_posix()} <= set(found):
        raise StudyError(f"{file}: no packed study; `python -m stages.tools.tables pack` writes one")
    return {
        name.removesuffix(COLUMNS): by_rows(content) if name.endswith(COLUMNS) else content
        for name, content in found.items()
    }


def of_its_arms(study: Contents) -> Contents:
    """Return the files of a packed study without metrics of other arms, which Git may have beside its own."""
    arms = YAML(typ="safe").load(study[f"{PARAMS}"])["arms"]
    return {name: content for name, content in study.items() if is_of(arms, PurePosixPath(name))}


def is_of(arms: Container[str], path: PurePath) -> bool:
    """Return whether a file belongs to one of these arms, or to all of them."""
    return path in (PARAMS, MANIFEST, COMPARISON) or any(name in arms for name in (*path.parts, path.stem))


def is_inside(path: PurePosixPath) -> bool:
    """Return whether a packed path is one that `pack` writes."""
    ours = path.as_posix() in (f"{PARAMS}", MANIFEST.as_posix())
    return ours or (".." not in path.parts and path.parts[0] in map(str, FOLDERS))


def refuse_results(project: Path) -> None:
    """Raise StudyError if unpacking would replace results that Git cannot restore."""
    if (project / "models").exists() or (project / "data/prepared").exists():
        raise StudyError("this folder has a study of its own; unpack into a fresh clone")
    command = ["git", "status", "--porcelain", "--ignored", "--", f"{PARAMS}", "results"]
    status = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if status.returncode:
        raise StudyError(f"{project.absolute()}: not under Git; unpack into a fresh clone")
    if status.stdout:
        name = status.stdout.split()[1]
        raise StudyError(f"{name}: changed since the last commit; unpack into a fresh clone")


def joined_params(texts: Mapping[str, bytes]) -> str:
    """Return the params.yaml of several studies, which differ at most in arms, seeds and labels.

    texts: name of the study -> its params.yaml
    Raises StudyError naming the first other setting in which they differ, or what is wrong with the result.
    """
    names = list(texts)
    values = {name: YAML(typ="safe").load(text) for name, text in texts.items()}
    studies = {name: validate(study, where=name) for name, study in values.items()}
    if len(names) == 1:
        return texts[names[0]].decode()
    arms: dict[str, dict[str, Any]] = {}
    labels: dict[str, str] = {}
    seeds: dict[str, set[int]] = {}
    augmented: set[str] = set().union(*(study["linear_augmented"]["arms"] for study in values.values()))
    for name, study in values.items():
        if difference := first_difference(common(values[names[0]]), common(study)):
            raise StudyError(f"{name}: {difference} differs from {names[0]}; only arms and seeds may differ")
        for arm, settings in study["arms"].items():
            own = {key: value for key, value in settings.items() if key != "seeds"}
            if arms.setdefault(arm, own) != own:
                raise StudyError(f"{name}: arms.{arm} differs from {names[0]}")
            if arm in augmented and arm not in study["linear_augmented"]["arms"]:
                raise StudyError(f"{name}: linear_augmented.arms lacks {arm}; another file has it")
            if own["objective"] != "imported":  # one encoder, without a seed
                seeds.setdefault(arm, set()).update(seeds_of(studies[name], arm))
        labels = (study.get("labels") or {}) | labels
    every = sorted(set().union(*seeds.values())) or studies[names[0]].seeds
    yaml = YAML()  # keeps the comments
    params = yaml.load(texts[names[0]])
    params["labels"], params["seeds"] = labels, every
    params["linear_augmented"]["arms"] = [arm for arm in arms if arm in augmented]
    for arm, own in arms.items():
        several = sorted(seeds.get(arm, every))
        params["arms"][arm] = own | ({} if several == every else {"seeds": several})
    text = io.StringIO()
    yaml.dump(params, text)
    validate(YAML(typ="safe").load(text.getvalue()), where=f"{PARAMS} of {' and '.join(names)}")
    return text.getvalue()


def common(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that joined studies must share."""
    shared = {key: value for key, value in params.items() if key not in OWN}
    for section, own in (("data", PLACES), ("linear_augmented", ("arms",))):
        shared[section] = {key: value for key, value in params[section].items() if key not in own}
    return shared


def first_difference(one: Any, other: Any, path: str = "") -> str:
    """Return the path of the first setting in which two mappings differ; empty if there is none."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = dict.fromkeys([*one, *other])
        differences = (first_difference(one.get(key), other.get(key), f"{path}{key}.") for key in keys)
        return next(filter(None, differences), "")
    return "" if one == other else path.rstrip(".")


def joined(path: str, holders: Mapping[str, bytes]) -> bytes:
    """Return one file of all studies that have it: the rows, or the metrics, of all trainings.

    holders: name of the study -> content of the file
    Raises StudyError if two studies have the same training, or differ in images, columns or protocol.
    """
    contents = list(holders.values())
    if all(content == contents[0] for content in contents):
        return contents[0]
    if path == MANIFEST.as_posix():
        # A source has any address, which the names of unreadable files may contain.
        manifests = [json.loads(text) | {"source": None, "unreadable": None} for text in contents]
        if any(manifest != manifests[0] for manifest in manifests):
            raise StudyError(f"{', '.join(holders)}: not the same images")
        return contents[0]
    if path.endswith(".json"):
        whole = joined_metrics([json.loads(text) for text in contents], where=path)
        return (json.dumps(whole, indent=2, sort_keys=True) + "\n").encode()
    tables = [text.decode().partition("\n") for text in contents]
    if len({header for header, _, _ in tables}) > 1:
        raise StudyError(f"{path}: the files have different columns; pack them with the same code")
    refuse_shared([trainings_in(text) for text in contents], where=path)
    return (tables[0][0] + "\n" + "".join(rows for _, _, rows in tables)).encode()


def joined_metrics(parts: Sequence[dict[str, Any]], *, where: str) -> dict[str, Any]:
    """Return the metrics of all seeds of an arm with their means, and what the parts share.

    Raises StudyError if two parts have the same seed, or differ in a protocol: each part may have chosen
    another pooling.
    """
    seeds = [part.get("seeds") or {} for part in parts]
    if not any(seeds):  # a file of one training
        raise StudyError(f"{where}: the files have different results of the same training; leave one out")
    refuse_shared([set(each) for each in seeds], where=where)
    every = {int(seed): of_seed for each in seeds for seed, of_seed in each.items()}
    whole = over_seeds(dict(sorted(every.items())))
    for key, value in parts[0].items():
        others = [part.get(key) for part in parts]
        if key == "by_pooling":
            whole[key] = {
                pooling: joined_metrics([other[pooling] for other in others if other], where=where)
                for pooling in value
            }
        elif key not in whole:
            if any(other != value for other in others):
                raise StudyError(f"{where}: the files differ in {key}: {'; '.join(map(str, others))}")
            whole[key] = value
    return whole


def trainings_in(table: bytes) -> set[tuple[str, ...]]:
    """Return the seeds in a table, with the arms if it has a column of them; empty if it has no rows."""
    rows = csv.DictReader(io.StringIO(table.decode(), newline=""))
    keys = [name for name in ("seed", "arm", "other_arm") if name in (rows.fieldnames or ())]
    return {tuple(row[key] for key in keys) for row in rows}


def refuse_shared(trainings: Sequence[set[Any]], *, where: str) -> None:
    """Raise StudyError unless every part has trainings, and no two share one."""
    if not all(trainings):
        raise StudyError(f"{where}: a file has no results there; pack finished studies")
    if len(set().union(*trainings)) < sum(map(len, trainings)):
        raise StudyError(f"{where}: the files have results of the same training; join other arms or seeds")


def by_columns(table: bytes) -> bytes | None:
    """Return a CSV table as Parquet with all values as text; None if its text would not return unchanged."""
    rows = list(csv.reader(io.StringIO(table.decode(), newline="")))
    if not rows or len(set(rows[0])) < len(rows[0]) or any(len(row) != len(rows[0]) for row in rows):
        return None
    columns = {name: pyarrow.array(values, pyarrow.string()) for name, *values in zip(*rows, strict=True)}
    frame = pyarrow.table(columns)
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(frame, buffer, compression="zstd", compression_level=19)
    return buffer.getvalue() if by_rows(buffer.getvalue()) == table else None


def by_rows(content: bytes) -> bytes:
    """Return the CSV text of a table that `by_columns` stored."""
    frame = pyarrow.parquet.read_table(io.BytesIO(content))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(frame.column_names)
    writer.writerows(zip(*(column.to_pylist() for column in frame.columns), strict=True))
    return text.getvalue().encode()


if __name__ == "__main__":
    main()
