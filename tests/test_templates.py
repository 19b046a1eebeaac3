"""The templates in the README of a room: copied as they say, they run, and no other file has to change."""

import re
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest

from stages.claims.claim import FROZEN, Margin
from stages.claims.entries import CLAIMS
from stages.study.paths import read_json
from tests.forked import forked
from tests.project import copy_project, edit

ROOT = Path(__file__).parents[1]
CLASSES = {  # what the second step of a README asks for: the class, and the field
    "objectives": (
        "class Rotation(WeakView):\n    pass\n",
        "class Objectives(Section):\n",
        "    rotation: Rotation\n",
    ),
    "probes": (
        "class Nearest(Section):\n    images: Count\n",
        "class Probes(Section):\n",
        "    nearest: Nearest = Field(default=None)\n",
    ),
}


def template(room):
    """Name and code of the module that a room's README shows."""
    text = (ROOT / "stages" / room / "README.md").read_text()
    name = re.search(rf"`stages/{room}/(\w+)\.py`:", text)[1]
    return name, re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]


def follow(project, room):
    """Add what the README of a room shows, and give its name."""
    name, code = template(room)
    (project / "stages" / room / f"{name}.py").write_text(code)
    if room in CLASSES:
        path = project / "stages" / room / "settings.py"
        added, section, field = CLASSES[room]
        head, body = path.read_text().split(section)
        docstring = re.match(r'    """.*?"""\n\n', body, re.DOTALL)
        start = docstring.end() if docstring else 0
        path.write_text(f"{head}{added}\n\n{section}{body[:start]}{field}{body[start:]}")
    return name


def run(project, *words):
    """Run a stage with the code of the project itself."""
    done = forked(project, *words, own_code=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = copy_project(tmp_path_factory.mktemp("templates") / "study", leave_out=("cl", "mim", "hybrid"))
    names = {room: follow(project, room) for room in ("objectives", "probes", "analyses", "corruptions")}
    weak_view = {
        "crop_scale_min": 0.67,
        "jitter_probability": 0.0,
        "jitter_strength": 1.0,
        "grey_probability": 0.0,
    }
    changes = {
        "objectives": {names["objectives"]: weak_view},
        "arms": {names["objectives"]: {"objective": names["objectives"]}},
        "probes": {names["probes"]: {"images": 40}},
        "analyses": {names["analyses"]: {"images": 12, "scale": 0.5}},
        "robustness": {"corruptions": {names["corruptions"]: {"levels": [0.1]}}},
    }
    edit(project, changes)
    run(project, "prepare")
    run(project, "pretrain", "--arm", names["objectives"])
    return project


def test_of_an_objective(project):
    history = pd.read_csv(project / "models/rotation/0/history.csv")
    assert len(history) == 2 and 1.0 < history["loss"].iloc[-1] < 1.8  # log 4 is chance


def test_of_a_probe(project):
    run(project, "features", "--arm", "rotation")
    run(project, "probe", "--arm", "rotation", "--probe", "nearest")
    metrics = read_json(project / "results/probe/nearest/rotation.json")
    assert "nearest of 40 training images" in metrics["protocol"]
    assert set(metrics["labels"]) == {"shape", "texture"}
    for label in metrics["labels"].values():  # an accuracy, not a mere preference for one pooling
        assert label["validation"] * 40 == pytest.approx(round(label["validation"] * 40), abs=1e-3)
        assert 0 <= label["validation"] < 1


def test_of_an_analysis(project):
    assert "36 values of 12 images" in run(
        project, "analyze", "--arm", "rotation", "--analysis", "token_length"
    )


def test_of_a_corruption(project):
    run(project, "features", "--arm", "rotation")
    run(project, "finetune", "--arm", "rotation")
    run(project, "robustness", "--arm", "rotation")
    table = pd.read_csv(project / "results/robustness/rotation.csv")
    assert set(table.loc[table["trial"] == "darkness", "level"]) == {0.1}


@pytest.mark.parametrize("room", ["objectives", "probes", "analyses", "corruptions"])
def test_a_contract_and_a_readme_are_short(room):
    for name, most in {"contract.py": 60, "README.md": 80}.items():
        assert len((ROOT / "stages" / room / name).read_text().splitlines()) <= most, name


def test_the_claim_in_the_readme_fits_the_file_that_it_names():
    text = (ROOT / "stages/claims/README.md").read_text()
    file = re.search(r"here `(entries_\w+)\.py`", text)[1]
    names = vars(import_module(f"stages.claims.{file}")) | {"Margin": Margin}  # as the README says
    claim = eval(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], names)
    assert claim.name not in {entry.name for entry in CLAIMS} and claim.frozen > FROZEN
