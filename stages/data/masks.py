"""Masks of the objects in real images: which belongs to which image, and its pixels."""

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
    """A mask of the size that is stored."""

    object: NDArray[np.bool_]  # (H, W)
    ignored: NDArray[np.bool_]  # (H, W), what is neither the object nor not
    size: tuple[int, int]  # (W, H) of the mask before it was cut and scaled


def read_masks(
    wanted: Mapping[str, int], *, images: Collection[str], source: str, settings: Masks, image_size: int
) -> Iterator[tuple[str, Mask]]:
    """Give the masks of images, each with the name of its image; none where it is missing or not whole.

    wanted:     names of the images, relative to their own source; from which orientation to turn each mask
    images:     names of all images whose masks may be in this source
    source:     folder or tar of the masks; image_size: px of a side of what is returned
    Raises StudyError if the source is missing or broken, or two masks could be that of one image.
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
    """The mask of each image that has one: of the same name but for its suffix.

    Folders count as far as they are needed to tell the images apart: names alone where no two images share
    one, else with the last folder, and so on.
    Raises StudyError if two masks have one such name, or two images one name with all their folders.
    """
    whole = {name: _parts(name) for name in images}
    for depth in range(1, 1 + max(map(len, whole.values()), default=1)):
        named = {parts[-depth:]: name for name, parts in whole.items()}
        if len(named) == len(whole):
            break
    else:
        raise StudyError(f"data.masks: images differ in nothing but their suffix; {source} cannot tell")
    found: dict[str, str] = {}
    for mask in sorted(masks):
        image = named.get(_parts(mask)[-depth:])
        if image is None:
            continue
        if image in found:
            both = f"{found[image]} and {mask}"
            raise StudyError(f"data.masks: {source}: {both} could both be the mask of {image}; take one away")
        found[image] = mask
    return found


def _parts(name: str) -> tuple[str, ...]:
    """Return folders and name without the suffix, accents in Unicode's NFC."""
    return PurePosixPath(unicodedata.normalize("NFC", name)).with_suffix("").parts


def decode_mask(content: bytes, *, settings: Masks, image_size: int, orientation: int = UPRIGHT) -> Mask:
    """Read a mask, turn it, cut out its central square and scale that, as is done with its image.

    orientation: from which it is turned, as EXIF numbers them
    A stored pixel is what most of its area is: nothing, object or ignored.
    Raises Unreadable if the file is no whole image, or has colours for values.
    """
    try:
        with Image.open(BytesIO(content)) as image:
            image.load()
            values, size = np.asarray(turn(image, orientation)), image.size  # of a palette, its numbers
    except Exception as error:  # of every kind, as those of decode
        raise Unreadable(str(error)) from error
    if values.ndim != 2:
        raise Unreadable("a mask has one number for each pixel, and this one has colours")
    ignored = np.isin(values, settings.ignored)
    nothing = values == 0 if settings.object is None else ~np.isin(values, settings.object)
    kinds = (nothing & ~ignored, ~nothing & ~ignored, ignored)
    box, target = central_square(*values.shape[::-1]), (image_size, image_size)
    shares = [
        np.asarray(Image.fromarray(kind.astype(np.float32)).resize(target, Image.Resampling.BOX, box=box))
        for kind in kinds
    ]
    most = np.argmax(shares, axis=0)
    return Mask(most == 1, most == 2, size)
