"""Accuracies and segmentation scores of all arms, with intervals over seeds."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stages.results.seeds import columns, over_seeds
from stages.results.study_results import AUGMENTED, FINE_TUNED, Results
from stages.study.errors import StudyError


def accuracies(results: Results, *, probes: Iterable[str], augmented: Collection[str] = ()) -> pd.DataFrame:
    """Return the accuracy of every arm under every probe and after fine-tuning.

    Args:
        augmented: the arms that are also probed on augmented images.

    Returns: label, evaluation (probe, AUGMENTED or FINE_TUNED), labels (the label set), mean, low, high,
        chance (fractions), trainings, seed_0 and so on. A probe without accuracy has no rows; a probe on
        several shares of the labels has rows for each share.
    Raises: StudyError naming the file that is missing or lacks a number.
    """
    rows = []
    evaluations = _evaluations(results.arms, probes=probes, augmented=augmented)
    for arm in results.arms:
        for evaluation in (name for name, having in evaluations.items() if arm in having):
            metrics = results.metrics(evaluation, arm)
            each = results.by_seed(metrics, arm, where=evaluation)
            seeds, where = results.seeds(arm), f"{evaluation} of {arm}"
            for labels, first in each[0].get("labels", {}).items():
                place = {"label": results.label(arm), "evaluation": evaluation, "labels": labels}
                of_set = [one.get("labels", {}).get(labels, {}) for one in each]
                shares = first.get("by_share") or {}
                for share in shares:
                    place["evaluation"] = f"few-shot, {100 * float(share):g} % of labels"
                    scores = [one.get("by_share", {}).get(share, {}) for one in of_set]
                    rows.append(place | _score(scores, seeds=seeds, where=where))
                if not shares and "accuracy" in first:
                    rows.append(place | _score(of_set, seeds=seeds, where=where))
    always = ["label", "evaluation", "labels", "mean", "low", "high", "chance", "trainings"]
    table = pd.DataFrame(rows)
    return table.reindex(columns=[*always, *(name for name in table if name not in always)])


def protocols(results: Results, *, probes: Iterable[str], augmented: Collection[str] = ()) -> dict[str, str]:
    """Return the protocol of each evaluation; if arms differ, each follows the labels of its arms."""
    words: dict[str, str] = {}
    for evaluation, having in _evaluations(results.arms, probes=probes, augmented=augmented).items():
        arms: dict[str, list[str]] = {}  # by protocol
        for arm in having:
            protocol = str(results.metrics(evaluation, arm).get("protocol", ""))
            arms.setdefault(protocol, []).append(results.label(arm))
        words[evaluation] = "; ".join(
            f"{', '.join(labels)}: {protocol}" if len(arms) > 1 else protocol
            for protocol, labels in arms.items()
            if protocol
        )
    return {evaluation: text for evaluation, text in words.items() if text}


def segmentation_scores(results: Results) -> tuple[pd.DataFrame, str]:
    """Return the mIoU of every arm for each kind of segmentation, with the protocol or the reason for none.

    Returns: label, way, mean, low, high (per cent), trainings, seed_0 and so on, images
    Raises: StudyError naming the missing file.
    """
    rows, words = [], ""
    for arm in results.arms:
        metrics = results.segmentation_metrics(arm)
        words = words or str(metrics.get("protocol", metrics.get("why", "")))
        if "ways" not in metrics:
            continue
        each = results.by_seed(metrics, arm, where="segmentation")
        for way, first in each[0]["ways"].items():
            percent = [{key: 100 * one["ways"][way][key] for key in ("miou", "low", "high")} for one in each]
            numbers = _together(percent, "miou", seeds=results.seeds(arm), where=f"segmentation of {arm}")
            rows.append({"label": results.label(arm), "way": way} | numbers | {"images": first["images"]})
    return pd.DataFrame(rows), words


def _evaluations(
    arms: Sequence[str], *, probes: Iterable[str], augmented: Collection[str]
) -> dict[str, list[str]]:
    """Return each evaluation, in the order of a table's columns, with the arms that have it."""
    having = {probe: list(arms) for probe in probes}
    having[AUGMENTED] = [arm for arm in arms if arm in augmented]
    having[FINE_TUNED] = list(arms)
    return {evaluation: names for evaluation, names in having.items() if names}


def _score(scores: Sequence[Mapping[str, Any]], *, seeds: list[int], where: str) -> dict[str, Any]:
    return _together(scores, "accuracy", seeds=seeds, where=where) | {"chance": scores[0].get("chance")}


def _together(
    scores: Sequence[Mapping[str, Any]], name: str, *, seeds: list[int], where: str
) -> dict[str, Any]:
    """Return a number of all trainings as mean, low, high, trainings, seed_0 and so on."""
    try:
        by_seed = np.array([[score[name]] for score in scores], dtype=float)
        alone = tuple(np.array([scores[0][end]], dtype=float) for end in ("low", "high"))
    except KeyError as error:
        raise StudyError(f"{where}: no {error.args[0]!r}; metrics need {name}, low and high") from None
    numbers = columns(over_seeds(by_seed, alone=(alone[0], alone[1])), seeds=seeds)
    return {key: value[0] if isinstance(value, np.ndarray) else value for key, value in numbers.items()}
