"""Growth trains nothing: what is added, renamed or moved leaves every training that exists as it is."""

import shutil
import textwrap

import pytest

from stages import pretrain
from stages.data.arrays import Manifest, SplitSummary
from stages.finetune import finetunings
from stages.linear_augmented import head_trainings
from stages.pretrain import pretrainings
from stages.segment import segmentings
from stages.study.params import load_params
from stages.study.recipe import recipe_of
from stages.training.settings import Pretrain
from tests.forked_python import forked_python
from tests.project import as_dvc_repository, copy_project, edit, remove, run_in

MANIFEST = Manifest(
    source="here",
    image_size=16,
    labels={"class": ["a", "b"]},
    mean=[0.5] * 3,
    std=[0.2] * 3,
    arrays={
        f"{split}/{name}": f"{split} {name}" for split in ("train", "test") for name in ("images", "class")
    },
    splits={name: SplitSummary(images=4, per_class={"class": [2, 2]}) for name in ("train", "test")},
    unreadable=[],
    converted={},
)
OBJECTIVE = '''"""Nothing new."""

from stages.objectives.contract import Objective
from stages.objectives.masked import build

OBJECTIVE = Objective(build=build, settings=("masked",))
'''


@pytest.fixture
def project(tmp_path, monkeypatch):
    project = copy_project(tmp_path / "study", changes={"seeds": [0, 1]})
    monkeypatch.chdir(project)
    return project


def names_of(arms=("random", "cl", "mim", "hybrid"), *, manifest=MANIFEST):
    """Return the fingerprints of all trainings, by arm and seed."""
    params = load_params()
    return {
        arm: {seed: each.fingerprint for seed, each in pretrainings(params, arm, manifest=manifest).items()}
        for arm in arms
    }


def rewrite(project, name, *pairs):
    path = project / name
    text = path.read_text()
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text)


def add(project, name, text):
    with (project / name).open("a") as file:
        file.write(textwrap.dedent(text))


def new_objective(project):
    (project / "stages/objectives/newer.py").write_text(OBJECTIVE)
    add(project, "stages/objectives/settings.py", "\n\nclass Newer(Section):\n    momentum: float = 0.9\n")
    add(project, "stages/objectives/losses.py", "\n\ndef newer(x):\n    return x.square().mean()\n")
    edit(project, {"arms": {"newer": {"objective": "newer"}}})


def new_probe(project):
    (project / "stages/probes/newer.py").write_text('"""A probe."""\n')
    add(project, "stages/probes/settings.py", "\n\nclass Newer(Section):\n    k: int = 3\n")


def new_analysis(project):
    (project / "stages/analyses/newer.py").write_text('"""An analysis."""\n')
    edit(project, {"analyses": {"newer": {"images": 4, "depth": 2}}})
    add(project, "stages/analyses/settings.py", "\n\nDEPTH = 2\n")


def new_corruption(project):
    text = (project / "stages/corruptions/edges.py").read_text()
    (project / "stages/corruptions/newer.py").write_text(text)
    edit(project, {"robustness": {"corruptions": {"newer": {"levels": [1.0]}}}})


def new_claim(project):
    add(project, "stages/claims/entries.py", "\n\nNEWER = ()\n")


def new_preset(project):
    (project / "stages/presets/newer.yaml").write_text("pretrain: {epochs: 3}\n")


def labels(project):
    edit(project, {"labels": {"cl": "Contrastive", "mim": "Masked"}})


def words(project):
    rewrite(
        project,
        "stages/objectives/contrastive.py",
        ("# The encoder processes both views", "# The encoder takes both views"),
    )
    rewrite(project, "stages/training/loop.py", ('"""The training loop of all', '"""The loop of all'),
            ("resumed at epoch", "goes on after epoch"))  # fmt: skip


def unused_settings(project):
    edit(project, {"objectives": {"dino": {"momentum": 0.5}, "supervised": {"label_smoothing": 0.3}}})
    later = {"probes": {"knn": {"k": 9}}, "finetune": {"epochs": 7}}
    edit(project, {"pretrain": {"milestone": 0.5}, **later})


def runtime(project):
    edit(project, {"runtime": {"threads": 2, "eval_batch_size": 7, "workers": 1}})


def moved_code(project):
    for name in ("losses", "contrastive"):
        text = (project / f"stages/objectives/{name}.py").read_text()
        (project / f"stages/objectives/{name}_moved.py").write_text(text)
    names = "info_nce, masked_l1, mean_of_surroundings, normalized_in_windows"
    everything = f"from stages.objectives.losses_moved import {names}\n"
    (project / "stages/objectives/losses.py").write_text(everything)
    old, new = (f"stages.objectives.{name} import" for name in ("contrastive", "contrastive_moved"))
    rewrite(project, "stages/objectives/hybrid.py", (old, new))


@pytest.mark.parametrize(
    "change",
    [
        *(new_objective, new_probe, new_analysis, new_corruption, new_claim, new_preset, labels, words),
        *(unused_settings, runtime, moved_code),
    ],
    ids=lambda change: change.__name__,
)
def test_growth_gives_no_training_another_name(project, change):
    before = names_of()
    change(project)
    assert names_of() == before


