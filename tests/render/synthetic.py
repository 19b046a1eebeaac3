"""Build a project with the results of a synthetic study."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
import yaml

from stages.results.study_results import MANIFEST, Results
from stages.study.params import seeds_of, validate
from stages.study.study import Study
from tests.render.synthetic_claims import claims, manifest, specifications
from tests.render.synthetic_tables import Training, comparison, write_training

ROOT = Path(__file__).parents[2]


def make_project(folder: Path, *, images: int = 24, blocks: int = 3, heads: int = 2, **changes: Any) -> Path:
    """Copy what the report needs of this project into a folder, and write tables for every arm of its params.

    Every arm has two seeds, unless it or the changes say otherwise; the hybrid has one.
    changes: sections of params.yaml to replace, e.g. arms={...}
    """
    folder.mkdir(parents=True, exist_ok=True)
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("stages", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore, dirs_exist_ok=True)
    shutil.copy(ROOT / "dvc.yaml", folder)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["arms"]["hybrid"]["seeds"] = [1]
    params |= {"seeds": [0, 1]} | changes
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    study = validate(params)
    write_study(folder, study, images=images, blocks=blocks, heads=heads)
    write_json(folder / MANIFEST, manifest())
    write_json(folder / "results/claims.json", claims())
    write_csv(folder / "results/specifications.csv", specifications())
    return folder


def study_of(
    arms: Mapping[str, str | dict[str, Any]],
    *,
    seeds: Sequence[int] = (0, 1),
    labels: Mapping[str, str] = MappingProxyType({}),
    **changes: Any,
) -> Study:
    """Return the study of params.yaml with these arms: an objective or a section of params.yaml each."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    whole = {name: {"objective": arm} if isinstance(arm, str) else arm for name, arm in arms.items()}
    return validate(params | {"arms": whole, "seeds": list(seeds), "labels": dict(labels)} | changes)


def write_study(folder: Path, study: Study, **sizes: int) -> Results:
    """Write all result files of every arm of a study."""
    for number, (name, arm) in enumerate(study.arms.items()):
        write_arm(folder, name, arm.objective, seeds=seeds_of(study, name), number=number, **sizes)
    seeds = {name: seeds_of(study, name) for name in study.arms}
    write_csv(folder / "results/comparison.csv", comparison(seeds, blocks=sizes.get("blocks", 3)))
    return Results(study, folder)


def write_arm(
    folder: Path, name: str, objective: str, *, seeds: Sequence[int] = (0, 1), number: int = 0, **sizes: int
) -> None:
    """Write all result files of one arm, as the stages combine those of its trainings."""
    tables: dict[str, list[pd.DataFrame]] = {}
    metrics: dict[str, dict[str, Any]] = {}
    for seed in seeds:
        training = Training({}, {})
        write_training(training, objective, seed=1000 * seed + number, **sizes)
        scatter = 0.01 * (
            1 - 2 * (seed % 2)
        )  # of the accuracies of this training around those of its objective
        for path, frame in training.tables.items():
            frame.insert(0, "seed", seed)
            if path in ("history", "gradients"):
                write_csv(folder / f"models/{name}/{seed}/{path}.csv", frame)
            else:
                tables.setdefault(path, []).append(frame)
        for path, content in training.metrics.items():
            metrics.setdefault(path, {})[str(seed)] = moved(content, scatter)
    for path, frames in tables.items():
        write_csv(folder / f"results/{path}/{name}.csv", pd.concat(frames, ignore_index=True))
    for path, of_seeds in metrics.items():
        write_json(
            folder / f"results/{path}/{name}.json", together(list(of_seeds.values())) | {"seeds": of_seeds}
        )


def together(values: Sequence[Any]) -> Any:
    """Return the mean metrics of several trainings; other values are those of the first."""
    first = values[0]
    if isinstance(first, dict):
        return {key: together([value[key] for value in values]) for key in first}
    number = isinstance(first, int | float) and not isinstance(first, bool)
    return sum(values) / len(values) if number else first


def moved(metrics: Any, scatter: float) -> Any:
    """Return metrics whose accuracies and mIoU are shifted, with their intervals."""
    if not isinstance(metrics, dict):
        return metrics
    scores = {"accuracy", "miou", "low", "high"}
    return {
        key: value + scatter if key in scores else moved(value, scatter) for key, value in metrics.items()
    }


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a tidy table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")


def write_json(path: Path, value: Any) -> None:
    """Write JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, sort_keys=True))
