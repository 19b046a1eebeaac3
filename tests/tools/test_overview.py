import shutil

import pytest
from PIL import Image

from stages.study.paths import read_json, write_json
from stages.tools.overview import MAIN, OTHERS, PICTURE, claims_digest, overview, shown_digest
from stages.tools.published import PUBLISHED


@pytest.fixture
def folder(tmp_path):
    """The claims of the published studies that the picture shows."""
    for name in (MAIN, *OTHERS.values()):
        (tmp_path / name).mkdir()
        shutil.copy(PUBLISHED / name / "claims.json", tmp_path / name)
    return tmp_path


def test_a_picture_is_drawn_once_and_again_when_claims_change(folder):
    assert overview(folder, check=True) == "" and not (folder / PICTURE).exists()
    assert overview(folder, check=False).endswith("drawn")
    with Image.open(folder / PICTURE) as image:
        size = image.size
        assert size[0] == 1650 and image.convert("L").getextrema()[0] < 255
    assert overview(folder, check=True).endswith("agrees with the published results")
    for name in (MAIN, *OTHERS.values()):  # a claim that no study tests has no line
        path = folder / name / "claims.json"
        content = read_json(path)
        content["claims"]["frequency"] = {"verdict": "not tested", "family": "headline"}
        write_json(path, content)
    assert overview(folder, check=True) == "" and overview(folder, check=False).endswith("drawn")
    with Image.open(folder / PICTURE) as image:
        assert image.height < size[1]


def test_the_committed_picture_shows_the_committed_claims():
    assert shown_digest(PUBLISHED / PICTURE) == claims_digest(PUBLISHED)
