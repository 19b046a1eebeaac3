"""Keep the result tables of a study without its encoders: `python -m stages.tools.tables pack FILE`.

    pack FILE          write params.yaml and all tables from which claims and report are made
    unpack FILE...     put them into a fresh clone; several files with the same settings are joined

Afterwards, `dvc repro --single-item decide` tests all claims anew, without any training.
"""

import argparse
import csv
import io
import subprocess
import zipfile
import zlib
from collections.abc import Container, Sequence
from pathlib import Path, PurePath, PurePosixPath

import pyarrow
import pyarrow.parquet
from ruamel.yaml import YAML

from stages.results.study_results import CLAIMS, MANIFEST, SPECIFICATIONS, TRAJECTORIES
from stages.study.command import exit_with
from stages.study.errors import StudyError
from stages.study.params import load_params, seeds_of
from stages.study.paths import CHECKED, COMPARISON, read_json, write_text, writing
from stages.study.study import Study
from stages.study.words import counted
from stages.tools.joining import joined, joined_params

PARAMS = Path("params.yaml")
FOLDERS = (Path("models"), Path("results"))
DECIDED = (CLAIMS, SPECIFICATIONS, TRAJECTORIES, CHECKED)  # written anew from the tables
COLUMNS = ".parquet"  # added to the name of a table that is stored by columns

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
    Raises StudyError if params.yaml is invalid, if the study has no tables or lacks those of a training, or
    if the target is a folder.
    """
    if target.is_dir():
        raise StudyError(f"{target}: is a folder; name a file, such as {target / 'tables.zip'}")
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
    refuse_unfinished(study, paths, project=project)
    with writing(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for path in [PARAMS, MANIFEST, *paths]:
            name, content = path.as_posix(), (project / path).read_bytes()
            if path.suffix == ".csv" and (columns := by_columns(content)) is not None:
                name, content = name + COLUMNS, columns
            entry = zipfile.ZipInfo(name)  # without the time, so that equal tables give equal files
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, compresslevel=9)
    arms = ", ".join(f"{arm} {counted(len(seeds_of(study, arm)), 'seed')}" for arm in study.arms)
    return f"{target}: {counted(len(paths), 'file')}, {target.stat().st_size / 1e6:.1f} MB: {arms}"


def refuse_unfinished(study: Study, paths: Sequence[Path], *, project: Path) -> None:
    """Raise StudyError if an arm has no encoder or no metrics of one of its seeds. paths: of the tables"""
    for arm, settings in study.arms.items():
        if settings.objective == "imported":  # one encoder, without a seed
            continue
        wanted = {f"{seed}" for seed in seeds_of(study, arm)}
        present = {"models": {path.parts[2] for path in paths if path.parts[:2] == ("models", arm)}}
        for path in paths:
            if path.name == f"{arm}.json" and (seeds := read_json(project / path).get("seeds")):
                present[f"{path}"] = set(seeds)
        for where, seeds in present.items():
            if lacking := sorted(wanted - seeds, key=int):
                raise StudyError(
                    f"{project / where}: {arm} lacks seed {', '.join(lacking)}; run `make study` first, or "
                    "correct seeds: in params.yaml"
                )


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
