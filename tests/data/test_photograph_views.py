"""Views of photographs are crops of the whole photograph, the same whoever decodes them."""

import threading
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as vision

from stages.data.arrays import batches, unit_range
from stages.data.augment import crop_boxes, random_resized_crop_flip
from stages.data.photograph_views import PhotographBatch, boxes_within, crop
from stages.study.seeds import Draws, generator
from tests.data.photograph_store import needs_decoder, store
from tests.data.pictures import encoded, photo

pytestmark = needs_decoder
SIZES = [(90, 60), (60, 90), (75, 75), (300, 40), (50, 49)]  # (W, H) in px


def pictures():
    return [photo(seed, (6, 5)).resize(size, Image.Resampling.BICUBIC) for seed, size in enumerate(SIZES)]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    contents = [encoded(picture, format="JPEG", quality=95) for picture in pictures()]
    return store(tmp_path_factory.mktemp("store"), contents, image_size=32)


def draws(batch=5, rows=slice(None)):
    return Draws(generator(0, "test"), batch=batch, rows=rows)


def batch_of(photographs, rows=(0, 1, 2, 3, 4)):
    return next(batches(photographs, [np.array(rows)]))


@pytest.mark.parametrize("size", [32, 12, 64])
def test_a_view_is_the_crop_that_pil_makes_of_the_whole_photograph(photographs, size):
    views = random_resized_crop_flip(
        unit_range(batch_of(photographs)), scale_min=0.2, size=size, draws=draws()
    )
    again = draws()
    boxes = boxes_within(torch.tensor([size[::-1] for size in SIZES]), scale=(0.2, 1), draws=again)
    mirrored = again.uniform() < 0.5
    assert mirrored.any() and not mirrored.all()
    for row, (top, left, height, width) in enumerate(boxes.tolist()):
        image = Image.open(BytesIO(photographs.encoded(row)))
        window = image.crop((left, top, left + width, top + height))
        theirs = np.asarray(window.resize((size, size), Image.Resampling.BILINEAR), dtype=float)
        ours = (255 * views[row]).permute(1, 2, 0).numpy()
        ours = ours[:, ::-1] if mirrored[row] else ours
        assert np.abs(ours - theirs).max() <= 2 and np.abs(ours - theirs).mean() < 0.5
        assert theirs.std() > 5  # a wrong crop would differ


def test_a_crop_equals_that_of_torchvision(photographs):
    image = photographs.read(0)
    for box in ([3, 5, 40, 70], [0, 0, 60, 90], [10, 20, 9, 8]):
        theirs = vision.resized_crop(image[None], *box, [24, 24], antialias=True)
        assert torch.equal(crop(image, box, size=24), theirs)


def test_boxes_in_squares_are_those_of_the_stored_squares():
    sizes = torch.full((500, 2), 40)
    ours = boxes_within(sizes, scale=(0.08, 1), draws=draws(500))
    assert torch.equal(ours, crop_boxes(size=(40, 40), scale=(0.08, 1), draws=draws(500)))


def test_boxes_follow_the_distribution_of_torchvision():
    height, width, count = 40, 90, 4000
    ours = boxes_within(torch.tensor([[height, width]] * count), scale=(0.2, 1), draws=draws(count))
    image = torch.empty(1, height, width)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = torch.tensor(
            [RandomResizedCrop.get_params(image, [0.2, 1.0], [3 / 4, 4 / 3]) for _ in range(count)]
        )
    error = (ours.double().std(dim=0) ** 2 / count + theirs.double().std(dim=0) ** 2 / count).sqrt()
    assert ((ours.double().mean(dim=0) - theirs.double().mean(dim=0)).abs() < 5 * error).all()
    assert (ours >= 0).all() and (ours[:, 0] + ours[:, 2] <= height).all()
    assert (ours[:, 1] + ours[:, 3] <= width).all()


@pytest.mark.parametrize("size", [(20, 400), (400, 20), (50, 50)])  # (H, W)
def test_where_no_box_fits_it_is_the_central_one_of_torchvision(size):
    ours = boxes_within(torch.tensor([size]), scale=(5.0, 6.0), draws=draws(1))
    theirs = RandomResizedCrop.get_params(torch.empty(1, *size), [5.0, 6.0], [3 / 4, 4 / 3])
    assert ours[0].tolist() == list(theirs)


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_change_nothing(photographs, workers):
    order = [np.array([4, 0]), np.array([2, 2]), np.array([1, 3]), np.array([0, 4])]
    for ours, theirs in zip(
        batches(photographs, order, workers=workers), batches(photographs, order), strict=True
    ):
        assert ours.shape == theirs.shape == (2, 3, 32, 32) and ours.device == torch.device("cpu")
        for pair in zip(ours.photographs, theirs.photographs, strict=True):
            assert torch.equal(*pair)


def test_threads_end_with_the_training(photographs):
    before = threading.active_count()
    stream = batches(photographs, 50 * [np.arange(5)], workers=2)
    next(stream)
    assert threading.active_count() > before
    stream.close()
    assert threading.active_count() == before


def test_an_unreadable_file_stops_the_batches(photographs, monkeypatch):
    def fail(row):
        raise OSError("broken")

    monkeypatch.setattr(photographs, "read", fail)
    for workers in (0, 2):
        with pytest.raises(OSError, match="broken"):
            list(batches(photographs, [np.arange(2)], workers=workers))


def test_a_process_sees_its_rows_of_the_views_of_the_whole_batch(photographs):
    whole = random_resized_crop_flip(batch_of(photographs), scale_min=0.1, draws=draws())
    for rows in (slice(0, 2), slice(2, 5)):
        part = batch_of(photographs, range(5)[rows])
        ours = random_resized_crop_flip(part, scale_min=0.1, draws=draws(rows=rows))
        assert torch.equal(ours, whole[rows])


def test_a_batch_moves_to_a_device(photographs):
    batch = batch_of(photographs).to("meta")
    assert isinstance(batch, PhotographBatch) and batch.device.type == "meta" and batch.image_size == 32
