"""What the study was, in tables of words: its data, recipe, arms, accuracies and verdicts."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from stages.render.captions import trainings_of
from stages.render.prose import decimals_for, fixed, interval, listed, number, unbroken
from stages.render.provenance import portable
from stages.render.questions import QUESTIONS
from stages.render.similarity import similarity_curves
from stages.results.curves import block_curves, last_block, uniform_distance
from stages.results.study_results import AUGMENTED, FINE_TUNED, Results
from stages.study.params import label_of, seeds_of
from stages.study.recipe import overrides
from stages.study.settings import Arm
from stages.study.study import Study
from stages.training.settings import Pretrain

MARKS = {"supported": "✓", "contradicted": "✗", "undecided": "?", "not tested": "–"}

# measure of an analysis -> heading, unit; one row of a table per arm is made of these
MEASURES = {
    ("attention", "distance"): ("attention distance", "px"),
    ("attention", "nmi"): ("normalised mutual information", ""),
    ("attention", "entropy"): ("attention entropy", "nats"),
    ("attention", "diversity"): ("head diversity", "nats"),
    ("fourier", "log_amplitude"): ("relative log amplitude", ""),
    ("similarity", "positions"): ("cosine between positions", ""),
}


def recipe(study: Study, manifest: dict[str, Any]) -> pd.DataFrame:
    """The data and the common recipe, one row per fact.

    manifest: data/prepared/manifest.json
    """
    vit, pretrain, finetune = study.vit, study.pretrain, study.finetune
    size = manifest["image_size"]
    images = {split: f"{content['images']:,}" for split, content in manifest["splits"].items()}
    grid = size // vit.patch_size
    rows = {
        "Data": f"{portable(manifest['source'])}: {images['train']} training and {images['test']} held-out "
        f"images of {size} × {size} px",
        "Labels": listed(f"{name} ({len(names)} classes)" for name, names in manifest["labels"].items()),
        "Encoder": f"ViT of {vit.depth} blocks, width {vit.width}, {vit.heads} heads, "
        f"{grid} × {grid} patches of {vit.patch_size} px, positions: {vit.position}",
        "Pre-training": f"{pretrain.epochs} epochs, batch {pretrain.batch_size}, peak learning rate "
        f"{pretrain.peak_lr:g}, weight decay {pretrain.weight_decay:g}",
    }
    used = {arm.objective for arm in study.arms.values()}
    if used & {"hybrid", "layered"}:
        used |= {"contrastive", "masked"}
    for name, settings in dict(study.objectives).items():
        told = ", ".join(
            f"{key.replace('_', ' ')} {'none' if value is None else f'{value:g}'}"
            for key, value in dict(settings).items()
        )
        if name in used:
            rows[f"{name.capitalize()} objective"] = told
    rows |= {
        "Fine-tuning": f"{finetune.epochs} epochs, batch {finetune.batch_size}, peak learning rate "
        f"{finetune.lr:g}, layer decay {finetune.layer_decay:g}",
        "Probes": listed([*dict(study.probes), *([AUGMENTED] if study.linear_augmented.arms else [])]),
        "Analyses": listed(study.analyses),
    }
    unreadable = len(manifest.get("unreadable", []))
    if unreadable:
        rows["Left out"] = f"{unreadable:,} image files that could not be read"
    return pd.DataFrame({"as run": rows}, dtype=object).rename_axis("part")


def arm_rows(study: Study) -> pd.DataFrame:
    """Every arm: its label, its objective, its seeds and what it changes of the common recipe."""
    rows = {}
    for name, arm in study.arms.items():
        rows[name] = {
            "label": label_of(study, name),
            "objective": arm.objective,
            "seeds": listed(map(str, seeds_of(study, name))),
            "own settings": _own(arm),
        }
    return pd.DataFrame.from_dict(rows, orient="index", dtype=object).rename_axis("arm")


def accuracy_rows(accuracies: pd.DataFrame) -> pd.DataFrame:
    """Label × (evaluation, label set): accuracy in per cent with its interval; chance is the last row."""
    cells: dict[tuple[str, str], dict[str, str]] = {}
    chance: dict[tuple[str, str], str] = {}
    for _, row in accuracies.iterrows():
        place = (f"{row['evaluation']} (%)", row["labels"])
        percent = [100 * row[key] for key in ("mean", "low", "high")]
        cells.setdefault(place, {})[row["label"]] = nowrap(interval(*percent, decimals=1))
        if row["chance"] is not None and not pd.isna(row["chance"]):
            chance[place] = fixed(100 * row["chance"], decimals=1)
    # Fine-tuning comes last, whatever the first arm was not probed by.
    evaluations = sorted(
        dict.fromkeys(evaluation for evaluation, _ in cells), key=lambda name: name == f"{FINE_TUNED} (%)"
    )
    cells = {place: cells[place] for place in sorted(cells, key=lambda place: evaluations.index(place[0]))}
    frame = pd.DataFrame(cells, dtype=object).reindex(list(dict.fromkeys(accuracies["label"])))
    if chance:
        frame.loc["chance"] = pd.Series(chance)
    return frame.rename_axis("arm")


def accuracy_caption(study: Study) -> str:
    """Caption of `accuracy_rows`."""
    return f"Held-out accuracy (%): {trainings_of(study)}."


def protocol_rows(protocols: dict[str, str]) -> pd.DataFrame:
    """Evaluation × its protocol, to stand beside the accuracies."""
    return pd.DataFrame({"protocol": protocols}, dtype=object).rename_axis("evaluation")


def measure_rows(results: Results, *, seed: int = 0) -> pd.DataFrame:
    """Label × measure: the value of the last block with its interval; only analyses of the study.

    Raises StudyError if a table of such an analysis cannot be read.
    """
    columns = {}
    for (analysis, measure), (name, unit) in MEASURES.items():
        if analysis not in results.study.analyses:
            continue
        if analysis == "similarity":
            curves = similarity_curves(results, measure=measure, variant="raw", seed=seed)
            if curves.empty:
                continue
        else:
            curves = block_curves(results, analysis=analysis, measure=measure, seed=seed,
                                  highest_frequency=analysis == "fourier")  # fmt: skip
        columns[f"{name} ({unit})" if unit else name] = _intervals(last_block(curves))
    return pd.DataFrame(columns, dtype=object).rename_axis("arm")


def measures_caption(study: Study) -> str:
    """Caption of `measure_rows`, with the level of evenly spread attention where attention was measured."""
    said = f"Measures of the last block: {trainings_of(study)}."
    if "attention" in study.analyses:
        grid, patch = study.data.image_size // study.vit.patch_size, study.vit.patch_size
        level = uniform_distance(grid=grid, patch_size=patch)
        said += f" Attention spread evenly over {grid} × {grid} patches of {patch} px reaches {level:.2f} px."
    return said


def claim_rows(claims: list[dict[str, Any]], *, curves: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Each claim with its verdict, the difference that decided it and how, or why it was not decided.

    curves: claim -> id of the figure that shows it under every choice, to which its row then leads
    """
    links = curves or {}
    rows = [
        {
            "claim": _with_basis(claim),
            "verdict": verdict_mark(claim["verdict"]),
            "difference": effect(claim),
            "robust": _linked(robust(claim), links.get(claim["name"])),
            "means": _means(claim),
            "against untrained": against_untrained(claim),
        }
        for claim in claims
    ]
    columns = ["claim", "verdict", "difference", "robust", "means", "against untrained"]
    return pd.DataFrame(rows, columns=columns, dtype=object).set_index("claim")


