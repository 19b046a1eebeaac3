"""Paths of the project's files, and writing that never leaves a partial file."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.study.disk import make_folder, no_room, put_in_place, remove, remove_abandoned
from stages.study.errors import StudyError

if TYPE_CHECKING:
    import pandas as pd

DATA = Path("data/prepared")
CHECKED = Path("results/check.json")  # out of check; its content never changes
COMPARISON = Path("results/comparison.csv")  # out of compare: similarity of the blocks of all arms


def model_dir(arm: str, seed: int) -> Path:
    """Return the folder of one encoder: encoder.safetensors, encoder.json, history.csv, training.json.

    models/<arm> is the out of pretrain. Autoencoders add their decoder, hybrids add gradients.csv.
    Snapshots of the encoder during training lie in snapshots/<share>.
    """
    return Path("models") / arm / f"{seed}"


def snapshot_dir(model: Path, share: float) -> Path:
    """Return the folder of a snapshot: encoder.safetensors and encoder.json.

    model: folder of the trained encoder, see `model_dir`
    share: of the training that had passed, in (0, 1)
    """
    return model / "snapshots" / f"{share:g}"


def snapshot_shares(model: Path) -> list[float]:
    """Return the shares of an encoder's training at which snapshots were saved, in ascending order."""
    return sorted(float(path.name) for path in (model / "snapshots").glob("[0-9]*"))


def trajectory_dir(arm: str) -> Path:
    """Return the folder of an arm's measurements at snapshots: images_seen.csv and `snapshot_table`s."""
    return Path("results/snapshots") / arm


def snapshot_table(trajectory: Path, share: float, kind: str, name: str) -> Path:
    """Return the path of one analysis or probe of all encoders of an arm at a share of their training.

    trajectory: see `trajectory_dir`; kind: analysis or probe
    """
    return trajectory / f"{share:g}" / kind / f"{name}.csv"


def encoder_digest(arm: str, seed: int) -> list[str]:
    """Return the SHA-256 digests of an encoder's weights and of its description, in hex."""
    folder = model_dir(arm, seed)
    return [file_digest(folder / name) for name in ("encoder.safetensors", "encoder.json")]


def trained_seeds(arm: str) -> list[int]:
    """Return the seeds of one arm's trained encoders, in ascending order."""
    return sorted(int(path.name) for path in (Path("models") / arm).glob("[0-9]*") if path.is_dir())


def gradients_table(arm: str, seed: int) -> Path:
    """Return the path of a hybrid's gradient table (agreement of its two losses by epoch and block)."""
    return model_dir(arm, seed) / "gradients.csv"


def features_dir(arm: str, seed: int) -> Path:
    """Return the folder of one encoder's features, one file per split and kind; see `features_name`."""
    return Path("features") / arm / f"{seed}"


def features_name(kind: str, split: str) -> str:
    """Return the file name of features: train.safetensors if pooled, else e.g. blocks-train.safetensors."""
    return f"{split}.safetensors" if kind == "pooled" else f"{kind}-{split}.safetensors"


def probe_metrics(probe: str, arm: str) -> Path:
    """Return the path of one probe's metrics for one arm."""
    return Path("results/probe") / probe / f"{arm}.json"


def probe_predictions(probe: str, arm: str) -> Path:
    """Return the path of one probe's per-image predictions for one arm."""
    return Path("results/probe") / probe / f"{arm}.csv"


def finetune_metrics(arm: str) -> Path:
    """Return the path of a fine-tuned arm's metrics."""
    return Path("results/finetune") / f"{arm}.json"


def finetune_dir(arm: str, seed: int) -> Path:
    """Return the folder of one fine-tuned encoder; results/finetune/<arm> is the out of finetune.

    It holds encoder.safetensors, encoder.json, head.safetensors, predictions.csv, history.csv, training.json.
    """
    return Path("results/finetune") / arm / f"{seed}"


