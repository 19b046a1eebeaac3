"""The banner names the study, the outcome and the most important limit."""

from typing import Any

import pytest

from stages.claims.gates import BEYOND_MEAN, CONVERGED, LEARNT
from stages.render.sections.banner import banner, limit, outcome, precisions, studied
from stages.render.sections.verdicts import runs
from tests.render.synthetic import study_of
from tests.render.synthetic_claims import manifest

ARMS: dict[str, Any] = {
    "random": "random",
    "cl": "contrastive",
    "mim": "masked",
    "hybrid": {"objective": "hybrid", "cl_weight": 0.2},
}
CLAIMS: list[dict[str, Any]] = [
    {"family": "headline", "scope": "methods", "verdict": "supported", "effect": 0.1},
    {"family": "headline", "scope": "methods", "verdict": "contradicted", "effect": -0.1},
    {"family": "headline", "scope": "methods", "verdict": "supported", "effect": 0.2},
    {"family": "headline", "verdict": "not tested"},
    {"family": "exploratory", "scope": "methods", "verdict": "supported", "effect": 0.1},
]
PASSED: list[dict[str, Any]] = [{"status": "passed", "words": "linear probe of cl: +30.0 points"}]


def test_the_default_study() -> None:
    study = study_of(ARMS, seeds=[0, 1, 2, 3])
    assert studied(study, manifest()) == (
        "This demonstration compares 4 encoders (1 untrained), each from 4 seeds, with 0.20 million "
        f"parameters, pre-trained for {study.pretrain.epochs} epochs on 8,000 images of drawn shapes and "
        "textures (32 × 32 px), in 32-bit precision."
    )
    assert (
        outcome(CLAIMS)
        == "Verdicts on 4 headline claims of the paper: 2 supported, 1 contradicted and 1 not tested."
    )
    assert limit(study, manifest(), PASSED, CLAIMS).startswith(
        "Limit: this is a demonstration on drawn images"
    )
    html = banner(study, manifest(), {"claims": CLAIMS, "gates": PASSED})
    assert html.count("<p>") == 3 and html.startswith('<div class="banner">') and "32\u00a0px" in html


def test_an_arm_of_no_epochs_is_not_trained_as_long_as_the_others() -> None:
    arms = {"cl": "contrastive", "mim": {"objective": "masked", "epochs": 0}}
    study = study_of(arms)
    assert f"pre-trained for 0 and {study.pretrain.epochs} epochs" in studied(study, manifest())


def test_one_seed_gives_no_verdict() -> None:
    study = study_of(ARMS, seeds=[0])
    alone = [
        claim | {"scope": "these encoders", "verdict": "higher"} for claim in CLAIMS if "effect" in claim
    ]
    assert "4 encoders (1 untrained), each from one seed, with" in studied(study, manifest())
    assert outcome(alone) == (
        "This study gives no verdict on the headline claims of the paper; 2 of 3 differences between these "
        "encoders have the direction that the paper claims."
    )
    blocked = [claim | {"verdict": "not testable at this budget"} for claim in alone]
    assert "1 of 2 differences" in outcome([blocked[0], *alone[1:]])
    assert outcome(blocked).endswith("; it tests none of them.")
    assert limit(study, manifest(), [], alone).startswith("Limit: every encoder was trained once")


def test_sizes_that_read_alike_are_named_once() -> None:
    deeper = {"objective": "masked", "depth": 5}
    study = study_of({"cl": "contrastive", "mim": {"objective": "masked", "layer_scale": 0.1}})
    assert "with 0.20 million parameters" in studied(study, manifest())
    assert "with 0.17 and 0.20 million" in studied(study_of({"cl": "contrastive", "mim": deeper}), manifest())


def test_one_encoder_is_compared_with_nothing() -> None:
    study = study_of({"mim": "masked"}, seeds=[0])
    assert studied(study, manifest()).startswith(
        "This demonstration studies 1 encoder, trained from one seed, with 0.20 million parameters"
    )
    several = studied(study_of({"mim": "masked"}, seeds=[0, 1]), manifest())
    assert "studies 1 encoder, trained from 2 seeds, with" in several
    assert outcome([{"family": "headline", "verdict": "not tested"}]) == (
        "This study gives no verdict on the headline claims of the paper; it tests none of them."
    )
    failed = [{"status": "failed", "name": LEARNT, "arm": "mim"}]
    assert limit(study, manifest(), failed, []) == (
        "Limit: mim is not clearly better than the untrained encoder in a linear probe."
    )
    once = "the encoder was trained once, so its results may be due to the seed."
    assert limit(study, manifest(), PASSED, []) == f"Limit: {once}"
    assert runs(study) == f"T{once[1:]}"


