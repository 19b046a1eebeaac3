"""Tables return from a file unchanged, and join if studies differ only in arms and seeds."""

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml

from stages.results.metrics import over_seeds
from stages.results.study_results import FINE_TUNED, Results
from stages.study.errors import StudyError
from stages.study.params import load_params
from stages.study.paths import read_json
from stages.tools.joining import joined_metrics
from stages.tools.tables import by_columns, by_rows, pack, unpack
from tests.tracked_study import make_study

TABLE = "results/analysis/attention/{}.csv"
ROWS = 'seed,image,block,head,words,distance\n{0},1,1,2,"a, b",0.25\n{0},2,1,2,,1e-07\n'


@pytest.fixture
def packed(tmp_path):
    """Return a function that packs a study with these seeds and arms; `change` alters its settings."""

    def packed(name, *, arms=("cl",), seeds=(0, 7), change=lambda params: None) -> Path:
        root = tmp_path / name
        root.mkdir()
        make_study(root, arms=arms)
        for arm in arms:
            rename(root, arm, seeds)
            table = root / TABLE.format(arm)
            table.parent.mkdir(parents=True, exist_ok=True)
            parts = [ROWS.format(seed).partition("\n") for seed in seeds]
            table.write_text(parts[0][0] + "\n" + "".join(rows for _, _, rows in parts))
        compare(root, arms, seeds)
        params = yaml.safe_load((root / "params.yaml").read_text())
        params["seeds"] = list(seeds)
        change(params)
        (root / "params.yaml").write_text(yaml.safe_dump(params))
        assert pack(root / "tables.zip", root).startswith(f"{root / 'tables.zip'}: ")
        return root / "tables.zip"

    return packed


def compare(root, arms, seeds):
    """Write the table that has two columns of arms, and what data without masks have."""
    rows = [f"{seed},{arm},0,{other},0,0.5\n" for seed in seeds for arm in arms for other in arms]
    table = root / "results/comparison.csv"
    table.write_text("seed,arm,block,other_arm,other_block,cka\n" + "".join(rows))
    for arm in arms:
        (root / f"results/segmentation/{arm}.json").write_text('{"why": "no masks"}')
        (root / f"results/segmentation/{arm}.csv").write_text("seed,image,way\n")


def rename(root, arm, seeds):
    """Give the two trainings of an arm other seeds."""
    for old, new in zip((0, 7), seeds, strict=True):
        for folder in (root / f"models/{arm}", root / f"results/finetune/{arm}"):
            (folder / f"{old}").rename(folder / f"{new}")
            history = folder / f"{new}/history.csv"
            history.write_text(history.read_text().replace(f"\n{old},", f"\n{new},"))
        for metrics in root.glob(f"results/**/{arm}.json"):
            metrics.write_text(metrics.read_text().replace(f'"{old}":', f'"{new}":'))


@pytest.fixture
def clone(tmp_path) -> Path:
    """Return a project under Git in which nothing has run."""
    root = tmp_path / "clone"
    root.mkdir()
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(name, root)
    (root / "results").mkdir()
    (root / "results/check.json").write_text("{}")
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "--message", "state")
    return root


