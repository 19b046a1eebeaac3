"""Estimate the number of images and the disk space of a study before it runs."""

from collections.abc import Sequence
from typing import NamedTuple

from stages.data.arrays import read_manifest
from stages.encoders.settings import Features, Vit
from stages.study.errors import StudyError
from stages.study.paths import DATA
from stages.study.study import Study

DRAWN = "shapes_textures"
PHOTOGRAPH = 110_000  # bytes of an image file, the mean of ImageNet


class Images(NamedTuple):
    """The number of images of each split."""

    train: int
    test: int


class Disk(NamedTuple):
    """The bytes of each kind of result, over all arms and seeds."""

    data: int
    encoders: int  # snapshots included
    features: int
    finetuned: int
    resume: int  # checkpoints of one running training, the largest

    @property
    def outs(self) -> int:
        """Return the bytes of all outs, which DVC stores twice: in the project and in its cache."""
        return self.data + self.encoders + self.features + self.finetuned

    @property
    def store(self) -> int:
        """Return the bytes of the store of trainings."""
        return self.encoders + self.finetuned


def images_of(study: Study, *, numbers: Sequence[int] | None = None) -> Images:
    """Return the number of images: as given, else as set for drawn images, else as prepared.

    numbers: those of training and test images
    Raises StudyError if the numbers are not known yet.
    """
    data = study.data
    if numbers is None and data.source == DRAWN:
        numbers = (data.shapes_textures.train_images, data.shapes_textures.test_images)
    if numbers is None and (DATA / "manifest.json").is_file():
        manifest = read_manifest()
        if manifest.source == data.source:
            numbers = [manifest.splits[split].images for split in ("train", "test")]
    if numbers is None:
        raise StudyError(
            f"data.source {data.source}: the number of images is not known yet; add --images TRAIN TEST "
            '(make cost IMAGES="TRAIN TEST"), or run `dvc repro prepare`'
        )
    limits = (data.max_train_images, data.max_test_images)
    return Images(*(min(count, limit or count) for count, limit in zip(numbers, limits, strict=True)))


def data_bytes(study: Study, images: Images) -> int:
    """Return the bytes of data/prepared/: three per pixel, and a fourth one if the images have masks.

    Photographs are assumed to be as large as those of ImageNet.
    """
    masked = study.data.source == DRAWN or study.data.masks is not None
    squares = sum(images) * study.data.image_size**2 * (4 if masked else 3)
    return squares + (images.train * PHOTOGRAPH if study.data.store == "photographs" else 0)


def feature_bytes(vit: Vit, settings: Features, *, images: Images, image_size: int) -> int:
    """Return the bytes of the features of one encoder, in the format of stages/features.py.

    image_size: px
    """
    pooled = 2 * 4 * vit.width * sum(images)
    blocks = 4 * (vit.depth + 1) * vit.width * sum(min(count, settings.block_images) for count in images)
    patches = (image_size // vit.patch_size) ** 2
    tokens = 2 * patches * vit.width * sum(min(count, settings.token_images) for count in images)
    return pooled + blocks + tokens
