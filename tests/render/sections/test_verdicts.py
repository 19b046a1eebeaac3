"""Verdicts are told as they were decided."""

from stages.render.figures.captions import trainings_of
from stages.render.sections.verdicts import (
    claims_caption,
    gate_rows,
    gates_in_words,
    runs,
    steadiness,
    tally,
)
from tests.render.synthetic import study_of
from tests.render.synthetic_claims import claims


def test_claims_keep_their_verdicts() -> None:
    told = claims()
    entries = [words | told["claims"][words["name"]] for words in told["entries"]]
    assert tally(entries) == (
        "3 headline claims: 1 supported, 1 contradicted and 1 not testable at this budget. "
        "1 hybrid claim: 1 not tested. 1 exploratory claim: 1 undecided. "
        "About these encoders only: 1 comparison."
    )
    assert steadiness(entries) == "0 of 1 verdicts are the same under every choice."
    assert steadiness(entries[1:]) == ""
    assert claims_caption(told["rules"]) == (
        "How the claims were decided: 95 % interval over trainings. Holm over 3 tested claims."
    )


def test_gates_stand_at_the_top() -> None:
    told = claims()
    entries = [words | told["claims"][words["name"]] for words in told["entries"]]
    rows = gate_rows(told["gates"])
    assert rows.index.tolist() == ["cl: learnt", "mim: learnt"]
    assert rows["status"].tolist() == ["passed", "failed"]
    assert gates_in_words(told["gates"], entries) == (
        "1 claim cannot be tested at this budget: linear probe of mim: +0.3 points over the untrained "
        "encoder."
    )
    assert gates_in_words(told["gates"][:1], entries) == "All conditions for testing claims hold."
    unknown = [gate | {"status": "not measured"} for gate in told["gates"]]
    assert gates_in_words(unknown, entries) == "2 conditions for testing claims not measured."
    assert gates_in_words([], entries) == ""


def test_how_often_encoders_were_trained() -> None:
    some = study_of({"a": "masked", "b": {"objective": "random", "seeds": [0]}}, labels={"b": "B"})
    assert runs(study_of({"a": "masked"})) == ""
    assert runs(some).startswith("B: trained once.")
    assert runs(study_of({"a": "random"}, seeds=[5])).startswith("Every encoder was trained once.")
    assert trainings_of(study_of({"a": "masked"})) == "mean over 2 trainings with 95 % t-intervals over seeds"
    assert trainings_of(some).endswith("; B: one training, interval over images")
    assert trainings_of(study_of({"a": "masked"}, seeds=[5])).startswith("one training an arm")
