"""An encoder that somebody else has trained: a published checkpoint, used as it is."""

from functools import partial
from pathlib import Path

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from stages.encoders.decoder import save_decoder
from stages.encoders.imported import open_checkpoint
from stages.encoders.imported_decoder import open_decoder
from stages.objectives.contract import Objective, Opened
from stages.study.errors import StudyError
from stages.study.paths import file_digest, read_json
from stages.study.settings import Arm
from stages.training.task import Artifacts


def published(arm: Arm, *, image_size: int) -> Opened:
    """The arm's encoder at the study's resolution, and its decoder.

    image_size: px
    Raises StudyError if the file cannot be read, or if its patches do not suit the images.
    """
    path = Path(str(arm.weights))
    encoder, architecture = open_checkpoint(
        path, format=str(arm.format), num_heads=arm.heads, image_size=image_size
    )
    grid, patch_size = encoder.patch_embed.grid_size[0], architecture.patch_size
    if grid < 3:
        raise StudyError(
            f"{path}: its patches of {patch_size} px cut images of {image_size} px into {grid} × {grid}, and "
            f"3 × 3 are the fewest with a high frequency; set data.image_size to {3 * patch_size} or more"
        )
    mean, std = channel_statistics(path)
    about = {"format": arm.format, "weights_sha256": file_digest(path), "mean": mean, "std": std}
    decoder = open_decoder(path, image_size=image_size) if arm.format == "mae" else None
    files = {"decoder": partial(save_decoder, decoder=decoder)} if decoder else {}
    return Opened(encoder, architecture, Artifacts(tables={}, files=files), about)


def channel_statistics(path: Path) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, 0..1, that the encoder's images were normalised with.

    They are ImageNet's, unless the config.json that the Hub distributes with timm's files says otherwise.
    """
    config = path.with_name("config.json")
    said = read_json(config).get("pretrained_cfg", {}) if config.is_file() else {}
    return list(said.get("mean", IMAGENET_DEFAULT_MEAN)), list(said.get("std", IMAGENET_DEFAULT_STD))


OBJECTIVE = Objective(opens=published)
