"""How effects move with the budget: the word by closed cases, the points by tables of known content."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from stages.claims.entries import CLAIMS
from stages.claims.inference import ENCODERS, METHODS
from stages.claims.trajectory import Point, in_a_word, trajectory, trajectory_table
from stages.results.snapshots import SnapshotResults
from stages.results.stopped import stopped_early
from stages.study.params import load_params
from stages.study.paths import analysis_table, probe_predictions, snapshot_table, trajectory_dir
from stages.study.settings import Arm

NAMED = {claim.name: claim for claim in CLAIMS}
SHARES = (0.1, 0.33, 1.0)


def points(*ends, scope=METHODS):
    return [Point(0.1, 1, 1, (low + high) / 2, low, high, scope) for low, high in ends]


@pytest.mark.parametrize(
    ("ends", "word"),
    [
        ([(1, 2), (3, 4), (5, 6)], "stable"),
        ([(-2, -1), (-4, -3)], "stable"),
        ([(-0.4, 0.3), (-0.2, 0.4)], "stable"),  # all within the margin of 0.5: no difference throughout
        ([(-0.4, 0.3), (0.1, 0.4)], "stable"),
        ([(-0.4, -0.1), (0.1, 0.4)], "stable"),
        ([(-1, 1), (-1, 2), (1, 2)], "emerging"),
        ([(-1, 1), (1, 2), (2, 3)], "emerging"),
        ([(-1, 1), (-3, -2)], "emerging"),
        ([(-2, -1), (-1, 1), (1, 2)], "reversing"),
        ([(1, 2), (-2, -1), (-1, 1)], "reversing"),
        ([(1, 2), (-1, 2)], "unclear"),  # it fades
        ([(1, 2), (-1, 2), (1, 2)], "unclear"),
        ([(-1, 1), (-1, 1)], "unclear"),
        ([(0, 1), (1, 2)], "emerging"),  # an end at 0 is open
        ([(-0.5, 0.3), (-0.2, 0.4)], "unclear"),  # an end at the margin is not within it
        ([(-0.4, 0.3), (-0.2, 0.6)], "unclear"),
    ],
)
def test_the_word_follows_the_intervals_alone(ends, word):
    assert in_a_word(points(*ends), margin=0.5) == word
    mirrored = [(-high, -low) for low, high in ends]
    assert in_a_word(points(*mirrored), margin=0.5) == word
    first, *others = points(*ends)
    for some in ([first._replace(scope=ENCODERS), *others], points(*ends, scope=ENCODERS)):
        assert in_a_word(some, margin=0.5) == "unclear"


@pytest.fixture
def study(tmp_path):
    """CL reaches 1, 2 and 4 px farther than MIM, which is trained twice as long."""
    arms = {"random": "random", "cl": "contrastive", "mim": "masked"}
    params = load_params()
    for arm in arms:
        rows = []
        for seed in params.seeds:
            generator = np.random.default_rng([len(arm), seed])
            for share, far in zip(SHARES, (1, 2, 4), strict=True):
                if arm == "random" and share < 1:
                    continue
                distance = 10 + far * (arm == "cl") + generator.normal(0, 0.01, (20, 6, 2))
                index = pd.MultiIndex.from_product(
                    [[seed], range(20), range(1, 7), range(1, 3)], names=["seed", "image", "block", "head"]
                )
                table = pd.DataFrame({"distance": distance.ravel(), "nmi": 0.1}, index=index).reset_index()
                path = tmp_path / snapshot_table(trajectory_dir(arm), share, "analysis", "attention")
                path.parent.mkdir(parents=True, exist_ok=True)
                table.to_csv(path, mode="a", index=False, header=not path.exists())
                images = 0 if arm == "random" else round(1000 * share) * (2 if arm == "mim" else 1)
                rows.append({"seed": seed, "share": share, "images_seen": images})
        pd.DataFrame(rows).to_csv(tmp_path / trajectory_dir(arm) / "images_seen.csv", index=False)
    study_arms = {name: Arm(objective=objective) for name, objective in arms.items()}
    return params.model_copy(update={"arms": study_arms}), tmp_path


def followed(name, study):
    params, root = study
    snapshots = [SnapshotResults(params, root, share=share) for share in SHARES]
    return trajectory(NAMED[name], snapshots=snapshots, margin=0.5)


def test_the_points_are_the_differences_put_in_and_sides_are_matched_by_share(study):
    entry = followed("attention_distance", study)
    assert entry["trajectory_word"] == "stable"
    series = entry["trajectory"]
    assert [point["effect"] for point in series] == pytest.approx([1, 2, 4], abs=0.02)
    assert all(point["low"] < point["effect"] < point["high"] for point in series)
    assert [point["images_seen"] for point in series] == [100, 330, 1000]
    assert [point["images_seen_other"] for point in series] == [200, 660, 2000]
    table = trajectory_table({"attention_distance": entry, "frequency": {"trajectory": []}})
    assert list(table["claim"]) == 3 * ["attention_distance"] and list(table["share"]) == list(SHARES)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("dense_prediction", "segmentation is not measured at snapshots"),
        ("nearest_neighbours", "knn is not measured at snapshots"),
        ("noise", "robustness is not measured at snapshots"),
        ("hybrid_linear", "no arm has the objective hybrid"),
    ],
)
def test_what_is_not_measured_says_so(study, name, why):
    entry = followed(name, study)
    assert entry["trajectory"] == [] and entry["trajectory_word"] == "not measured"
    assert why in entry["trajectory_why"]


def test_an_untrained_encoder_on_the_higher_side_still_has_the_trajectory_of_the_other(study):
    """In `collapse_beyond_untrained` the untrained encoder has the higher value."""
    params, root = study
    snapshots = [SnapshotResults(params, root, share=share) for share in SHARES]
    claim = replace(NAMED["attention_distance"], higher="random", lower=("contrastive",))
    entry = trajectory(claim, snapshots=snapshots, margin=0.5)
    assert [point["images_seen"] for point in entry["trajectory"]] == [100, 330, 1000]
    assert {point["images_seen_other"] for point in entry["trajectory"]} == {None}


def test_arms_that_stop_early_show_what_snapshots_lack(study):
    """CL gains 0.1 over MIM after half of the training and 0.3 at its end."""
    params, root = study
    halves = {f"{name}_half": arm.model_copy(update={"stop_epoch": 2}) for name, arm in params.arms.items()}
    del halves["random_half"]
    params = params.model_copy(update={"arms": params.arms | halves})
    for arm, share in {"cl": 0.8, "mim": 0.5, "cl_half": 0.6, "mim_half": 0.5, "random": 0.1}.items():
        path = root / probe_predictions("knn", arm)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [
            {
                "seed": seed,
                "image": image,
                "labels": labels,
                "truth": 0,
                "predicted": int(image >= 20 * share),
            }
            | {"pooling": "mean", "chosen": True}
            for seed in params.seeds
            for image in range(20)
            for labels in ("shape", "texture")
        ]
        pd.DataFrame(rows).to_csv(path, index=False)
        if arm.endswith("half"):
            seen = [{"seed": seed, "share": 1.0, "images_seen": 500} for seed in params.seeds]
            (root / trajectory_dir(arm)).mkdir(parents=True)
            pd.DataFrame(seen).to_csv(root / trajectory_dir(arm) / "images_seen.csv", index=False)
    stopped = stopped_early(params, root)
    entry = trajectory(
        NAMED["nearest_neighbours"], snapshots=[SnapshotResults(params, root)], stopped=stopped, margin=0.02
    )
    assert [point["effect"] for point in entry["trajectory"]] == pytest.approx([0.1, 0.3])
    assert [point["share"] for point in entry["trajectory"]] == [0.5, 1.0]
    assert [point["images_seen"] for point in entry["trajectory"]] == [500, 1000]
    assert entry["trajectory_word"] == "emerging"  # 20 images: the first interval contains 0
    for arm in ("cl", "mim", "cl_half", "mim_half"):  # without snapshots, frozen encoders have one point
        far = {"cl": 4, "cl_half": 2}.get(arm, 0)
        index = pd.MultiIndex.from_product(
            [params.seeds, range(20), range(1, 7), range(1, 3)], names=["seed", "image", "block", "head"]
        )
        noise = np.random.default_rng(far).normal(0, 0.01, len(index))
        table = pd.DataFrame({"distance": 10 + far + noise, "nmi": 0.1}, index=index).reset_index()
        (root / analysis_table("attention", arm)).parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(root / analysis_table("attention", arm), index=False)
    entry = trajectory(
        NAMED["attention_distance"], snapshots=[SnapshotResults(params, root)], stopped=stopped, margin=0.5
    )
    assert [point["effect"] for point in entry["trajectory"]] == pytest.approx([2, 4], abs=0.02)
    missing = trajectory(
        NAMED["noise"], snapshots=[SnapshotResults(params, root)], stopped=stopped, margin=0.02
    )
    assert missing["trajectory"] == [] and "robustness is not measured" in missing["trajectory_why"]


def test_without_snapshots_or_their_tables_there_is_no_trajectory(study):
    params, root = study
    end = [SnapshotResults(params, root, share=1.0)]
    assert trajectory(NAMED["attention_distance"], snapshots=end, margin=0.5)["trajectory"] == []
    shutil.rmtree(root / trajectory_dir("cl") / "0.33")
    entry = followed("attention_distance", study)
    assert "`dvc repro trajectory@cl` writes it" in entry["trajectory_why"]
