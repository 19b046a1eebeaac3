"""The content of MLflow runs: the study, its arms and their seeds."""

import hashlib
import importlib.metadata
import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.objectives.contract import Objective
from stages.objectives.overrides import objectives_of
from stages.results.study_results import Results
from stages.study.documents import read_yaml
from stages.study.lookup import find
from stages.study.params import seeds_of
from stages.study.paths import DATA, file_digest, read_json
from stages.study.recipe import recipe_of
from stages.study.study import Study
from stages.tracking.measures import Measure, accuracies, courses, encoder_settings, headlines, machine

FILES = ("reports/index.html", "results/claims.json", "results/specifications.csv")
TABLES = Path("reports/plots")  # small tables of all arms


@dataclass(frozen=True)
class Record:
    """The content of one MLflow run."""

    name: str
    params: dict[str, Any]
    metrics: list[Measure]
    tags: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    children: "list[Record]" = field(default_factory=list)

    @property
    def key(self) -> str:
        """Return a digest of settings, numbers and files, so that equal results share one run."""
        files = {str(path): file_digest(path) for path in self.files}
        return digest([self.params, self.metrics, files, [child.key for child in self.children]])


def study_record(study: Study) -> Record:
    """Return the record of the current results, with the records of all arms as children."""
    results = Results(study)
    arms = [arm_record(results, arm) for arm in study.arms]
    settings = study.model_dump(include={"seed", "seeds", "data", "finetune"})
    params = {"arms": ", ".join(study.arms)} | flat(settings)
    files = [path for path in [*map(Path, FILES), *sorted(TABLES.glob("*.csv"))] if path.is_file()]
    metrics = [(name, value, 0) for name, value in headlines(results).items()]
    note = "Arms are nested runs, with seeds below them. The report and its tables are artifacts."
    tags = {"study.kind": "study", "mlflow.note.content": note} | circumstances()
    name = tags.get("dvc.exp") or f"study {tags.get('dvc.lock', '')[:8]}".strip()
    return Record(name, params, metrics, tags, files, arms)


def arm_record(results: Results, arm: str) -> Record:
    """Return the record of one arm: its settings, means over seeds, and the records of its seeds."""
    seeds = results.seeds(arm)
    params = {"arm": arm, "seeds": seeds} | settings_of(results.study, arm)
    tags = {"study.kind": "arm", "study.arm": arm} | machine(arm, seeds)
    children = [seed_record(results, arm, seed) for seed in seeds]
    metrics = [(name, value, 0) for name, value in accuracies(results, arm).items()]
    return Record(arm, params, metrics, tags, children=children)


def seed_record(results: Results, arm: str, seed: int) -> Record:
    """Return the record of one encoder: its training curves and accuracies."""
    params = {"arm": arm, "seed": seed} | settings_of(results.study, arm)
    metrics = [(name, value, 0) for name, value in accuracies(results, arm, seed=seed).items()]
    tags = {"study.kind": "seed", "study.arm": arm} | machine(arm, [seed])
    return Record(f"{arm} {seed}", params, courses(arm, seed) + metrics, tags)


def settings_of(study: Study, arm: str) -> dict[str, Any]:
    """Return the settings of an arm's pre-training, by dotted names and with the arm's overrides."""
    spec, objective = study.arms[arm], find(Objective, study.arms[arm].objective)
    options = ("objective", "cl_weight", "gradient_ratio", "mim_block", "stop_epoch", "weights", "format")
    settings: dict[str, Any] = {key: v for key in options if (v := getattr(spec, key)) is not None}
    vit, recipe = recipe_of(study, arm)
    settings["vit"] = vit.model_dump(exclude_none=True)
    if objective.opens:
        settings["vit"] = encoder_settings(arm, seeds_of(study, arm)[0])
    if objective.build:
        settings["pretrain"] = recipe.model_dump(exclude_none=True)
        for section in objective.settings:
            settings[section] = getattr(objectives_of(study, arm), section).model_dump(exclude_none=True)
    return flat(settings)


def circumstances() -> dict[str, str]:
    """Return the tags of a study: commit, experiment, data, dvc.lock and versions."""
    lock, manifest = Path("dvc.lock"), DATA / "manifest.json"
    stages = read_yaml(lock)["stages"] if lock.is_file() else {}
    tags = {
        "mlflow.source.git.commit": _git_commit(),
        "dvc.exp": os.environ.get("DVC_EXP_NAME", ""),
        "dvc.lock": digest({name: entry for name, entry in stages.items() if name != "track"}),
        "data.digest": digest(read_json(manifest)["arrays"]) if manifest.is_file() else "",
        "version.dvc": importlib.metadata.version("dvc"),
        "version.mlflow": importlib.metadata.version("mlflow"),
    }
    return {name: value for name, value in tags.items() if value}


def flat(values: dict[str, Any], at: str = "") -> dict[str, Any]:
    """Flatten nested values to dotted names; lists count as values."""
    pairs: dict[str, Any] = {}
    for name, value in values.items():
        pairs |= flat(value, f"{at}{name}.") if isinstance(value, dict) else {f"{at}{name}": value}
    return pairs


def digest(value: Any) -> str:
    """Return 32 hex digits that identify a value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _git_commit() -> str:
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=20)
    except OSError:
        return ""
    return "" if done.returncode else done.stdout.strip()