def augmented_dir(arm: str, seed: int) -> Path:
    """Return the folder of a linear head trained on augmented images: predictions.csv, metrics.json."""
    return Path("results/probe/linear_augmented") / arm / f"{seed}"


def segmenter_dir(arm: str, seed: int) -> Path:
    """Return the folder of one encoder fine-tuned to segment: overlaps.csv, metrics.json, training.json."""
    return Path("results/segmentation") / arm / f"{seed}"


def analysis_table(analysis: str, arm: str) -> Path:
    """Return the path of one analysis's tidy per-image table for one arm."""
    return Path("results/analysis") / analysis / f"{arm}.csv"


def segmentation_table(arm: str) -> Path:
    """Return the path of one arm's intersections and unions per image, method and class."""
    return Path("results/segmentation") / f"{arm}.csv"


def segmentation_metrics(arm: str) -> Path:
    """Return the path of one arm's mIoU."""
    return Path("results/segmentation") / f"{arm}.json"


def robustness_table(arm: str) -> Path:
    """Return the path of one arm's per-image predictions on corrupted images and stimuli."""
    return Path("results/robustness") / f"{arm}.csv"


def robustness_metrics(arm: str) -> Path:
    """Return the path of one arm's accuracy on corrupted images and stimuli."""
    return Path("results/robustness") / f"{arm}.json"


def scratch() -> Path:
    """Return the folder of checkpoints, timings and downloads, which Git and DVC ignore.

    DVC's temporary runs share the folder of the original project.
    """
    return Path(os.environ.get("DVC_ROOT", ".")) / "scratch"


@contextmanager
def writing(target: Path, *, size: int | None = None) -> Iterator[Path]:
    """Yield a temporary path beside the target; if the block succeeds, move it to the target.

    The temporary path may become a file or a folder. If the block fails, the temporary path is removed and
    the target stays as it was. Temporary files of killed processes for the same target are removed too.
    After the block, a power loss no longer loses the target; before, it leaves no part of one.
    size: expected bytes of the target, if known
    Raises StudyError if the disk is full.
    """
    temporary = target.parent / f".{target.name}.{os.getpid()}.part"
    try:
        make_folder(target.parent)
        remove_abandoned(target)
        yield temporary
        put_in_place(temporary, target)
    except StudyError:
        raise
    except Exception as error:
        reason = no_room(error)
        if reason is None:
            raise
        needed = _megabytes(size) if size else f"more than {_megabytes(_size(temporary))}"
        remove(temporary)
        raise StudyError(
            f"{target}: {reason}; {needed} needed, {_megabytes(_free(target))} free; free some space and run "
            "the command again; finished work is kept"
        ) from error
    finally:
        remove(temporary)


def write_text(target: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with writing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write JSON whose bytes depend only on the value: sorted keys, floats with 6 significant digits."""
    write_text(target, json.dumps(_rounded(value), indent=2, sort_keys=True) + "\n")


def write_table(target: Path, table: "pd.DataFrame", *, seed: int | None = None) -> None:
    """Write a table as CSV whose bytes depend only on its values.

    seed: added as the first column, if the whole table is about one training; None: no column is added
    """
    if seed is not None:
        table = table.copy(deep=False)
        table.insert(0, "seed", seed)
    write_text(target, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def write_joined(target: Path, parts: Sequence[Path]) -> None:
    """Concatenate CSV files that have the same header."""
    texts = [part.read_text(encoding="utf-8").partition("\n") for part in parts]
    write_text(target, texts[0][0] + "\n" + "".join(rows for _, _, rows in texts))


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises ValueError if it is not JSON, or nested too deeply."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def file_digest(path: Path | str) -> str:
    """Return the SHA-256 of a file's content, in hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _free(target: Path) -> int:
    existing = next(folder for folder in target.absolute().parents if folder.is_dir())
    return shutil.disk_usage(existing).free


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
