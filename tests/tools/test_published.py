"""The preset that measures published checkpoints."""

import re

import pytest

from stages.encoders.downloads import refuse_address
from stages.study.errors import StudyError
from stages.study.params import read_yaml, validate
from stages.tools.preset import merge
from tests.project import ROOT


def test_every_checkpoint_has_an_address_or_is_asked_for():
    values = read_yaml(ROOT / "params.yaml")
    merge(values, read_yaml(ROOT / "stages/presets/published.yaml"))
    study = validate(values)
    assert {name: arm.format for name, arm in study.arms.items() if arm.format} == {
        "moco": "moco_v3",
        "simmim": "simmim",
        "mae": "mae",
        "dino": "dino",
    }
    assert (study.data.image_size, study.vit.width, study.vit.patch_size) == (224, 768, 16)
    for name, arm in study.arms.items():
        if arm.weights and name != "simmim":
            assert arm.weights.startswith("https://dl.fbaipublicfiles.com/")
            refuse_address(arm.weights, sha256=arm.sha256)
    with pytest.raises(StudyError, match="this site needs a browser"):
        refuse_address(str(study.arms["simmim"].weights), sha256=None)


def test_the_header_says_what_is_to_be_expected_and_under_which_licence():
    text = (ROOT / "stages/presets/published.yaml").read_text()
    header = text[: text.index("data:")]
    for words, count in (("attention distance", 12), ("mutual information", 12), ("log amplitude", 13)):
        line = next(
            line for line in header.splitlines() if words in line and re.search(r"\d\.?\d* [-.\d]", line)
        )
        numbers = re.findall(r"(?<![\d/])-?\d*\.\d+", line)
        assert len(numbers) == count, line
    assert all(word in header for word in ("CC BY-NC 4.0", "Apache 2.0", "MIT"))
