"""Arms that stop early stand for the arms whose settings they share, at their share of the training."""

import pandas as pd

from stages.results.stopped import stopped_early
from stages.study.paths import trajectory_dir
from tests.render.synthetic import study_of

ARMS = {
    "random": "random",
    "cl": "contrastive",
    "mim": {"objective": "masked", "lr": 0.001},
    "cl_half": {"objective": "contrastive", "stop_epoch": 2, "seeds": [0]},
    "mim_half": {"objective": "masked", "lr": 0.001, "stop_epoch": 2},
    "mim_other": {"objective": "masked", "lr": 0.002, "stop_epoch": 2},
    "mim_quarter": {"objective": "masked", "lr": 0.001, "stop_epoch": 1},
}


def test_each_share_is_a_study_of_the_arms_that_stop_there_and_of_untrained_arms():
    quarter, half, end = stopped_early(study_of(ARMS))
    assert (quarter.share, half.share, end.share) == (0.25, 0.5, 1.0)
    assert set(quarter.study.arms) == {"random", "mim_quarter"}
    assert set(half.study.arms) == {"random", "cl_half", "mim_half"}
    assert set(end.study.arms) == {"random", "cl", "mim"}
    assert not any(arm.stop_epoch for results in (quarter, half, end) for arm in results.study.arms.values())
    assert half.seeds("cl_half") == [0] and half.seeds("mim_half") == [0, 1]


def test_an_arm_that_represents_no_method_has_no_earlier_moment():
    """The second hybrid and the smaller CL are not the arms whose results stand at the end."""
    weights = {
        name: {"objective": "hybrid", "cl_weight": weight} for name, weight in (("h", 0.2), ("h4", 0.4))
    }
    small = {"objective": "contrastive", "width": 32, "heads": 2}
    arms = {"cl": "contrastive", "cl_s": small, **weights}
    stopped = {"h4_half": weights["h4"] | {"stop_epoch": 2}, "cl_s_half": small | {"stop_epoch": 2}}
    assert stopped_early(study_of(arms | stopped)) == []
    half = stopped_early(study_of(arms | stopped | {"h_half": weights["h"] | {"stop_epoch": 2}}))[0]
    assert set(half.study.arms) == {"h_half"}


def test_without_arms_that_stop_early_there_is_no_study():
    assert stopped_early(study_of({"random": "random", "cl": "contrastive"})) == []
    assert stopped_early(study_of({"cl": "contrastive", "a": {"objective": "masked", "stop_epoch": 1}})) == []


def test_the_images_seen_are_those_of_the_whole_training_of_the_arm(tmp_path):
    half = stopped_early(study_of(ARMS), tmp_path)[1]
    path = tmp_path / trajectory_dir("mim_half") / "images_seen.csv"
    path.parent.mkdir(parents=True)
    rows = [
        {"seed": seed, "share": share, "images_seen": 8000 * share} for seed in (0, 1) for share in (0.1, 1.0)
    ]
    pd.DataFrame(rows).to_csv(path, index=False)
    assert half.images_seen("mim_half") == 8000
