"""A project with the tables of a made-up study; the courses of its curves are realistic."""

import base64
import json
import shutil
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

from stages.results.study_results import Results
from stages.study.params import seeds_of, validate
from stages.study.study import Study

ROOT = Path(__file__).parents[2]
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
UNISON = {
    "random": (0.83, 0.98),
    "contrastive": (0.90, 0.99),
    "masked": (0.79, 0.60),
    "autoencoder": (0.79, 0.60),
    "hybrid": (0.82, 0.94),
    "layered": (0.80, 0.96),
}
ACCURACY = {
    "random": 0.21,
    "contrastive": 0.55,
    "masked": 0.37,
    "autoencoder": 0.4,
    "hybrid": 0.57,
    "layered": 0.56,
}


COSINE = {  # of positions in the last block; raw and centred
    "random": (0.62, 0.30),
    "contrastive": (0.95, 0.85),
    "masked": (0.71, 0.35),
    "autoencoder": (0.71, 0.35),
    "hybrid": (0.88, 0.62),
    "layered": (0.90, 0.66),
}


def make_project(folder: Path, *, images: int = 24, blocks: int = 3, heads: int = 2, **changes: Any) -> Path:
    """Copy what the report needs of this project into a folder, and write tables for every arm of its params.

    Every arm has two seeds, unless it or the changes say otherwise; the hybrid has one.
    changes: sections of params.yaml to replace, e.g. arms={...}
    """
    folder.mkdir(parents=True, exist_ok=True)
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("stages", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore, dirs_exist_ok=True)
    shutil.copy(ROOT / "dvc.yaml", folder)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["arms"]["hybrid"]["seeds"] = [1]
    params |= {"seeds": [0, 1]} | changes
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    study = validate(params)
    write_study(folder, study, images=images, blocks=blocks, heads=heads)
    write_json(folder / "data/manifest.json", manifest())
    write_json(folder / "results/claims.json", claims())
    write_csv(folder / "results/specifications.csv", specifications())
    return folder


def study_of(
    arms: Mapping[str, str | dict[str, Any]],
    *,
    seeds: Sequence[int] = (0, 1),
    labels: Mapping[str, str] = MappingProxyType({}),
    **changes: Any,
) -> Study:
    """The study of params.yaml with these arms: an objective each, or what params.yaml may say of an arm."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    whole = {name: {"objective": arm} if isinstance(arm, str) else arm for name, arm in arms.items()}
    return validate(params | {"arms": whole, "seeds": list(seeds), "labels": dict(labels)} | changes)


def write_study(folder: Path, study: Study, **sizes: int) -> Results:
    """All result files of every arm of a study."""
    for number, (name, arm) in enumerate(study.arms.items()):
        write_arm(folder, name, arm.objective, seeds=seeds_of(study, name), number=number, **sizes)
    seeds = {name: seeds_of(study, name) for name in study.arms}
    write_csv(folder / "results/comparison.csv", comparison(seeds, blocks=sizes.get("blocks", 3)))
    return Results(study, folder)


def write_arm(
    folder: Path, name: str, objective: str, *, seeds: Sequence[int] = (0, 1), number: int = 0, **sizes: int
) -> None:
    """All result files of one arm: what each of its trainings would write, put together as the stages do."""
    tables: dict[str, list[pd.DataFrame]] = {}
    metrics: dict[str, dict[str, Any]] = {}
    for seed in seeds:
        training = Training({}, {})
        write_training(training, objective, seed=1000 * seed + number, **sizes)
        scatter = 0.01 * (
            1 - 2 * (seed % 2)
        )  # of the accuracies of this training around those of its objective
        for path, frame in training.tables.items():
            frame.insert(0, "seed", seed)
            if path in ("history", "gradients"):
                write_csv(folder / f"models/{name}/{seed}/{path}.csv", frame)
            else:
                tables.setdefault(path, []).append(frame)
        for path, content in training.metrics.items():
            metrics.setdefault(path, {})[str(seed)] = moved(content, scatter)
    for path, frames in tables.items():
        write_csv(folder / f"results/{path}/{name}.csv", pd.concat(frames, ignore_index=True))
    for path, of_seeds in metrics.items():
        write_json(
            folder / f"results/{path}/{name}.json", together(list(of_seeds.values())) | {"seeds": of_seeds}
        )


def together(values: Sequence[Any]) -> Any:
    """Metrics of several trainings as one: means of numbers, everything else as the first has it."""
    first = values[0]
    if isinstance(first, dict):
        return {key: together([value[key] for value in values]) for key in first}
    number = isinstance(first, int | float) and not isinstance(first, bool)
    return sum(values) / len(values) if number else first


def moved(metrics: Any, scatter: float) -> Any:
    """The same metrics with accuracies and mIoU a little higher or lower, and their intervals with them."""
    if not isinstance(metrics, dict):
        return metrics
    scores = {"accuracy", "miou", "low", "high"}
    return {
        key: value + scatter if key in scores else moved(value, scatter) for key, value in metrics.items()
    }


class Training(NamedTuple):
    """What one training writes."""

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
    told = {"ways": scores, "protocol": "all the ways", "classes": ["none", "circle"]}
    training.metrics["segmentation"] = told

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
        training.tables["gradients"] = place.assign(cosine=cosine, norm_cl=0.5, norm_mim=0.2)


def comparison(seeds: Mapping[str, Sequence[int]], *, blocks: int) -> pd.DataFrame:
    """Blocks that are the less alike the further apart they are, in depth and in the list of arms.

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
    """Decisions on clean and corrupted images, right with about the accuracy of the arm."""
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
    return pd.concat(tables, ignore_index=True)


