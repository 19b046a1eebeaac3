"""Synthetic tables of one training, with realistic curves."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tests.render.synthetic_analyses import (
    attention_maps,
    between,
    similarity_table,
    singular_values,
    token_embedding,
)

DISTANCE = {
    "random": (16.5, 16.5),
    "contrastive": (13.6, 16.2),
    "masked": (12.8, 11.9),
    "autoencoder": (12.8, 11.9),
    "hybrid": (13.1, 15.4),
    "layered": (12.9, 15.8),
}
NMI = {
    "random": (0.0004, 0.0004),
    "contrastive": (0.034, 0.002),
    "masked": (0.072, 0.061),
    "autoencoder": (0.072, 0.061),
    "hybrid": (0.058, 0.012),
    "layered": (0.061, 0.006),
}
AMPLITUDE = {
    "random": (-3.6, -4.1),
    "contrastive": (-3.6, -4.7),
    "masked": (-3.6, -3.9),
    "autoencoder": (-3.6, -3.9),
    "hybrid": (-3.6, -4.3),
    "layered": (-3.6, -4.5),
}
ACCURACY = {
    "random": 0.21,
    "contrastive": 0.55,
    "masked": 0.37,
    "autoencoder": 0.4,
    "hybrid": 0.57,
    "layered": 0.56,
}


class Training(NamedTuple):
    """The tables and metrics of one training."""

    tables: dict[str, pd.DataFrame]
    metrics: dict[str, dict[str, Any]]


def write_training(
    training: Training, objective: str, *, seed: int, images: int = 24, blocks: int = 3, heads: int = 2
) -> None:
    """The tables and metrics of one training."""
    generator = np.random.default_rng(seed)
    place = pd.MultiIndex.from_product(
        [range(images), range(1, blocks + 1), range(1, heads + 1)], names=["image", "block", "head"]
    ).to_frame(index=False)
    depth = (place["block"] - 1) / max(blocks - 1, 1)
    of_head = generator.normal(0, 1, (blocks + 1, heads + 1))[place["block"], place["head"]]
    of_image = generator.normal(0, 1, len(place))
    distance = between(DISTANCE[objective], depth) + 0.5 * (objective != "random") * of_head + 0.3 * of_image
    nmi = between(NMI[objective], depth) * np.exp(0.4 * of_head + 0.2 * of_image)
    spread = {"entropy": 4.1 - 10 * nmi, "diversity": 0.6 * nmi}
    training.tables["analysis/attention"] = place.assign(distance=distance, nmi=nmi, **spread)
    training.tables["analysis/similarity"] = similarity_table(
        objective, images=images, blocks=blocks, heads=heads, seed=200 + seed
    )

    place = pd.MultiIndex.from_product(
        [range(images), range(blocks + 1), [0.25, 0.5, 0.75]], names=["image", "block", "frequency"]
    ).to_frame(index=False)
    depth = place["block"] / blocks
    course = between(AMPLITUDE[objective], depth) + 0.5 * np.sin(3 * depth) * (objective == "masked")
    amplitude = course * (place["frequency"] / 0.75) ** 0.6 + generator.normal(0, 0.15, len(place))
    frequencies = place.assign(log_amplitude=amplitude, part="encoder")
    if objective == "autoencoder":
        below = frequencies.assign(log_amplitude=amplitude - 1, part="decoder")
        frequencies = pd.concat([frequencies, below[below["block"] <= 2]])
    training.tables["analysis/fourier"] = frequencies

    norms = frequencies[["image", "block"]].drop_duplicates()
    long = 0.02 * (norms["block"] == norms["block"].max())
    training.tables["analysis/token_norms"] = norms.assign(
        norm=10.0 + norms["block"], largest=1 + 200 * long, high=long
    )
    training.tables["analysis/singular_values"] = singular_values(
        objective, generator, images=images, blocks=blocks
    )

    training.tables["analysis/attention_maps"] = attention_maps(
        objective, images=images, blocks=blocks, seed=300 + seed
    )
    training.tables["analysis/token_embedding"] = token_embedding(
        objective, images=images, blocks=blocks, seed=400 + seed
    )

    for number, probe in enumerate(("knn", "linear")):
        shape, texture = (
            min(0.99, ACCURACY[objective] + more) for more in (0.04 * number, 0.13 + 0.04 * number)
        )
        sets = {"shape": score(shape), "texture": score(texture)}
        for labels in sets.values():
            labels |= {"pooling": "mean", "by_pooling": {"cls": 0.3, "mean": 0.4}}
        training.metrics[f"probe/{probe}"] = {"labels": sets, "protocol": f"the {probe} way"}
    few = {"0.01": 0.15, "0.1": 0.25}
    for probe, accuracies in (("layerwise", [0.4]), ("few_shot", few.values()), ("attentive", [0.5])):
        numbers = score(max(accuracies)) | {"pooling": "attention"}
        if probe == "few_shot":
            numbers |= {"by_share": {share: score(value) for share, value in few.items()}}
        both = {"shape": numbers, "texture": numbers}
        training.metrics[f"probe/{probe}"] = {"labels": both, "protocol": f"the {probe} way"}
    training.tables["probe/layerwise"] = layerwise_table(
        objective, images=images, blocks=blocks, seed=100 + seed
    )

    tuned = {"shape": score(0.6 + ACCURACY[objective] / 3), "texture": score(0.7 + ACCURACY[objective] / 3)}
    training.metrics["finetune"] = {"labels": tuned, "protocol": "4 epochs, AdamW"}

    ways = {"linear": 0.6, "knn": 0.5, "fine-tuned": 1.0}
    scores = {
        way: {"miou": share * ACCURACY[objective], "images": images}
        | {"low": share * ACCURACY[objective] - 0.02, "high": share * ACCURACY[objective] + 0.03}
        for way, share in ways.items()
    }
    segmentation = {"ways": scores, "protocol": "all the ways", "classes": ["none", "circle"]}
    training.metrics["segmentation"] = segmentation

    training.tables["robustness"] = trials(ACCURACY[objective], generator, images=images)

    epochs = 0 if objective == "random" else 8
    parts = {"contrastive": ["contrastive"], "masked": ["masked"]}
    parts |= {name: ["contrastive", "masked"] for name in ("hybrid", "layered")}
    start = {"contrastive": 2.0, "masked": 0.8}
    history = pd.DataFrame({"epoch": np.arange(1, epochs + 1)})
    for part in parts.get(objective, []):
        history[part] = start[part] * (0.5 + 0.5 * np.exp(-history["epoch"] / 3)) + generator.normal(
            0, 0.01, epochs
        )
    weight = {"contrastive": 0.2, "masked": 0.8} if objective in ("hybrid", "layered") else {}
    loss = sum(
        (weight.get(part, 1) * history[part] for part in parts.get(objective, [])), start=0 * history["epoch"]
    )
    history.insert(1, "loss", loss)
    training.tables["history"] = history.assign(lr=1e-3, grad_norm=1.0)
    if objective in ("hybrid", "layered"):
        place = pd.MultiIndex.from_product(
            [range(1, epochs + 1), range(1, blocks + 1)], names=["epoch", "block"]
        ).to_frame(index=False)
        cosine = 0.2 - 0.1 * place["block"] + generator.normal(0, 0.02, len(place))
        if objective == "layered":  # the MIM loss reaches the first block alone
            cosine = cosine.where(place["block"] == 1)
        half = 0.5 + 0 * cosine
        training.tables["gradients"] = place.assign(
            cl_weight=0.2, batches=12, dot=0.03 * cosine, square_cl=0.09, square_mim=0.01,
            half_cl=half, half_mim=half, norm_cl=0.5, norm_mim=0.2,
        )  # fmt: skip


def comparison(seeds: Mapping[str, Sequence[int]], *, blocks: int) -> pd.DataFrame:
    """Return similarities that fall with the distance in depth and in the list of arms.

    seeds: of each arm; arms are compared in the seeds that they share
    """
    names = ["seed", "arm", "block", "other_arm", "other_block"]
    rows = [
        (seed, arm, block, other, other_block)
        for seed in sorted({seed for of_arm in seeds.values() for seed in of_arm})
        for arm, other in product([arm for arm in seeds if seed in seeds[arm]], repeat=2)
        for block, other_block in product(range(blocks + 1), repeat=2)
    ]
    table = pd.DataFrame(rows, columns=names)
    apart = abs(table["block"] - table["other_block"]) / blocks
    places = {arm: place for place, arm in enumerate(seeds)}
    apart += 0.3 * abs(table["arm"].map(places) - table["other_arm"].map(places))
    return table.assign(cka=np.exp(-apart))


def trials(accuracy: float, generator: np.random.Generator, *, images: int) -> pd.DataFrame:
    """Return decisions on clean and corrupted images, with about the accuracy of the arm."""
    kinds = [("clean", 0.0), *(("frequency_noise", level) for level in (0.25, 0.5, 0.75, 1.0))]
    kinds += [("patch_shuffle", 4.0), ("edges", 1.0)]
    tables = []
    for trial, level in kinds:
        for head in ("linear", "fine-tuned"):
            for labels in ("shape", "texture"):
                chance = accuracy * (1.0 if trial == "clean" else 0.6 + 0.3 * level % 0.4)
                tables.append(decided(chance, generator, images=images).assign(
                    trial=trial, level=level, head=head, labels=labels, rival=-1))  # fmt: skip
    for block in range(1, 4):
        for labels in ("shape", "texture"):
            lost = decided(accuracy * (0.4 + 0.15 * block), generator, images=images)
            place = {"trial": "reinitialised", "level": float(block), "head": "fine-tuned"}
            tables.append(lost.assign(**place, labels=labels, rival=-1))
    conflict = decided(accuracy, generator, images=images)
    conflict["rival"] = (conflict["truth"] + 1) % 10
    tables.append(conflict.assign(trial="cue_conflict", level=0.0, head="linear", labels="shape"))
    return pd.concat(tables, ignore_index=True).assign(amplitude=0.0)


def decided(chance: float, generator: np.random.Generator, *, images: int) -> pd.DataFrame:
    """Return one decision per image, correct with this probability, otherwise for the next class."""
    truth = generator.integers(10, size=images)
    right = generator.random(images) < chance
    predicted = np.where(right, truth, (truth + 1) % 10)
    return pd.DataFrame({"image": np.arange(images), "truth": truth, "predicted": predicted})


def layerwise_table(objective: str, *, images: int, blocks: int, seed: int) -> pd.DataFrame:
    """Return predictions of every block: the best block is the last for CL and an earlier one for MIM."""
    generator = np.random.default_rng(seed)
    place = pd.MultiIndex.from_product(
        [["shape", "texture"], range(images), range(blocks + 1)], names=["labels", "image", "block"]
    ).to_frame(index=False)
    depth = place["block"] / blocks
    best = round(0.6 * blocks) if objective == "masked" else blocks
    rise = 0.0 if objective == "random" else 0.4 if objective == "masked" else 0.5
    chance = 0.2 + rise * np.minimum(depth, 2 * best / blocks - depth) + 0.1 * (place["labels"] == "shape")
    difficulty = generator.random((2, images))[(place["labels"] == "shape").astype(int), place["image"]]
    right = (0.8 * difficulty + 0.2 * generator.random(len(place))) < chance
    return place.assign(truth=1, predicted=right.astype(int), chosen=place["block"] == best)


def score(accuracy: float) -> dict[str, Any]:
    """Return one accuracy as the probes write it."""
    return {
        "accuracy": accuracy,
        "low": accuracy - 0.022,
        "high": accuracy + 0.021,
        "images": 2000,
        "chance": 0.1,
    }
