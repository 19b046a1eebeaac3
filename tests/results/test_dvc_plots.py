"""DVC's own views find every arm: `dvc plots`, drawn from the tables of the summary, and `dvc metrics`."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from dvc.repo import Repo

from stages.results.dvc_plots import plot_tables
from stages.results.study_results import Results
from stages.study.params import load_params
from tests.project import run_in
from tests.render.synthetic import ROOT, make_project

ARMS = {
    "random": {"objective": "random"},
    "cl": {"objective": "contrastive"},
    "mim": {"objective": "masked"},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC repository with the tables of a study of three arms, each trained twice."""
    folder = make_project(
        tmp_path_factory.mktemp("plots"), images=6, blocks=2, arms=ARMS, labels={"cl": "CL"}
    )
    Repo.init(str(folder), no_scm=True).close()
    return folder


@pytest.fixture
def tables(project: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, pd.DataFrame]:
    """The tables, which lie in the project too."""
    monkeypatch.chdir(project)
    plots = plot_tables(Results(load_params()))
    Path("reports/plots").mkdir(parents=True, exist_ok=True)
    for name, table in plots.items():
        table.to_csv(f"reports/plots/{name}.csv", index=False)
    return plots


def test_tables_say_what_the_results_say(tables: dict[str, pd.DataFrame]) -> None:
    assert set(tables) == {"losses", "accuracies", "distance", "nmi", "log_amplitude"}
    twice = [pd.read_csv(f"models/cl/{seed}/history.csv")["loss"] for seed in (0, 1)]
    loss = tables["losses"].set_index(["arm", "epoch"])["loss"]
    assert loss["CL"].to_list() == pytest.approx(sum(twice) / 2)
    assert set(tables["losses"]["arm"]) == {"CL", "mim"}  # the other was not trained
    nmi = pd.read_csv("results/analysis/attention/mim.csv").groupby("block")["nmi"].mean()
    table = tables["nmi"].set_index(["arm", "block"])["nmi"]
    assert table["mim"].to_dict() == pytest.approx(nmi.to_dict())
    fourier = pd.read_csv("results/analysis/fourier/random.csv").query("frequency == 0.75")
    table = tables["log_amplitude"].set_index(["arm", "block"])["log_amplitude"]
    assert table["random"].to_dict() == pytest.approx(
        fourier.groupby("block")["log_amplitude"].mean().to_dict()
    )
    row = tables["accuracies"].set_index(["arm", "labels"]).loc[("mim", "shape")]
    for column, file in (("linear", "probe/linear/mim"), ("fine_tuned", "finetune/mim")):
        measured = json.loads(Path(f"results/{file}.json").read_text())["labels"]["shape"]["accuracy"]
        assert row[column] == pytest.approx(measured)


def test_what_a_study_does_not_have_has_no_rows(
    tables: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_params()
    fewer = {"arms": {"random": study.arms["random"]}}
    fewer |= {"analyses": {"attention": study.analyses["attention"]}}
    plots = plot_tables(Results(study.model_copy(update=fewer)))
    assert {name for name, table in plots.items() if len(table)} == {"accuracies", "distance", "nmi"}
    assert plots["log_amplitude"].columns.to_list() == ["arm", "block", "log_amplitude"]


def test_a_table_without_rows_is_no_error_and_labels_are_no_html(
    project: Path, tables: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_params()
    changed = {"analyses": {"attention": study.analyses["attention"]}}
    changed |= {"labels": {"cl": "<script>alert(1)</script> & more"}}
    for name, table in plot_tables(Results(study.model_copy(update=changed))).items():
        table.to_csv(f"reports/plots/{name}.csv", index=False)
    done = run_in(project, "dvc", "plots", "show", "--json")
    shown = json.loads(done.stdout)
    assert done.returncode == 0 and not shown.get("errors"), done.stderr
    assert "<script>" not in done.stdout and "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in done.stdout


def test_dvc_draws_all_arms(project: Path, tables: dict[str, pd.DataFrame]) -> None:
    done = run_in(project, "dvc", "plots", "show", "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert not shown.get("errors")
    drawn = {name: plot["content"] for name, (plot,) in shown["data"].items()}
    assert list(drawn) == [
        next(iter(plot)) for plot in yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    ]
    for name, content in drawn.items():
        values, axes = content["data"]["values"], content["encoding"]
        trained = {"CL", "mim"} if name in ("Pre-training loss", "Learning rate") else {"CL", "mim", "random"}
        assert {row["arm"] for row in values} == trained, name
        assert all(row[axes[axis]["field"]] for row in values for axis in ("x", "y")), name
        assert axes["color"]["field"] == "arm"
        assert "<DVC" not in json.dumps(content)


def test_dvc_lists_the_metrics_of_all_arms(project: Path) -> None:
    done = run_in(project, "dvc", "metrics", "show", "--json")
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)[""]["data"]
    for arm in ARMS:
        for kind in ("probe/knn", "probe/linear", "finetune"):
            accuracy = metrics[f"results/{kind}/{arm}.json"]["data"]["labels"]["shape"]["accuracy"]
            assert 0 < accuracy < 1
    assert "verdict" in json.dumps(metrics["results/claims.json"])
