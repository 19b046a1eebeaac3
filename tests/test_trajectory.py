"""The stage that measures snapshots: the same numbers as the main stages give the same encoder."""

import pandas as pd
import pytest

from stages.results.snapshots import SnapshotResults
from stages.study.params import load_params
from tests.forked import succeed
from tests.project import copy_project

NAMES = ("attention", "fourier", "similarity", "singular_values")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    changes = {
        "seeds": [0, 1],
        # As many images as the main stages have, so that their numbers must be the same.
        "trajectory": {"train_images": 99, "test_images": 99},
        "features": {"block_images": 99},
    }
    project = copy_project(tmp_path_factory.mktemp("trajectory"), changes=changes)
    succeed(project, "prepare")
    for arm in ("random", "mim"):
        succeed(project, "pretrain", "--arm", arm)
        succeed(project, "trajectory", "--arm", arm)
    succeed(project, "analyze", "--arm", "mim", "--analysis", "attention")
    succeed(project, "features", "--arm", "mim")
    for probe in ("linear", "layerwise"):
        succeed(project, "probe", "--arm", "mim", "--probe", probe)
    return project


def tables(project):
    return {
        path.relative_to(project / "results/snapshots").as_posix(): pd.read_csv(path)
        for path in (project / "results/snapshots").rglob("*.csv")
    }


def test_every_snapshot_and_the_end_are_measured_and_an_untrained_arm_once(project):
    names = [*(f"analysis/{name}.csv" for name in NAMES), "probe/linear.csv", "probe/layerwise.csv"]
    expected = {f"mim/{share}/{name}" for share in ("0.1", "0.33", "1") for name in names}
    expected |= {f"random/1/{name}" for name in names} | {
        f"{arm}/images_seen.csv" for arm in ("random", "mim")
    }
    written = tables(project)
    assert set(written) == expected
    assert all(set(table["seed"]) == {0, 1} for table in written.values())
    seen = written["mim/images_seen.csv"]
    assert list(seen[seen["seed"] == 1]["images_seen"]) == [32, 64, 192]  # of 6 steps of 32


def test_the_end_has_the_numbers_of_the_main_stages(project):
    written = tables(project)
    pd.testing.assert_frame_equal(
        written["mim/1/analysis/attention.csv"], pd.read_csv(project / "results/analysis/attention/mim.csv")
    )
    for probe in ("linear", "layerwise"):  # whose settings are the same at toy size
        pd.testing.assert_frame_equal(
            written[f"mim/1/probe/{probe}.csv"], pd.read_csv(project / f"results/probe/{probe}/mim.csv")
        )
    assert not written["mim/0.1/analysis/attention.csv"].equals(written["mim/1/analysis/attention.csv"])


def test_the_reader_of_a_study_reads_a_snapshot(project, monkeypatch):
    monkeypatch.chdir(project)
    early, end = (SnapshotResults(load_params(), share=share) for share in (0.1, 1.0))
    assert early.images_seen("mim") == 32 and end.images_seen("mim") == 192
    assert early.images_seen("random") == 0
    pd.testing.assert_frame_equal(early.analysis("fourier", "random"), end.analysis("fourier", "random"))
    assert not early.probe("linear", "mim").equals(end.probe("linear", "mim"))