def claims_by_question(claims: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The claims under what they answer, by the section of the paper that makes them.

    returns: heading -> claims, in the order of the paper
    """
    headings = {"§1": "What can they do? (§1)"}
    headings |= {section: f"{question} ({section})" for question, section in QUESTIONS.values()}
    groups: dict[str, list[dict[str, Any]]] = {heading: [] for heading in headings.values()}
    for claim in claims:
        section = str(claim.get("section") or "").split(",")[0].split(" ")[0]
        groups.setdefault(headings.get(section, "Beside the main text"), []).append(claim)
    return {heading: own for heading, own in groups.items() if own}


def replication_rows(claims: list[dict[str, Any]]) -> pd.DataFrame:
    """Each claim with the other methods of its families, where the study has arms of them."""
    rows = {
        f"{claim['statement']} ({pair})": {
            "verdict": verdict_mark(again["verdict"]),
            "difference": effect(again | {"unit": claim["unit"]}),
            "d": number(again["d_z"]),
        }
        for claim in claims
        for pair, again in (claim.get("replications") or {}).items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", dtype=object).rename_axis("claim")


def claims_caption(rules: dict[str, str]) -> str:
    """What stands below the tables of `claim_rows`: how the claims were decided."""
    told = [rules[key] for key in ("interval", "correction", "effect_size", "specifications") if key in rules]
    return f"How they were decided: {'. '.join(told)}."


def curve_rows(curves: pd.DataFrame) -> pd.DataFrame:
    """Label × block: the mean with its interval.

    curves: as `curves.block_curves` gives them
    """
    texts = _intervals(curves)
    frame = curves[["label", "block"]].assign(text=pd.Series(texts, dtype=object))
    frame = frame.pivot(index="label", columns="block", values="text")
    frame = frame.reindex(list(dict.fromkeys(curves["label"]))).rename_axis("arm")
    frame.columns = pd.Index([f"block {block}" for block in frame.columns])
    return frame


def verdict_mark(verdict: str) -> Markup:
    """A verdict as a word with a sign, so that colour is not needed to read it."""
    css = verdict.replace(" ", "-")
    return Markup('<span class="verdict {}"><span aria-hidden="true">{}</span> {}</span>').format(
        css, MARKS.get(verdict, "·"), verdict
    )


def effect(claim: dict[str, Any]) -> str:
    """The effect of a claim with its interval and unit; a dash where it was not tested."""
    if claim.get("effect") is None:
        return "–"
    numbers = [float(claim[key]) for key in ("effect", "low", "high")]
    unit = claim.get("unit") or ""
    if unit == "share of images":
        return nowrap(interval(*(100 * value for value in numbers), unit="points", decimals=1))
    return nowrap(interval(*numbers, unit=unit))


def robust(claim: dict[str, Any]) -> str:
    """How many of the choices that a claim depends on give its verdict, and what the others give."""
    found = claim.get("specifications")
    if not found:
        return "–"
    counts = {
        verdict: round(found[verdict] * found["count"])
        for verdict in ("supported", "contradicted", "undecided")
    }
    agree = counts.pop(claim["verdict"])
    others = [f"{count} {verdict}" for verdict, count in counts.items() if count]
    return f"{agree} of {found['count']} choices agree" + (f"; {listed(others)}" if others else "")


def against_untrained(claim: dict[str, Any]) -> str:
    """Whether each side of a claim is above the untrained control, below it or neither, by its interval.

    A difference between two trainings says little of either if one of them undid what chance had put there.
    """
    sides = {
        role: "above" if over["low"] > 0 else "below" if over["high"] < 0 else "not told apart"
        for role, over in (claim.get("over_random") or {}).items()
    }
    return ", ".join(f"{role} {side}" for role, side in sides.items()) or "–"


def tally(claims: list[dict[str, Any]]) -> str:
    """How many claims have which verdict, in one sentence."""
    counts = {verdict: sum(claim["verdict"] == verdict for claim in claims) for verdict in MARKS}
    said = listed(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return f"{len(claims)} claims: {said}."


def steadiness(claims: list[dict[str, Any]]) -> str:
    """How many verdicts hang on no choice, in one sentence; nothing if there were no choices."""
    shares = [claim["specifications"]["agree"] for claim in claims if claim.get("specifications")]
    if not shares:
        return ""
    return f"{sum(share == 1 for share in shares)} of {len(shares)} verdicts are the same under every choice."


def runs(study: Study) -> str:
    """What the intervals do not cover, as long as an encoder was trained once."""
    counts = {label_of(study, name): len(seeds_of(study, name)) for name in study.arms}
    once = [label for label, count in counts.items() if count == 1]
    if not once:
        return ""
    who = "Every encoder was" if len(once) == len(counts) else f"{listed(once)}:"
    return f"{who} trained once. Intervals over images do not say how much another seed would change."


def nowrap(text: str) -> Markup:
    """A number that no line break may tear from its interval."""
    return Markup('<span class="number">{}</span>').format(text)


def _own(arm: Arm) -> str:
    """What an arm sets besides its objective and seeds."""
    fields = arm.model_dump(exclude={"objective", "seeds"}, exclude_none=True)
    fields |= {name: "none" for name, value in overrides(arm, Pretrain).items() if value is None}
    return ", ".join(f"{name} {portable(value)}" for name, value in fields.items()) or "–"


def _with_basis(claim: dict[str, Any]) -> Markup:
    """What a claim says and, below it, where the paper says so and what it was decided by."""
    basis = "; ".join(part for part in (claim.get("section"), claim.get("why") or _compared(claim)) if part)
    return Markup('{}<span class="basis">{}</span>').format(unbroken(claim["statement"]), unbroken(basis))


def _compared(claim: dict[str, Any]) -> str:
    said = [claim.get("statistic"), claim.get("comparison")]
    adjusted = claim.get("p_adjusted")
    if adjusted is not None:
        said.append("p\u00a0<\u00a00.001" if adjusted < 0.001 else f"p\u00a0=\u00a0{adjusted:.2g}")
    if claim.get("d_z") is not None:
        said.append(f"d\u00a0=\u00a0{number(claim['d_z'], digits=2)}")
    return "; ".join(part for part in said if part) or "–"


def _means(claim: dict[str, Any]) -> str:
    """What each side of a claim, and the untrained control, have of the measure."""
    scale, unit = (100, "\u00a0%") if claim.get("unit") == "share of images" else (1, "")
    arms, means = claim.get("arms") or {}, (claim.get("values") or {}).items()
    return (
        ", ".join(
            f"{listed(arms.get(role, [role]))}\u00a0{number(scale * value)}{unit}" for role, value in means
        )
        or "–"
    )


def _linked(text: str, target: str | None) -> str:
    """The text, as a link within the page where there is something to lead to."""
    return Markup('<a href="#{}">{}</a>').format(target, text) if target else text


def _intervals(values: pd.DataFrame) -> dict[Any, Markup]:
    """Each row's mean with its interval as text, all to the same number of decimals."""
    decimals = decimals_for(values["high"] - values["low"])
    return {
        place: nowrap(interval(row["mean"], row["low"], row["high"], decimals=decimals))
        for place, row in values.iterrows()
    }
