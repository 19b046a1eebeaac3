"""Reading YAML: the values are those that DVC reads, and what cannot be read is one line."""

import pytest
from dvc.utils.serialize import load_yaml

from stages.study.documents import read_yaml
from stages.study.errors import ParamsError
from stages.study.params import load_params
from tests.project import ROOT

CONFLICT = "seed: 0\n<<<<<<< HEAD\nvit: 1\n=======\nvit: 2\n>>>>>>> other\n"
MENDED = "`, then `make study` (only stages whose inputs changed will run)"


@pytest.mark.parametrize(
    "text", ["010", "1:30", "no", "on", "1e-05", "1_000", "0o10", "0x10", "2026-01-02", "~"]
)
def test_values_are_those_of_dvc(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(f"{text}: {text}\nmore:\n- {text}\n")
    values, theirs = read_yaml(path), load_yaml(path)
    assert values == theirs and [*map(type, values)] == [*map(type, theirs)]
    assert type(values["more"][0]) is type(theirs["more"][0])


def test_the_files_of_the_project_are_read_as_dvc_reads_them():
    for name in ("params.yaml", "dvc.yaml"):
        assert read_yaml(ROOT / name) == load_yaml(ROOT / name)


@pytest.mark.parametrize(
    ("line", "words"),
    [("seed: 1:30", ["seed is '1:30'", "integer"]), ("seed: no", ["seed is 'no'", "integer"])],
)
def test_a_word_that_looks_like_a_number_is_refused(tmp_path, line, words):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text().replace("seed: 0", line, 1))
    with pytest.raises(ParamsError) as error:
        load_params(tmp_path / "params.yaml")
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("seed: 0\n".encode("utf-16"), "byte 0 is not UTF-8"),
        ("seed: 0\n".encode("utf-16-le"), "byte 1 is not UTF-8"),
        ("label: Café\n".encode("latin-1"), "byte 10 is not UTF-8"),
        (b"seed: 0\nseed: 1\n", "line 2: invalid YAML: found duplicate key"),
        (b"seed: 0\nseed: {a: 1}\n", "line 2: invalid YAML: found duplicate key"),
        (b"a: [1,\nb: }", "line 2: invalid YAML"),
        (b"a: \x01", "invalid YAML: unacceptable character"),
        (CONFLICT.encode(), f"line 2: merge conflict; run `git checkout --ours params.yaml{MENDED}"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, monkeypatch, content, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(ParamsError) as error:
        load_params()
    assert str(error.value).startswith("params.yaml") and words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_does_no_harm(tmp_path):
    (tmp_path / "params.yaml").write_bytes("\ufeffseed: 3\n".encode())
    assert read_yaml(tmp_path / "params.yaml") == {"seed": 3}
