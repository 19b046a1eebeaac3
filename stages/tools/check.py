"""Inspect the files that params.yaml names: `python -m stages.tools.check`, or `make look`.

The stage `check` validates settings and paths. This command opens every source, mask, stimulus and
checkpoint, and describes each in a line or two. It reads a few images, the EXIF orientation of images with
masks and the weights of encoders, and writes nothing. It downloads nothing except named data sets (torch/…,
hfds/…), which their library fetches.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
from PIL import Image

from stages import check
from stages.data.decode import UPRIGHT, Decoded, decode, opened, orientation_of
from stages.data.decoding import misfit, refuse_numbers
from stages.data.deep import REAL, TIFF, WHOLE, Extremes, Unreadable
from stages.data.listings import Listing, list_images
from stages.data.masks import decode_mask, pair, refuse_shared
from stages.data.readers import find_images, row_order, some
from stages.data.settings import Masks
from stages.data.sources import Source, open_source
from stages.encoders.sources import downloaded, fetch, is_remote
from stages.study.command import exit_with
from stages.study.errors import StudyError, printable
from stages.study.params import load_params
from stages.study.settings import Arm
from stages.study.study import Study
from stages.study.words import counted

FEW = 16  # number of images read per source


def main() -> None:
    """Read the command line and inspect the files."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.check", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.parse_args()
    exit_with("look", look)


def look() -> str:
    """Print a description of every file named in params.yaml.

    Raises StudyError at the end if a file cannot be used.
    """
    check.check()
    params = load_params()
    wrong = 0
    for key, lines in looks(params):
        try:
            for line in lines():
                print(printable(f"{key}: {line}"), flush=True)
        except StudyError as error:
            wrong += 1
            reason = str(error).removeprefix(f"{key} ").removeprefix(f"{key}: ")
            print(printable(f"{key}: cannot be used: {reason}"), flush=True)
    if wrong:
        raise StudyError(f"params.yaml: {wrong} of its entries cannot be used; see the lines above")
    return "all files that params.yaml names can be used"


def looks(params: Study) -> Iterator[tuple[str, Callable[[], Iterator[str]]]]:
    """Yield every key of params.yaml that names files, with a function that describes these files."""
    data = params.data
    yield "data.source", lambda: images(params)
    if data.masks:
        masks = data.masks
        yield "data.masks", lambda: mask_files(params, masks)
    for name, entry in params.robustness.stimuli.items():
        yield (
            f"robustness.stimuli.{name}",
            lambda entry=entry: stimuli(entry.source, entry.classes),  # type: ignore[misc]
        )
    for name, arm in params.arms.items():
        if arm.weights:
            yield (
                f"arms.{name}.weights",
                lambda arm=arm: weights(arm, image_size=data.image_size),  # type: ignore[misc]
            )
    yield "arms", lambda: missing_methods(params)


def images(params: Study) -> Iterator[str]:
    """Yield lines about the images: classes, splits, skipped files, sizes and values of a few.

    Raises StudyError as the stage `prepare` does.
    """
    data = params.data
    if data.source == "shapes_textures":
        drawing = data.shapes_textures
        yield f"drawn by prepare: {drawing.train_images} train and {drawing.test_images} test images"
        return
    splits = find_images(data, seed=params.seed)
    assert splits.test is not None
    classes = Counter(splits.train.classes.values())
    fewest = min(classes.values())
    yield (
        f"{data.source}: {len(classes)} classes ({some(classes)}), {len(splits.train.classes)} train images "
        f"(at least {fewest} per class) and {len(splits.test.classes)} test images"
    )
    yield from splits.notes
    for split, listing in (("train", splits.train), ("test", splits.test)):
        chosen_rows(listing, split=split, params=params)
    for kind, count in splits.skipped:
        yield f"{counted(count, 'file')} skipped: {kind}"
    yield few_images(splits.train, image_size=data.image_size)


