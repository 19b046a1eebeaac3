"""A copy of the project, small enough to run whole in a test."""

import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
INTERPRETER = Path(sys.executable).parent  # the folder of this `python` and the commands beside it

TOY: dict[str, Any] = {
    "seeds": [0],
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
    "finetune": {"epochs": 1, "batch_size": 32, "poolings": ["mean"]},
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
            "frequency_noise": {"levels": [0.5, 1.0], "width": 0.5, "amplitudes": [0.1, 0.2], "images": 8},
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
    "trajectory": {
        "analyses": {
            name: {"images": 12} for name in ("attention", "fourier", "similarity", "singular_values")
        },
        "probes": ["linear", "layerwise"],
        "train_images": 48,
        "test_images": 12,
    },
    "runtime": {"accelerator": "cpu", "threads": 1, "eval_batch_size": 40},
}


def copy_project(
    target: Path, *, changes: dict[str, Any] | None = None, leave_out: tuple[str, ...] = ()
) -> Path:
    """The project without results in a folder of its own, at toy size and with the changes.

    leave_out: names under arms:, probes: and analyses: to do without
    """
    target.mkdir(parents=True, exist_ok=True)
    for name in ("stages", "notebooks"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", "pyproject.toml"):
        shutil.copy(ROOT / name, target / name)
    (target / "params.yaml").write_text(toy_params())
    if changes:
        edit(target, changes)
    if leave_out:
        remove(target, leave_out)
    return target


@cache
def toy_params() -> str:
    """params.yaml at toy size."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(ROOT / "params.yaml", folder)
        edit(Path(folder), TOY)
        return (Path(folder) / "params.yaml").read_text()


def remove(project: Path, names: tuple[str, ...]) -> None:
    """Take arms, probes and analyses out of params.yaml."""
    yaml = YAML()
    params = yaml.load(project / "params.yaml")
    for name in names:
        section = next(params[key] for key in ("arms", "probes", "analyses") if name in params[key])
        del section[name]
        params["labels"].pop(name, None)
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


def environment(*, python: Path = INTERPRETER) -> dict[str, str]:
    """The environment of a stage: one thread, and nothing of a DVC around us.

    python: the folder of the `python` that it finds first, see tests/forked_python.py
    """
    env = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "MLFLOW_"))}
    path = os.pathsep.join([f"{python}", f"{INTERPRETER}", env["PATH"]])
    return env | {"PATH": path, "OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1"}


def run_in(project: Path, *words: str, python: Path = INTERPRETER) -> subprocess.CompletedProcess[str]:
    """Run a command in the project and return what it said; its `python` is that of the folder `python`."""
    env = environment(python=python)
    return subprocess.run(words, cwd=project, env=env, capture_output=True, text=True)


def as_dvc_repository(project: Path) -> Path:
    """Put the project under Git, with an empty first commit, and DVC."""
    from dvc.repo import Repo  # takes a second, and tests on a GPU run without DVC

    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (("init", "-q"), (*author, "commit", "-q", "--allow-empty", "-m", "start")):
        done = run_in(project, "git", *words)
        assert done.returncode == 0, done.stderr
    Repo.init(str(project)).close()
    (project / ".dvc/config").write_text("[core]\n    analytics = false\n")
    return project
