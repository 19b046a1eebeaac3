"""An encoder from a published checkpoint, used without further training."""

from functools import partial

from stages.encoders.declared import channel_statistics
from stages.encoders.decoder import save_decoder
from stages.encoders.imported import open_checkpoint
from stages.encoders.imported_decoder import open_decoder
from stages.encoders.sources import fetch
from stages.objectives.contract import Objective, Opened
from stages.study.errors import StudyError
from stages.study.paths import file_digest
from stages.study.settings import Arm
from stages.training.task import Artifacts


def published(arm: Arm, *, image_size: int) -> Opened:
    """Load the arm's encoder at the study's resolution, and its decoder if it has one.

    image_size: px
    Raises StudyError if the file cannot be read, or if its patch size does not fit the images.
    """
    path = fetch(arm)
    encoder, architecture, notes = open_checkpoint(
        path, format=str(arm.format), num_heads=arm.heads, image_size=image_size
    )
    grid, patch_size = encoder.patch_embed.grid_size[0], architecture.patch_size
    if grid < 3:
        raise StudyError(
            f"{path}: {image_size} px give {grid} × {grid} patches of {patch_size} px, but the Fourier "
            f"analysis needs at least 3 × 3; set data.image_size to {3 * patch_size} or more"
        )
    for line in notes:
        print(f"{path}: {line}", flush=True)
    mean, std = channel_statistics(path)
    about = {"format": arm.format, "weights_sha256": file_digest(path), "mean": mean, "std": std}
    decoder = open_decoder(path, image_size=image_size) if arm.format == "mae" else None
    files = {"decoder": partial(save_decoder, decoder=decoder)} if decoder else {}
    return Opened(encoder, architecture, Artifacts(tables={}, files=files), about)


OBJECTIVE = Objective(opens=published)
