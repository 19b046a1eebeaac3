"""Synthetic studies and curves."""

import numpy as np
import pandas as pd

from stages.study.study import Study
from tests.render.synthetic import study_of


def arms(*objectives: str) -> Study:
    named = {f"arm_{place}": {"objective": name, "cl_weight": 0.2} for place, name in enumerate(objectives)}
    return study_of(named)


def curves_of(labels: list[str], blocks: int = 4) -> pd.DataFrame:
    parts = []
    for place, label in enumerate(labels):
        mean = np.linspace(1, 2 + 0.01 * place, blocks)
        columns = {"label": label, "block": range(1, blocks + 1), "depth": np.arange(1, blocks + 1) / blocks}
        bands = {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "trainings": 1, "images": 9}
        parts.append(pd.DataFrame(columns | bands))
    return pd.concat(parts, ignore_index=True)
