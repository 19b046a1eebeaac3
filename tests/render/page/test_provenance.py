"""The footer depends on the content of the inputs, not on the machine."""

from pathlib import Path

from stages.render.page.provenance import portable, provenance
from stages.study.params import load_params
from tests.render.synthetic import ROOT


def test_paths_of_this_machine_are_shortened() -> None:
    assert portable({"a": "/home/me/x.pth", "b": ["~/data", "torch/cifar10"]}) == {
        "a": "x.pth",
        "b": ["data", "torch/cifar10"],
    }


def test_provenance_ignores_runtime_and_follows_content(tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text("1")
    study = load_params(ROOT / "params.yaml")
    threads = study.model_copy(update={"runtime": study.runtime.model_copy(update={"threads": 7})})
    first = provenance(study, inputs=[file])
    assert provenance(threads, inputs=[file]) == first and "runtime" not in first.params
    file.write_text("2")
    assert provenance(study, inputs=[file]).inputs != first.inputs
    other = study.model_copy(update={"seed": 1})
    assert provenance(other, inputs=[file]).params_digest != first.params_digest
