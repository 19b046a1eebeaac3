"""An interactive part of a page: choose image, block and query patch, and compare the maps of two arms."""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib import colormaps

from stages.render.figures.attention_maps import ANALYSIS, CHANNELS, LOWEST, scale_end, square
from stages.results.analysis_curves import first_training
from stages.results.study_results import Results

LARGEST = 600_000  # bytes of all maps before compression; with more arms or patches, fewer images are shown
TEMPLATES = Path(__file__).parent / "templates"


def explorer(results: Results, *, words: str) -> str:
    """Return self-contained HTML in which a reader chooses an image, a block, a query patch and two arms.

    words: instructions at the top
    Raises StudyError if a table cannot be read.
    """
    data = explorer_data(results)
    style, script = ((TEMPLATES / f"explorer.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return Markup(
        '<div class="explorer" id="explorer" hidden><p>{words}</p>\n'
        '<div class="choices">'
        '<label>Image <select data-pick="image"></select></label> '
        '<label>Block <input type="range" min="1" step="1" data-pick="block"><output></output></label> '
        '<label>Row of the query <input type="number" min="1" step="1" data-pick="row"></label> '
        '<label>Column <input type="number" min="1" step="1" data-pick="column"></label></div>\n'
        '<div class="views"><div><p>Image</p>'
        '<div class="stage"><canvas role="img" data-view="image"></canvas></div></div>'
        '<div><label>Left <select data-pick="left"></select></label>'
        '<div class="stage"><canvas role="img" data-view="left"></canvas></div></div>'
        '<div><label>Right <select data-pick="right"></select></label>'
        '<div class="stage"><canvas role="img" data-view="right"></canvas></div></div></div>\n'
        '<div class="scale"><span>{lowest}</span><canvas role="img" data-view="scale"></canvas><span></span>'
        "<span>× uniform attention</span></div>\n"
        '<p class="result" role="status"></p>\n'
        '<script type="application/json">{data}</script>\n'
        "<style>\n{style}</style>\n<script>\n{script}</script></div>\n"
        "<noscript><p>The interactive maps need JavaScript. The figures show some of the maps.</p></noscript>"
    ).format(
        words=words,
        lowest=f"≤ {LOWEST:g}",
        data=Markup(json.dumps(data, sort_keys=True, separators=(",", ":")).replace("<", "\\u003c")),
        style=Markup(style),
        script=Markup(script),
    )


def explorer_data(results: Results) -> dict[str, Any]:
    """Return the data of the script: images, and the maps of all queries, for the first seed of each arm.

    Returns: colours (base64 of 256 × RGB, from low to high); lowest and highest (ends of the colour scale,
             multiples of uniform attention); images: name, height, width, pixels (base64 of RGB, row by
             row); arms: label, grid, blocks, start (of its maps), largest (image -> block -> largest weight
             of each query); maps (base64 of a raw DEFLATE stream: for each arm, image and block
             grid² × grid² bytes, query by query, 255 for the largest weight of a query)
    """
    tables = {
        results.label(arm): first_training(results, arm, results.analysis(ANALYSIS, arm))
        for arm in results.arms
    }
    first = next(iter(tables.values()))
    images = [int(image) for image in first.loc[first["measure"] == "map", "image"].unique()]
    images = images[: max(1, LARGEST // sum(map(_bytes_of_image, tables.values())))]
    arms, levels = [], bytearray()
    for label, table in tables.items():
        arm, maps = _maps(table, label=label, images=images)
        arms.append(arm | {"start": len(levels)})
        levels += maps
    return {
        "lowest": LOWEST,
        "highest": scale_end(results),
        "colours": _base64(np.rint(255 * colormaps["cividis"](np.arange(256))[:, :3])),
        "images": [_picture(first, image=image) for image in images],
        "arms": arms,
        "maps": base64.b64encode(_deflated(bytes(levels))).decode("ascii"),
    }


def _bytes_of_image(table: pd.DataFrame) -> int:
    """Return the size of all maps of one image: one byte per query and patch."""
    maps = table[table["measure"] == "map"]
    return int(maps["block"].max()) * int(maps["row"].max()) ** 4


def _picture(table: pd.DataFrame, *, image: int) -> dict[str, Any]:
    rows = table[table["image"] == image]
    pixels = np.stack([square(rows[rows["measure"] == name]) for name in CHANNELS], axis=-1)
    height, width = pixels.shape[:2]
    return {"name": f"held-out image {image}", "height": height, "width": width, "pixels": _base64(pixels)}


def _maps(table: pd.DataFrame, *, label: str, images: list[int]) -> tuple[dict[str, Any], bytes]:
    rows = table[table["measure"] == "map"].sort_values(["image", "block", "row", "column"])
    largest: list[list[list[float]]] = []
    levels = b""
    for image in images:
        of_image = [part for _, part in rows[rows["image"] == image].groupby("block")]
        levels += b"".join(base64.b64decode(text) for part in of_image for text in part["map"])
        largest.append([[float(f"{value:.4g}") for value in part["value"]] for part in of_image])
    grid, blocks = int(rows["row"].max()), int(rows["block"].max())
    return {"label": label, "grid": grid, "blocks": blocks, "largest": largest}, levels


def _deflated(content: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(content) + compressor.flush()


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.astype(np.uint8).tobytes()).decode("ascii")
