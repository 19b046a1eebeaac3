"""What the claims compare: one value for every held-out image, read from the tables of one arm.

Each measure takes the root of the results and the name of an arm, and gives a series indexed by image. It
raises MissingInput, with the reason in words, where this study cannot tell.
"""

import math
from pathlib import Path

import pandas as pd

from stages.study.params import Study, recipe_of
from stages.study.paths import analysis_table, finetune_dir, probe_predictions


class MissingInput(Exception):
    """This study has nothing to decide a claim from; the message says what is missing."""


def late_attention_distance(root: Path, arm: str, params: Study) -> pd.Series:
    """Attention distance per image, px: mean over heads and the last third of the blocks."""
    return _late_attention(root, arm, params, "distance")


def late_mutual_information(root: Path, arm: str, params: Study) -> pd.Series:
    """Normalised mutual information per image: mean over heads and the last third of the blocks."""
    return _late_attention(root, arm, params, "nmi")


def last_log_amplitude(root: Path, arm: str, params: Study) -> pd.Series:
    """Relative log amplitude per image at the highest frequency after the last block."""
    table = _analysis(root, arm, params, "fourier")
    last = (table["block"] == table["block"].max()) & (table["frequency"] == table["frequency"].max())
    return table[last].set_index("image")["log_amplitude"]


def linear_accuracy(root: Path, arm: str, params: Study) -> pd.Series:
    """Correctness per image of the linear probe with its chosen pooling, mean over label sets."""
    table = _read(root / probe_predictions("linear", arm))
    return _correct(table[table["chosen"]])


def finetuned_accuracy(root: Path, arm: str, params: Study) -> pd.Series:
    """Correctness per image after fine-tuning, mean over label sets."""
    return _correct(_read(root / finetune_dir(arm) / "predictions.csv"))


def finetuned_accuracy_small(root: Path, arm: str, params: Study) -> pd.Series:
    """The same, for an encoder no wider than ViT-S (384)."""
    width = recipe_of(params, arm)[0].width
    if width > 384:
        raise MissingInput(f"arm {arm} is {width} wide, and small means at most 384")
    return finetuned_accuracy(root, arm, params)


def _late_attention(root: Path, arm: str, params: Study, column: str) -> pd.Series:
    table = _analysis(root, arm, params, "attention")
    blocks = int(table["block"].max())
    late = table[table["block"] > blocks - math.ceil(blocks / 3)]
    return late.groupby("image")[column].mean()


def _analysis(root: Path, arm: str, params: Study, name: str) -> pd.DataFrame:
    if name not in params.analyses:  # a table of it may be left from when it was
        raise MissingInput(f"{name} is not among the analyses of this study")
    return _read(root / analysis_table(name, arm))


def _correct(table: pd.DataFrame) -> pd.Series:
    return (table["truth"] == table["predicted"]).groupby(table["image"]).mean()


def _read(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise MissingInput(f"{path} is not in this study")
    return pd.read_csv(path)
