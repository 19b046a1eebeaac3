"""Masks of the objects in real images: which belongs to which image, and its pixels."""

from collections.abc import Collection, Iterator
from io import BytesIO
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.data.decode import Unreadable, central_square
from stages.data.listings import open_source
from stages.data.settings import Masks
from stages.study.errors import StudyError


class Mask(NamedTuple):
    """A mask of the size that is stored."""

    object: NDArray[np.bool_]  # (H, W)
    ignored: NDArray[np.bool_]  # (H, W), what is neither the object nor not
    size: tuple[int, int]  # (W, H) of the mask before it was cut and scaled


def read_masks(
    wanted: Collection[str], *, images: Collection[str], source: str, settings: Masks, image_size: int
) -> Iterator[tuple[str, Mask]]:
    """The masks of images, each with the name of its image; none where it is missing or not whole.

    wanted:     names of the images, relative to their own source
    images:     names of all images whose masks may be in this source
    source:     folder or tar of the masks; image_size: px of a side of what is returned
    Raises StudyError if the source is missing or broken, or two masks could be that of one image.
    """
    names, read = open_source(source)
    pairs = pair(images, names, source=source)
    image_of = {pairs[image]: image for image in wanted if image in pairs}
    for name, content in read(image_of.keys()):
        try:
            yield image_of[name], decode_mask(content, settings=settings, image_size=image_size)
        except Unreadable:
            continue


def pair(images: Collection[str], masks: Collection[str], *, source: str) -> dict[str, str]:
    """The mask of each image that has one: of the same name but for its suffix.

    Folders count as far as they are needed to tell the images apart: names alone where no two images share
    one, else with the last folder, and so on.
    Raises StudyError if two masks have one such name, or two images one name with all their folders.
    """
    whole = {name: PurePosixPath(name).with_suffix("").parts for name in images}
    for depth in range(1, 1 + max(map(len, whole.values()), default=1)):
        named = {parts[-depth:]: name for name, parts in whole.items()}
        if len(named) == len(whole):
            break
    else:
        raise StudyError(f"data.masks: images differ in nothing but their suffix; {source} cannot tell")
    found: dict[str, str] = {}
    for mask in sorted(masks):
        image = named.get(PurePosixPath(mask).with_suffix("").parts[-depth:])
        if image is None:
            continue
        if image in found:
            both = f"{found[image]} and {mask}"
            raise StudyError(f"data.masks: {source}: {both} could both be the mask of {image}; take one away")
        found[image] = mask
    return found


def decode_mask(content: bytes, *, settings: Masks, image_size: int) -> Mask:
    """Read a mask, cut out its central square and scale that, as is done with its image.

    A stored pixel is what most of its area is: nothing, object or ignored.
    Raises Unreadable if the file is no whole image, or has colours for values.
    """
    try:
        with Image.open(BytesIO(content)) as image:
            image.load()
            values, size = np.asarray(image), image.size  # of a palette, the numbers of its colours
    except Exception as error:  # of every kind, as those of decode
        raise Unreadable(str(error)) from error
    if values.ndim != 2:
        raise Unreadable("a mask has one number for each pixel, and this one has colours")
    ignored = np.isin(values, settings.ignored)
    nothing = values == 0 if settings.object is None else ~np.isin(values, settings.object)
    kinds = (nothing & ~ignored, ~nothing & ~ignored, ignored)
    box, target = central_square(*size), (image_size, image_size)
    shares = [
        np.asarray(Image.fromarray(kind.astype(np.float32)).resize(target, Image.Resampling.BOX, box=box))
        for kind in kinds
    ]
    most = np.argmax(shares, axis=0)
    return Mask(most == 1, most == 2, size)