def test_a_new_option_that_is_off_gives_no_training_another_name(project, monkeypatch):
    class Newer(Pretrain):
        newer: float | None = None

    before = names_of()

    def recipe_with_it(study, name):
        vit, recipe = recipe_of(study, name)
        return vit, Newer(**recipe.model_dump())

    monkeypatch.setattr(pretrain, "recipe_of", recipe_with_it)
    assert names_of() == before


def test_another_arm_another_name_and_another_seed_leave_the_rest(project):
    before = names_of()
    edit(
        project,
        {"arms": {"cl2": {"objective": "contrastive"}, "mim": {"objective": "masked", "seeds": [1, 5]}}},
    )
    after = names_of(("random", "cl", "mim", "hybrid", "cl2"))
    assert after["cl2"] == before["cl"] == after["cl"]  # the same trainings under another name
    assert after["mim"][1] == before["mim"][1] and set(after["mim"]) == {1, 5}
    edit(project, {"seeds": [0, 1, 2]})
    assert {seed: names_of()["cl"][seed] for seed in (0, 1)} == before["cl"]


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"objectives": {"contrastive": {"temperature": 0.3}}}, {"cl", "hybrid"}),
        ({"objectives": {"masked": {"mask_ratio": 0.5}}}, {"mim", "hybrid"}),
        ({"arms": {"hybrid": {"cl_weight": 0.5}}}, {"hybrid"}),
        ({"arms": {"mim": {"lr": 0.1}}}, {"mim"}),
        # An arm that is not trained has no recipe.
        ({"pretrain": {"precision": "bf16-mixed"}}, {"cl", "mim", "hybrid"}),
        ({"pretrain": {"schedule": "multistep"}}, {"cl", "mim", "hybrid"}),
        ({"pretrain": {"epochs": 3}}, {"cl", "mim", "hybrid"}),
        ({"vit": {"depth": 3}}, {"random", "cl", "mim", "hybrid"}),
    ],
)
def test_what_a_training_depends_on_gives_it_another_name(project, changes, changed):
    before = names_of()
    edit(project, changes)
    after = names_of()
    assert {arm for arm in before if not set(before[arm].values()) & set(after[arm].values())} == changed
    assert {arm for arm in before if before[arm] == after[arm]} == set(before) - changed


@pytest.mark.parametrize(
    ("arrays", "changed"),
    [
        (["test/images", "test/class"], set()),
        (["train/masks", "test/masks", "train/ignored"], set()),
        (["train/class"], {"supervised"}),
        (["train/images"], {"cl", "mim", "hybrid", "supervised"}),
        (["train/photographs"], {"cl", "mim", "hybrid", "supervised"}),
    ],
)
def test_trainings_depend_on_the_arrays_that_they_read(project, arrays, changed):
    edit(project, {"arms": {"supervised": {"objective": "supervised"}}})
    arms = ("random", "cl", "mim", "hybrid", "supervised")
    other = MANIFEST.model_copy(update={"arrays": MANIFEST.arrays | dict.fromkeys(arrays, "other")})
    before, after = names_of(arms), names_of(arms, manifest=other)
    assert {arm for arm in arms if before[arm] != after[arm]} == changed


def test_fine_tuning_depends_on_test_images_but_not_on_masks(project, monkeypatch):
    monkeypatch.setattr("stages.training.complete.sealed_seeds", lambda name: [0])
    monkeypatch.setattr("stages.training.complete.encoder_digest", lambda name, seed: "encoder")

    def names(**arrays):
        manifest = MANIFEST.model_copy(update={"arrays": MANIFEST.arrays | arrays})
        params = load_params()
        return [
            {training.fingerprint for training in of(params, "cl", manifest=manifest).values()}
            for of in (finetunings, head_trainings, segmentings)
        ]

    before = names()
    assert [same == old for same, old in zip(names(**{"test/masks": "m"}), before, strict=True)] == [
        *(True, True, False)
    ]
    assert not any(same == old for same, old in zip(names(**{"test/images": "i"}), before, strict=True))


def test_code_that_computes_something_else_gives_another_name(project):
    before = names_of()
    rewrite(project, "stages/objectives/losses.py", ("return error.sum() /", "return 2 * error.sum() /"))
    after = names_of()
    assert {arm for arm in before if before[arm] != after[arm]} == {"mim", "hybrid"}
    rewrite(
        project,
        "stages/training/schedule.py",
        ("math.cos(math.pi * progress)) / 2", "math.cos(3 * progress)) / 2"),
    )
    assert not {name for arm in names_of().values() for name in arm.values()} & {
        name for arm in after.values() for name in arm.values()
    }


TARGETS = ("pretrain@cl", "finetune@cl", "segment@cl")


