"""Small real image files of every kind, for the tests of this room."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

GRADIENT = np.linspace(0, 1, 12)[:, None] * np.ones(12)  # dark above, light below


def encoded(image, **options):
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()


def photo(seed=0, size=(12, 12)):
    """A colour picture whose pixels differ from seed to seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def png(seed=0, size=(12, 12)):
    return encoded(photo(seed, size), format="PNG")


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def write_tar(path: Path, files: dict[str, bytes], *, mode="w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def class_files(classes=("cat", "dog"), count=5, prefix="", size=(12, 12)):
    """One folder per class with so many pictures, all different."""
    return {
        f"{prefix}{label}/{number:03d}.png": png(1000 * place + number, size)
        for place, label in enumerate(classes)
        for number in range(count)
    }
