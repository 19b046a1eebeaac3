"""params.yaml with values that it should not have: accepted, or refused in one line that names the key."""

from itertools import islice, pairwise

import pytest

from stages.study.documents import read_yaml
from stages.study.errors import ParamsError, StudyError
from stages.study.params import load_params, validate
from stages.study.plain import shown
from tests.data.photograph_store import absence
from tests.hostile.fuzz import ODD, Fuzz, full_study, keys_of, presets, workplace
from tests.project import ROOT

SHARE = 24  # each value is replaced by every so-manieth odd value


@pytest.fixture
def fuzz(tmp_path, monkeypatch):
    """Runs `check` on odd values, beside a folder of images."""
    monkeypatch.chdir(workplace(tmp_path))
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return Fuzz(monkeypatch)


def test_no_odd_value_gives_a_traceback_or_a_line_without_its_key(fuzz, tmp_path):
    values = full_study(tmp_path / "images")
    outcomes = [
        fuzz.outcome(values, key, odd)
        for number, key in enumerate(keys_of(values))
        for odd in islice(ODD, number % SHARE, None, SHARE)
    ]
    assert len(outcomes) > 1000
    assert [outcome for outcome in outcomes if outcome.problem] == []
    refused = sum(bool(outcome.line) for outcome in outcomes)
    assert 0.6 * len(outcomes) < refused < 0.95 * len(outcomes)


def test_every_odd_value_is_refused_as_a_number_of_blocks(fuzz, tmp_path):
    values = full_study(tmp_path / "images")
    accepted = [odd for odd in ODD if not fuzz.outcome(values, ("vit", "depth"), odd).line]
    assert accepted == ["one", "whole float", "number"]  # 1, 3.0 and '3'


def test_values_of_presets_too(fuzz, tmp_path):
    names = []
    for number, (name, values) in enumerate(presets(tmp_path / "images")):
        names.append(name)
        if values["data"]["store"] == "photographs" and absence():
            continue  # check refuses every value
        changed = [key for key in keys_of(values) if key[:1] in (("arms",), ("labels",))]
        for key in changed:
            for odd in islice(ODD, number % SHARE, None, SHARE):
                assert not fuzz.outcome(values, key, odd).problem
    assert len(names) == len(list((ROOT / "stages/presets").glob("*.yaml")))


TEXT = (ROOT / "params.yaml").read_text()
SEED = "seed: 0"


@pytest.mark.parametrize(
    ("seed", "words"),
    [
        ("!!python/object/apply:os.system ['touch owned']", "could not determine a constructor"),
        ("!!python/name:os.system", "could not determine a constructor"),
        ("!!int abc", "a value cannot be read"),
        ("!!float x", "a value cannot be read"),
        ("!!bool 7", "a value cannot be read"),
        ("2026-13-45", "a value cannot be read"),
        ("2026-11-28", "a date; put it in quotation marks"),
        ("!!binary aGVsbG8=", "a bytes; put it in quotation marks"),
        ("!!set {a, b}", "a set; put it in quotation marks"),
        ("9" * 5000, "a value cannot be read"),
        ("0x" + "f" * 5000, "a number of 20000 bits"),
        ("1e400", "finite number"),
        ("&a [*a]", "nested too deeply"),
        ("&a {x: *a}", "nested too deeply"),
        ("[" * 900 + "]" * 900, "nested too deeply"),
        ("*nothing", "undefined alias"),
        ('"\\ud800"', "invalid Unicode"),
        ("true", "write a number"),
        ('"a\\eb"', "control character"),
        ("{? [a, b] : 1}", "is not a name"),
        ('{"a\\nb": 1}', "is not a name"),
        ('{"a\\u202eb": 1}', "is not a name"),
    ],
)
def test_hostile_yaml_is_one_line(tmp_path, monkeypatch, seed, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(TEXT.replace(SEED, f"seed: {seed}", 1))
    with pytest.raises(ParamsError, match=words) as error:
        validate(read_yaml(tmp_path / "params.yaml"))
    line = str(error.value)
    assert line.isprintable() and len(line) < 400
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


ALPHABET = "abcdefghi"


def test_a_file_that_unfolds_to_a_billion_values_is_refused_at_once():
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{new}: &{new} [{', '.join(['*' + old] * 10)}]" for old, new in pairwise(ALPHABET)]
    values = {"seed": 0} | _read("\n".join(lines))
    with pytest.raises(ParamsError, match="holds too many values"):
        validate(values)


def _read(text):
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(text)


@pytest.mark.parametrize("text", ["", "~", "[]", "hello", "3", f"{TEXT}\n---\nseed: 1\n"])
def test_other_documents_are_one_line(tmp_path, text):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(StudyError) as error:
        load_params(tmp_path / "params.yaml")
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("analyses.singular_values.spectrum_images", "many", "spectrum_images is 'many': Input should be"),
        ("analyses.attention.image", 3, "analyses.attention.image: unknown key; valid keys here: images"),
        ("analyses.attention_maps.depths", [0.5, 2], "attention_maps.depths.1 is 2: .* less than or equal"),
        ("trajectory.analyses.singular_values.shown_images", 0, "trajectory.analyses.singular_values.shown"),
        ("robustness.corruptions.edges.levels", [1.5], "corruptions.edges.levels.0 is 1.5: .* less than"),
        ("robustness.corruptions.stylised.cycles", "x", "corruptions.stylised.cycles is 'x'"),
        ("robustness.corruptions.patch_shuffle.levels", [3], "images of 32 px cannot be cut into 3 × 3"),
        ("vit.width", 65536, "vit.width 65536 and vit.depth 6 give arm random"),
        ("pretrain.epochs", True, "pretrain.epochs is True: write a number"),
        (
            "probes.knn.temperature",
            5e-324,
            "probes.knn.temperature is 5e-324: the absolute value of a number",
        ),
        ("probes.knn.k", 2**40, "probes.knn.k is 1099511627776: Input should be less than"),
    ],
)
def test_what_would_fail_after_hours_is_refused_by_the_check(fuzz, key, value, words):
    from stages import check

    values = read_yaml(ROOT / "params.yaml")
    section = values
    *parents, last = key.split(".")
    for parent in parents:
        section = section[parent]
    section[last] = value
    if key == "vit.width":
        values["vit"] |= {"heads": 1, "mlp_ratio": 64}
    fuzz.values = values
    with pytest.raises(ParamsError, match=words):
        check.check()


def test_values_in_error_lines_are_short_and_visible():
    assert shown("\u202egnp\n\x1b[0m") == r"'\u202egnp\n\x1b[0m'"
    assert len(shown("x" * 10**6)) < 200
    assert len(shown([["y" * 10**4] * 100] * 100)) < 400
    assert shown(10**5000) == "a number of 16610 bits"
