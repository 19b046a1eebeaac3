"""Agreement and relative size of the two gradients of a hybrid."""

import numpy as np
import pandas as pd

from stages.results.files import MissingResult
from stages.results.seeds import Estimate, over_seeds

# Early epochs teach what both losses need, so agreement is measured after this share of the epochs.
LATE = 0.5


def late(gradients: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the second half of the epochs. gradients: of one arm, with a column epoch"""
    return gradients[gradients["epoch"] > LATE * gradients["epoch"].max()]


def cosines(gradients: pd.DataFrame, *, by: str | None = None) -> pd.DataFrame:
    """Return the noise-corrected cosine between the gradients of CL and MIM, per training.

    The value is the cosine of the mean gradients, divided by the geometric mean of the split-half cosines of
    the two losses. To combine epochs and blocks, products are summed before the division.

    Args:
        gradients: rows of schemas.GRADIENTS of one arm.
        by: "epoch" or "block" for separate values; None for one value, in column 0.

    Returns: (seeds, values of `by`); nan if a loss has no gradient there, or only noise.
    Source: Spearman 1904.
    """
    keys = ["seed", by] if by else ["seed"]
    reached = gradients.dropna(subset=["half_cl", "half_mim"])
    sums = reached.groupby(keys)[["dot", "square_cl", "square_mim"]].sum()
    squares = sums[["square_cl", "square_mim"]]
    cosine = sums["dot"] / np.sqrt(squares.where(squares > 0).prod(axis=1, skipna=False))
    return cosine.unstack(by) if by else cosine.to_frame(0)


def whole_cosine(gradients: pd.DataFrame) -> Estimate | None:
    """Return the cosine over all blocks and the second half of the epochs, over trainings.

    None if a training does not have this cosine.
    """
    values = cosines(late(gradients)).to_numpy()
    return over_seeds(values) if values.size and np.isfinite(values).all() else None


def gradient_ratios(gradients: pd.DataFrame) -> pd.Series:
    """Return the length of the weighted gradient of CL relative to that of MIM, for each training.

    Lengths are those of single batches, over the blocks with both gradients. The ratio is the geometric mean
    over epochs, or over parts of epochs with different weights.

    Args:
        gradients: seed, epoch, block, cl_weight, unweighted norm_cl and norm_mim, of one arm.

    Returns: by seed; infinite for a weight of 1.
    Raises: MissingResult if no block has a gradient of both losses.
    """
    reached = gradients[(gradients["norm_cl"] > 0) & (gradients["norm_mim"] > 0)]
    if reached.empty:
        raise MissingResult("no block has a gradient of both losses")
    squares = reached.assign(cl=reached["norm_cl"] ** 2, mim=reached["norm_mim"] ** 2)
    of_part = squares.groupby(["seed", "epoch", "cl_weight"])[["cl", "mim"]].sum()
    weight = of_part.index.get_level_values("cl_weight")
    with np.errstate(divide="ignore"):
        logs = np.log(weight / (1 - weight)) + np.log(of_part["cl"] / of_part["mim"]) / 2
    return np.exp(logs.groupby("seed").mean())


def gradient_ratio(gradients: pd.DataFrame) -> float:
    """Return the geometric mean over trainings of `gradient_ratios`; 0 for a weight of 0."""
    with np.errstate(divide="ignore"):
        return float(np.exp(np.log(gradient_ratios(gradients)).mean()))
