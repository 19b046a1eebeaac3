"""Synthetic claims, specifications and data manifest."""

from typing import Any

import pandas as pd


def manifest() -> dict[str, Any]:
    """Return a data manifest with two label sets and two unreadable files."""
    names = {"shape": ["circle", "square", "star"], "texture": ["dots", "lines"]}
    return {
        "source": "shapes_textures",
        "image_size": 32,
        "labels": names,
        "mean": [0.5] * 3,
        "std": [0.2] * 3,
        "digest": "0123456789abcdef",
        "splits": {"train": {"images": 8000}, "test": {"images": 2000}},
        "unreadable": ["a.jpg", "b.jpg"],
    }


def claims() -> dict[str, Any]:
    """Return claims with all verdicts."""
    common = {
        "section": "§2, Fig. 3",
        "comparison": "contrastive over masked",
        "statistic": "a mean",
        "unit": "px",
        "choices": [
            {"name": "blocks", "options": ["last third", "last block"]},
            {"name": "heads", "options": ["mean", "median"]},
        ],
        "fixed": ["the last epoch"],
    }
    values = {"contrastive": 16.2, "masked": 11.9, "random": 16.5}
    share = {"unit": "share of images", "why": ""}
    about_methods = {"family": "headline", "scope": "methods"}
    claims_in_order: list[dict[str, Any]] = [
        about_methods
        | {
            "verdict": "supported",
            "effect": 4.31,
            "low": 4.27,
            "high": 4.35,
            "p_adjusted": 0.0006,
            "why": "",
            "d_z": 2.13,
            "d": 2.13,
            "margin": 0.83,
            "fragile": False,
            "specifications": {
                "count": 4,
                "agree": 0.75,
                "same_sign": 0.75,
                "supported": 0.75,
                "contradicted": 0.0,
                "negligible": 0.0,
                "undecided": 0.25,
                "median_d": 1.9,
                "median_d_z": 0.4,
            },
            "joint_test": {
                "median": 2.0,
                "share": 0.75,
                "p_median": 2 / 70,
                "p_share": 0.03,
                "relabellings": 70,
                "least": 2 / 70,
            },
            "replications": {
                "dino over masked": {
                    "scope": "methods",
                    "verdict": "undecided",
                    "effect": 0.2,
                    "low": -0.1,
                    "high": 0.5,
                    "p": 0.2,
                    "d_z": 0.06,
                }
            },
            "trajectory": [
                {"share": share, "images_seen": seen, "images_seen_other": seen, "scope": "methods"}
                | {"effect": effect, "low": effect - 0.5, "high": effect + 0.5}
                for share, seen, effect in ((0.1, 3008, 0.2), (0.33, 9888, 2.0), (1.0, 29952, 4.3))
            ],
            "trajectory_word": "emerging",
            "values": values,
            "arms": {"contrastive": ["cl"], "masked": ["mim"], "random": ["random"]},
            "over_random": {
                "contrastive": {"effect": -0.3, "low": -0.7, "high": 0.1, "verdict": "within the margin"},
                "masked": {"effect": -4.6, "low": -5.0, "high": -4.2, "verdict": "below"},
            },
        },
        share
        | about_methods
        | {"verdict": "contradicted", "effect": -0.061, "low": -0.08, "high": -0.04, "p_adjusted": 0.001},
        share
        | {"family": "exploratory", "scope": "methods", "fragile": True}
        | {"verdict": "undecided", "effect": 0.004, "low": -0.02, "high": 0.021, "p_adjusted": 0.7},
        {"family": "hybrid", "verdict": "not tested", "why": "no arm has the objective hybrid"},
        share
        | {"family": "headline", "scope": "these encoders", "verdict": "higher"}
        | {"effect": 0.04, "low": 0.02, "high": 0.06, "p_adjusted": 0.01},
        about_methods
        | {"verdict": "not testable at this budget", "effect": 0.3, "low": 0.1, "high": 0.5}
        | {"why": "linear probe of mim: +0.3 points over the untrained encoder"},
    ]
    words = (
        "name",
        "section",
        "comparison",
        "statistic",
        "unit",
        "statement",
        "arms",
        "why",
        "choices",
        "fixed",
    )
    entries, numbers = [], {}
    for number, claim in enumerate(claims_in_order):
        name = f"claim_{number}"
        whole = common | {"name": name, "statement": f"Claim <{number}> & more.", "why": ""} | claim
        entries.append({key: whole.pop(key) for key in words if key in whole})
        numbers[name] = whole
    rules = {
        "correction": "Holm over 3 tested claims",
        "interval": "95 % interval over trainings",
        "replications": "Decided like the claims, uncorrected",
    }
    words_of = "linear probe of {arm}: {gain:+.1f} points over the untrained encoder"
    gates = [
        {"name": "learnt", "arm": arm, "status": status, "value": gain / 100}
        | {"words": words_of.format(arm=arm, gain=gain)}
        for arm, status, gain in (("cl", "passed", 30.0), ("mim", "failed", 0.3))
    ]
    return {"claims": numbers, "entries": entries, "rules": rules, "gates": gates}


def specifications() -> pd.DataFrame:
    """Return the first claim under four combinations of two choices."""
    rows = [
        ("last third", "mean", 4.31, "supported"),
        ("last third", "median", 3.2, "supported"),
        ("last block", "mean", 0.9, "supported"),
        ("last block", "median", -0.1, "undecided"),
    ]
    frame = pd.DataFrame(rows, columns=["blocks", "heads", "effect", "verdict"])
    frame.insert(0, "claim", "claim_0")
    frame.insert(1, "specification", range(1, 5))
    return frame.assign(
        low=frame["effect"] - 0.4, high=frame["effect"] + 0.4, p=0.01, d_z=frame["effect"] / 2
    )
