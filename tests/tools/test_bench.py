"""What the bench says of FLOP and memory is what can be counted by hand."""

import argparse
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from stages.study.errors import StudyError
from stages.tools import bench
from stages.tools.bench import MEBI, PeakMemory, measure
from tests.project import ROOT, environment

KEYS = {
    "images_per_s",
    "images_per_s_step_only",
    "gflop_per_image",
    "peak_fraction",
    "peak_memory_mib",
    "precision",
}


def options(**changes):
    values = {"objective": "masked", "image_size": 16, "patch_size": 4, "width": 32, "depth": 2, "heads": 2}
    values |= {"mlp_ratio": 4.0, "batch_size": 8, "steps": 2, "data": None, "compile": False}
    return argparse.Namespace(**values | changes)


def test_flop_are_those_of_the_matrix_products():
    result = measure(options())
    assert result.keys() >= KEYS
    patches, tokens, width = 16, 17, 32
    block = 2 * tokens * width * 12 * width + 2 * 2 * tokens**2 * width  # 12 = 3 + 1 + 4 + 4 widths squared
    pixels = 2 * patches * width * 48
    # Forward, and twice that backward; but nothing asks for the gradient of the images.
    surroundings = 4 * 2 * 2 * 16**3  # means of windows of three channels and of what is visible
    expected = 3 * 2 * block + 3 * pixels + 2 * pixels + surroundings
    assert result["gflop_per_image"] * 1e9 == pytest.approx(expected, rel=1e-6)
    assert result["images_per_s_step_only"] > 0 and 0 < result["peak_fraction"] < 1


def test_sizes_that_do_not_fit_are_one_line():
    with pytest.raises(StudyError, match="--image-size must be a multiple"):
        measure(options(patch_size=5))
    for objective in ("random", "imported", "supervised"):
        with pytest.raises(StudyError, match="trains nothing, or needs labels"):
            measure(options(objective=objective))


def test_numbers_below_one_are_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "--objective", "masked", "--steps", "0"])
    with pytest.raises(SystemExit, match="2"):
        bench.main()
    assert capsys.readouterr().err.endswith("error: --steps must be at least 1\n")


def test_a_step_needs_the_memory_that_is_expected():
    command = [sys.executable, "-m", "stages.tools.bench", "--objective", "masked", "--batch-size", "96"]
    done = subprocess.run(
        [*command, "--steps", "1", "--json"], cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert 0.8 < result["peak_memory_mib"] / result["expected_memory_mib"] < 1.3


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_what_the_step_takes_and_not_what_it_reads_from_files(tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.ones(64 * MEBI, np.uint8))
    memory = PeakMemory(torch.device("cpu"))
    images = np.load(path, mmap_mode="r")  # and kept, as a data set is
    assert images.sum() == 64 * MEBI
    assert memory.read() < 16
    np.ones(64 * MEBI, np.uint8)  # and given back at once: the peak counts
    assert 60 < memory.read() < 80


READ = """
import sys, numpy as np
from stages.data.arrays import batches
from stages.training.loop import epoch_order

def held():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

images = np.load(sys.argv[1], mmap_mode="r")
for batch in batches(images[:256], epoch_order(256, batch_size=64, seed=0)):
    pass
before = held()
for batch in batches(images, epoch_order(len(images), batch_size=64, seed=0)):
    pass
print(held() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_reading_ten_times_the_images_takes_no_more_memory(tmp_path):
    grown = []
    for count in (4_000, 40_000):
        path = tmp_path / f"{count}.npy"
        np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, 32, 32, 3)).flush()
        done = subprocess.run(
            [sys.executable, "-c", READ, str(path)],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        grown.append(int(done.stdout))
    assert grown[1] - grown[0] < 8 * 1024  # KiB; the images are 120 MB
