"""Pair object masks with real images, and decode them."""

import unicodedata
from collections.abc import Collection, Iterator, Mapping
from io import BytesIO
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.data.decode import UPRIGHT, central_square, turn
from stages.data.deep import Unreadable
from stages.data.settings import Masks
from stages.data.sources import open_source
from stages.study.errors import StudyError


class Mask(NamedTuple):
    """A mask at the stored size."""

    object: NDArray[np.bool_]  # (H, W)
    ignored: NDArray[np.bool_]  # (H, W), pixels excluded from scoring
    size: tuple[int, int]  # (W, H) of the mask before cropping and scaling


def read_masks(
    wanted: Mapping[str, int], *, images: Collection[str], source: str, settings: Masks, image_size: int
) -> Iterator[tuple[str, Mask]]:
    """Yield image names with their masks; images with missing or broken masks are skipped.

    wanted:     names of images, relative to their own source, each with the EXIF orientation to correct
    images:     names of all images whose masks may be in this source
    source:     folder or tar of the masks
    image_size: side of the returned masks in px
    Raises StudyError if the source is missing or broken, or if two masks match one image.
    """
    files = open_source(source)
    pairs = pair(images, files.images, source=source)
    image_of = {pairs[image]: image for image in wanted if image in pairs}
    for name, content in files.read(image_of.keys()):
        image = image_of[name]
        try:
            mask = decode_mask(content, settings=settings, image_size=image_size, orientation=wanted[image])
        except Unreadable:
            continue
        yield image, mask


def pair(images: Collection[str], masks: Collection[str], *, source: str) -> dict[str, str]:
    """Return the name of the mask for each image that has one; names match without their suffix.

    If image names are unique, folders are ignored. If image names repeat, the last folder must match too, and
    so on.
    Raises StudyError if two masks match one image, or if two images differ only in their suffix.
    """
    whole = {name: _parts(name) for name in images}
    for depth in range(1, 1 + max(map(len, whole.values()), default=1)):
        named = {parts[-depth:]: name for name, parts in whole.items()}
        if len(named) == len(whole):
            break
    else:
        raise StudyError(
            f"data.masks: some images differ only in their suffix, so masks in {source} are ambiguous; "
            "rename the images"
        )
    matches: dict[str, str] = {}
    for mask in sorted(masks):
        image = named.get(_parts(mask)[-depth:])
        if image is None:
            continue
        if image in matches:
            both = f"{matches[image]} and {mask}"
            raise StudyError(f"data.masks: {source}: {both} both match the image {image}; remove one")
        matches[image] = mask
    return matches


def refuse_shared(train: Collection[str], test: Collection[str], *, source: str) -> None:
    """Refuse one source of masks for two sources of images if a mask matches an image of each by its name.

    train, test: names of all images, relative to their own source
    Raises StudyError, which names such a mask, or as `pair` does.
    """
    masks = open_source(source).images
    of_train, of_test = (set(pair(names, masks, source=source).values()) for names in (train, test))
    if both := sorted(of_train & of_test):
        match = "mask matches" if len(both) == 1 else "masks match"
        raise StudyError(
            f"data.masks: {source}: {len(both)} {match} a training and a test image, such as {both[0]}; set "
            "data.masks.test_source to the masks of data.test_source"
        )


def _parts(name: str) -> tuple[str, ...]:
    """Return the folders and the name without its suffix, normalised to Unicode NFC."""
    return PurePosixPath(unicodedata.normalize("NFC", name)).with_suffix("").parts


def decode_mask(content: bytes, *, settings: Masks, image_size: int, orientation: int = UPRIGHT) -> Mask:
    """Read a mask, rotate it upright, crop its central square and scale it, like its image.

    orientation: EXIF orientation to correct
    A stored pixel gets the value that covers most of its area: background, object or ignored.
    Raises Unreadable if the file is not a complete image, or has colours instead of one value per pixel.
    """
    try:
        with Image.open(BytesIO(content)) as image:
            image.load()
            values, size = np.asarray(turn(image, orientation)), image.size  # palette images give indices
    except Exception as error:  # of many kinds, as in decode
        raise Unreadable(str(error)) from error
    if values.ndim != 2:
        raise Unreadable("the mask has colours instead of one number per pixel")
    ignored = np.isin(values, settings.ignored)
    background = values == 0 if settings.object is None else ~np.isin(values, settings.object)
    kinds = (background & ~ignored, ~background & ~ignored, ignored)
    box, target = central_square(*values.shape[::-1]), (image_size, image_size)
    shares = [
        np.asarray(Image.fromarray(kind.astype(np.float32)).resize(target, Image.Resampling.BOX, box=box))
        for kind in kinds
    ]
    most = np.argmax(shares, axis=0)
    return Mask(most == 1, most == 2, size)
