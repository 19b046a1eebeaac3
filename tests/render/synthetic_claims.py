"""Made-up claims, specifications and data manifest."""

from typing import Any

import pandas as pd


def manifest() -> dict[str, Any]:
    """A data manifest of two label sets with two unreadable files."""
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
    """Claims with every verdict there is."""
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
    found: list[dict[str, Any]] = [
        {
            "verdict": "supported",
            "effect": 4.31,
            "low": 4.27,
            "high": 4.35,
            "p_adjusted": 0.0006,
            "why": "",
            "d_z": 2.13,
            "specifications": {
                "count": 4,
                "agree": 0.75,
                "same_sign": 0.75,
                "supported": 0.75,
                "contradicted": 0.0,
                "undecided": 0.25,
                "median_d_z": 1.9,
            },
            "replications": {
                "dino over masked": {
                    "verdict": "undecided",
                    "effect": 0.2,
                    "low": -0.1,
                    "high": 0.5,
                    "p": 0.2,
                    "d_z": 0.06,
                }
            },
            "values": values,
            "arms": {"contrastive": ["cl"], "masked": ["mim"], "random": ["random"]},
            "over_random": {
                "contrastive": {"effect": -0.3, "low": -0.7, "high": 0.1},
                "masked": {"effect": -4.6, "low": -5.0, "high": -4.2},
            },
        },
        share
        | {"verdict": "contradicted", "effect": -0.061, "low": -0.08, "high": -0.04, "p_adjusted": 0.001},
        share | {"verdict": "undecided", "effect": 0.004, "low": -0.02, "high": 0.021, "p_adjusted": 0.7},
        {"verdict": "not tested", "why": "no arm has the objective hybrid"},
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
    for number, claim in enumerate(found):
        name = f"claim_{number}"
        whole = common | {"name": name, "statement": f"Claim <{number}> & more.", "why": ""} | claim
        entries.append({key: whole.pop(key) for key in words if key in whole})
        numbers[name] = whole
    rules = {
        "correction": "Holm over 3 tested claims",
        "interval": "95 % percentile interval",
        "replications": "Decided like the claims, uncorrected",
    }
    return {"claims": numbers, "entries": entries, "rules": rules}


def specifications() -> pd.DataFrame:
    """The first claim under four combinations of two choices; the median of the last block is undecided."""
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
