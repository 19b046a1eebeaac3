"""Results are read as the study names them, each file once, and what is wrong is one line."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.results.accuracies import accuracies, segmentation_scores
from stages.results.analysis_curves import block_curves, head_means, last_block, spectra, uniform_distance
from stages.results.files import MissingResult
from stages.results.study_results import Results
from stages.study.errors import ParamsError, StudyError
from tests.render.synthetic import ROOT, study_of, write_arm, write_json, write_study

STUDY = study_of(
    {"random": {"objective": "random", "seeds": [3]}, "cl": "contrastive"},
    labels={"random": "Random init", "cl": "CL"},
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    write_study(folder, STUDY)
    write_arm(folder, "orphan", "masked", number=9)
    return folder


@pytest.fixture
def results(study: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    monkeypatch.chdir(study)
    return Results(STUDY)


def lost() -> Results:
    """Results of an arm that nothing was written for."""
    return Results(study_of({"lost": "masked"}), Path("nowhere"))


def test_nothing_else_reads_csv_files() -> None:
    pattern = re.compile(r"read_csv|read_table\(.*sep|csv\.(reader|DictReader)|genfromtxt|loadtxt")
    files = [*(ROOT / "stages").rglob("*.py"), *(ROOT / "notebooks").glob("*.ipynb")]
    files = [path for path in files if "data" not in path.parts]  # lists in the data sets of others
    reading = {path.relative_to(ROOT).as_posix() for path in files if pattern.search(path.read_text())}
    # Both tools keep the text of packed tables.
    assert reading == {"stages/results/files.py", "stages/tools/tables.py", "stages/tools/joining.py"}


def test_curves_are_means_over_images_heads_and_seeds(results: Results) -> None:
    curves = block_curves(results, analysis="attention", measure="distance")
    assert list(curves["label"].unique()) == ["Random init", "CL"]
    table = pd.read_csv("results/analysis/attention/cl.csv")
    ours = curves[curves["label"] == "CL"]
    np.testing.assert_allclose(ours["mean"], table.groupby("block")["distance"].mean())
    for seed in (0, 1):
        of_seed = table[table["seed"] == seed].groupby("block")["distance"].mean()
        np.testing.assert_allclose(ours[f"seed_{seed}"], of_seed)
    assert ours["seed_3"].isna().all() and ours["images"].tolist() == [24] * 3
    assert ours["trainings"].tolist() == [2] * 3 and ours["depth"].tolist() == pytest.approx(
        [1 / 3, 2 / 3, 1]
    )
    reach = 12.7062 * abs(ours["seed_0"] - ours["seed_1"]) / 2
    np.testing.assert_allclose(ours["high"] - ours["mean"], reach, rtol=1e-4)


def test_highest_frequency_is_the_last_bin(results: Results) -> None:
    curves = block_curves(results, analysis="fourier", measure="log_amplitude", highest_frequency=True)
    table = pd.read_csv("results/analysis/fourier/random.csv")
    expected = table[table["frequency"] == 0.75].groupby("block")["log_amplitude"].mean()
    np.testing.assert_allclose(curves[curves["label"] == "Random init"]["mean"], expected)
    assert curves["depth"].min() == 0


def test_spectra_and_heads(results: Results) -> None:
    table = spectra(results)
    first = table[(table["label"] == "Random init") & (table["place"] == "first block")]
    raw = pd.read_csv("results/analysis/fourier/random.csv")
    np.testing.assert_allclose(
        first["mean"], raw[raw["block"] == 1].groupby("frequency")["log_amplitude"].mean()
    )
    heads = head_means(results, analysis="attention", measure="nmi")
    assert len(heads) == 3 * 3 * 2 and set(zip(heads["label"], heads["seed"], strict=True)) == {
        ("Random init", 3), ("CL", 0), ("CL", 1)
    }  # fmt: skip


def test_orphans_are_not_read_and_nothing_is_read_twice(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study)
    opened: list[str] = []
    original = pd.read_csv

    def read(path: Path, *rest: object, **options: object) -> pd.DataFrame:
        if "nrows" not in options:
            opened.append(str(path))
        return original(path, *rest, **options)

    monkeypatch.setattr(pd, "read_csv", read)
    results = Results(STUDY)
    for _ in range(2):
        block_curves(results, analysis="attention", measure="nmi")
        results.history("cl")
    assert sorted(opened) == [
        *(f"models/cl/{seed}/history.csv" for seed in (0, 1)),
        *(f"results/analysis/attention/{arm}.csv" for arm in ("cl", "random")),
    ]
    assert "orphan" not in accuracies(results, probes=["knn"])["label"].tolist()


def test_accuracies_of_seeds(results: Results) -> None:
    table = accuracies(results, probes=["knn", "linear"])
    assert len(table) == 2 * 3 * 2
    row = table[
        (table["label"] == "CL") & (table["evaluation"] == "knn") & (table["labels"] == "shape")
    ].iloc[0]
    assert (row["trainings"], row["seed_0"], row["seed_1"]) == (2, pytest.approx(0.56), pytest.approx(0.54))
    assert row["mean"] == pytest.approx(0.55) and row["high"] - row["mean"] == pytest.approx(0.127062)
    alone = table[(table["label"] == "Random init") & (table["labels"] == "shape")].iloc[0]
    assert (alone["trainings"], alone["mean"], alone["low"]) == (1, pytest.approx(0.2), pytest.approx(0.178))


def test_shares_of_the_labels_are_evaluations_of_their_own(results: Results) -> None:
    table = accuracies(results, probes=["few_shot"])
    rows = table[(table["label"] == "CL") & (table["labels"] == "shape")].set_index("evaluation")
    assert list(rows.index) == ["few-shot, 1 % of labels", "few-shot, 10 % of labels", "fine-tuned"]
    assert rows["mean"].tolist()[:2] == pytest.approx([0.15, 0.25])


def test_seeds_are_those_of_params_and_untrained_arms_have_no_history(results: Results) -> None:
    assert results.history("random").empty
    assert results.history("cl")["seed"].unique().tolist() == [0, 1]
    one = Results(study_of({"cl": {"objective": "contrastive", "seeds": [1]}}))
    assert one.analysis("attention", "cl")["seed"].unique().tolist() == [1]
    more = Results(study_of({"cl": {"objective": "contrastive", "seeds": [1, 4]}}))
    with pytest.raises(
        MissingResult, match=r"attention/cl\.csv: no rows of seed 4; `dvc repro analyze@cl-attention`"
    ):
        more.analysis("attention", "cl")
    with pytest.raises(MissingResult, match=r"knn of arm cl: no seed 4; `dvc repro`"):
        accuracies(more, probes=["knn"])


def test_two_arms_with_one_label_are_refused() -> None:
    with pytest.raises(ParamsError, match="labels: arms a and b are both called 'CL'; give each its own"):
        study_of({"a": "contrastive", "b": "masked"}, labels={"a": "CL", "b": "CL"})
    with pytest.raises(ParamsError, match="arms a and b are both called 'b'"):
        study_of({"a": "contrastive", "b": "masked"}, labels={"a": "b"})
    with pytest.raises(ParamsError, match=r"seeds \[1, 1\] must differ"):
        study_of({"a": "contrastive"}, seeds=[1, 1])


def test_missing_results_name_the_file_and_the_stage() -> None:
    with pytest.raises(
        MissingResult, match=r"attention/lost\.csv: not found; `dvc repro analyze@lost-attention`"
    ):
        block_curves(lost(), analysis="attention", measure="nmi")
    with pytest.raises(MissingResult, match=r"probe/knn/lost\.json: not found; `dvc repro probe@lost-knn`"):
        accuracies(lost(), probes=["knn"])
    with pytest.raises(MissingResult, match=r"lost/0/history\.csv: not found; `dvc repro pretrain@lost`"):
        lost().history("lost")
    with pytest.raises(MissingResult, match=r"lost/0/predictions\.csv: not found; `dvc repro finetune@lost`"):
        lost().finetuned("lost")
    with pytest.raises(MissingResult, match=r"lost\.json: not found; `dvc repro segment@lost`"):
        segmentation_scores(lost())
    with pytest.raises(MissingResult, match=r"claims\.json: not found; `dvc repro decide`"):
        lost().claims()


def test_a_column_that_is_not_there_is_named(results: Results) -> None:
    with pytest.raises(MissingResult, match=r"random\.csv: no column nmi; there are: seed, image, block"):
        block_curves(results, analysis="fourier", measure="nmi")


def test_damaged_tables_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = study_of({"bad": "masked"})
    write_study(tmp_path, study)
    path = Path("results/analysis/attention/bad.csv")
    table = pd.read_csv(path)
    halved = table.assign(block=table["block"] / 2)
    for damaged, message in (
        (table.assign(nmi=table["nmi"].where(table["image"] != 3)), "12 of 288 values of nmi are not finite"),
        (table.query("not (image == 3 and block == 2)"), "some images lack a block"),
        (table.query("not (image == 3 and seed == 1)"), "seeds were measured on different images"),
        (halved, "192 of 288 values of block are not whole numbers"),
        (table.assign(image="seven"), "288 of 288 values of image are not finite numbers"),
        (table[:0], "no rows"),
    ):
        damaged.to_csv(path, index=False)
        with pytest.raises(StudyError, match=rf"bad\.csv: ({message})") as caught:
            block_curves(Results(study), analysis="attention", measure="nmi")
        assert len(str(caught.value).splitlines()) == 1
    for text in ("", "a,b\n1,2,3\n4", "\x00\x01"):
        path.write_text(text)
        with pytest.raises(StudyError, match=r"bad\.csv: .*`dvc repro analyze@bad-attention`") as caught:
            block_curves(Results(study), analysis="attention", measure="nmi")
        assert len(str(caught.value).splitlines()) == 1
    each = {seed: {"labels": {"class": {"accuracy": 0.5}}} for seed in "01"}
    write_json(tmp_path / "results/probe/knn/bad.json", {"seeds": each})
    with pytest.raises(StudyError, match="knn of bad: no 'low'"):
        accuracies(Results(study), probes=["knn"])
    Path("results/probe/knn/bad.json").write_text("{")
    with pytest.raises(StudyError, match=r"knn/bad\.json: not JSON: .*`dvc repro probe@bad-knn`"):
        accuracies(Results(study), probes=["knn"])


def test_uniform_distance_of_the_paper() -> None:
    assert uniform_distance(grid=14, patch_size=16) == pytest.approx(116.49, abs=0.005)
    assert uniform_distance(grid=8, patch_size=4) == pytest.approx(16.55, abs=0.005)


def test_last_block_of_each_label(results: Results) -> None:
    last = last_block(block_curves(results, analysis="attention", measure="distance"))
    assert last["block"].tolist() == [3, 3] and last.index.tolist() == ["Random init", "CL"]