def chosen_rows(listing: Listing, *, split: str, params: Study) -> list[str]:
    """Return the names of the images that prepare chooses from a split. Raises StudyError as prepare does."""
    keep = {"train": params.data.max_train_images, "test": params.data.max_test_images}[split]
    return row_order(listing, split=split, keep=keep, seed=params.seed)


def few_images(listing: Listing, *, image_size: int) -> str:
    """Read a few images and describe their sizes, modes and values."""
    sizes, modes, values, unreadable, deep = [], Counter[str](), [], 0, []
    for _, content in islice(listing.read(listing.classes), FEW):
        try:
            decoded = decode(content, image_size=image_size)
        except Unreadable:
            unreadable += 1
            continue
        if isinstance(decoded, Extremes):
            deep.append(decoded)
            continue
        sizes.append(decoded.size)
        modes.update(decoded.converted or ("RGB",))
        values += [int(decoded.pixels.min()), int(decoded.pixels.max())]
    words = [f"read {counted(len(sizes) + len(deep) + unreadable, 'image')}"]
    if sizes:
        smallest, largest = min(sizes, key=min), max(sizes, key=min)
        words.append(f"{smallest[0]} × {smallest[1]} to {largest[0]} × {largest[1]} px")
        words.append(", ".join(f"{count} {mode}" for mode, count in sorted(modes.items())))
        words.append(f"values {min(values)} to {max(values)} of 255")
    if deep:
        words.append(f"{len(deep)} with more than 8 bits, which prepare scales to one range")
    if unreadable:
        words.append(f"{unreadable} cannot be read")
    return "; ".join(words)


def mask_files(params: Study, masks: Masks) -> Iterator[str]:
    """Yield lines about masks: the number of images that have one, and the object size in a few.

    Raises StudyError as the stage `prepare` does, if images have no names or data.masks.turned is needed.
    """
    refuse_numbers(params.data)
    splits = find_images(params.data, seed=params.seed)
    if splits.test and params.data.test_source and not masks.test_source:
        refuse_shared(splits.train.classes, splits.test.classes, source=masks.source)
    for split, listing in (("train", splits.train), ("test", splits.test)):
        assert listing is not None
        source = (masks.test_source if split == "test" else None) or masks.source
        files = open_source(source)
        images_of = (
            {**splits.train.classes, **listing.classes} if not params.data.test_source else listing.classes
        )
        pairs = pair(list(images_of), files.images, source=source)
        masked = [name for name in listing.classes if name in pairs]
        if masks.turned is None:
            chosen = {
                name: pairs[name]
                for name in chosen_rows(listing, split=split, params=params)
                if name in pairs
            }
            refuse_unclear_rotations(listing, chosen, files, masks, image_size=params.data.image_size)
        objects = []
        for _, content in islice(files.read([pairs[name] for name in masked[:FEW]]), FEW):
            try:
                mask = decode_mask(content, settings=masks, image_size=params.data.image_size)
                objects.append(float(np.mean(mask.object)))
            except Unreadable:
                continue
        share = f"; objects cover {np.mean(objects):.0%} of the first {len(objects)}" if objects else ""
        yield f"{source}: {len(masked)} of {len(listing.classes)} {split} images have a mask{share}"


def refuse_unclear_rotations(
    listing: Listing, chosen: dict[str, str], files: Source, masks: Masks, *, image_size: int
) -> None:
    """Refuse masks that fit an image with and without its EXIF rotation.

    chosen: name of each image and of its mask, which lies in `files`
    Only images that EXIF rotates are decoded, and only their masks are read.
    Raises StudyError as the stage `prepare` does.
    """
    images = {}
    for name, content in listing.read(chosen):
        image = rotated(content, image_size=image_size)
        if image is not None:
            images[name] = image._replace(pixels=np.empty((0, 0, 3), np.uint8))
    sizes = {}
    for name, content in files.read([chosen[name] for name in images]):
        try:
            sizes[name] = decode_mask(content, settings=masks, image_size=image_size).size
        except Unreadable:
            continue
    for name, image in images.items():
        misfit(image, sizes.get(chosen[name]), masks, name=name)


