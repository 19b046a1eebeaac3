"""Draw the built-in images: ten shapes filled with ten textures, drawn independently of each other.

There is one basic operation: looking up a template through a random shift, rotation and scale. Objects of all
shapes have equal area, and all textures have equal mean and contrast. Neither size nor brightness therefore
reveals a label.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.data.settings import ShapesTextures
from stages.data.templates import SHAPES, TEXTURES, Templates, make_templates
from stages.study.seeds import derive

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Place = tuple[Floats, Floats]  # row and column, (B,) each

ZOOM = 0.15  # largest relative change of a texture's scale
LITTER = 6  # number of small objects on a cluttered background

# fmt: off
# Every image draws one uniform number for each of these names.
DRAWS = (
    "size", "angle", "row", "column", "polarity", "brightness", "margin", "hue", "ground_hue",
    "texture_angle", "texture_zoom", "texture_row", "texture_column",
    "ground", "ground_angle", "ground_zoom", "ground_row", "ground_column",
)
# If there is clutter, every small object then draws one uniform number for each of these names.
LITTER_DRAWS = ("shape", "size", "angle", "row", "column")
# fmt: on


class Batch(NamedTuple):
    """Images with both labels and object masks."""

    images: NDArray[np.uint8]  # (B, H, W, 3)
    shape: Integers  # (B,) index into SHAPES
    texture: Integers  # (B,) index into TEXTURES
    masks: NDArray[np.bool_]  # (B, H, W)


def generate(
    split: str,
    *,
    count: int,
    image_size: int,
    seed: int,
    params: ShapesTextures,
    batch_size: int | None = None,
) -> Iterator[Batch]:
    """Draw the first `count` images of a split, batch by batch; image i depends only on (seed, split, i).

    split:      train or test, which use different halves of every texture
    image_size: side in px
    batch_size: affects only speed and memory; None: a batch that fits the processor's cache
    """
    templates = make_templates(split, image_size=image_size)
    step = batch_size or max(1, 2**20 // (image_size * oversampling(image_size)) ** 2)
    for start in range(0, count, step):
        indices = np.arange(start, min(start + step, count))
        yield draw(indices, split=split, seed=seed, params=params, templates=templates)


def draw(indices: Integers, *, split: str, seed: int, params: ShapesTextures, templates: Templates) -> Batch:
    """Draw the images with these indices (B,), from templates of the same split."""
    shape, texture = labels_of(indices, seed=seed, split=split)
    streams = [np.random.default_rng(derive(seed, "image", split, int(index))) for index in indices]
    u = uniform(streams, DRAWS)

    size = params.size_min + u["size"] * (params.size_max - params.size_min)
    angle = either_way(u["angle"], params.rotation)
    # The frame crops no object, unless the object is too large.
    room = [np.clip(0.5 - size * half, 0, params.shift) for half in half_extents(templates, shape, angle)]
    centre = either_way(u["row"], room[0]), either_way(u["column"], room[1])
    coverage = cut_object(templates, shape, size=size, centre=centre, angle=angle)

    brightness = (0.5 + either_way(u["brightness"], 0.1))[:, None, None]
    margin = (params.contrast + 0.1 * u["margin"])[:, None, None]
    ground = brightness + np.where(u["polarity"][:, None, None] < 0.5, -margin, margin)
    surface = cut_texture(templates, texture, u, "texture", rotation=params.rotation)
    figure = brightness + params.texture_contrast * standardized(surface, weights=coverage)

    if params.clutter:
        other = (u["ground"] * len(TEXTURES)).astype(np.int64)
        surface = cut_texture(templates, other, u, "ground", rotation=params.rotation)
        surface = standardized(surface, weights=np.ones_like(surface))
        ground = ground + params.clutter * params.texture_contrast * surface
        for _ in range(LITTER):
            piece = cut_litter(templates, uniform(streams, LITTER_DRAWS))
            ground = ground + params.clutter * piece * (brightness - ground)

    figure = tinted(figure.clip(0, 1), hue=u["hue"], strength=params.colour)
    ground = tinted(ground.clip(0, 1), hue=u["ground_hue"], strength=params.colour)
    images = 255 * (ground + coverage[..., None] * (figure - ground))
    return Batch(images.round().astype(np.uint8), shape, texture, coverage > 0.5)


def labels_of(indices: Integers, *, seed: int, split: str) -> tuple[Integers, Integers]:
    """Return the shapes and textures of images; every hundred images hold each combination once, shuffled.

    indices: (B,)
    returns: two arrays (B,)
    """
    combinations = len(SHAPES) * len(TEXTURES)
    orders = {
        block: np.argsort(np.random.default_rng(derive(seed, "labels", split, block)).random(combinations))
        for block in {int(index) // combinations for index in indices}
    }
    pairs = np.array([orders[int(i) // combinations][int(i) % combinations] for i in indices], dtype=np.int64)
    return pairs // len(TEXTURES), pairs % len(TEXTURES)


def half_extents(templates: Templates, shape: Integers, angle: Floats) -> Place:
    """Return half the height and half the width of rotated shapes, in diameters.

    shape:   (B,)
    angle:   (B,) degrees
    returns: two arrays (B,)
    """
    right, down = templates.corners[shape].transpose(2, 0, 1)  # (B, n)
    cosine, sine = (turn(np.deg2rad(angle))[:, None] for turn in (np.cos, np.sin))
    return abs(cosine * down + sine * right).max(axis=1), abs(cosine * right - sine * down).max(axis=1)


def cut_object(
    templates: Templates, shape: Integers, *, size: Floats, centre: Place, angle: Floats
) -> Floats:
    """Return the share of each pixel (B, H, W) that an object covers.

    shape:  (B,)
    size:   (B,) diameter of a disc with the object's area, as a share of the image
    centre: offset from the centre of the image, as a share of the image
    angle:  (B,) degrees
    """
    middle = templates.sizes[shape, 0].astype(np.float32) / 2  # also equals one diameter
    return look_up(templates, shape, at=(middle, middle), centre=centre, angle=angle, scale=middle / size)


def cut_litter(templates: Templates, u: dict[str, Floats]) -> Floats:
    """Return the share of each pixel (B, H, W) that a small object of random shape and place covers."""
    shape = (u["shape"] * len(SHAPES)).astype(np.int64)
    centre = u["row"] - 0.5, u["column"] - 0.5
    return cut_object(templates, shape, size=0.1 + 0.1 * u["size"], centre=centre, angle=360 * u["angle"])


def cut_texture(
    templates: Templates, texture: Integers, u: dict[str, Floats], use: str, *, rotation: float
) -> Floats:
    """Cut a random piece (B, H, W) from each texture.

    texture:  (B,)
    u:        random draws by name
    use:      prefix of the draws that place the piece
    rotation: largest rotation in degrees, in both directions
    """
    sheets = len(SHAPES) + texture
    scale = np.float32(templates.sheet_scale) / (1 + either_way(u[f"{use}_zoom"], ZOOM))
    reach = scale * np.float32(0.5**0.5)  # from the centre of an image to its corner
    rows, columns = (side - 1 - 2 * reach for side in templates.sizes[sheets].astype(np.float32).T)
    at = reach + u[f"{use}_row"] * rows, reach + u[f"{use}_column"] * columns
    angle = either_way(u[f"{use}_angle"], rotation)
    return look_up(templates, sheets, at=at, centre=(0 * scale, 0 * scale), angle=angle, scale=scale)


def look_up(
    templates: Templates, which: Integers, *, at: Place, centre: Place, angle: Floats, scale: Floats
) -> Floats:
    """Return the pixels (B, H, W) of shifted, rotated and scaled templates.

    which:  (B,) numbers of templates
    at:     row and column of the template, in px, that are placed at `centre`
    centre: offset from the centre of the image, as a share of the image
    angle:  (B,) degrees
    scale:  (B,) template pixels that span one image
    """
    factor = oversampling(templates.image_size)
    samples = templates.image_size * factor
    axis = (np.arange(samples, dtype=np.float32) + 0.5) / samples - 0.5
    y, x = (scale[:, None] * (axis - shift[:, None]) for shift in centre)  # (B, n)
    cosine, sine = (turn(np.deg2rad(angle))[:, None] for turn in (np.cos, np.sin))
    row = (cosine * y + at[0][:, None])[:, :, None] - (sine * x)[:, None, :]  # (B, n, n)
    column = (sine * y + at[1][:, None])[:, :, None] + (cosine * x)[:, None, :]
    height, width = (templates.sizes[which].T.astype(np.int32) - 1)[:, :, None, None]
    # Outlines are empty at their edges, so clipped positions read 0; textures are cut well inside sheets.
    position = row.clip(0, height, out=row).astype(np.int32) * (width + 1)
    position += column.clip(0, width, out=column).astype(np.int32)
    position += templates.starts[which].astype(np.int32)[:, None, None]
    return pooled(templates.values.take(position), factor)


def oversampling(image_size: int) -> int:
    """Return the number of samples per side of a pixel; the pixel is their mean."""
    return max(2, 96 // image_size)


def pooled(samples: Floats, factor: int) -> Floats:
    """Average blocks of factor × factor samples: (B, n, n) -> (B, n / factor, n / factor)."""
    total = samples[:, ::factor].copy()
    for start in range(1, factor):
        total += samples[:, start::factor]
    return np.mean([total[:, :, start::factor] for start in range(factor)], axis=0) / np.float32(factor)


def standardized(values: Floats, *, weights: Floats) -> Floats:
    """Scale images (B, H, W) to mean 0 and standard deviation 1, weighted by weights (B, H, W)."""
    v, w = values.reshape(len(values), -1), weights.reshape(len(values), -1)
    w = w / w.sum(axis=1, keepdims=True)
    v = v - (w * v).sum(axis=1, keepdims=True)
    v = v / np.maximum(np.sqrt((w * v**2).sum(axis=1, keepdims=True)), np.float32(1e-6))
    return v.reshape(values.shape)


def tinted(grey: Floats, *, hue: Floats, strength: float) -> Floats:
    """Colour grey images (B, H, W) in [0, 1]: (B, H, W, 3) in [0, 1] with the same mean over channels."""
    thirds = np.arange(3, dtype=np.float32) / 3
    chroma = np.float32(strength) * np.cos(np.float32(2 * np.pi) * (hue[:, None] + thirds))  # (B, 3)
    return grey[..., None] + (grey * (1 - grey))[..., None] * chroma[:, None, None]


def either_way(u: Floats, reach: float | Floats) -> Floats:
    """Map draws from [0, 1) to [-reach, reach)."""
    return (2 * u - 1) * np.asarray(reach, dtype=np.float32)


def uniform(streams: Sequence[np.random.Generator], names: Sequence[str]) -> dict[str, Floats]:
    """Draw the next numbers in [0, 1) from every image's stream, (B,) for each name."""
    numbers = np.stack([stream.random(len(names), np.float32) for stream in streams], axis=1)
    return dict(zip(names, numbers, strict=True))
