"""The numbers of a study for MLflow, with the same names for every arm."""

from collections import Counter
from typing import Any

from stages.results.files import read_table
from stages.results.schemas import HISTORY
from stages.results.study_results import AUGMENTED, FINE_TUNED, Results
from stages.study.paths import finetune_dir, model_dir, read_json

Measure = tuple[str, float, int]  # name, value, step


def accuracies(results: Results, arm: str, *, seed: int | None = None) -> dict[str, float]:
    """Return accuracies and mIoUs of one arm by name, such as linear.shape and segmentation.knn.

    seed: return the values of this encoder; None: means over seeds, with intervals as .low and .high
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
    """Return the logged values of both trainings of one encoder by epoch: pretrain.loss, finetune.lr, …

    Raises MissingResult or StudyError if a history is missing or is not a table.
    """
    points = []
    for name, folder in (("pretrain", model_dir(arm, seed)), ("finetune", finetune_dir(arm, seed))):
        table = read_table(folder / "history.csv", HISTORY, stage=f"{name}@{arm}").set_index("epoch")
        for column in table.drop(columns="seed").select_dtypes("number"):
            course = table[column].dropna()
            points += [(f"{name}.{column}", float(value), int(epoch)) for epoch, value in course.items()]
    return points


def headlines(results: Results) -> dict[str, float]:
    """Return the headline numbers of a study: accuracies of all arms and counts of verdicts.

    With several label sets, the first one counts.
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
    """Return device, precision and library versions of the pre-trainings of an arm as tags."""
    records: dict[str, dict[str, None]] = {}
    for seed in seeds:
        for key, value in read_json(model_dir(arm, seed) / "training.json").items():
            if key not in ("files", "seed"):
                records.setdefault(key, {})[f"{value}"] = None
    return {f"training.{key}": ", ".join(values) for key, values in records.items()}


def encoder_settings(arm: str, seed: int) -> dict[str, Any]:
    """Return the architecture of an encoder, which params.yaml does not give for imported ones."""
    settings: dict[str, Any] = read_json(model_dir(arm, seed) / "encoder.json")["vit"]
    return settings
