"""Sentences about verdicts match the decisions."""

from stages.render.figures.captions import trainings_of
from stages.render.sections.verdicts import (
    claims_caption,
    gate_rows,
    gates_in_words,
    runs,
    side_of_zero,
    steadiness,
    tally,
    verdict_of,
)
from tests.render.synthetic import study_of
from tests.render.synthetic_claims import claims


def test_claims_keep_their_verdicts() -> None:
    content = claims()
    entries = [words | content["claims"][words["name"]] for words in content["entries"]]
    assert tally(entries) == (
        "3 headline claims: 1 supported, 1 contradicted and 1 not testable at this budget. "
        "1 headline claim on the hybrid: 1 not tested. 1 exploratory claim: 1 undecided. "
        "1 further claim, about these encoders only, not the methods."
    )
    assert steadiness(entries) == (
        "0 of 1 verdict on claims with several analysis choices are the same under all of them."
    )
    assert steadiness(entries[1:]) == ""
    assert claims_caption(content["rules"]) == (
        "How the claims were decided: 95 % interval over trainings. Holm over 3 tested claims."
    )


def test_an_undecided_claim_says_on_which_side_of_0_it_lies() -> None:
    claim = {"verdict": "undecided", "corrected_low": -0.4, "corrected_high": -0.1}
    assert side_of_zero(claim) == "below 0" and "below 0" in verdict_of(claim)
    assert side_of_zero(claim | {"corrected_low": 0.1, "corrected_high": 0.4}) == "above 0"
    assert side_of_zero(claim | {"corrected_high": 0.1}) == ""
    assert side_of_zero(claim | {"verdict": "contradicted"}) == side_of_zero({"verdict": "undecided"}) == ""


def test_conditions_are_summarised() -> None:
    content = claims()
    entries = [words | content["claims"][words["name"]] for words in content["entries"]]
    rows = gate_rows(content["gates"])
    assert rows.index.tolist() == ["cl: learnt", "mim: learnt"]
    assert rows["status"].tolist() == ["passed", "failed"]
    assert gates_in_words(content["gates"], entries) == (
        "1 claim cannot be tested at this budget, because 1 condition fails (linear probe of mim: +0.3 "
        "points over the untrained encoder)."
    )
    assert gates_in_words(content["gates"][:1], entries) == "All conditions for testing claims hold."
    unknown = [gate | {"status": "not measured"} for gate in content["gates"]]
    assert gates_in_words(unknown, entries) == "2 conditions for testing claims were not measured."
    assert gates_in_words([], entries) == ""


def test_arms_with_one_training_are_named() -> None:
    some = study_of({"a": "masked", "b": {"objective": "random", "seeds": [0]}}, labels={"b": "B"})
    assert runs(study_of({"a": "masked"})) == ""
    assert runs(some).startswith("B was trained once, so")
    assert runs(study_of({"a": "random"}, seeds=[5])).startswith("The encoder was trained once, so")
    assert trainings_of(study_of({"a": "masked"})) == (
        "mean over 2 trainings with 95 % t-intervals over trainings"
    )
    assert trainings_of(some).endswith("; B: one training, interval over images")
    assert trainings_of(study_of({"a": "masked"}, seeds=[5])).startswith("one training per arm")
