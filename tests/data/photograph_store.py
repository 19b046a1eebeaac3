"""A store of photographs made from a few encoded files, for tests."""

import numpy as np
import pytest

from stages.data.decode import decode
from stages.data.photograph_writer import PhotographWriter
from stages.data.photographs import Photographs, jpeg_decoder
from stages.study.errors import StudyError


def absence():
    """Why photographs cannot be decoded here; empty if they can."""
    try:
        jpeg_decoder()
    except StudyError as error:
        return f"{error}"
    return ""


needs_decoder = pytest.mark.skipif(bool(absence()), reason=absence() or "torchcodec is there")


def store(folder, contents, *, image_size=8, repeat=1, **options):
    """The photographs of these files, opened; the index names all of them so many times."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = PhotographWriter(folder, **options)
    ranges = {"whole numbers": (0, 65535)}
    entries = [
        writer.append(decode(content, image_size=image_size, ranges=ranges, whole=True).encoded)
        for content in contents
    ]
    writer.close()
    np.save(folder / "photographs.npy", np.array(entries * repeat, dtype=np.int64))
    return Photographs(folder, image_size=image_size)