def rotated(content: bytes | Image.Image, *, image_size: int) -> Decoded | None:
    """Decode an image if EXIF rotates it; otherwise, or if it is unreadable, return None."""
    try:
        # PIL cannot open all TIFF files that `decode` reads.
        if not isinstance(content, bytes) or content[:4] not in TIFF:
            image = opened(content, image_size=image_size) if isinstance(content, bytes) else content
            if orientation_of(image) == UPRIGHT:
                return None
        # The range of deep images does not change their sizes.
        decoded = decode(content, image_size=image_size, ranges=dict.fromkeys((WHOLE, REAL), (0.0, 1.0)))
    except Exception:  # of many kinds, as in decode; prepare counts such images
        return None
    return decoded if isinstance(decoded, Decoded) and decoded.orientation != UPRIGHT else None


def stimuli(source: str, classes: dict[str, str]) -> Iterator[str]:
    """Yield a line about stimuli: the number of images of the mapped classes.

    Raises StudyError if a class has no images.
    """
    counts = Counter(list_images(source).classes.values())
    if absent := sorted(set(classes) - set(counts)):
        raise StudyError(f"{source}: no images of class {some(absent)}; its classes: {some(counts)}")
    yield f"{source}: {sum(counts[name] for name in classes)} images of {len(classes)} classes"


def weights(arm: Arm, *, image_size: int) -> Iterator[str]:
    """Yield lines about a checkpoint: its architecture, and notes on how it was read.

    Raises StudyError naming the keys that do not match, or if the patches do not fit the images.
    """
    from stages.encoders.imported import open_checkpoint  # takes seconds, and most studies have no checkpoint

    address = str(arm.weights)
    if is_remote(address) and downloaded(address) is None:
        yield f"{address}: not downloaded yet; the stage pretrain downloads it"
        return
    path = fetch(arm)
    encoder, vit, notes = open_checkpoint(path, format=str(arm.format), num_heads=arm.heads)
    trained = encoder.patch_embed.img_size[0]
    parts = {
        "no class token": not vit.class_token,
        f"{vit.register_tokens} registers": vit.register_tokens,
        "relative positions": vit.relative_positions,
        "layer scale": vit.layer_scale,
        "normalised queries and keys": vit.qk_norm,
        vit.activation: vit.activation != "gelu",
    }
    more = "".join(f", {words}" for words, applies in parts.items() if applies)
    yield (
        f"{path}: {arm.format}: ViT with {vit.depth} blocks, width {vit.width}, {vit.heads} heads, patches "
        f"of {vit.patch_size} px, trained at {trained} px{more}; all keys present"
    )
    if image_size % vit.patch_size or image_size < 3 * vit.patch_size:
        raise StudyError(
            f"data.image_size {image_size} does not give 3 × 3 or more whole patches of {vit.patch_size} px; "
            f"set it to a multiple of {vit.patch_size}, {3 * vit.patch_size} or more"
        )
    if trained != image_size:
        yield f"positions are resampled from {trained} to {image_size} px"
    for note in notes:
        assumed = arm.heads is None and "heads are assumed" in note
        yield f"{note}; `heads:` beside `weights:` sets their number" if assumed else note


def missing_methods(params: Study) -> Iterator[str]:
    """Yield a line if CL or MIM, which most claims compare, has no arm."""
    from stages.claims.roles import candidates  # imports pandas

    names = {"contrastive": "CL", "masked": "MIM"}
    missing = [name for method, name in names.items() if not candidates(params, method)]
    if missing:
        yield f"no arm of {' or '.join(missing)}, so claims that compare CL and MIM are not tested"


if __name__ == "__main__":
    main()