def test_an_undecided_claim_against_the_paper_is_counted() -> None:
    against = {"verdict": "undecided", "corrected_low": -3.0, "corrected_high": -1.0}
    claims = [CLAIMS[0] | {"verdict": "undecided"}, CLAIMS[0] | against]
    assert "2 undecided (1 against the paper, by an interval without 0)" in outcome(claims)


def test_one_difference_is_counted_in_the_singular() -> None:
    alone = [CLAIMS[0] | {"scope": "these encoders", "verdict": "higher"}]
    assert "; 1 of 1 difference between these encoders has the direction" in outcome(alone)


def test_a_failed_condition_is_the_most_important_limit() -> None:
    failed = [{"status": "failed", "name": LEARNT, "arm": "mim"}]
    blocked = [claim | {"verdict": "not testable at this budget"} for claim in CLAIMS[:2]]
    assert limit(study_of(ARMS, seeds=[0]), manifest(), [*PASSED, *failed], blocked) == (
        "Limit: 2 claims cannot be tested, because mim is not clearly better than the untrained encoder in a "
        "linear probe."
    )


def test_all_failed_conditions_are_named() -> None:
    pairs = ((CONVERGED, "random"), (LEARNT, "cl"), (LEARNT, "mim"), (BEYOND_MEAN, "mim"))
    failed = [{"status": "failed", "name": name, "arm": arm} for name, arm in pairs]
    study = study_of(ARMS, labels={"random": "Random init", "mim": "MIM"})
    blocked = [CLAIMS[0] | {"verdict": "not testable at this budget"}]
    assert limit(study, manifest(), failed, blocked).endswith(
        "because fine-tuning of Random init may not have converged, cl and MIM are not clearly better than "
        "the untrained encoder in a linear probe and the pre-training loss of MIM is hardly below that of "
        "predicting a local mean."
    )


def test_imported_encoders_have_no_budget() -> None:
    moco = {"objective": "imported", "weights": "moco.pth", "format": "moco_v3"}
    simmim = {"objective": "imported", "weights": "simmim.pth", "format": "simmim"}
    study = study_of({"moco": moco, "simmim": simmim})
    sentence = studied(study, manifest() | {"source": "/data/imagenet"})
    assert sentence == (
        "This study compares 2 encoders (2 imported), each from one seed, measured on 2,000 held-out "
        "images of imagenet (32 × 32 px)."
    )
    beside = study_of({"cl": "contrastive", "moco": moco}, seeds=[0, 1, 2])
    assert "2 encoders (1 imported), each from 1 to 3 seeds, with" in studied(beside, manifest())
    assert limit(beside, manifest(), PASSED, []).startswith("Limit: moco was trained once")


def test_mixed_precision_is_named_and_limits() -> None:
    study = study_of({"cl": {"objective": "contrastive", "precision": "bf16-mixed"}, "mim": "masked"})
    assert precisions(study) == ["bfloat16 mixed precision", "32-bit precision"]
    assert studied(study, manifest()).endswith("in bfloat16 mixed precision and 32-bit precision.")
    assert "differ in precision (bfloat16 mixed precision and 32-bit precision)" in limit(
        study, manifest(), PASSED, []
    )


@pytest.mark.parametrize(
    ("width", "words"),
    [
        (64, "encoders of 0.20 million parameters instead of 86 million"),
        (1024, "one family of encoders and one recipe"),
    ],
)
def test_photographs_by_small_and_by_large_encoders(width: int, words: str) -> None:
    study = study_of({name: {"objective": name_of, "width": width} for name, name_of in
                      (("cl", "contrastive"), ("mim", "masked"))})  # fmt: skip
    assert words in limit(study, manifest() | {"source": "torch/cifar10"}, PASSED, [])


def test_images_of_the_size_of_the_paper_are_no_limit() -> None:
    study = study_of({"cl": "contrastive", "mim": "masked"}, seeds=[0, 1])
    photographs = manifest() | {"source": "photographs.tar"}
    assert "images of 32 px instead of 224" in limit(study, photographs | {"image_size": 32}, [], [])
    assert "224 px" not in limit(study, photographs | {"image_size": 224}, [], [])
    assert "instead of 224" not in limit(study, photographs | {"image_size": 224}, [], [])