@pytest.fixture(scope="module")
def python():
    """The folder of the `python` that DVC is given."""
    with forked_python() as folder:
        yield folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory, python):
    """A project with one trained arm of two seeds, pushed to a remote, and committed."""
    project = copy_project(
        tmp_path_factory.mktemp("growth") / "project",
        changes={"seeds": [0, 1]},
        leave_out=("random", "mim", "few_shot", "attentive", "layerwise"),
    )
    as_dvc_repository(project)
    remote = project.parent / "remote"
    outputs = []
    for words in (
        ("dvc", "repro", *TARGETS),
        ("dvc", "remote", "add", "-d", "there", str(remote)),
        ("git", "add", "-A"),
        ("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "study"),
        ("dvc", "push"),
    ):
        done = run_in(project, *words, python=python)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        outputs.append(done.stdout)
    assert trained(outputs[0]) == {
        *(f"{stage} cl seed {seed}" for stage in ("pretrain", "finetune", "segment") for seed in (0, 1)),
    }
    return project


def trained(output):
    """Return the trainings that ran an epoch, from the progress lines."""
    return {line.partition(":")[0] for line in output.splitlines() if ": epoch " in line}


def repro(project, python, *targets):
    done = run_in(project, "dvc", "repro", *(targets or TARGETS), python=python)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def grow(project):
    """Edit every kind of thing that must not train anything."""
    for change in (
        new_objective,
        new_probe,
        new_corruption,
        new_claim,
        labels,
        words,
        unused_finetune,
        moved_code,
    ):
        change(project)


def unused_finetune(project):
    edit(project, {"objectives": {"dino": {"momentum": 0.5}}, "pretrain": {"milestone": 0.5}})


def outs(project):
    return {
        path.relative_to(project).as_posix(): path.read_bytes()
        for folder in ("models", "results/finetune", "results/segmentation")
        for path in (project / folder).rglob("*")
        if path.is_file()
    }


@pytest.fixture
def copy(finished, tmp_path):
    """A working copy of its own of the finished project."""
    return shutil.copytree(finished, tmp_path / "copy", symlinks=True)


def test_in_a_working_copy_dvc_repro_collects_and_trains_nothing(copy, python):
    before = outs(copy)
    grow(copy)
    output = repro(copy, python)
    assert trained(output) == set() and "Running stage 'pretrain@cl'" in output
    assert outs(copy) == before


def test_in_a_clone_after_dvc_pull_an_empty_store_does_not_train_either(finished, tmp_path, python):
    clone = tmp_path / "clone"
    assert run_in(tmp_path, "git", "clone", "-q", str(finished), str(clone)).returncode == 0
    assert run_in(clone, "dvc", "pull", *TARGETS, "prepare", python=python).returncode == 0
    before = outs(clone)
    grow(clone)
    assert trained(repro(clone, python)) == set()
    assert outs(clone) == before


def test_a_renamed_arm_is_found_again_and_a_fifth_seed_trains_itself_alone(copy, python):
    remove(copy, ("cl",))
    edit(
        copy,
        {
            "arms": {"moco": {"objective": "contrastive", "seeds": [0, 1, 2]}},
            "labels": {"moco": "MoCo", "hybrid": "Both"},
        },
    )
    output = repro(copy, python, *(name.replace("@cl", "@moco") for name in TARGETS))
    assert trained(output) == {f"{stage} moco seed 2" for stage in ("pretrain", "finetune", "segment")}
    assert (copy / "models/moco/1/encoder.safetensors").read_bytes() == (
        copy / "models/cl/1/encoder.safetensors"
    ).read_bytes()


def test_there_and_back_again_trains_once(copy, python):
    for temperature, expected in ((0.5, {"pretrain cl seed 0", "pretrain cl seed 1"}), (0.2, set())):
        edit(copy, {"objectives": {"contrastive": {"temperature": temperature}}})
        assert trained(repro(copy, python, "pretrain@cl")) == expected
    assert outs(copy)["models/cl/0/encoder.safetensors"]


def test_other_test_images_pre_train_nothing(copy, python):
    edit(copy, {"data": {"max_test_images": 30}})
    output = repro(copy, python, "finetune@cl")
    assert trained(output) == {"finetune cl seed 0", "finetune cl seed 1"}
    assert "Running stage 'pretrain@cl'" in output


def test_a_seed_trained_by_hand_is_collected(copy, python):
    edit(copy, {"seeds": [0, 1, 7]})
    before = outs(copy)
    done = run_in(copy, "python", "-m", "stages.pretrain", "--arm", "cl", "--seed", "7", python=python)
    assert done.returncode == 0 and trained(done.stdout) == {"pretrain cl seed 7"}
    assert outs(copy) == before  # no out is written
    assert trained(repro(copy, python, "pretrain@cl")) == set()
    assert (copy / "models/cl/7/encoder.safetensors").is_file()
    done = run_in(copy, "python", "-m", "stages.pretrain", "--arm", "cl", "--seed", "8", python=python)
    assert (
        done.returncode == 2
        and "no such seed for this arm in params.yaml; choose from: 0, 1, 7" in done.stderr
    )
