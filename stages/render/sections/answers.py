"""What came out on each question of the paper, in two sentences made of the numbers."""

from collections.abc import Container

import pandas as pd

from stages.render.figures.captions import extremes
from stages.render.figures.gradients import gradient_rows
from stages.render.figures.layerwise import declines
from stages.render.figures.singular_values import unison_curves
from stages.render.words import fixed, interval, listed, on_set
from stages.results.analysis_curves import block_curves, last_block, uniform_distance
from stages.results.gradients import whole_cosine
from stages.results.study_results import FINE_TUNED, Results

MIXED = ("hybrid", "layered")  # objectives that combine CL and MIM
PARENTS = ("contrastive", "masked")


def on_attention(results: Results) -> tuple[str, str]:
    """How far the attention of the last block reaches, and how much of the query it tells.

    Raises StudyError if a table cannot be read, as all functions here.
    """
    study = results.study
    if "attention" not in study.analyses:
        return "This study does not measure attention.", ""
    distance = last_block(block_curves(results, analysis="attention", measure="distance"))
    nmi = last_block(block_curves(results, analysis="attention", measure="nmi"))
    level = uniform_distance(
        grid=study.data.image_size // study.vit.patch_size, patch_size=study.vit.patch_size
    )
    return (
        "In the last block, attention reaches farthest in "
        f"{extremes(distance, unit='px', least='least far')}; "
        f"spread evenly it would reach {fixed(level, decimals=1)} px.",
        f"What a query attends to tells most of where it stands in {extremes(nmi, least='least')} "
        "(normalised mutual information; 0 is collapse).",
    )


def on_representations(results: Results) -> tuple[str, str]:
    """What the last block keeps of the highest frequency, and whether its tokens move in unison."""
    said = []
    if "fourier" in results.study.analyses:
        curves = block_curves(results, analysis="fourier", measure="log_amplitude", highest_frequency=True)
        said.append(
            f"Of the highest frequency the last block keeps most in "
            f"{extremes(last_block(curves), least='least')} (relative log amplitude)."
        )
    if "singular_values" in results.study.analyses:
        moved = extremes(last_block(unison_curves(results)), least="least")
        said.append(f"Its self-attention moves the tokens of an image most in unison in {moved}.")
    first, second = [*(said or ["This study does not measure representations."]), "", ""][:2]
    return first, second


def on_components(results: Results, *, probes: Container[str], label_sets: list[str]) -> tuple[str, str]:
    """Which block is the best to probe, and what the last one has lost of it.

    label_sets: those of the data, in their order
    """
    if "layerwise" not in probes:
        return "This study does not probe single blocks.", ""
    lost = pd.concat(declines(results, labels=labels).assign(labels=labels) for labels in label_sets)
    places = []
    for labels, rows in lost.groupby("labels", sort=False):
        told = listed(
            f"{listed(str(block) for block in dict.fromkeys(row['best']))} of {row['last']} for {label}"
            for label, row in rows.iterrows()
        )
        places.append(f"{on_set(str(labels)).strip()} {told}".strip())
    worst = lost.iloc[int(lost["mean"].to_numpy().argmin())]
    if worst["mean"] >= 0:
        second = "No encoder has lost accuracy from that block to its last."
    else:
        points = interval(worst["mean"], worst["low"], worst["high"], unit="points", decimals=1)
        second = (
            f"From that block to the last, {worst.name} loses most{on_set(str(worst['labels']))}: {points}."
        )
    return f"A linear probe does best on block {'; '.join(places)}.", second


def on_combination(results: Results, accuracies: pd.DataFrame, *, probe: str = "linear") -> tuple[str, str]:
    """What the first hybrid gains over the better of its parents, and whether their gradients agree.

    accuracies: as `accuracies.accuracies` gives them
    """
    by_objective: dict[str, str] = {}
    for name, arm in results.study.arms.items():
        if not arm.stop_epoch:
            by_objective.setdefault(arm.objective, results.label(name))
    mixed = next((by_objective[objective] for objective in by_objective if objective in MIXED), None)
    parents = [by_objective[objective] for objective in PARENTS if objective in by_objective]
    if mixed is None or len(parents) < len(PARENTS):
        return "This study has no hybrid beside both of its parents.", ""
    gains = []
    for evaluation, words in ((probe, f"in the {probe} probe"), (FINE_TUNED, FINE_TUNED)):
        chosen = accuracies[accuracies["evaluation"] == evaluation]
        for labels, rows in chosen.groupby("labels", sort=False):
            mean = 100 * rows.set_index("label")["mean"]
            gain = fixed(mean[mixed] - mean[parents].max(), decimals=1)
            gains.append(f"{gain if gain.startswith('−') else '+' + gain} {words}{on_set(str(labels))}")
    return (
        f"Over the better of {listed(parents)}, {mixed} gains {listed(gains)} (points of accuracy).",
        _agreement(results),
    )


def _agreement(results: Results) -> str:
    """Whether the losses of the first arm that has two pull its weights apart, over its trainings."""
    rows = gradient_rows(results)
    if rows.empty:
        return ""
    label = str(rows["label"].iloc[0])
    cosine = whole_cosine(rows[rows["label"] == label])
    if cosine is None:
        return f"The gradients of the two losses of {label} are lost in the noise of their batches."
    mean, low, high = (float(values[0]) for values in cosine[:3])
    numbers = interval(mean, low, high, decimals=2)
    if len(cosine.by_seed) == 1:
        numbers, verdict = fixed(mean, decimals=2), "one training does not tell whether they pull apart"
    elif high < 0:
        verdict = "they pull apart"
    else:
        verdict = "they pull the same way" if low > 0 else "they do not clearly pull apart"
    return (
        f"Late in the training of {label}, the gradients of its two losses have a cosine of {numbers}: "
        f"{verdict}."
    )