def git_status(root) -> str:
    """Return what differs from the last commit."""
    command = ["git", "status", "--porcelain"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout


def git(root, *arguments):
    """Run Git in a project."""
    subprocess.run(["git", *arguments], cwd=root, check=True)


@pytest.mark.parametrize(
    ("table", "by"),
    [
        (ROWS.format(3), True),
        ("seed,words\n", True),
        ('seed,words\n1,"two\nlines"\n', True),
        ("seed,seed\n1,2\n", False),  # two columns of one name
        ("seed,words\n1\n", False),
        ("seed\r\n1\r\n", False),
        ('"seed"\n1\n', False),
        ("", False),
    ],
)
def test_the_text_of_a_table_returns_unchanged_or_is_kept_as_text(table, by):
    columns = by_columns(table.encode())
    assert (columns is not None) == by
    assert columns is None or by_rows(columns) == table.encode()


def test_a_packed_study_returns_without_weights_and_without_verdicts(packed, clone, tmp_path):
    archive = packed("one", arms=("cl", "mim"))
    (tmp_path / "one/models/cl/0/encoder.safetensors").write_bytes(b"weights")
    pack(archive, tmp_path / "one")
    assert "cl 0, 7; mim 0, 7" in unpack([archive], clone)
    expected = {
        path.relative_to(tmp_path / "one")
        for folder in ("models", "results", "data")
        for path in (tmp_path / "one" / folder).rglob("*")
        if path.suffix in (".csv", ".json")
    } - {Path("results/claims.json"), Path("results/specifications.csv")}
    found = {
        path.relative_to(clone)
        for path in clone.rglob("*")
        if path.is_file() and ".git" not in path.parts and path.name not in ("dvc.yaml", "check.json")
    }
    assert found == expected | {Path("params.yaml")}
    assert all((clone / path).read_bytes() == (tmp_path / "one" / path).read_bytes() for path in found)
    again = tmp_path / "again.zip"
    shutil.copy(archive, again)
    pack(again, tmp_path / "one")
    assert again.read_bytes() == archive.read_bytes()  # equal tables give equal files


def test_joined_studies_have_the_seeds_and_arms_of_both(packed, clone):
    first = packed("first", arms=("cl", "mim"), seeds=(0, 1))
    second = packed("second", arms=("cl", "random"), seeds=(3, 2))
    assert "cl 0, 1, 2, 3; mim 0, 1; random 2, 3" in unpack([first, second], clone)
    study = load_params(clone / "params.yaml")
    assert study.seeds == [0, 1, 2, 3] and study.arms["mim"].seeds == [0, 1]
    results = Results(study, clone)
    assert list(results.history("cl")["seed"].unique()) == [0, 1, 2, 3]
    assert list(results.analysis("attention", "cl")["seed"].unique()) == [0, 1, 2, 3]
    assert list(results.analysis("attention", "mim")["seed"].unique()) == [0, 1]
    metrics = results.metrics(FINE_TUNED, "cl")
    assert sorted(metrics["seeds"]) == ["0", "1", "2", "3"]
    accuracies = [seed["labels"]["shape"]["accuracy"] for seed in metrics["seeds"].values()]
    assert metrics["labels"]["shape"]["accuracy"] == pytest.approx(sum(accuracies) / 4)
    assert len(results.trainings("cl")) == 4


def test_metrics_of_arms_of_another_study_are_neither_packed_nor_joined(packed, clone, tmp_path):
    """Git has the metrics of the default study, whatever arms a clone then trains."""

    def leave(name):
        def change(params):
            (tmp_path / name / "results/finetune/hybrid.json").write_text(f'{{"seeds": {{"0": "{name}"}}}}')

        return change

    files = [packed(name, seeds=seeds, change=leave(name)) for name, seeds in (("a", (0, 1)), ("b", (2, 3)))]
    left = "results/finetune/hybrid.json"
    assert not any(left in zipfile.ZipFile(file).namelist() for file in files)
    for name, file in zip("ab", files, strict=True):  # a file that was packed before this rule
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(left, f'{{"seeds": {{"0": "{name}"}}}}')
    assert "cl 0, 1, 2, 3" in unpack(files, clone) and not (clone / left).exists()


def test_arms_with_the_same_seeds_join(packed, clone):
    unpack([packed("first"), packed("second", arms=("mim",))], clone)
    study = load_params(clone / "params.yaml")
    assert list(study.arms) == ["cl", "mim"] and all(arm.seeds is None for arm in study.arms.values())
    table = Results(study, clone).comparison()
    assert (
        sorted(zip(table["arm"], table["other_arm"], strict=True))
        == [("cl", "cl")] * 2 + [("mim", "mim")] * 2
    )
    assert read_json(clone / "results/segmentation/mim.json") == {"why": "no masks"}


def test_an_imported_arm_joins_without_seeds(packed, clone):
    def add(params):
        params["arms"]["theirs"] = {"objective": "imported", "weights": "weights.pth", "format": "mae"}

    unpack([packed("first", seeds=(2, 3)), packed("second", arms=("mim",), seeds=(2, 3), change=add)], clone)
    study = load_params(clone / "params.yaml")
    assert study.seeds == [2, 3] and study.arms["theirs"].seeds is None


def test_each_study_lists_its_own_arms_of_the_augmented_probe(packed, clone):
    def listing(*arms):
        return lambda params: params["linear_augmented"].update(arms=list(arms))

    first = packed("first", change=listing("cl"))
    unpack([first, packed("second", arms=("mim",), change=listing("mim"))], clone)
    assert load_params(clone / "params.yaml").linear_augmented.arms == ["cl", "mim"]
    git(clone, "checkout", "--quiet", ".")
    git(clone, "clean", "--quiet", "-dffx")
    third = packed("third", seeds=(1, 2), change=listing())
    with pytest.raises(StudyError, match=r"third/tables\.zip: linear_augmented\.arms lacks cl"):
        unpack([first, third], clone)


def fine_tuned_with(pooling, seeds):
    """Metrics of fine-tuning whose pooling was chosen: the best one, and those of both."""
    of_seed = {f"{seed}": {"validation": {"class": 0.5 + seed / 10}} for seed in seeds}
    one = over_seeds({int(seed): values for seed, values in of_seed.items()})
    return one | {"protocol": pooling, "by_pooling": {"mean": one, "token": one}}


def test_the_poolings_of_fine_tuning_join_only_if_every_study_chose_the_same():
    whole = joined_metrics(
        [fine_tuned_with("token", (0, 1)), fine_tuned_with("token", (2,))], where="finetune/cl.json"
    )
    assert whole["protocol"] == "token" and list(whole["seeds"]) == ["0", "1", "2"]
    assert whole["validation"]["class"] == pytest.approx(0.6)
    assert whole["by_pooling"]["mean"]["validation"]["class"] == pytest.approx(0.6)
    with pytest.raises(StudyError, match=r"finetune/cl\.json: the files differ in protocol: token; mean"):
        joined_metrics(
            [fine_tuned_with("token", (0, 1)), fine_tuned_with("mean", (2,))], where="finetune/cl.json"
        )


def test_studies_with_other_settings_or_the_same_training_are_refused(packed, clone, tmp_path):
    first = packed("first")

    def refused(other, why):
        with pytest.raises(StudyError, match=why):
            unpack([first, other], clone)
        assert not git_status(clone)

    def other_numbers(params):
        table = tmp_path / "same" / TABLE.format("cl")
        table.write_text(table.read_text().replace("0.25", "0.5"))

    refused(packed("same", change=other_numbers), "results of the same training")
    refused(
        packed("wide", seeds=(1, 2), change=lambda params: params["vit"].update(width=32)),
        r"wide/tables\.zip: vit\.width differs from .*first/tables\.zip",
    )
    refused(
        packed("arm", seeds=(1, 2), change=lambda params: params["arms"]["cl"].update(lr=1.0e-4)),
        r"arms\.cl differs from",
    )

    def other_images(params):
        params["data"]["source"] = "elsewhere"  # may differ
        (tmp_path / "images/data/prepared/manifest.json").write_text('{"digest": "other"}')

    refused(packed("images", seeds=(1, 2), change=other_images), "not the same images")

    def another_device(params):
        (tmp_path / "cuda/models/cl/0/training.json").write_text('{"device": "cuda"}')

    refused(
        packed("cuda", change=another_device),
        r"cl/0/training\.json: the files have different results of the same training; leave one out",
    )


def test_an_unreadable_file_may_lie_at_another_address(packed, clone, tmp_path):
    def unreadable(name):
        def change(params):
            path = tmp_path / name / "data/prepared/manifest.json"
            path.write_text(json.dumps(read_json(path) | {"unreadable": [f"/{name}/test/cat/1.png"]}))

        return change

    parts = [
        packed(name, seeds=seeds, change=unreadable(name)) for name, seeds in (("a", (0, 1)), ("b", (2, 3)))
    ]
    assert "cl 0, 1, 2, 3" in unpack(parts, clone)


def test_nothing_of_a_user_is_replaced(packed, clone, tmp_path):
    archive = packed("one")
    with pytest.raises(StudyError, match="a study of its own; unpack into a fresh clone"):
        unpack([archive], tmp_path / "one")
    with pytest.raises(StudyError, match=r"no finished study; run `make study` first"):
        pack(tmp_path / "empty.zip", clone)
    (clone / "params.yaml").write_text((clone / "params.yaml").read_text() + "# mine\n")
    with pytest.raises(StudyError, match=r"params\.yaml: changed since the last commit"):
        unpack([archive], clone)
    git(clone, "checkout", "--quiet", "params.yaml")
    (clone / ".gitignore").write_text("*.csv\n")
    (clone / "results/comparison.csv").write_text("mine")  # Git would not bring it back
    with pytest.raises(StudyError, match=r"results/comparison\.csv: .*unpack into a fresh clone"):
        unpack([archive], clone)
    assert (clone / "results/comparison.csv").read_text() == "mine"
    shutil.rmtree(clone / ".git")
    with pytest.raises(StudyError, match="not under Git"):
        unpack([archive], clone)


def test_a_folder_is_no_place_for_the_file(packed, clone, tmp_path):
    packed("one")
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup/mine.txt").write_text("mine")
    with pytest.raises(StudyError, match=r"backup: is a folder; name a file, such as .*backup/tables\.zip"):
        pack(tmp_path / "backup", tmp_path / "one")
    assert (tmp_path / "backup/mine.txt").read_text() == "mine"


def test_a_study_that_lacks_a_training_is_not_packed(packed, tmp_path):
    packed("one")
    params = tmp_path / "one/params.yaml"
    text = params.read_text()
    params.write_text(yaml.safe_dump(yaml.safe_load(text) | {"seeds": [0, 7, 8]}))
    with pytest.raises(StudyError, match=r"models: cl lacks seed 8; run `make study` first"):
        pack(tmp_path / "more.zip", tmp_path / "one")
    params.write_text(text)
    knn = tmp_path / "one/results/probe/knn/cl.json"
    metrics = json.loads(knn.read_text())
    del metrics["seeds"]["7"]
    knn.write_text(json.dumps(metrics))
    with pytest.raises(StudyError, match=r"results/probe/knn/cl\.json: cl lacks seed 7"):
        pack(tmp_path / "more.zip", tmp_path / "one")
    assert not (tmp_path / "more.zip").exists()


def test_damaged_and_foreign_files_are_refused(packed, clone, tmp_path):
    archive = packed("one")
    flipped = tmp_path / "flipped.zip"
    content = bytearray(archive.read_bytes())
    content[len(content) // 3] ^= 0x55
    flipped.write_bytes(content)
    half = tmp_path / "half.zip"
    half.write_bytes(archive.read_bytes()[:-200])
    foreign = tmp_path / "foreign.zip"
    with zipfile.ZipFile(foreign, "w") as file:
        file.writestr("letter.txt", "hello")
    escaping = tmp_path / "escaping.zip"
    shutil.copy(archive, escaping)
    with zipfile.ZipFile(escaping, "a") as file:
        file.writestr("results/../../outside.csv", "seed\n")
    for path, why in (
        (half, "not a complete ZIP file"),
        (flipped, "not a complete ZIP file"),
        (foreign, "no packed study"),
        (escaping, "no packed study"),
        (tmp_path / "none.zip", "not found"),
    ):
        with pytest.raises(StudyError, match=why):
            unpack([path], clone)
    assert not git_status(clone) and not (tmp_path / "outside.csv").exists()
    assert read_json(tmp_path / "one/results/claims.json")
