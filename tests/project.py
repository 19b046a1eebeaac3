"""A copy of the project, small enough to run whole in a test."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]

TOY: dict[str, Any] = {
    "data": {"image_size": 16, "shapes_textures": {"train_images": 96, "test_images": 40}},
    "vit": {"width": 16, "depth": 2, "heads": 2},
    "pretrain": {"epochs": 2, "batch_size": 32},
    "objectives": {
        "contrastive": {"hidden_dim": 16, "output_dim": 8},
        "autoencoder": {"decoder_width": 16, "decoder_depth": 1},
        "dino": {"hidden_dim": 16, "bottleneck_dim": 8, "output_dim": 32, "local_size": 8, "local_crops": 2},
    },
    "features": {"block_images": 80, "token_images": 64},
    "probes": {
        "knn": {"k": 5},
        **{name: {"epochs": 2} for name in ("linear", "layerwise", "attentive")},
    },
    "finetune": {"epochs": 1, "batch_size": 32},
    "segmentation": {
        "train_images": 48,
        "test_images": 12,
        "epochs": 1,
        "bank": 200,
        "k": 5,
        "finetune_epochs": 1,
    },
    "robustness": {
        "images": 12,
        "corruptions": {
            "frequency_noise": {"levels": [0.5, 1.0], "width": 0.5},
            "patch_shuffle": {"levels": [4]},
        },
    },
    "analyses": {
        "attention": {"images": 12},
        "fourier": {"images": 12},
        "similarity": {"images": 12},
        "singular_values": {"images": 12, "spectrum_images": 4, "shown_images": 1},
        "attention_maps": {"images": 12, "shown_images": 1},
        "token_embedding": {"images": 12, "classes": 2, "images_per_class": 2, "perplexity": 5},
    },
    "runtime": {"accelerator": "cpu", "threads": 1, "eval_batch_size": 40},
}


def copy_project(
    target: Path, *, changes: dict[str, Any] | None = None, leave_out: tuple[str, ...] = ()
) -> Path:
    """The project without results in a folder of its own, at toy size and with the changes.

    leave_out: names under probes: and analyses: to do without
    """
    target.mkdir(parents=True, exist_ok=True)
    for name in ("stages", "notebooks"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore", "pyproject.toml"):
        shutil.copy(ROOT / name, target / name)
    edit(target, TOY)
    edit(target, changes or {})
    remove(target, leave_out)
    return target


def remove(project: Path, names: tuple[str, ...]) -> None:
    """Take probes and analyses out of params.yaml."""
    yaml = YAML()
    params = yaml.load(project / "params.yaml")
    for name in names:
        section = params["probes"] if name in params["probes"] else params["analyses"]
        del section[name]
    yaml.dump(params, project / "params.yaml")


def edit(project: Path, changes: dict[str, Any]) -> None:
    """Merge changes into params.yaml."""

    def merge(values: Any, changes: dict[str, Any]) -> None:
        for key, value in changes.items():
            if isinstance(value, dict) and isinstance(values.get(key), dict):
                merge(values[key], value)
            else:
                values[key] = value

    yaml = YAML()
    path = project / "params.yaml"
    params = yaml.load(path)
    merge(params, changes)
    yaml.dump(params, path)


def environment() -> dict[str, str]:
    """The environment of a stage: this interpreter, one thread, and nothing of a DVC around us."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "MLFLOW_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    return env | {"PATH": path, "OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1"}


def run_in(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project and return what it said; `python` is this interpreter."""
    return subprocess.run(words, cwd=project, env=environment(), capture_output=True, text=True)


def stage(project: Path, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run one stage, which must succeed."""
    done = run_in(project, sys.executable, "-m", f"stages.{name}", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def as_dvc_repository(project: Path) -> Path:
    """Put the project under Git and DVC."""
    commands = (
        ("git", "init", "-q"),
        ("dvc", "init", "-q"),
        ("dvc", "config", "core.analytics", "false"),
    )
    for words in commands:
        done = run_in(project, *words)
        assert done.returncode == 0, done.stderr
    return project
