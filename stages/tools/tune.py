"""Tune every arm with the same effort: `python -m stages.tools.tune draw`, later `... table`.

`draw` adds trials to params.yaml: arms named `<arm>_trial_<number>`, trained from one seed that no other arm
uses. All arms get the same number of trials. Trials with the same number use the same quantiles of each
range. Run the trials with

    dvc repro $(dvc stage list --name-only | grep -E '^probe@.*_trial_.*-attentive$')

`table` ranks the trials by the accuracy of the attentive probe on held-out training images, never by a claim,
and prints the expected best accuracy of 1, 2, ... trials. `clear` removes the trials from params.yaml.
Source: Dodge et al. 2019, for the expected best of k trials.
"""

import argparse
import io
import re
from collections.abc import Mapping, Sequence
from math import comb
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ruamel.yaml import YAML

from stages.study.command import exit_with
from stages.study.documents import read_yaml
from stages.study.errors import StudyError
from stages.study.params import validate
from stages.study.paths import probe_metrics, read_json, write_text

PARAMS = Path("params.yaml")
TRIAL = re.compile(r"(?P<arm>.+)_trial_\d+")
SEED = 100  # of every trial; unlike the seeds of the study


class Range(NamedTuple):
    """The range of one setting, on a linear or logarithmic scale."""

    low: float
    high: float
    logarithmic: bool = False

    def at(self, quantile: float) -> float:
        """Return the value at a quantile, with three significant digits."""
        if self.logarithmic:
            value = self.low * (self.high / self.low) ** quantile
        else:
            value = self.low + quantile * (self.high - self.low)
        return float(f"{value:.3g}")


RECIPE = {"lr": Range(5e-4, 8e-3, True), "weight_decay": Range(0.01, 0.3, True)}
# For each objective: its smallest crop, and the setting that its authors tuned most.
OBJECTIVES: Mapping[str, Mapping[str, Mapping[str, Range]]] = {
    "contrastive": {
        "contrastive": {"crop_scale_min": Range(0.08, 0.7), "temperature": Range(0.1, 0.5, True)}
    },
    "masked": {"masked": {"crop_scale_min": Range(0.2, 1.0), "mask_ratio": Range(0.3, 0.8)}},
    "autoencoder": {"autoencoder": {"crop_scale_min": Range(0.2, 1.0), "mask_ratio": Range(0.5, 0.85)}},
    "latent": {"latent": {"crop_scale_min": Range(0.2, 1.0), "momentum": Range(0.98, 0.999)}},
    "dino": {"dino": {"global_scale_min": Range(0.15, 0.7), "teacher_temperature": Range(0.04, 0.08)}},
    "hybrid": {
        "contrastive": {"crop_scale_min": Range(0.08, 0.7)},
        "masked": {"crop_scale_min": Range(0.2, 1.0)},
    },
    "supervised": {"supervised": {"crop_scale_min": Range(0.08, 1.0), "label_smoothing": Range(0.0, 0.2)}},
}


