"""Where things lie, and writing that never leaves half a file."""

import errno
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.study.errors import StudyError

if TYPE_CHECKING:
    import pandas as pd

DATA = Path("data/prepared")
CHECKED = Path("results/check.json")  # out of check: always the same
COMPARISON = Path("results/comparison.csv")  # out of compare: how alike the blocks of all arms are
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a full disk, a quota, `ulimit -f`


def model_dir(arm: str, seed: int) -> Path:
    """Return the folder of one encoder: encoder.safetensors, encoder.json, history.csv, training.json.

    models/<arm> is the out of pretrain. An autoencoder leaves its decoder too, a hybrid gradients.csv.
    Encoders kept on the way lie in snapshots/<share>.
    """
    return Path("models") / arm / f"{seed}"


def snapshot_dir(model: Path, share: float) -> Path:
    """Return the folder of an encoder kept after a share of its training: encoder.safetensors, encoder.json.

    model: folder of the trained encoder, see `model_dir`
    """
    return model / "snapshots" / f"{share:g}"


def snapshot_shares(model: Path) -> list[float]:
    """Return the shares of its training after which an encoder was kept, in rising order."""
    return sorted(float(path.name) for path in (model / "snapshots").glob("[0-9]*"))


def trajectory_dir(arm: str) -> Path:
    """Return the folder of what was measured of an arm on its way: images_seen.csv and `snapshot_table`s."""
    return Path("results/snapshots") / arm


def snapshot_table(trajectory: Path, share: float, kind: str, name: str) -> Path:
    """Return the table of an analysis or a probe of all encoders of an arm at a share of their training.

    trajectory: see `trajectory_dir`; kind: analysis or probe
    """
    return trajectory / f"{share:g}" / kind / f"{name}.csv"


def encoder_digest(arm: str, seed: int) -> list[str]:
    """Return what names an encoder of an arm: digests of its weights and of its description."""
    folder = model_dir(arm, seed)
    return [file_digest(folder / name) for name in ("encoder.safetensors", "encoder.json")]


def trained_seeds(arm: str) -> list[int]:
    """Return the seeds of the encoders of one arm, in rising order, as pretrain wrote them."""
    return sorted(int(path.name) for path in (Path("models") / arm).glob("[0-9]*") if path.is_dir())


def gradients_table(arm: str, seed: int) -> Path:
    """How the gradients of the two losses of a hybrid agree, by epoch and block; other arms have none."""
    return model_dir(arm, seed) / "gradients.csv"


def features_dir(arm: str, seed: int) -> Path:
    """Return the folder of one encoder's features: a file for each split and kind, see `features_name`."""
    return Path("features") / arm / f"{seed}"


def features_name(kind: str, split: str) -> str:
    """train.safetensors of the kind pooled; blocks-train.safetensors and the like of every other kind."""
    return f"{split}.safetensors" if kind == "pooled" else f"{kind}-{split}.safetensors"


def probe_metrics(probe: str, arm: str) -> Path:
    """Metrics of one probe of one arm."""
    return Path("results/probe") / probe / f"{arm}.json"


def probe_predictions(probe: str, arm: str) -> Path:
    """Per-image predictions of one probe of one arm."""
    return Path("results/probe") / probe / f"{arm}.csv"


def finetune_metrics(arm: str) -> Path:
    """Metrics of a fine-tuned arm."""
    return Path("results/finetune") / f"{arm}.json"


def finetune_dir(arm: str, seed: int) -> Path:
    """Return the folder of one fine-tuned encoder; results/finetune/<arm> is the out of finetune.

    It holds encoder.safetensors, encoder.json, head.safetensors, predictions.csv, history.csv, training.json.
    """
    return Path("results/finetune") / arm / f"{seed}"


def augmented_dir(arm: str, seed: int) -> Path:
    """Return the folder of linear heads trained on augmented images: predictions.csv, metrics.json."""
    return Path("results/probe/linear_augmented") / arm / f"{seed}"


def segmenter_dir(arm: str, seed: int) -> Path:
    """Return the folder of one encoder fine-tuned to segment: overlaps.csv, metrics.json, training.json."""
    return Path("results/segmentation") / arm / f"{seed}"


def analysis_table(analysis: str, arm: str) -> Path:
    """Tidy per-image table of one analysis of one arm."""
    return Path("results/analysis") / analysis / f"{arm}.csv"


def segmentation_table(arm: str) -> Path:
    """Intersections and unions of one arm, per image, way and class."""
    return Path("results/segmentation") / f"{arm}.csv"


def segmentation_metrics(arm: str) -> Path:
    """mIoU of one arm."""
    return Path("results/segmentation") / f"{arm}.json"


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
def writing(target: Path, *, size: int | None = None) -> Iterator[Path]:
    """Give a temporary path beside the target and put it in the target's place when the block succeeds.

    The target may become a file or a directory; on an exception nothing of it is left, and the target is what
    it was. What a killed process left of the same target goes too.
    size: bytes that the target will have, if known
    Raises StudyError if there is no room for it.
    """
    temporary = target.parent / f".{target.name}.{os.getpid()}.part"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target)
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
    except StudyError:
        raise
    except Exception as error:
        reason = _no_room(error)
        if reason is None:
            raise
        needed = _megabytes(size) if size else f"more than {_megabytes(_size(temporary))}"
        _remove(temporary)
        raise StudyError(
            f"{target}: {reason}; {needed} needed, {_megabytes(_free(target))} free; "
            "make room and run it again, it goes on from what was saved"
        ) from error
    finally:
        _remove(temporary)


def write_text(target: Path, text: str) -> None:
    """Write a whole text file or nothing of it."""
    with writing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write JSON whose bytes depend on the value alone: sorted keys, floats of 6 digits."""
    write_text(target, json.dumps(_rounded(value), indent=2, sort_keys=True) + "\n")


def write_table(target: Path, table: "pd.DataFrame", *, seed: int | None = None) -> None:
    """Write a table as CSV whose bytes depend on its numbers alone.

    seed: of the training that the whole table is about, which becomes its first column; None: as it is
    """
    if seed is not None:
        table = table.copy(deep=False)
        table.insert(0, "seed", seed)
    write_text(target, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def write_joined(target: Path, parts: Sequence[Path]) -> None:
    """Write CSV files that have the same header as one, part after part."""
    texts = [part.read_text(encoding="utf-8").partition("\n") for part in parts]
    write_text(target, texts[0][0] + "\n" + "".join(rows for _, _, rows in texts))


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def file_digest(path: Path | str) -> str:
    """SHA-256 of a file's content, in hex."""
    with Path(path).open("rb") as file:
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


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_abandoned(target: Path) -> None:
    for part in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        writer = part.name.removeprefix(f".{target.name}.").removesuffix(".part")
        # In a container that starts anew, the number of a dead writer may be ours.
        if writer.isdigit() and (int(writer) == os.getpid() or not _lives(int(writer))):
            _remove(part)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _no_room(error: BaseException | None) -> str | None:
    # Libraries that are not written in Python raise errors of their own, with the system's words or after its
    # error.
    if error is None:
        return None
    words = next((words for words in map(os.strerror, NO_ROOM) if words in str(error)), None)
    return words or _no_room(error.__cause__ or error.__context__)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _free(target: Path) -> int:
    there = next(folder for folder in target.absolute().parents if folder.is_dir())
    return shutil.disk_usage(there).free


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
