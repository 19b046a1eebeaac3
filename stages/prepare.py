"""Stage prepare: decode or draw all images into memory-mapped arrays in data/prepared/."""

from joblib import cpu_count

from stages.data.arrays import SPLITS
from stages.data.decoding import decode_images
from stages.data.drawing import draw_images
from stages.data.record import read_record
from stages.data.sources import NO_IMAGE
from stages.study.command import run
from stages.study.params import load_params
from stages.study.paths import DATA, writing


def main() -> None:
    """Prepare the images that params.yaml names."""
    run("prepare", prepare, writes=DATA)


def prepare() -> str:
    """Write data/prepared/; return its content and the skipped files of the source in words.

    Raises StudyError if the source is missing or broken, or has too many unreadable images.
    """
    params = load_params(stage="prepare")
    data = params.data
    threads = params.runtime.threads or cpu_count()  # respects CPU affinity and container quotas
    with writing(DATA) as directory:
        if data.source == "shapes_textures":
            manifest = draw_images(directory, data=data, seed=params.seed)
        else:
            manifest = decode_images(directory, data=data, seed=params.seed, threads=threads)
    train, test = (manifest.splits[split].images for split in SPLITS)
    facts = [f"{train} train and {test} test images of {manifest.source}, {manifest.image_size} px"]
    if manifest.unreadable:
        facts.append(f"{len(manifest.unreadable)} unreadable (listed in {DATA}/manifest.json)")
    record = read_record()
    skipped = [f"{count} {kind}" for kind, count in record.skipped.items() if not kind.endswith(NO_IMAGE)]
    return "; ".join([*facts, *(["skipped: " + ", ".join(skipped)] if skipped else []), *record.notes])


if __name__ == "__main__":
    main()
