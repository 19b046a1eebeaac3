"""Where things lie, and writing that never leaves half a file."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DATA = Path("data")


def model_dir(arm: str) -> Path:
    """Out of pretrain: encoder.safetensors, encoder.json, history.csv."""
    return Path("models") / arm


def features_dir(arm: str) -> Path:
    """Out of features: train.safetensors, test.safetensors."""
    return Path("features") / arm


def probe_metrics(probe: str, arm: str) -> Path:
    """Metrics of one probe of one arm."""
    return Path("results/probe") / probe / f"{arm}.json"


def probe_predictions(probe: str, arm: str) -> Path:
    """Per-image predictions of one probe of one arm."""
    return Path("results/probe") / probe / f"{arm}.csv"


def finetune_metrics(arm: str) -> Path:
    """Metrics of a fine-tuned arm."""
    return Path("results/finetune") / f"{arm}.json"


def finetune_dir(arm: str) -> Path:
    """Out of finetune: predictions.csv, history.csv, encoder.safetensors, encoder.json, head.safetensors."""
    return Path("results/finetune") / arm


def analysis_table(analysis: str, arm: str) -> Path:
    """Tidy per-image table of one analysis of one arm."""
    return Path("results/analysis") / analysis / f"{arm}.csv"


def robustness_table(arm: str) -> Path:
    """Per-image predictions of one arm on corrupted images and on stimuli."""
    return Path("results/robustness") / f"{arm}.csv"


def robustness_metrics(arm: str) -> Path:
    """Accuracy of one arm on corrupted images and on stimuli."""
    return Path("results/robustness") / f"{arm}.json"


def scratch() -> Path:
    """Resume state, timings and downloads: ignored by Git and DVC, found again from DVC's temporary runs."""
    return Path(os.environ.get("DVC_ROOT", ".")) / "scratch"


@contextmanager
def writing(target: Path) -> Iterator[Path]:
    """Give a temporary path beside the target and put it in the target's place when the block succeeds.

    The target may become a file or a directory; on an exception nothing of it is left.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{os.getpid()}.part"
    try:
        yield temporary
        if temporary.is_dir():
            for path in temporary.rglob("*"):
                if path.is_file():
                    _flush(path)
            if target.is_dir():
                shutil.rmtree(target)
        else:
            _flush(temporary)
        os.replace(temporary, target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        elif temporary.exists():
            temporary.unlink()


def write_text(target: Path, text: str) -> None:
    """Write a whole text file or nothing of it."""
    with writing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write JSON whose bytes depend on the value alone: sorted keys, floats of 6 digits."""
    write_text(target, json.dumps(_rounded(value), indent=2, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