def decided(chance: float, generator: np.random.Generator, *, images: int) -> pd.DataFrame:
    """One decision an image, right with this chance, else for the next class."""
    truth = generator.integers(10, size=images)
    right = generator.random(images) < chance
    predicted = np.where(right, truth, (truth + 1) % 10)
    return pd.DataFrame({"image": np.arange(images), "truth": truth, "predicted": predicted})


def layerwise_table(objective: str, *, images: int, blocks: int, seed: int) -> pd.DataFrame:
    """Predictions from every block: CL rises to its last block, MIM turns before it, the best is chosen."""
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


def singular_values(
    objective: str, generator: np.random.Generator, *, images: int, blocks: int, patches: int = 9
) -> pd.DataFrame:
    """The long table of the analysis of that name: 6 singular values, the tokens of 2 images."""

    def rows(measure: str, level: str, place: str, **axes: range | list[int]) -> pd.DataFrame:
        axes = {"block": range(1, blocks + 1), "image": [-1], "index": [0]} | axes
        table = pd.MultiIndex.from_product(axes.values(), names=list(axes)).to_frame(index=False)
        noise = generator.normal(0, 1, len(table))
        return table.assign(measure=measure, level=level, place=place, value=noise, error=0.0)

    unison = rows("unison", "token", "across", image=range(images))
    depth = (unison["block"] - 1) / max(blocks - 1, 1)
    parts = [unison.assign(value=between(UNISON[objective], depth) + 0.02 * unison["value"])]
    for place in ("before", "after"):
        for measure, level in (("rankme", 4.0), ("participation_ratio", 2.0), ("alpha", 1.5)):
            token = rows(measure, "token", place, image=range(0, images, 2))
            image = rows(measure, "image", place).assign(error=0.1)
            parts += [part.assign(value=level + 0.2 * part["value"]) for part in (token, image)]
        for level in ("token", "image"):
            spectrum = rows("log_sigma", level, place, index=range(1, 7)).assign(error=0.05)
            parts.append(spectrum.assign(value=-0.8 * (spectrum["index"] - 1)))
        for direction in (1, 2, 3):
            drawn = {"block": sorted({1, (blocks + 1) // 2, blocks}), "image": [0, images // 2]}
            parts.append(
                rows(f"coordinate_{direction}", "token", place, **drawn, index=range(1, patches + 1))
            )
    return pd.concat(parts, ignore_index=True)


def similarity_table(objective: str, *, images: int, blocks: int, heads: int, seed: int) -> pd.DataFrame:
    """Tokens grow alike with depth, most with CL; blocks are the less alike the farther apart."""
    generator = np.random.default_rng(seed)
    parts = []

    def add(name: str, variant: str, block: int, other: int, mean: float, rows: int) -> None:
        columns = {"measure": name, "variant": variant, "block": block, "other_block": other}
        value = np.clip(mean + generator.normal(0, 0.02, rows), -1, 1)
        parts.append(pd.DataFrame({"image": range(rows)} | columns | {"value": value}))
        if name == "cka":
            parts[-1]["image"] = None

    for variant, end in zip(("raw", "centred"), COSINE[objective], strict=True):
        for block in range(blocks + 1):
            depth = block / blocks
            add("positions", variant, block, block, 0.3 + (end - 0.3) * depth, images)
            if block and heads > 1:
                add("heads", variant, block, block, 0.1 + 0.5 * (end - 0.3) * depth, images)
            for other in range(block):
                away = (block - other) / blocks
                add("blocks", variant, block, other, end ** (2 * away), images)
                if variant == "centred":
                    add("cka", variant, block, other, end**away, 1)
    return pd.concat(parts).astype({"image": "Int64"})


def attention_maps(objective: str, *, images: int, blocks: int, seed: int, grid: int = 3) -> pd.DataFrame:
    """Maps that depend on their query the less the deeper, least of all with CL; two images are shown."""
    generator = np.random.default_rng(seed)
    patches = grid**2
    rows: list[dict[str, Any]] = []

    def add(measure: str, image: int, block: int, query: str, row: int, column: int, value: float) -> None:
        place = {"image": image, "block": block, "query": query, "row": row, "column": column}
        rows.append({"measure": measure, **place, "value": value, "map": ""})

    for image in range(images):
        for block in range(1, blocks + 1):
            cosine = 0.3 + (COSINE[objective][0] - 0.3) * block / blocks + generator.normal(0, 0.02)
            add("similarity", image, block, "both", 0, 0, cosine)
    for image in (0, images // 2):
        for row, column in np.ndindex(6, 6):
            for channel in ("red", "green", "blue"):
                add(channel, image, 0, "-", row + 1, column + 1, float(generator.integers(0, 256)))
        for block in range(1, blocks + 1):
            attention = generator.dirichlet(np.ones(patches), size=patches)
            for query, weights in zip(np.ndindex(grid, grid), attention, strict=True):
                add("map", image, block, "-", query[0] + 1, query[1] + 1, weights.max())
                levels = np.rint(255 * weights / weights.max()).astype(np.uint8)
                rows[-1]["map"] = base64.b64encode(levels.tobytes()).decode()
            for query_name, place in (("centre", patches // 2), ("corner", 0)):
                for (row, column), weight in zip(np.ndindex(grid, grid), attention[place], strict=True):
                    add("weight", image, block, query_name, row + 1, column + 1, weight)
    return pd.DataFrame(rows)


def token_embedding(objective: str, *, images: int, blocks: int, seed: int) -> pd.DataFrame:
    """Tokens that lie by image the more the more alike positions are."""
    generator = np.random.default_rng(seed)
    frames = []

    def add(measure: str, image: np.ndarray, value: np.ndarray, index: np.ndarray | int = 0) -> None:
        columns = {"measure": measure, "image": image, "class": image % 3, "block": blocks, "index": index}
        frames.append(pd.DataFrame(columns | {"value": value}))

    everyone, shown = np.arange(images), np.repeat(np.arange(6), 9)
    for group, level in (("image", COSINE[objective][1]), ("class", 0.1)):
        add(f"silhouette_{group}", everyone, level + generator.normal(0, 0.05, images))
        add(f"plane_{group}", np.arange(6), level + generator.normal(0, 0.05, 6))
    for name in "xy":
        add(name, shown, shown + generator.normal(0, 1, len(shown)), np.tile(np.arange(1, 10), 6))
    return pd.concat(frames, ignore_index=True)


def between(ends: tuple[float, float], depth: pd.Series) -> pd.Series:
    """A straight course from the first to the last block."""
    return ends[0] + (ends[1] - ends[0]) * depth


def score(accuracy: float) -> dict[str, Any]:
    """One accuracy as the probes write it."""
    return {
        "accuracy": accuracy,
        "low": accuracy - 0.022,
        "high": accuracy + 0.021,
        "images": 2000,
        "chance": 0.1,
    }


def manifest() -> dict[str, Any]:
    """A data manifest of two label sets with two unreadable files."""
    names = {"shape": ["circle", "square", "star"], "texture": ["dots", "lines"]}
    return {
        "source": "shapes_textures",
        "image_size": 32,
        "labels": names,
        "mean": [0.5] * 3,
        "std": [0.2] * 3,
        "digest": "0123456789abcdef",
        "splits": {"train": {"images": 8000}, "test": {"images": 2000}},
        "unreadable": ["a.jpg", "b.jpg"],
    }


def claims() -> dict[str, Any]:
    """Claims with every verdict there is."""
    common = {
        "section": "§2, Fig. 3",
        "comparison": "contrastive over masked",
        "statistic": "a mean",
        "unit": "px",
        "choices": [
            {"name": "blocks", "options": ["last third", "last block"]},
            {"name": "heads", "options": ["mean", "median"]},
        ],
        "fixed": ["the last epoch"],
    }
    values = {"contrastive": 16.2, "masked": 11.9, "random": 16.5}
    share = {"unit": "share of images", "why": ""}
    found: list[dict[str, Any]] = [
        {
            "verdict": "supported",
            "effect": 4.31,
            "low": 4.27,
            "high": 4.35,
            "p_adjusted": 0.0006,
            "why": "",
            "d_z": 2.13,
            "specifications": {
                "count": 4,
                "agree": 0.75,
                "same_sign": 0.75,
                "supported": 0.75,
                "contradicted": 0.0,
                "undecided": 0.25,
                "median_d_z": 1.9,
            },
            "replications": {
                "dino over masked": {
                    "verdict": "undecided",
                    "effect": 0.2,
                    "low": -0.1,
                    "high": 0.5,
                    "p": 0.2,
                    "d_z": 0.06,
                }
            },
            "values": values,
            "arms": {"contrastive": ["cl"], "masked": ["mim"], "random": ["random"]},
            "over_random": {
                "contrastive": {"effect": -0.3, "low": -0.7, "high": 0.1},
                "masked": {"effect": -4.6, "low": -5.0, "high": -4.2},
            },
        },
        share
        | {"verdict": "contradicted", "effect": -0.061, "low": -0.08, "high": -0.04, "p_adjusted": 0.001},
        share | {"verdict": "undecided", "effect": 0.004, "low": -0.02, "high": 0.021, "p_adjusted": 0.7},
        {"verdict": "not tested", "why": "no arm has the objective hybrid"},
    ]
    words = (
        "name",
        "section",
        "comparison",
        "statistic",
        "unit",
        "statement",
        "arms",
        "why",
        "choices",
        "fixed",
    )
    entries, numbers = [], {}
    for number, claim in enumerate(found):
        name = f"claim_{number}"
        whole = common | {"name": name, "statement": f"Claim <{number}> & more.", "why": ""} | claim
        entries.append({key: whole.pop(key) for key in words if key in whole})
        numbers[name] = whole
    rules = {
        "correction": "Holm over 3 tested claims",
        "interval": "95 % percentile interval",
        "replications": "Decided like the claims, uncorrected",
    }
    return {"claims": numbers, "entries": entries, "rules": rules}


def specifications() -> pd.DataFrame:
    """The first claim under four combinations of two choices; the median of the last block is undecided."""
    rows = [
        ("last third", "mean", 4.31, "supported"),
        ("last third", "median", 3.2, "supported"),
        ("last block", "mean", 0.9, "supported"),
        ("last block", "median", -0.1, "undecided"),
    ]
    frame = pd.DataFrame(rows, columns=["blocks", "heads", "effect", "verdict"])
    frame.insert(0, "claim", "claim_0")
    frame.insert(1, "specification", range(1, 5))
    return frame.assign(
        low=frame["effect"] - 0.4, high=frame["effect"] + 0.4, p=0.01, d_z=frame["effect"] / 2
    )


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a tidy table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")


def write_json(path: Path, value: Any) -> None:
    """Write JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, sort_keys=True))
