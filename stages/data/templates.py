"""Make the templates of the built-in images: outlines of equal area, and texture sheets of equal contrast."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from stages.study.seeds import derive

Doubles = NDArray[np.float64]

SHAPES = ("arrow", "crescent", "cross", "disc", "heart", "hourglass", "ring", "square", "star", "triangle")
TEXTURES = ("brick", "checks", "clouds", "dots", "grass", "gravel", "grid", "stars", "stripes", "zigzag")

# Photographs inside the scikit-image wheel (nothing is downloaded), with their magnification. At 32 px,
# textures can be distinguished if their elements are 2 to 6 px wide.
PHOTOGRAPHS = {
    "brick": ("brick.png", 0.6),
    "grass": ("grass.png", 1.0),
    "gravel": ("gravel.png", 1.2),
    "stars": ("hubble_deep_field.jpg", 0.6),
}
PHOTOGRAPH_SCALE = 128  # pixels of a photograph at magnification 1 that span one image
SHEET_EXTENT = 4  # number of images that fit side by side on a computed sheet
MARGIN = 0.25  # width of the mirrored border of sheets, as a share of an image; rotated cuts reach into it
OUTLINE_SIDE = 512  # pixels that span two diameters of an outline


class Templates(NamedTuple):
    """Ten outlines (number s for shape s) and ten sheets (number 10 + t for texture t), in one array."""

    values: NDArray[np.float32]  # all templates, row by row; outlines in [0, 1], sheets with mean 0
    starts: NDArray[np.int64]  # (20,) first index of each template
    sizes: NDArray[np.int64]  # (20, 2) rows and columns of each template
    corners: NDArray[np.float32]  # (10, n, 2) of each outline, right and down from its centre, in diameters
    sheet_scale: int  # pixels of a sheet that span one image
    image_size: int  # side in px of the images that are cut from these templates


def make_templates(split: str, *, image_size: int) -> Templates:
    """Draw the outlines, and the half of every texture for this split.

    split:      train uses the left halves, any other split the right halves
    image_size: side of the images in px; sheets have at least twice that resolution
    """
    scale = max(PHOTOGRAPH_SCALE, 2 * image_size)
    polygons = [outline(shape) for shape in SHAPES]
    most = max(len(polygon) for polygon in polygons)
    templates = [filled(polygon) for polygon in polygons]
    templates += [half_sheet(texture, scale=scale, left=split == "train") for texture in TEXTURES]
    areas = [template.size for template in templates]
    return Templates(
        values=np.concatenate([template.astype(np.float32).reshape(-1) for template in templates]),
        starts=np.cumsum([0, *areas[:-1]]),
        sizes=np.array([template.shape for template in templates]),
        corners=np.stack([np.resize(polygon, (most, 2)) for polygon in polygons]).astype(np.float32),
        sheet_scale=scale,
        image_size=image_size,
    )


def outline(shape: str) -> Doubles:
    """Return the corners (n, 2) of a centred shape, x right and y down; a disc of its area has diameter 1."""
    t = np.linspace(0, 2 * np.pi, 181)
    half_arrow = np.array([(0, -1), (0.95, 0), (0.33, 0), (0.33, 1)])
    half_hourglass = np.array([(0.85, -1), (0.12, 0), (0.85, 1)])
    arm = np.array([(-0.3, -1), (0.3, -1), (0.3, -0.3)])
    heart = [16 * np.sin(t) ** 3, 5 * np.cos(2 * t) + 2 * np.cos(3 * t) + np.cos(4 * t) - 13 * np.cos(t)]
    polygon = {
        "arrow": np.concatenate([half_arrow, half_arrow[::-1] * (-1, 1)]),
        "crescent": np.concatenate([arc(1, 42.3, -222.3), arc(0.75, 170.6, 369.4) + np.array([0.55, 0])]),
        "cross": np.concatenate([arm @ turn for turn in quarter_turns()]),
        "disc": arc(1, 0, 360),
        "heart": np.stack(heart, axis=1),
        "hourglass": np.concatenate([half_hourglass, half_hourglass[::-1] * (-1, 1)]),
        "ring": np.concatenate([arc(1, 0, 360), arc(0.55, 360, 0)]),
        "square": arc(1, 45, 405, steps=4),
        "star": arc(1, 0, 360, steps=10) * np.where(np.arange(11) % 2, 0.45, 1)[:, None],
        "triangle": arc(1, 0, 360, steps=3),
    }[shape]
    polygon = polygon - (polygon.max(axis=0) + polygon.min(axis=0)) / 2
    x, y = polygon.T
    area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    return polygon * np.sqrt(np.pi / 4 / area)


def arc(radius: float, start: float, stop: float, steps: int = 180) -> Doubles:
    """Return points (steps + 1, 2) of a circle around 0; start and stop in degrees clockwise from the top."""
    angle = np.deg2rad(np.linspace(start, stop, steps + 1))
    return radius * np.stack([np.sin(angle), -np.cos(angle)], axis=1)


def quarter_turns() -> Doubles:
    """Return the rotation matrices (4, 2, 2) of 0 to 3 clockwise quarter turns (x right, y down)."""
    return np.stack([np.linalg.matrix_power(np.array([(0.0, 1.0), (-1.0, 0.0)]), n) for n in range(4)])


def filled(polygon: Doubles, antialias: int = 4) -> Doubles:
    """Return the share of each pixel (R, R) inside a polygon (n, 2); R pixels span -1 to 1."""
    side = OUTLINE_SIDE * antialias
    image = Image.new("L", (side, side))
    ImageDraw.Draw(image).polygon([tuple(point) for point in (polygon + 1) / 2 * side], fill=255)
    return np.asarray(image.reduce(antialias), dtype=float) / 255


def half_sheet(texture: str, *, scale: int, left: bool) -> Doubles:
    """Return one half (rows, columns) of a texture, with mean 0, standard deviation 1 and clipped outliers.

    scale: pixels that span one image
    """
    whole = photograph(texture) if texture in PHOTOGRAPHS else pattern(texture, scale=scale)
    middle = whole.shape[1] // 2
    half = whole[:, :middle] if left else whole[:, middle:]
    if texture in PHOTOGRAPHS:
        half = resized(half, factor=PHOTOGRAPHS[texture][1] * scale / PHOTOGRAPH_SCALE)
    # Without clipping, a few bright stars would take most of the contrast.
    half = ((half - half.mean()) / half.std()).clip(-2, 2)
    return np.pad((half - half.mean()) / half.std(), int(MARGIN * scale), mode="symmetric")


def photograph(texture: str) -> Doubles:
    """Load one of scikit-image's photographs in grey (rows, columns)."""
    with Image.open(Path(skimage.__file__).parent / "data" / PHOTOGRAPHS[texture][0]) as image:
        return np.asarray(image.convert("L"), dtype=float)


