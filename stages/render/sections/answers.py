"""Answer each question of the paper in two sentences with the numbers of this study."""

from collections.abc import Container

import pandas as pd

from stages.render.encoder_size import builds
from stages.render.figures.captions import extremes
from stages.render.figures.gradients import gradient_rows
from stages.render.figures.layerwise import declines
from stages.render.figures.line_charts import below_one
from stages.render.figures.singular_values import unison_curves
from stages.render.words import fixed, interval, listed, on_set
from stages.results.analysis_curves import block_curves, last_block, uniform_distance
from stages.results.gradients import whole_cosine
from stages.results.study_results import FINE_TUNED, Results

MIXED = ("hybrid", "layered")  # objectives that combine CL and MIM
PARENTS = ("contrastive", "masked")
MANY = 5  # arms; with more, only the extremes are named


def on_attention(results: Results) -> tuple[str, str]:
    """Answer how far attention reaches in the last block, and how much it depends on the query.

    Raises StudyError if a table cannot be read, as all functions here.
    """
    study = results.study
    if "attention" not in study.analyses:
        return "This study does not measure attention.", ""
    distance = last_block(block_curves(results, analysis="attention", measure="distance"))
    nmi = last_block(block_curves(results, analysis="attention", measure="nmi"))
    beside = ""
    if builds(study):
        grid = study.data.image_size // study.vit.patch_size
        uniform = uniform_distance(grid=grid, patch_size=study.vit.patch_size)
        beside = f"; uniform attention would give {fixed(uniform, decimals=1)} px"
    return (
        "In the last block, attention distance is longest for "
        f"{extremes(distance, unit='px', least='shortest', decimals=1)}{beside}.",
        f"The normalised mutual information of query and key is highest for {extremes(nmi)}; at 0, all "
        "queries attend to the same places.",
    )


def on_representations(results: Results) -> tuple[str, str]:
    """Answer how much of the highest frequency the last block carries, and how alike its tokens move."""
    sentences = []
    if "fourier" in results.study.analyses:
        curves = block_curves(results, analysis="fourier", measure="log_amplitude", highest_frequency=True)
        sentences.append(
            "In the last block, the relative log amplitude near the highest frequency is highest for "
            f"{extremes(last_block(curves))}."
        )
    if "singular_values" in results.study.analyses:
        spread = below_one(last_block(unison_curves(results)))
        sentences.append(
            f"1 − unison of the token movement is highest for {extremes(spread)}; at 0, all tokens of an "
            "image move in the same way."
        )
    first, second = [*(sentences or ["This study does not measure representations."]), "", ""][:2]
    return first, second


def on_components(results: Results, *, probes: Container[str], label_sets: list[str]) -> tuple[str, str]:
    """Answer which block is best for a linear probe, and how much accuracy the last block has lost.

    label_sets: those of the data, in their order
    """
    if "layerwise" not in probes:
        return "This study does not probe single blocks.", ""
    lost = pd.concat(declines(results, labels=labels).assign(labels=labels) for labels in label_sets)
    depths = sorted(set(lost["last"]))
    places = []
    for labels, rows in lost.groupby("labels", sort=False):
        if len(rows) > MANY:
            places.append(f"{on_set(str(labels)).strip()} {_ends(rows)}".strip())
            continue
        blocks = listed(
            _range(row["best"]) + (f" of {row['last']}" if len(depths) > 1 else "") + f" for {label}"
            for label, row in rows.iterrows()
        )
        place = on_set(str(labels)).strip()
        places.append(f"{place}, {blocks}" if place else blocks)
    of = f" of {depths[0]}" if len(depths) == 1 else ""
    note = " (range over seeds)" if any(len(set(best)) > 1 for best in lost["best"]) else ""
    first = f"Best block{of} for a linear probe{note}: {'; '.join(places)}."
    worst = lost.iloc[int(lost["mean"].to_numpy().argmin())]
    if worst["mean"] >= 0:
        return first, "No arm loses accuracy from its best to its last block."
    points = interval(-worst["mean"], -worst["high"], -worst["low"], unit="points", decimals=1)
    where = on_set(str(worst["labels"]))
    if (lost["high"] >= 0).all():
        return first, (
            "No arm clearly loses accuracy from its best to its last block; the largest loss is that of "
            f"{worst.name}{where}: {points}."
        )
    return first, f"From the best to the last block, {worst.name} loses the most accuracy{where}: {points}."


def on_combination(results: Results, accuracies: pd.DataFrame, *, probe: str = "linear") -> tuple[str, str]:
    """Answer how accurate the first hybrid and the better of its parents are, and whether gradients agree.

    accuracies: as `accuracies.accuracies` returns them
    """
    by_objective: dict[str, str] = {}
    for name, arm in results.study.arms.items():
        if not arm.stop_epoch:
            by_objective.setdefault(arm.objective, results.label(name))
    mixed = next((by_objective[objective] for objective in by_objective if objective in MIXED), None)
    parents = [by_objective[objective] for objective in PARENTS if objective in by_objective]
    if mixed is None or len(parents) < len(PARENTS):
        return "This study lacks a hybrid or one of its parents.", ""
    pairs = []
    for evaluation, words in ((probe, f"{probe} probe"), (FINE_TUNED, FINE_TUNED)):
        chosen = accuracies[accuracies["evaluation"] == evaluation]
        for labels, rows in chosen.groupby("labels", sort=False):
            by_label = 100 * rows.set_index("label")[["mean", "low", "high"]]
            better = str(by_label.loc[parents, "mean"].idxmax())
            numbers = [interval(*by_label.loc[label], decimals=1) for label in (mixed, better)]
            pairs.append(f"{numbers[0]} and {numbers[1]} % ({words}{on_set(str(labels))}; {better})")
    return (
        f"Accuracy of {mixed} and of the better of its parents: {listed(pairs)}.",
        _agreement(results),
    )


def _agreement(results: Results) -> str:
    """Return whether the losses of the first arm with two losses conflict, over its trainings."""
    rows = gradient_rows(results)
    if rows.empty:
        return ""
    label = str(rows["label"].iloc[0])
    cosine = whole_cosine(rows[rows["label"] == label])
    if cosine is None:
        return (
            f"Late in training, noise between batches dominates the gradients of {label}, so the cosine of "
            "its two losses cannot be measured."
        )
    mean, low, high = (float(values[0]) for values in cosine[:3])
    numbers = interval(mean, low, high, decimals=2)
    if len(cosine.by_seed) == 1:
        numbers, verdict = fixed(mean, decimals=2), "one training cannot show whether the losses conflict"
    elif high < 0:
        verdict = "the losses conflict"
    else:
        verdict = "the losses agree" if low > 0 else "neither agreement nor conflict is clear"
    return (
        f"Late in training, the gradients of the two losses of {label} have a cosine of {numbers}: {verdict}."
    )


def _ends(rows: pd.DataFrame) -> str:
    """Return the arms with the earliest and the latest best block, by the share of the depth."""
    depth = pd.Series([sum(best) / len(best) for best in rows["best"]], index=rows.index) / rows["last"]
    first, last = depth.idxmin(), depth.idxmax()
    return (
        f"from {_range(rows.loc[first, 'best'])} for {first} to {_range(rows.loc[last, 'best'])} for {last}"
    )


def _range(blocks: list[int]) -> str:
    """Return the range of some blocks: 2 or 1–3."""
    low, high = min(blocks), max(blocks)
    return f"{low}" if low == high else f"{low}–{high}"
