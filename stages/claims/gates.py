"""Gates: conditions that must hold before a study decides a claim. They are declared before the run.

If a gate fails, the claims that depend on it are "not testable at this budget". If the study did not measure
a gate, the report says so, and the claims are still decided.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from stages.claims.accuracy_measures import ALL_SETS, CHOSEN, probe_accuracy
from stages.claims.inference import Estimate, difference
from stages.claims.roles import aligned, candidates, method_of
from stages.claims.tables import Tables
from stages.results.files import MissingResult
from stages.results.gradients import gradient_ratio
from stages.study.params import seeds_of
from stages.study.recipe import recipe_of
from stages.study.study import Study

PASSED, FAILED, NOT_MEASURED, REPORTED = "passed", "failed", "not measured", "reported"

CONVERGED, TUNED, LEARNT, BEYOND_MEAN, BALANCE = (
    "fine-tuning converged",
    "late gain in fine-tuning",
    "learnt",
    "beyond the mean",
    "gradient ratio",
)
LAST_SHARE, MOST_GAINED = 1 / 5, 0.005  # share of the fine-tuning epochs; accuracy gained over them
LEAST_LEARNT, ERRORS = 0.02, 2.0  # probe accuracy above that of the untrained encoder; standard errors
LEAST_BELOW = 0.05  # relative to the loss of predicting the mean of the visible surroundings


class Gate(NamedTuple):
    """One condition on one arm, with its status and the measured value."""

    name: str
    arm: str
    status: str
    value: float | None
    words: str


def check_gates(tables: Tables) -> list[Gate]:
    """Check every gate of a study, in the order of its arms."""
    study = tables.params
    controls = candidates(study, "random")
    # One of each architecture.
    gates = [_converged(arm, tables=tables) for arm in controls if untrained_of(study, arm) == arm]
    for name, arm in study.arms.items():
        if arm.stop_epoch or method_of(arm) in ("random", "supervised"):
            continue
        gates.append(_learnt(name, tables=tables))
        gates += _tuned(name, tables=tables)
        if arm.objective == "masked":
            gates.append(_beyond_mean(name, tables=tables))
        if arm.objective in ("hybrid", "layered"):
            gates.append(_balance(name, tables=tables))
    return gates


def rests_on(gates: Iterable[Gate], *, arms: Sequence[str], tuned: bool, study: Study) -> list[Gate]:
    """Return the gates of the arms that a claim reads; for a fine-tuned measure, also those of fine-tuning.

    tuned: whether the measure of the claim needs fine-tuning, which then must have converged for the
           untrained encoders of the sizes of the arms
    """
    untrained = {untrained_of(study, arm) for arm in arms} if tuned else set()
    return [gate for gate in gates if gate.arm in (untrained if gate.name == CONVERGED else arms)]


def untrained_of(study: Study, arm: str) -> str | None:
    """Return the untrained arm of the architecture of an arm, or else the first one; None without any."""
    controls = candidates(study, "random")
    vit = recipe_of(study, arm)[0]
    first = next(iter(controls), None)
    return next((name for name in controls if recipe_of(study, name)[0] == vit), first)


def last_gain(accuracies: Sequence[float], *, share: float = LAST_SHARE) -> float:
    """Return the gain of a curve over the last share of its epochs, interpolated linearly between epochs.

    accuracies: at the end of each epoch, from the first one; the curve before it is flat
    """
    ends = np.arange(1, len(accuracies) + 1)
    start = len(accuracies) * (1 - share)
    return float(accuracies[-1] - np.interp(start, ends, accuracies))


def convergence(accuracies: Sequence[float]) -> tuple[str, float | None, str]:
    """Decide whether fine-tuning the untrained encoder converged.

    accuracies: at the end of each epoch, on the fitted images
    returns:    passed or failed; the gain over the last fifth of the epochs, or None for one epoch; words
    """
    if len(accuracies) < 2:
        return FAILED, None, "fine-tuning of the untrained encoder: one epoch cannot show convergence"
    gain = last_gain(accuracies)
    words = (
        f"fine-tuning of the untrained encoder: {100 * gain:+.2f} points over the last fifth of the "
        "epochs; required: less than 0.5"
    )
    return _status(has_converged(gain)), gain, words


def has_converged(gain: float) -> bool:
    """Return whether fine-tuning gained less than half a point over the last fifth of its epochs."""
    return gain < MOST_GAINED


def has_learnt(over_untrained: Estimate) -> bool:
    """Return whether a probe exceeds that of the untrained encoder by 2 points and 2 standard errors."""
    return over_untrained.effect >= max(LEAST_LEARNT, ERRORS * over_untrained.se)


def is_below(losses: np.ndarray, surroundings: np.ndarray) -> bool:
    """Return whether the losses of trainings are clearly below those of predicting the surrounding mean.

    losses, surroundings: (trainings,) losses of the model, and of predicting the mean of visible surroundings
    """
    shares = losses / surroundings
    error = shares.std(ddof=1) / len(shares) ** 0.5 if len(shares) > 1 else 0.0
    return float(shares.mean() + ERRORS * error) < 1 - LEAST_BELOW


def _gate(name: str, arm: str, check: Callable[[], tuple[str, float | None, str]]) -> Gate:
    """Return a gate; if the study did not measure it, with the reason."""
    try:
        status, value, words = check()
    except MissingResult as missing:
        return Gate(name, arm, NOT_MEASURED, None, f"{missing}")
    return Gate(name, arm, status, value, words)


def _converged(arm: str, *, tables: Tables) -> Gate:
    def check() -> tuple[str, float | None, str]:
        history = tables.results.finetune_history(arm)
        _require(history, "accuracy", of=f"{arm}: fine-tuning")
        return convergence(list(history.groupby("epoch")["accuracy"].mean()))

    return _gate(CONVERGED, arm, check)


def _tuned(arm: str, *, tables: Tables) -> list[Gate]:
    """Report how much a pre-trained arm gained late in fine-tuning, which blocks no claim.

    Empty without fine-tuning of several epochs.
    """
    try:
        history = tables.results.finetune_history(arm)
        _require(history, "accuracy", of=f"{arm}: fine-tuning")
    except MissingResult:
        return []
    measured = history.dropna(subset=["accuracy"])  # not in histories of earlier versions
    curves = [list(rows["accuracy"]) for _, rows in measured.groupby("seed")]
    if min(map(len, curves), default=0) < 2:
        return []
    gains = [last_gain(curve) for curve in curves]
    gain = float(np.mean(gains))
    words = f"fine-tuning of {arm}: {100 * gain:+.2f} points over the last fifth of the epochs"
    if len(gains) > 1:
        words += f"; from {100 * min(gains):+.2f} to {100 * max(gains):+.2f} in single trainings"
    return [Gate(TUNED, arm, REPORTED, gain, words)]


def _learnt(arm: str, *, tables: Tables) -> Gate:
    def check() -> tuple[str, float, str]:
        untrained = untrained_of(tables.params, arm)
        if untrained is None:
            raise MissingResult(f"{arm}: the study has no untrained arm to compare with")
        both = aligned({name: _probed(name, tables=tables) for name in (arm, untrained)})
        gain = difference(both[arm].to_numpy().T, both[untrained].to_numpy().T)
        words = (
            f"linear probe of {arm} minus that of the untrained encoder: {100 * gain.effect:+.1f} points, "
            f"standard error {100 * gain.se:.1f}; required: 2 points and 2 standard errors"
        )
        return _status(has_learnt(gain)), gain.effect, words

    return _gate(LEARNT, arm, check)


def _beyond_mean(arm: str, *, tables: Tables) -> Gate:
    def check() -> tuple[str, float, str]:
        history = tables.results.history(arm)
        _require(history, "surroundings", of=f"{arm}: pre-training")
        last = history[history["epoch"] == history["epoch"].max()]
        losses, means = last["loss"].to_numpy(dtype=float), last["surroundings"].to_numpy(dtype=float)
        share = float((losses / means).mean())
        words = (
            f"loss of {arm}: {100 * share:.0f} % of the loss of predicting the mean of the visible "
            f"surroundings; required: clearly below {100 * (1 - LEAST_BELOW):.0f} %"
        )
        return _status(is_below(losses, means)), share, words

    return _gate(BEYOND_MEAN, arm, check)


def _balance(arm: str, *, tables: Tables) -> Gate:
    def check() -> tuple[str, float | None, str]:
        gradients = tables.results.gradients(arm)
        if gradients.empty:
            raise MissingResult(f"{arm}: no gradients.csv")
        ratio = gradient_ratio(gradients)
        if not np.isfinite(ratio):
            return REPORTED, None, f"weighted gradient of MIM in {arm}: none"
        return REPORTED, ratio, f"weighted gradient of CL in {arm}: {ratio:.2g} times that of MIM"

    return _gate(BALANCE, arm, check)


def _probed(arm: str, *, tables: Tables) -> pd.DataFrame:
    options = {"probe": "linear", "pooling": CHOSEN, "labels": ALL_SETS}
    seeds = seeds_of(tables.params, arm)
    return pd.DataFrame({seed: probe_accuracy(tables.of(seed), arm, **options) for seed in seeds}).dropna()


def _status(holds: bool) -> str:
    return PASSED if holds else FAILED


def _require(history: pd.DataFrame, column: str, *, of: str) -> None:
    if column not in history or history.empty:
        raise MissingResult(f"{of} did not record {column!r}")
