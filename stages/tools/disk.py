"""How many images a study has, and how many bytes its results take, before any of them exist."""

from collections.abc import Sequence
from typing import NamedTuple

from stages.data.arrays import read_manifest
from stages.encoders.settings import Features, Vit
from stages.study.errors import StudyError
from stages.study.paths import DATA
from stages.study.study import Study

DRAWN = "shapes_textures"


class Images(NamedTuple):
    """The images of each split."""

    train: int
    test: int


class Disk(NamedTuple):
    """Bytes of each kind of result, of all arms and seeds."""

    data: int
    encoders: int  # with those kept on the way
    features: int
    finetuned: int
    resume: int  # of one training at work, the longest

    @property
    def outs(self) -> int:
        """Return the bytes that DVC keeps twice: in the project and in its cache."""
        return self.data + self.encoders + self.features + self.finetuned

    @property
    def store(self) -> int:
        """Return the bytes of the store of trainings."""
        return self.encoders + self.finetuned


def images_of(study: Study, *, given: Sequence[int] | None = None) -> Images:
    """Return how many images the study has: those given, or prepared, or drawn.

    given: of the training and of the test split
    Raises StudyError if that is not known yet.
    """
    data = study.data
    if given is None and data.source == DRAWN:
        given = (data.shapes_textures.train_images, data.shapes_textures.test_images)
    if given is None and (DATA / "manifest.json").is_file():
        manifest = read_manifest()
        if manifest.source == data.source:
            given = [manifest.splits[split].images for split in ("train", "test")]
    if given is None:
        raise StudyError(
            f"data.source {data.source}: its images are not counted yet; give --images TRAIN TEST, or run "
            "`dvc repro prepare`"
        )
    limits = (data.max_train_images, data.max_test_images)
    return Images(*(min(count, limit or count) for count, limit in zip(given, limits, strict=True)))


def data_bytes(study: Study, images: Images) -> int:
    """Return the bytes of data/prepared/: three of every pixel, and one of its mask where there are masks."""
    masked = study.data.source == DRAWN or study.data.masks is not None
    return sum(images) * study.data.image_size**2 * (4 if masked else 3)


def feature_bytes(vit: Vit, settings: Features, *, images: Images, image_size: int) -> int:
    """Return the bytes of the features of one encoder, as stages/features.py writes them.

    image_size: px
    """
    pooled = 2 * 4 * vit.width * sum(images)
    blocks = 4 * (vit.depth + 1) * vit.width * sum(min(count, settings.block_images) for count in images)
    patches = (image_size // vit.patch_size) ** 2
    tokens = 2 * patches * vit.width * sum(min(count, settings.token_images) for count in images)
    return pooled + blocks + tokens
