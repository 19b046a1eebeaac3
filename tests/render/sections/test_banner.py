"""The banner says what was studied, what held and the most important limit, from results alone."""

from typing import Any

import pytest

from stages.render.sections.banner import banner, limit, outcome, precisions, studied
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
        "This demonstration compares 4 encoders, 4 seeds each, with 0.20 million parameters, pre-trained for "
        f"{study.pretrain.epochs} epochs on 8,000 images of drawn shapes and textures (32 × 32 px), "
        "at precision 32-true."
    )
    assert (
        outcome(CLAIMS) == "Of 4 headline claims of the paper: 2 supported, 1 contradicted and 1 not tested."
    )
    assert limit(study, manifest(), PASSED, CLAIMS).startswith(
        "Limit: this is a demonstration on drawn images"
    )
    html = banner(study, manifest(), {"claims": CLAIMS, "gates": PASSED})
    assert html.count("<p>") == 3 and html.startswith('<div class="banner">') and "32\u00a0px" in html


def test_one_seed_gets_no_verdict_and_says_so() -> None:
    study = study_of(ARMS, seeds=[0])
    alone = [
        claim | {"scope": "these encoders", "verdict": "higher"} for claim in CLAIMS if "effect" in claim
    ]
    assert "4 encoders, one training each, with" in studied(study, manifest())
    assert outcome(alone) == (
        "No headline claim of the paper gets a verdict; 2 of 3 differences between these encoders point the "
        "way the paper says."
    )
    assert limit(study, manifest(), [], alone).startswith("Limit: every encoder was trained once")


def test_a_failed_condition_comes_before_every_other_limit() -> None:
    failed = [{"status": "failed", "words": "linear probe of mim: +0.3 points over the untrained encoder"}]
    blocked = [claim | {"verdict": "not testable at this budget"} for claim in CLAIMS[:2]]
    assert limit(study_of(ARMS, seeds=[0]), manifest(), [*PASSED, *failed], blocked) == (
        "Limit: 1 condition for testing fails (linear probe of mim: +0.3 points over the untrained encoder), "
        "which leaves 2 claims untested."
    )
    assert "2 conditions for testing fail (" in limit(study_of(ARMS), manifest(), 2 * failed, blocked)


def test_imported_encoders_have_no_budget() -> None:
    moco = {"objective": "imported", "weights": "moco.pth", "format": "moco_v3"}
    simmim = {"objective": "imported", "weights": "simmim.pth", "format": "simmim"}
    study = study_of({"moco": moco, "simmim": simmim})
    told = studied(study, manifest() | {"source": "/data/imagenet"})
    assert told == (
        "This study compares 2 encoders (2 imported), one training each, measured on 2,000 held-out images "
        "of imagenet (32 × 32 px)."
    )
    beside = study_of({"cl": "contrastive", "moco": moco}, seeds=[0, 1, 2])
    assert "2 encoders (1 imported), 1 to 3 seeds each, with" in studied(beside, manifest())
    assert limit(beside, manifest(), PASSED, []).endswith("without the variation between seeds: moco.")


def test_mixed_precision_is_named_and_limits() -> None:
    study = study_of({"cl": {"objective": "contrastive", "precision": "bf16-mixed"}, "mim": "masked"})
    assert precisions(study) == ["bf16-mixed", "32-true"]
    assert studied(study, manifest()).endswith("at precision bf16-mixed and 32-true.")
    assert "differ in precision (bf16-mixed and 32-true)" in limit(study, manifest(), PASSED, [])


@pytest.mark.parametrize(
    ("width", "words"), [(64, "the encoders are small"), (1024, "one family of encoders and one recipe")]
)
def test_photographs_by_small_and_by_large_encoders(width: int, words: str) -> None:
    study = study_of({name: {"objective": name_of, "width": width} for name, name_of in
                      (("cl", "contrastive"), ("mim", "masked"))})  # fmt: skip
    assert words in limit(study, manifest() | {"source": "torch/cifar10"}, PASSED, [])
