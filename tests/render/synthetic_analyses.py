"""Synthetic tables of the analyses with long tables."""

import base64
from typing import Any

import numpy as np
import pandas as pd

UNISON = {
    "random": (0.83, 0.98),
    "contrastive": (0.90, 0.99),
    "masked": (0.79, 0.60),
    "autoencoder": (0.79, 0.60),
    "hybrid": (0.82, 0.94),
    "layered": (0.80, 0.96),
}

COSINE = {  # of positions in the last block; raw and centred
    "random": (0.62, 0.30),
    "contrastive": (0.95, 0.85),
    "masked": (0.71, 0.35),
    "autoencoder": (0.71, 0.35),
    "hybrid": (0.88, 0.62),
    "layered": (0.90, 0.66),
}


def singular_values(
    objective: str, generator: np.random.Generator, *, images: int, blocks: int, patches: int = 9
) -> pd.DataFrame:
    """Return a table with 6 singular values and the tokens of 2 images."""

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
            spectrum = rows("log_covariance", level, place, index=range(1, 7)).assign(error=0.05)
            parts.append(spectrum.assign(value=0.5 * spectrum["block"] - 0.8 * (spectrum["index"] - 1)))
        for direction in (1, 2, 3):
            drawn = {"block": sorted({1, (blocks + 1) // 2, blocks}), "image": [0, images // 2]}
            parts.append(
                rows(f"coordinate_{direction}", "token", place, **drawn, index=range(1, patches + 1))
            )
    return pd.concat(parts, ignore_index=True)


def similarity_table(objective: str, *, images: int, blocks: int, heads: int, seed: int) -> pd.DataFrame:
    """Return similarities that rise with depth, most for CL, and fall with the distance between blocks."""
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
    """Return maps of two images that depend less on their query with depth, and least for CL."""
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
    """Return tokens that cluster by image more if positions are more similar."""
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
    """Return a linear course from the first to the last block."""
    return ends[0] + (ends[1] - ends[0]) * depth
