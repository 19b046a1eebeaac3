"""The end of the report: what its words mean, what it ran on, and how to cite it."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from stages.render.words import listed, unbroken
from stages.results.study_results import Results

GLOSSARY: Mapping[str, str] = {
    "Arm": "an encoder under study: an objective with its recipe, trained from several seeds",
    "Training": "one run of an arm from one seed; the unit that intervals and verdicts count",
    "Claim": "a statement of the paper about which of two methods has more of a measure",
    "Margin": "the smallest effect of interest of a claim, in its unit, fixed before the study ran",
    "Supported, contradicted": "the corrected interval lies beyond the margin, on the side of the paper or "
    "on the other",
    "Negligible": "the corrected interval lies within the margin on both sides",
    "Undecided": "neither: these trainings cannot tell",
    "Not testable at this budget": "a condition for testing fails, such as a probe no better than untrained",
    "Fragile": "fewer than two thirds of the analysis choices give the verdict",
    "Agreement": "the share of reasonable analysis choices that give the same verdict",
    "CL, MIM": "contrastive learning (MoCo v3) and masked image modelling (SimMIM)",
    "Block": "one layer of a vision transformer: self-attention and MLP",
    "Head diversity": "Jensen–Shannon divergence between the attention of two heads",
    "CKA": "centred kernel alignment: how alike two representations arrange the images",
}
BIBTEX = """@inproceedings{park2023what,
  title     = {What Do Self-Supervised Vision Transformers Learn?},
  author    = {Park, Namuk and Kim, Wonjae and Heo, Byeongho and Kim, Taekyung and Yun, Sangdoo},
  booktitle = {International Conference on Learning Representations},
  year      = {2023}
}"""
REFERENCES: Mapping[str, str] = {
    "MoCo v3": "https://arxiv.org/abs/2104.02057",
    "SimMIM": "https://arxiv.org/abs/2111.09886",
    "MAE": "https://arxiv.org/abs/2111.06377",
    "DINO": "https://arxiv.org/abs/2104.14294",
    "Specification curves": "https://doi.org/10.1038/s41562-020-0912-z",
}


def glossary() -> str:
    """HTML of the words that the report uses in a sense of its own."""
    rows = Markup("").join(Markup("<dt>{}</dt><dd>{}.</dd>").format(*row) for row in GLOSSARY.items())
    return Markup('<div class="glossary"><dl>{}</dl></div>').format(rows)


def citation() -> str:
    """HTML of the paper as BibTeX, and of the works that the study follows."""
    links = Markup(" ").join(
        Markup('<a href="{}">{}</a>').format(address, name) for name, address in REFERENCES.items()
    )
    return Markup(
        '<pre role="region" aria-label="BibTeX of the paper" tabindex="0">{}</pre>\n<p class="links">{}</p>'
    ).format(BIBTEX, links)


def machine_rows(records: Mapping[str, list[dict[str, Any]]]) -> pd.DataFrame:
    """What the trainings of each arm ran on: device, precision, libraries.

    records: label -> what each training says of itself, see `machine_records`
    """
    rows = {}
    for label, trainings in records.items():
        keys = ("device", "precision", "torch", "timm")
        rows[label] = {
            key: unbroken(listed(dict.fromkeys(str(one[key]) for one in trainings if one.get(key))))
            for key in keys
        }
    return pd.DataFrame.from_dict(rows, orient="index", dtype=object).rename_axis("arm")


def machine_records(results: Results) -> dict[str, list[dict[str, Any]]]:
    """What every training says of the machine it ran on; arms without a record are left out."""
    records = {results.label(arm): results.trainings(arm) for arm in results.arms}
    return {label: found for label, found in records.items() if found}