def main() -> None:
    """Read the command line and draw, rank or clear trials."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.tune", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("action", choices=["draw", "table", "clear"])
    parser.add_argument("--trials", type=int, default=8, help="number per arm (8)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws (0)")
    arguments = parser.parse_args()
    if arguments.trials < 1:
        parser.error("--trials must be at least 1")
    exit_with(
        "tune",
        {
            "draw": lambda: draw(trials=arguments.trials, seed=arguments.seed),
            "table": table,
            "clear": lambda: edit(lambda arms: None),
        }[arguments.action],
    )


def draw(*, trials: int, seed: int) -> str:
    """Add trials of every arm whose objective has ranges to params.yaml, and remove earlier trials."""

    def add(arms: dict[str, Any]) -> None:
        for name, arm in list(arms.items()):
            if arm["objective"] in OBJECTIVES:
                for number, trial in enumerate(trials_of(arm, trials=trials, seed=seed)):
                    if (place := f"{name}_trial_{number}") in arms:
                        raise StudyError(f"{PARAMS}: arms.{place} is an arm of yours; rename it")
                    arms[place] = trial

    return edit(add)


def trials_of(arm: Mapping[str, Any], *, trials: int, seed: int) -> list[dict[str, Any]]:
    """Return the entries of an arm's trials.

    Quantiles form a Latin hypercube: n trials divide the range of a setting into n equal parts, one each.
    """
    objective = OBJECTIVES[arm["objective"]]
    random = np.random.default_rng(seed)
    settings = []
    for _ in range(len(RECIPE) + 2):
        order = random.permutation(trials)
        settings.append((order + random.random(trials)) / trials)
    entries = []
    for number in range(trials):
        quantiles = iter(float(setting[number]) for setting in settings)
        entry: dict[str, Any] = dict(arm) | {"seeds": [SEED]}
        entry |= {key: span.at(next(quantiles)) for key, span in RECIPE.items()}
        given = arm.get("objectives") or {}
        entry["objectives"] = given | {
            section: dict(given.get(section) or {})
            | {key: span.at(next(quantiles)) for key, span in spans.items()}
            for section, spans in objective.items()
        }
        entries.append(entry)
    return entries


def edit(change: Any) -> str:
    """Remove all trials and their accuracies, change the arms, and preserve all other lines of params.yaml.

    Raises StudyError if params.yaml is not valid, before or after; it is then unchanged.
    """
    validate(read_yaml(PARAMS))
    yaml = YAML()
    yaml.preserve_quotes = True
    params = yaml.load(PARAMS.read_text(encoding="utf-8"))
    arms = params["arms"]
    earlier = [name for name in arms if is_trial(name, arms[name])]
    for name in earlier:
        del arms[name]
    kept = [*arms]
    change(arms)
    text = io.StringIO()
    yaml.dump(params, text)
    validate(YAML(typ="safe").load(text.getvalue()), where=f"{PARAMS} with trials")
    write_text(PARAMS, text.getvalue())
    for name in earlier:  # another trial of this name must not have these accuracies
        probe_metrics("attentive", name).unlink(missing_ok=True)
    fixed = [name for name in kept if arms[name]["objective"] not in (*OBJECTIVES, "random", "imported")]
    without = (
        f"; none of {', '.join(fixed)}, whose objective has no ranges"
        if len(arms) > len(kept) and fixed
        else ""
    )
    return f"{len(arms) - len(kept)} trials in {PARAMS}{without}"


def is_trial(name: str, arm: Mapping[str, Any]) -> bool:
    """Return whether an arm is a trial, by name and seed; a trial that was given other seeds is an arm."""
    return bool(TRIAL.fullmatch(name)) and list(arm.get("seeds") or []) == [SEED]


def table() -> str:
    """Return the trials of every arm as Markdown, best first, with the expected best accuracy of k trials.

    Raises StudyError if params.yaml has no trials, or if a trial has no probe.
    """
    values = read_yaml(PARAMS)
    validate(values)
    arms = values["arms"]
    groups: dict[str, list[tuple[float, dict[str, Any]]]] = {}
    for name, entry in arms.items():
        match = TRIAL.fullmatch(name)
        if match and is_trial(name, entry):
            groups.setdefault(match["arm"], []).append((validation_accuracy(name), entry))
    if not groups:
        raise StudyError(f"{PARAMS}: arms has no trials; add some with `python -m stages.tools.tune draw`")
    lines = []
    for arm, trials in groups.items():
        lines += [f"| {arm} | validation accuracy |", "| --- | --- |"]
        for accuracy, entry in sorted(trials, key=lambda trial: -trial[0]):
            settings = {key: entry[key] for key in RECIPE} | {
                f"{section}.{key}": value
                for section, values in entry["objectives"].items()
                for key, value in values.items()
            }
            words = ", ".join(
                f"{key} {'none' if value is None else value if isinstance(value, str) else f'{value:g}'}"
                for key, value in settings.items()
            )
            lines.append(f"| {words} | {accuracy:.1%} |")
        best = expected_best([accuracy for accuracy, _ in trials])
        words = ", ".join(f"{value:.1%} of {count}" for count, value in enumerate(best, start=1))
        lines += ["", f"Expected best of {arm}: {words} trials.", ""]
    return "\n".join(lines).rstrip()


def validation_accuracy(arm: str) -> float:
    """Return the attentive probe's accuracy on held-out training images, the mean over label sets.

    Raises StudyError if the arm has no attentive probe.
    """
    path = probe_metrics("attentive", arm)
    if not path.is_file():
        raise StudyError(f"{path}: no such file; run `dvc repro probe@{arm}-attentive`")
    labels = read_json(path)["labels"]
    return float(np.mean([metrics["validation"] for metrics in labels.values()]))


def expected_best(accuracies: Sequence[float]) -> list[float]:
    """Return the expected highest of k accuracies drawn without replacement, for k from 1 to all.

    Source: Dodge et al. 2019, but without replacement, which makes the estimate unbiased.
    """
    ordered = sorted(accuracies)
    count = len(ordered)
    return [
        sum(comb(rank, k - 1) * value for rank, value in enumerate(ordered)) / comb(count, k)
        for k in range(1, count + 1)
    ]


if __name__ == "__main__":
    main()
