"""The accuracies, losses and verdicts of the arms: reads exactly the files that the arms and probes name."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from stages.render.tables import Arms, arms_by_label
from stages.study.errors import StudyError
from stages.study.paths import finetune_metrics, model_dir, probe_metrics, read_json

FINE_TUNED = "fine-tuned"
AUGMENTED = "linear, augmented"  # of the arms that are probed so
CLAIMS = Path("results/claims.json")
SPECIFICATIONS = Path("results/specifications.csv")
MANIFEST = Path("data/prepared/manifest.json")


def accuracies(arms: Arms, *, probes: Iterable[str], augmented: Collection[str] = ()) -> pd.DataFrame:
    """Accuracy of every label under every probe and after fine-tuning.

    augmented: the arms that were also probed on augmented images
    returns: label, evaluation (probe, AUGMENTED or FINE_TUNED), labels (the label set), accuracy, low, high,
             chance (fractions), arms. Replicates: mean accuracy, from the lowest low to the highest high
    Probes that report no accuracy give no rows; one that reports shares of the labels, rows for each share.
    Raises StudyError naming a file that is missing or lacks a number.
    """
    rows = []
    for label, names in arms_by_label(arms).items():
        for evaluation, having in _evaluations(names, probes=probes, augmented=augmented).items():
            found = [_label_sets(_metrics_file(evaluation, name)) for name in having]
            for labels in found[0]:
                if any(labels not in one for one in found):
                    raise StudyError(
                        f"arms {', '.join(names)} share a label but not the label set {labels!r}"
                    )
                replicates = [one[labels] for one in found]
                place = {"label": label, "evaluation": evaluation, "labels": labels}
                shares = replicates[0].get("by_share")
                if not shares:
                    rows.append(place | _pooled(replicates))
                for share in shares or []:
                    place["evaluation"] = f"few-shot, {100 * float(share):g} % of labels"
                    rows.append(place | _pooled([one["by_share"][share] for one in replicates]))
    columns = ["label", "evaluation", "labels", "accuracy", "low", "high", "chance", "arms"]
    return pd.DataFrame(rows, columns=columns)


def protocols(arms: Arms, *, probes: Iterable[str], augmented: Collection[str] = ()) -> dict[str, str]:
    """How each evaluation was done, in its own words; arms that differ are joined by a semicolon."""
    said: dict[str, str] = {}
    for evaluation, having in _evaluations(arms, probes=probes, augmented=augmented).items():
        words = [_read(_metrics_file(evaluation, name)).get("protocol", "") for name in having]
        said[evaluation] = "; ".join(dict.fromkeys(word for word in words if word))
    return {evaluation: text for evaluation, text in said.items() if text}


def histories(arms: Arms) -> dict[str, list[pd.DataFrame]]:
    """Pre-training history per label, one frame per arm; labels that were never trained are left out.

    returns: label -> [epoch, loss, named parts of the loss, lr, grad_norm]
    Raises StudyError naming a file that is missing or has no column epoch or loss.
    """
    found: dict[str, list[pd.DataFrame]] = {}
    for label, names in arms_by_label(arms).items():
        for name in names:
            path = model_dir(name) / "history.csv"
            try:
                frame = pd.read_csv(path)
            except FileNotFoundError:
                raise StudyError(f"{path}: not found; `dvc repro pretrain@{name}` writes it") from None
            except pd.errors.EmptyDataError:
                continue  # an imported checkpoint has no history here
            if not {"epoch", "loss"} <= set(frame):
                raise StudyError(f"{path}: needs columns epoch and loss; there are: {', '.join(frame)}")
            if len(frame):
                found.setdefault(label, []).append(frame)
    return found


def loss_parts(frame: pd.DataFrame) -> list[str]:
    """The named parts of the loss in a history, in file order."""
    return [column for column in frame if column not in ("epoch", "loss", "lr", "grad_norm")]


def claims(path: Path = CLAIMS) -> dict[str, Any]:
    """What was decided about each claim of the paper, its words and its numbers put together.

    returns: {"claims": one mapping per claim, in the paper's order, "rules": how they were decided}
    Raises StudyError if the file is missing or has no claims.
    """
    content = _read(path, writer="decide")
    numbers, entries = content.get("claims"), content.get("entries")
    if not isinstance(numbers, dict) or not isinstance(entries, list):
        raise StudyError(f"{path}: has no claims with entries; `dvc repro decide` writes them")
    return {
        "claims": [words | numbers[words["name"]] for words in entries],
        "rules": content.get("rules", {}),
    }


def specifications(path: Path = SPECIFICATIONS) -> pd.DataFrame:
    """Every claim decided under every combination of its choices, as `claims.specification` writes it.

    Raises StudyError if the file is missing.
    """
    try:
        return pd.read_csv(path)
    except FileNotFoundError:
        raise StudyError(f"{path}: not found; `dvc repro decide` writes it") from None


def manifest(path: Path = MANIFEST) -> dict[str, Any]:
    """What the data of the study is.

    Raises StudyError if the file is missing.
    """
    return _read(path, writer="prepare")


def _evaluations(
    names: Iterable[str], *, probes: Iterable[str], augmented: Collection[str]
) -> dict[str, list[str]]:
    """Each evaluation, in the order of a table's columns, and which of these arms have it."""
    names = list(names)
    found = {probe: names for probe in probes}
    found[AUGMENTED] = [name for name in names if name in augmented]
    found[FINE_TUNED] = names
    return {evaluation: having for evaluation, having in found.items() if having}


def _metrics_file(evaluation: str, arm: str) -> Path:
    if evaluation == FINE_TUNED:
        return finetune_metrics(arm)
    return probe_metrics("linear_augmented" if evaluation == AUGMENTED else evaluation, arm)


def _label_sets(path: Path) -> dict[str, dict[str, Any]]:
    """Label sets of one metrics file that have an accuracy."""
    sets = _read(path).get("labels", {})
    return {name: numbers for name, numbers in sets.items() if "accuracy" in numbers}


def _pooled(replicates: list[dict[str, Any]]) -> dict[str, Any]:
    try:
        return {
            "accuracy": sum(one["accuracy"] for one in replicates) / len(replicates),
            "low": min(one["low"] for one in replicates),
            "high": max(one["high"] for one in replicates),
            "chance": replicates[0].get("chance"),
            "arms": len(replicates),
        }
    except KeyError as error:
        raise StudyError(f"an accuracy has no {error.args[0]!r}; needs accuracy, low, high") from None


def _read(path: Path, writer: str = "") -> dict[str, Any]:
    try:
        return read_json(path)
    except FileNotFoundError:
        stage = writer or ("finetune" if "finetune" in path.parts else "probe")
        raise StudyError(f"{path}: not found; `dvc repro {stage}` writes it") from None
    except ValueError as error:
        raise StudyError(f"{path}: not JSON: {error}") from None
