"""Tables are read exactly as the arms name them, and averaged as the captions say."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.render.results import accuracies, claims, histories
from stages.render.tables import block_curves, head_means, last_block, spectra, uniform_distance
from stages.study.errors import StudyError
from stages.study.settings import Arm
from tests.render.synthetic import write_arm, write_json

ARMS = {
    "random": Arm(objective="random", label="Random init"),
    "cl_a": Arm(objective="contrastive", label="CL"),
    "cl_b": Arm(objective="contrastive", label="CL", seed=1),
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    for seed, (name, arm) in enumerate(ARMS.items()):
        write_arm(folder, name, arm.objective, seed=seed)
    write_arm(folder, "orphan", "masked", seed=9)
    return folder


@pytest.fixture(autouse=True)
def inside(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study)


def test_curves_are_means_over_images_heads_and_replicates() -> None:
    curves = block_curves(ARMS, analysis="attention", measure="distance")
    assert list(curves["label"].unique()) == ["Random init", "CL"]
    pooled = pd.concat([pd.read_csv(f"results/analysis/attention/{name}.csv") for name in ("cl_a", "cl_b")])
    ours = curves[curves["label"] == "CL"]
    np.testing.assert_allclose(ours["mean"], pooled.groupby("block")["distance"].mean())
    assert (ours["low"] < ours["mean"]).all() and (ours["mean"] < ours["high"]).all()
    assert ours["arms"].tolist() == [2, 2, 2] and ours["depth"].tolist() == pytest.approx([1 / 3, 2 / 3, 1])


def test_highest_frequency_is_the_last_bin() -> None:
    curves = block_curves(ARMS, analysis="fourier", measure="log_amplitude", highest_frequency=True)
    table = pd.read_csv("results/analysis/fourier/random.csv")
    expected = table[table["frequency"] == 0.75].groupby("block")["log_amplitude"].mean()
    np.testing.assert_allclose(curves[curves["label"] == "Random init"]["mean"], expected)
    assert curves["depth"].min() == 0


def test_spectra_and_heads() -> None:
    table = spectra(ARMS)
    first = table[(table["label"] == "Random init") & (table["place"] == "first block")]
    raw = pd.read_csv("results/analysis/fourier/random.csv")
    np.testing.assert_allclose(
        first["mean"], raw[raw["block"] == 1].groupby("frequency")["log_amplitude"].mean()
    )
    heads = head_means(ARMS, analysis="attention", measure="nmi")
    assert len(heads) == 3 * 3 * 2 and set(heads["arm"]) == set(ARMS)


def test_orphans_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    original = pd.read_csv
    monkeypatch.setattr(
        pd, "read_csv", lambda path, *a, **k: (opened.append(str(path)), original(path, *a, **k))[1]
    )
    block_curves(ARMS, analysis="attention", measure="nmi")
    histories(ARMS)
    assert opened and not [path for path in opened if "orphan" in path]
    assert "orphan" not in accuracies(ARMS, probes=["knn"])["label"].tolist()


def test_accuracies_of_replicates() -> None:
    table = accuracies(ARMS, probes=["knn", "linear"])
    assert len(table) == 2 * 3 * 2
    row = table[
        (table["label"] == "CL") & (table["evaluation"] == "knn") & (table["labels"] == "shape")
    ].iloc[0]
    assert row["arms"] == 2 and row["accuracy"] == pytest.approx(0.55)
    assert row["low"] == pytest.approx(0.528) and row["high"] == pytest.approx(0.571)


def test_shares_of_the_labels_are_evaluations_of_their_own() -> None:
    table = accuracies(ARMS, probes=["few_shot"])
    rows = table[(table["label"] == "CL") & (table["labels"] == "shape")].set_index("evaluation")
    assert list(rows.index) == ["few-shot, 1 % of labels", "few-shot, 10 % of labels", "fine-tuned"]
    assert rows["accuracy"].tolist()[:2] == pytest.approx([0.15, 0.25])


def test_untrained_arms_have_no_history() -> None:
    found = histories(ARMS)
    assert list(found) == ["CL"] and len(found["CL"]) == 2


def test_errors_name_the_file_and_what_to_do(tmp_path: Path) -> None:
    missing = {"lost": Arm(objective="masked")}
    with pytest.raises(
        StudyError, match=r"attention/lost\.csv: not found; `dvc repro analyze@lost-attention`"
    ):
        block_curves(missing, analysis="attention", measure="nmi")
    with pytest.raises(StudyError, match=r"probe/knn/lost\.json: not found"):
        accuracies(missing, probes=["knn"])
    with pytest.raises(StudyError, match=r"lost/history\.csv: not found; `dvc repro pretrain@lost`"):
        histories(missing)
    with pytest.raises(StudyError, match=r"fourier/random\.csv: no column nmi; there are: image, block"):
        block_curves({"random": ARMS["random"]}, analysis="fourier", measure="nmi")
    with pytest.raises(StudyError, match=r"claims\.json: not found; `dvc repro decide`"):
        claims()
    os.chdir(tmp_path)
    write_arm(tmp_path, "bad", "masked", seed=0)
    path = Path("results/analysis/attention/bad.csv")
    table = pd.read_csv(path)
    table.assign(nmi=table["nmi"].where(table["image"] != 3)).to_csv(path, index=False)
    with pytest.raises(StudyError, match=r"bad\.csv: 6 of 144 values of nmi are not finite numbers"):
        block_curves({"bad": Arm(objective="masked")}, analysis="attention", measure="nmi")
    table[1:].query("not (image == 3 and block == 2)").to_csv(path, index=False)
    with pytest.raises(StudyError, match=r"bad\.csv: not every image has every block"):
        block_curves({"bad": Arm(objective="masked")}, analysis="attention", measure="nmi")
    path.write_text("")
    with pytest.raises(StudyError, match=r"bad\.csv: not a table"):
        block_curves({"bad": Arm(objective="masked")}, analysis="attention", measure="nmi")
    write_json(tmp_path / "results/probe/knn/bad.json", {"labels": {"class": {"accuracy": 0.5}}})
    with pytest.raises(StudyError, match="no 'low'"):
        accuracies({"bad": Arm(objective="masked")}, probes=["knn"])


def test_replicates_must_match(tmp_path: Path) -> None:
    os.chdir(tmp_path)
    write_arm(tmp_path, "a", "masked", seed=0, blocks=3)
    write_arm(tmp_path, "b", "masked", seed=0, blocks=4)
    pair = {name: Arm(objective="masked", label="MIM") for name in "ab"}
    with pytest.raises(StudyError, match="arms a and b share the label 'MIM'"):
        block_curves(pair, analysis="attention", measure="nmi")


def test_uniform_distance_of_the_paper() -> None:
    assert uniform_distance(grid=14, patch_size=16) == pytest.approx(116.49, abs=0.005)
    assert uniform_distance(grid=8, patch_size=4) == pytest.approx(16.55, abs=0.005)


def test_last_block_of_each_label() -> None:
    last = last_block(block_curves(ARMS, analysis="attention", measure="distance"))
    assert last["block"].tolist() == [3, 3] and last.index.tolist() == ["Random init", "CL"]
