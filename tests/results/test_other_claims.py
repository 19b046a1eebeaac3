"""Claims of another study are read whole, or refused in one line."""

import json

import pytest

from stages.results.other_claims import joined_claims, other_claims
from stages.study.errors import StudyError
from tests.render.synthetic_claims import claims


def test_words_and_numbers_are_put_together_in_the_order_of_the_entries(tmp_path):
    content = claims()
    (tmp_path / "theirs.json").write_text(json.dumps(content))
    result = other_claims("theirs", str(tmp_path / "theirs.json"))
    assert [claim["name"] for claim in result] == [entry["name"] for entry in content["entries"]]
    assert result[0]["effect"] == 4.31 and result[0]["statement"] == "Claim <0> & more."


def test_a_file_in_the_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "theirs.json").write_text(json.dumps({"claims": {}, "entries": []}))
    assert other_claims("theirs", "~/theirs.json") == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read (No such file"),
        ("{", "not JSON"),
        ('{"claims": 3}', "not the claims of a study"),
    ],
)
def test_a_file_of_something_else_is_one_line_with_the_key(tmp_path, text, words):
    path = tmp_path / "theirs.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StudyError, match=r"report\.compare_with\.theirs") as error:
        other_claims("theirs", str(path))
    assert words in str(error.value) and "\n" not in str(error.value)


def test_an_address_that_does_not_answer_is_one_line():
    with pytest.raises(StudyError, match="cannot be read") as error:
        other_claims("theirs", "http://127.0.0.1:9/claims.json")
    assert "\n" not in str(error.value)


def test_entries_without_numbers_are_refused():
    with pytest.raises(StudyError, match="do not match"):
        joined_claims({"claims": {}, "entries": [{"name": "a"}]}, where="here")
