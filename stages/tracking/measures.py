"""The numbers of the study, named alike in every arm."""

from collections import Counter
from typing import Any

from stages.results.files import read_table
from stages.results.schemas import HISTORY
from stages.results.study_results import AUGMENTED, FINE_TUNED, Results
from stages.study.paths import finetune_dir, model_dir, read_json

Measure = tuple[str, float, int]  # name, value, step


def accuracies(results: Results, arm: str, *, seed: int | None = None) -> dict[str, float]:
    """Return accuracy and mIoU of one arm by name, as in linear.shape and segmentation.knn.

    seed: of one encoder; None: the means over seeds, with the bounds of their interval as .low and .high
    Raises MissingResult or StudyError as `Results` does.
    """
    augmented = arm in results.study.linear_augmented.arms
    names = {name: name for name, settings in results.study.probes if settings is not None}
    names |= ({"linear_augmented": AUGMENTED} if augmented else {}) | {"finetune": FINE_TUNED}
    metrics = {name: results.metrics(evaluation, arm) for name, evaluation in names.items()}
    values = {}
    for name, content in (metrics | {"segmentation": results.segmentation_metrics(arm)}).items():
        if seed is not None:
            content = content.get("seeds", {}).get(f"{seed}", {})
        for key, block in (content.get("labels", {}) | content.get("ways", {})).items():
            for measure in ("accuracy", "miou", "low", "high") if seed is None else ("accuracy", "miou"):
                if isinstance(value := block.get(measure), int | float):
                    values[f"{name}.{key}" + (f".{measure}" if measure in ("low", "high") else "")] = value
    return values


def courses(arm: str, seed: int) -> list[Measure]:
    """Return the courses of the trainings of one encoder by epoch, as in pretrain.loss and finetune.lr.

    Raises MissingResult or StudyError if a history is not there or is no table.
    """
    points = []
    for name, folder in (("pretrain", model_dir(arm, seed)), ("finetune", finetune_dir(arm, seed))):
        table = read_table(folder / "history.csv", HISTORY, stage=f"{name}@{arm}").set_index("epoch")
        for column in table.drop(columns="seed").select_dtypes("number"):
            course = table[column].dropna()
            points += [(f"{name}.{column}", float(value), int(epoch)) for epoch, value in course.items()]
    return points


def headlines(results: Results) -> dict[str, float]:
    """Return what to compare between two states of the study: accuracies of all arms, counts of verdicts.

    Of several label sets the first counts.
    """
    values: dict[str, float] = {}
    for arm in results.arms:
        means = accuracies(results, arm)
        for name in ("linear", "finetune", "knn"):
            values |= {f"{arm}.{name}": v for key, v in reversed(means.items()) if key.startswith(f"{name}.")
                       and not key.endswith((".low", ".high"))}  # fmt: skip
    verdicts = Counter(claim["verdict"] for claim in results.claims()["claims"])
    return values | {f"claims.{verdict}": float(count) for verdict, count in sorted(verdicts.items())}


def machine(arm: str, seeds: list[int]) -> dict[str, str]:
    """Return as tags what the pre-trainings of an arm ran on: device, precision, versions of libraries."""
    seen: dict[str, dict[str, None]] = {}
    for seed in seeds:
        for key, value in read_json(model_dir(arm, seed) / "training.json").items():
            if key not in ("files", "seed"):
                seen.setdefault(key, {})[f"{value}"] = None
    return {f"training.{key}": ", ".join(values) for key, values in seen.items()}


def encoder_settings(arm: str, seed: int) -> dict[str, Any]:
    """Return the architecture of an encoder; that of an imported one stands nowhere else."""
    settings: dict[str, Any] = read_json(model_dir(arm, seed) / "encoder.json")["vit"]
    return settings
