"""The appendix of the report: glossary, hardware and wall time, citation."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from stages.render.words import listed, unbroken
from stages.results.study_results import Results
from stages.study.timings import Run, spoken

GLOSSARY: Mapping[str, str] = {
    "Arm": "an encoder under study: an objective with its recipe, trained from several seeds",
    "Training": "one run of an arm from one seed; intervals cover the differences between trainings, those "
    "of claims also between images",
    "Claim": "a statement, of the paper or of this project, that a measure of one method exceeds that of "
    "another method, or 0",
    "Margin": "the smallest effect of interest of a claim, by a rule that is fixed before the study runs",
    "Supported": "the corrected interval lies above the margin, in the direction of the claim",
    "Contradicted": "the corrected interval lies beyond the margin in the opposite direction",
    "Negligible": "the corrected interval lies between minus the margin and the margin",
    "Undecided": "none of these three; more seeds may decide. Above 0 or below 0: the corrected interval "
    "excludes 0, so the sign is clear but not the size",
    "Higher, lower, no difference": "supported, contradicted and negligible, where a side has fewer than "
    "three trainings: the verdict holds for these encoders, not for the methods",
    "Not testable at this budget": "a condition for testing fails; for example, a probe of a trained arm is "
    "no better than a probe of the untrained arm",
    "Agreement": "the share of analysis choices that give the same verdict",
    "Fragile": "fewer than two thirds of the analysis choices give the same verdict",
    "CL": "contrastive learning (MoCo v3 unless a label names another method)",
    "MIM": "masked image modelling (SimMIM unless a label names another method; with a target window, its "
    "targets are standardised, an option of the code of SimMIM that its paper does not use)",
    "Block": "one layer of a vision transformer: self-attention and MLP",
    "Attention distance": "the distance between a query patch and the patches it attends to, weighted by "
    "attention",
    "Normalised mutual information": "how much the attended patch depends on the query patch, from 0 to 1",
    "λ": "the weight of CL in the loss of a hybrid, (1 − λ) MIM + λ CL",
    "Gradient ratio": "the norm of the weighted CL gradient over that of the weighted MIM gradient",
    "Relative log amplitude": "log amplitude of the token map at one frequency, minus that at frequency zero",
    "Unison": "how uniformly self-attention moves the tokens of an image; 1: all in the same way",
    "Silhouette": "how well tokens cluster by image or class, from −1 to 1",
    "Head diversity": "Jensen–Shannon divergence between the attention of two heads",
    "CKA": "centred kernel alignment: the similarity of two representations, from 0 to 1",
    "mIoU": "mean intersection over union, the accuracy of a segmentation",
}
BIBTEX = """@inproceedings{park2023what,
  title     = {What Do Self-Supervised Vision Transformers Learn?},
  author    = {Park, Namuk and Kim, Wonjae and Heo, Byeongho and Kim, Taekyung and Yun, Sangdoo},
  booktitle = {International Conference on Learning Representations},
  year      = {2023}
}"""
REFERENCES: Mapping[str, str] = {
    "MoCo v3": "https://arxiv.org/abs/2104.02057",
    "SimMIM": "https://arxiv.org/abs/2111.09886",
    "MAE": "https://arxiv.org/abs/2111.06377",
    "DINO": "https://arxiv.org/abs/2104.14294",
    "Specification curves": "https://doi.org/10.1038/s41562-020-0912-z",
}


def glossary() -> str:
    """Return the terms of the report and their meaning as HTML."""
    rows = Markup("").join(Markup("<dt>{}</dt><dd>{}.</dd>").format(*row) for row in GLOSSARY.items())
    return Markup('<div class="glossary"><dl>{}</dl></div>').format(rows)


def citation() -> str:
    """Return the BibTeX entry of the paper, and links to the papers of the methods, as HTML."""
    links = Markup(" ").join(
        Markup('<a href="{}">{}</a>').format(address, name) for name, address in REFERENCES.items()
    )
    return Markup(
        '<pre role="region" aria-label="BibTeX of the paper" tabindex="0">{}</pre>\n<p class="links">{}</p>'
    ).format(BIBTEX, links)


def machine_rows(
    records: Mapping[str, list[dict[str, Any]]], *, wall_times: Mapping[str, str]
) -> pd.DataFrame:
    """Return device, precision, libraries and wall time of the trainings of each arm.

    records:    label -> one record per training, as `machine_records` returns them
    wall_times: label -> time per training, in words
    """
    keys = ("device", "precision", "torch", "timm")
    rows = {}
    for label, trainings in records.items():
        rows[label] = {
            key: unbroken(listed(dict.fromkeys(str(record[key]) for record in trainings if record.get(key))))
            for key in keys
        } | {"wall time per training": wall_times.get(label, "not recorded here")}
    return pd.DataFrame.from_dict(rows, orient="index", dtype=object).rename_axis("arm")


def machine_records(results: Results) -> dict[str, list[dict[str, Any]]]:
    """Return the records of all trainings by label; arms without a record are left out."""
    records = {results.label(arm): results.trainings(arm) for arm in results.arms}
    return {label: trainings for label, trainings in records.items() if trainings}


def wall_times(records: Mapping[str, list[dict[str, Any]]], runs: Sequence[Run]) -> dict[str, str]:
    """Return the wall time per training by label: one duration, or the shortest and the longest.

    The fingerprint of a training identifies its run. Its time includes the runs that it resumed, a killed one
    up to its last checkpoint. Arms whose trainings ran elsewhere are left out.

    records: as `machine_records` returns them
    runs:    as `timings.read_runs` returns them
    """
    times = {}
    for label, trainings in records.items():
        seconds = [
            max(durations)  # a run that finds the stored training is short
            for training in trainings
            if (
                durations := [
                    run.seconds + sum(part.seconds for part in resumed(runs[:place], run.stage))
                    for place, run in enumerate(runs)
                    if _is_run_of(training, run)
                ]
            )
        ]
        if seconds:
            ends = dict.fromkeys(spoken(duration) for duration in (min(seconds), max(seconds)))
            times[label] = " to ".join(ends)
    return times


def resumed(runs: Sequence[Run], stage: str) -> list[Run]:
    """Return the last runs of a stage that saved a checkpoint but did not finish. runs: in their order"""
    parts = []
    for run in reversed([run for run in runs if run.stage == stage]):
        if run.outcome == "done":
            break
        if run.epoch:
            parts.append(run)
    return parts


def _is_run_of(training: Mapping[str, Any], run: Run) -> bool:
    """Return whether a finished run trained an encoder; its result names the fingerprint of the training."""
    fingerprint = training.get("fingerprint")
    return run.outcome == "done" and bool(fingerprint) and f"{fingerprint}" in run.message
