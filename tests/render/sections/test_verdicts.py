"""Verdicts are told as they were decided."""

from stages.render.figures.captions import trainings_of
from stages.render.sections.verdicts import (
    claim_rows,
    claims_by_question,
    claims_caption,
    gate_rows,
    gates_in_words,
    replication_rows,
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
    frame = claim_rows(entries)
    assert "4.31 [4.27, 4.35] px" in frame["difference"].iloc[0]
    assert "−6.1 [−8.0, −4.0] points" in frame["difference"].iloc[1]
    assert frame["difference"].iloc[3] == "–" and "no arm has the objective hybrid</span>" in frame.index[3]
    assert 'class="verdict not-tested"' in frame["verdict"].iloc[3]
    assert frame["against untrained"].tolist() == ["contrastive no different, masked below", *"–––––"]
    assert "fragile" in frame["verdict"].iloc[2] and "fragile" not in frame["verdict"].iloc[0]
    assert frame["verdict"].iloc[4].endswith("</span> in these encoders") and "↑" in frame["verdict"].iloc[4]
    assert "not testable at this budget</span>" in frame["verdict"].iloc[5]
    assert frame["difference"].iloc[5] != "–"  # the numbers stand, without a verdict
    assert "exploratory" in frame.index[2] and "exploratory" not in frame.index[0]
    assert frame["means"].iloc[0].startswith("cl\u00a016.2, mim\u00a011.9")
    assert frame["robust"].tolist() == ["3 of 4 choices agree; 1 undecided", *"–––––"]
    linked = claim_rows(entries, curves={"claim_0": "fig-one"})["robust"]
    assert linked.iloc[0] == '<a href="#fig-one">3 of 4 choices agree; 1 undecided</a>'
    assert linked.iloc[1] == "–"
    assert frame.index[0].startswith('Claim &lt;0&gt; &amp; more.<span class="basis">§2, ')
    assert frame.index[0].endswith("p\u00a0&lt;\u00a00.001; d\u00a0=\u00a02.1; margin 0.83\u00a0px</span>")
    grouped = claims_by_question([*entries, entries[0] | {"section": "beyond (us)"}])
    assert {heading: len(own) for heading, own in grouped.items()} == {
        "How do self-attentions behave? (§2)": 6,
        "Beside the main text": 1,
    }
    assert steadiness(entries) == "0 of 1 verdicts are the same under every choice."
    assert steadiness(entries[1:]) == ""
    again = replication_rows(entries)
    assert again.index.tolist() == ["Claim <0> & more. (dino over masked)"]
    assert "undecided" in again["verdict"].iloc[0] and "0.2 [−0.1, 0.5] px" in again["difference"].iloc[0]
    assert len(replication_rows(entries[1:])) == 0
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