def resized(grey: Doubles, *, factor: float) -> Doubles:
    """Resize a picture (rows, columns) by a factor."""
    height, width = (round(side * factor) for side in grey.shape)
    return np.asarray(
        Image.fromarray(grey.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    )


def pattern(texture: str, *, scale: int) -> Doubles:
    """Compute a texture (rows, columns) with values in about [-1, 1]; wave numbers are per image."""
    side = SHEET_EXTENT * scale
    y, x = np.mgrid[:side, :side] / scale
    if texture == "stripes":
        return square_wave(6.5 * y)
    if texture == "zigzag":
        return square_wave(5.5 * y + 1.7 * abs((4 * x) % 1 - 0.5))
    if texture == "checks":
        return square_wave(4 * x) * square_wave(4 * y)
    if texture == "grid":
        return np.maximum(np.cos(2 * np.pi * 6 * x), np.cos(2 * np.pi * 6 * y))
    if texture == "dots":  # on a triangular lattice
        height = 3**0.5
        lattices = [((6 * x + o) % 1 - 0.5, ((6 * y / height + o) % 1 - 0.5) * height) for o in (0, 0.5)]
        return ((0.32 - np.minimum(*(np.hypot(dx, dy) for dx, dy in lattices))) * 8).clip(-1, 1)
    if texture == "clouds":
        # The noise has a fixed grid, so that the clouds are the same at every resolution.
        grains = np.random.default_rng(derive(0, texture)).random((10 * SHEET_EXTENT,) * 2)
        return resized(grains, factor=scale / 10)
    raise ValueError(f"no texture {texture!r}; choose from: {', '.join(TEXTURES)}")


def square_wave(cycles: Doubles) -> Doubles:
    """Return a square wave from -1 to 1 with slightly softened flanks."""
    return (3 * np.sin(2 * np.pi * cycles)).clip(-1, 1)
