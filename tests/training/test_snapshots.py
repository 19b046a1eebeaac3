"""After which steps a training keeps its encoder."""

import pytest

from stages.training.snapshots import Snapshots, snapshot_steps


@pytest.mark.parametrize(
    ("shares", "steps", "expected"),
    [
        ([0.1, 0.33], 936, {0.1: 94, 0.33: 309}),  # the default study: 6 epochs of 156
        ([0.1, 0.33], 3, {0.1: 1, 0.33: 1}),  # one step may stand for several shares
        ([0.5], 1, {0.5: 1}),
        ([], 936, {}),
        ([0.1], 0, {}),  # nothing is trained
    ],
)
def test_a_share_is_the_nearest_step_from_the_first_one(shares, steps, expected):
    assert snapshot_steps(shares, steps=steps) == expected


def test_only_the_steps_asked_for_are_kept_and_all_of_them_are_copied(tmp_path):
    now = []

    def save(folder, share):
        folder.mkdir(parents=True)
        (folder / "encoder.json").write_text(f"{now[-1]}")

    snapshots = Snapshots(tmp_path / "training", {0.1: 1, 0.2: 1, 0.5: 3}, save=save)
    for done in (1, 2, 3, 3, 4):  # a step that was lost is done again
        now.append(done)
        snapshots.after_step(done)
    snapshots.copy_to(tmp_path / "result")
    for share, step in ((0.1, 1), (0.2, 1), (0.5, 3)):
        assert (tmp_path / f"result/snapshots/{share}/encoder.json").read_text() == f"{step}"
    assert len(list((tmp_path / "result").rglob("encoder.json"))) == 3
