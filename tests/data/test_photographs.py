"""The store gives back every kind of photograph upright, whole and in full size, as PIL reads it."""

import tracemalloc
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageOps

from stages.data.decode import decode
from stages.data.photographs import Photographs, decode_photograph, reduction_of
from stages.study.errors import StudyError
from tests.data.photograph_store import needs_decoder, store
from tests.data.pictures import encoded, photo

pytestmark = needs_decoder


def smooth(size=(40, 28), seed=0):
    """A photograph without noise, as JPEG keeps it."""
    return photo(seed, (5, 4)).resize(size, Image.Resampling.BICUBIC)


def with_orientation(value, **options):
    exif = Image.Exif()
    exif[0x0112] = value
    return encoded(smooth(), exif=exif, **options)


def sixteen_bits():
    levels = np.linspace(0, 65535, 40 * 28).reshape(28, 40).astype(np.uint16)
    return encoded(Image.fromarray(levels), format="PNG")


def upright(content):
    """The pixels by PIL alone: (3, H, W)."""
    image = ImageOps.exif_transpose(Image.open(BytesIO(content)))
    return np.asarray(image.convert("RGB")).transpose(2, 0, 1).astype(int)


UNCHANGED = {
    "JPEG": encoded(smooth(), format="JPEG", quality=95),
    "progressive": encoded(smooth(), format="JPEG", progressive=True),
    "grey JPEG": encoded(smooth().convert("L"), format="JPEG"),
    "PNG": encoded(smooth(), format="PNG"),
    "WebP": encoded(smooth(), format="WEBP", lossless=True),
    **{f"JPEG turned {value}": with_orientation(value, format="JPEG") for value in range(1, 9)},
    **{f"PNG turned {value}": with_orientation(value, format="PNG") for value in (3, 6)},
}
CONVERTED = {
    "CMYK": encoded(smooth().convert("CMYK"), format="JPEG"),
    "TIFF": encoded(smooth(), format="TIFF"),
    "BMP": encoded(smooth(), format="BMP"),
    "palette": encoded(smooth().quantize(64), format="PNG"),
}


@pytest.mark.parametrize("kind", UNCHANGED)
def test_the_file_itself_is_stored_and_read_as_pil_does(kind, tmp_path):
    photographs = store(tmp_path, [UNCHANGED[kind]], image_size=16)
    assert photographs.encoded(0) == UNCHANGED[kind]
    ours, theirs = photographs.read(0).numpy().astype(int), upright(UNCHANGED[kind])
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 1


@pytest.mark.parametrize("kind", CONVERTED)
def test_other_kinds_are_converted_without_loss(kind, tmp_path):
    photographs = store(tmp_path, [CONVERTED[kind]], image_size=16)
    assert photographs.encoded(0).startswith(b"\x89PNG")
    np.testing.assert_array_equal(photographs.read(0).numpy(), upright(CONVERTED[kind]))


def test_transparent_and_deep_images_are_those_of_the_squares(tmp_path):
    clear = smooth((28, 28)).convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize((28, 28)))
    deep = np.asarray(Image.open(BytesIO(sixteen_bits())))[:, :28]
    contents = [encoded(clear, format="PNG"), encoded(Image.fromarray(deep.copy()), format="PNG")]
    photographs = store(tmp_path, contents, image_size=28)
    for row, content in enumerate(contents):
        # A square of this size is stored without scaling.
        square = decode(content, image_size=28, ranges={"whole numbers": (0, 65535)})
        np.testing.assert_array_equal(photographs.read(row).permute(1, 2, 0).numpy(), square.pixels)


def test_a_large_photograph_is_decoded_at_a_reduced_size(tmp_path):
    assert [reduction_of(side, 3 * side, image_size=20) for side in (199, 200, 400, 8000)] == [1, 2, 4, 8]
    whole = smooth((640, 403))
    for options in ({"format": "JPEG", "quality": 95}, {"format": "PNG"}):
        photographs = store(tmp_path / options["format"], [encoded(whole, **options)], image_size=20)
        ours = photographs.read(0).numpy().astype(int)
        theirs = np.asarray(whole.reduce(4)).transpose(2, 0, 1).astype(int)
        assert ours.shape == theirs.shape == (3, 101, 160)
        assert np.abs(ours - theirs).max() <= 6


def test_what_only_pil_reads_is_read(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("unsupported")

    content = UNCHANGED["JPEG"]
    whole = decode_photograph(content, reduction=1, orientation=1)
    monkeypatch.setattr("stages.data.photographs.jpeg_decoder", lambda: refuse)
    again = decode_photograph(content, reduction=1, orientation=1)
    assert again.shape == whole.shape and (again.int() - whole.int()).abs().max() <= 1


def test_files_are_full_but_never_too_large(tmp_path):
    contents = [encoded(smooth(seed=seed), format="JPEG") for seed in range(5)]
    most = 2 * max(map(len, contents))
    photographs = store(tmp_path, contents, file_bytes=most)
    sizes = [path.stat().st_size for path in sorted(tmp_path.glob("*.bin"))]
    assert len(sizes) == 3 and max(sizes) <= most and sum(sizes) == sum(map(len, contents))
    assert [photographs.encoded(row) for row in range(5)] == contents
    assert len({photographs.entry(row).digest for row in range(5)}) == 5


@pytest.mark.parametrize("damage", ["short", "gone", "no index"])
def test_incomplete_files_are_refused(damage, tmp_path):
    store(tmp_path, [UNCHANGED["JPEG"]])
    path = tmp_path / "photographs-000.bin"
    if damage == "short":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "gone":
        path.unlink()
    else:
        (tmp_path / "photographs.npy").unlink()
    with pytest.raises(StudyError, match="incomplete"):
        Photographs(tmp_path, image_size=8)


def test_a_photograph_that_changed_is_refused_when_it_is_read(tmp_path):
    photographs = store(tmp_path, [UNCHANGED["JPEG"], UNCHANGED["PNG"]])
    path = tmp_path / "photographs-000.bin"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    photographs.read(0)
    with pytest.raises(StudyError, match=r"-000.bin: the images changed since prepare .*prepare`$"):
        photographs.read(1)


def test_memory_does_not_grow_with_the_number_of_photographs(tmp_path):
    def peak(repeat):
        folder = tmp_path / str(repeat)
        store(folder, [UNCHANGED["JPEG"], UNCHANGED["PNG"]], repeat=repeat)
        tracemalloc.start()
        photographs = Photographs(folder, image_size=8)
        for row in range(0, len(photographs), len(photographs) // 10):
            photographs.read(row)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(10)  # imports
    few, many = peak(500), peak(50_000)
    # At most 65,536 rows are checked at a time, in three columns.
    assert many - few < 4 * 65_536 * 8
