"""Each claim has a fold with its statistics."""

from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup

from stages.claims.entries import CLAIMS
from stages.render.sections.claim_details import FIGURES, claim_details, claims_of, curves
from tests.render.synthetic_claims import claims, specifications


def entries() -> list[dict[str, Any]]:
    content = claims()
    return [words | content["claims"][words["name"]] for words in content["entries"]]


def rows_of(claim: dict[str, Any]) -> dict[str, str]:
    """Return the entries in the fold of a claim."""
    soup = BeautifulSoup(claim_details(claim), "html.parser")
    terms = [term.get_text() for term in soup.find_all("dt")]
    return dict(zip(terms, [text.get_text() for text in soup.find_all("dd")], strict=True))


def test_the_fold_has_a_permanent_address_and_its_statement_is_in_sight() -> None:
    fold = BeautifulSoup(claim_details(entries()[0], curve="<b>curve</b>"), "html.parser").details
    assert fold["id"] == "claim-claim-0" and fold.b.get_text() == "curve"
    assert fold.find("a", string="Link to this claim")["href"] == "#claim-claim-0"
    assert fold.summary.get_text() == "Claim <0> & more. ✓ supported 4.31 [4.27, 4.35] px"
    assert fold.select_one("summary .verdict")["class"] == ["verdict", "supported"]


def test_the_fold_lists_the_statistics() -> None:
    rows = {name: text.replace("\u00a0", " ") for name, text in rows_of(entries()[0]).items()}
    assert rows == {
        "Source": "§2, Fig. 3",
        "Measure": "a mean",
        "Comparison": "CL minus MIM",
        "Effect": "4.31 [4.27, 4.35] px",
        "Margin": "0.83 px",
        "Adjusted p of the verdict": "below 0.001",
        "Cohen's d": "2.1",
        "Agreement": "3 of 4 choices agree; 1 undecided",
        "Means": "CL 16.2, MIM 11.9, untrained 16.5",
        "Compared with untrained": "CL within the margin, −0.3 [−0.7, 0.1] px; "
        "MIM below, −4.6 [−5.0, −4.2] px",
        "Other methods": "DINO minus MIM: ? undecided 0.2 [−0.1, 0.5] px",
    }
    corrected = entries()[1] | {"corrected_low": -0.09, "corrected_high": -0.03, "level": 0.0167}
    assert rows_of(corrected)["Corrected interval"] == "−9.0 to −3.0\u00a0points, significance level 0.017"
    known = rows_of(entries()[1] | {"name": "finetuning", "margin": 0.02, "unit": "share of images"})
    assert known["In the paper"].startswith("0.60\u00a0points; within the margin")
    assert "within" not in rows_of(entries()[0] | {"name": "frequency", "margin": 0.15})["In the paper"]
    sides = {"unit": "share of images", "values": {"contrastive": 0.0375}}
    assert rows_of(entries()[0] | sides)["Means"] == "CL\u00a03.75\u00a0%"
    gained = entries()[0] | sides | {"statistic": "one accuracy minus another"}
    assert rows_of(gained)["Means"] == "CL\u00a03.75\u00a0points"
    untested = rows_of(entries()[3])
    assert untested["Why not tested"] == "no arm has the objective hybrid" and "Margin" not in untested
    assert "exploratory" in rows_of(entries()[2])["Source"]
    html = claim_details(entries()[2])
    assert "fragile" in html and "in these encoders" in claim_details(entries()[4])


def test_claims_are_grouped_by_section_of_the_paper() -> None:
    mixed = [*entries(), entries()[0] | {"section": "beyond (us)"}, entries()[0] | {"section": "§1, Fig. 1"}]
    assert len(claims_of(mixed, "§2")) == 6 and len(claims_of(mixed, "§1", "")) == 2
    assert claims_of(mixed, "§5") == []


def test_a_claim_with_several_choices_has_a_curve() -> None:
    ((claim, rows),) = curves(entries(), specifications())
    assert claim["name"] == "claim_0" and len(rows) == 4


def test_every_claim_names_its_figures() -> None:
    names = {claim.name for claim in CLAIMS}
    assert names == set(FIGURES)
    for one in {one for ids in FIGURES.values() for one in ids if not one.startswith("summary-")}:
        page, _, figure = one.partition("-fig-")
        assert f'\\"{figure}\\"' in Path(f"notebooks/{page}.ipynb").read_text(encoding="utf-8"), one
    fold = BeautifulSoup(claim_details(entries()[0] | {"name": "heads_alike"}), "html.parser")
    place = fold.select_one(".figures")
    assert place is not None and place["data-figures"] == "attention-fig-diversity similarity-fig-heads"
    untested = BeautifulSoup(claim_details(entries()[3]), "html.parser").select_one(".figures")
    assert untested is not None and untested["data-none"] == "No figure: no arm has the objective hybrid."
