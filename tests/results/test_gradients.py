"""Whether two losses agree and which leads, from the products and norms of their gradients."""

import numpy as np
import pandas as pd
import pytest

from stages.results.files import MissingResult
from stages.results.gradients import cosines, gradient_ratio, gradient_ratios, late, whole_cosine

SAME = {"half_cl": 0.5, "half_mim": 0.5, "square_cl": 4.0, "square_mim": 1.0}


def test_products_are_added_before_they_are_divided() -> None:
    # Of two blocks as one vector: (3, 0) and (0, 4) against (1, 0) and (0, -1).
    rows = pd.DataFrame(
        {"seed": 0, "epoch": 1, "block": [1, 2], "dot": [3.0, -4.0], "square_cl": [9.0, 16.0],
         "square_mim": [1.0, 1.0], "half_cl": 0.5, "half_mim": 0.5}
    )  # fmt: skip
    assert cosines(rows, by="block").loc[0].tolist() == pytest.approx([1, -1])
    assert cosines(rows).loc[0, 0] == pytest.approx(-1 / (5 * np.sqrt(2)))


def test_a_gradient_lost_in_noise_has_no_cosine() -> None:
    rows = pd.DataFrame({"seed": [0, 0, 1, 1], "epoch": [1, 2, 1, 2], "block": 1, "dot": 1.0, **SAME})
    rows.loc[3, "square_mim"] = -3.0  # the two halves point away from each other
    table = cosines(rows, by="epoch")
    assert table.loc[0].tolist() == pytest.approx([0.5, 0.5]) and np.isnan(table.loc[1, 2])
    assert late(rows)["epoch"].tolist() == [2, 2] and whole_cosine(rows) is None
    both = whole_cosine(rows.assign(square_mim=1.0))
    assert both is not None and both.mean == pytest.approx(0.5)
    rows.loc[2, "half_cl"] = np.nan  # not reached
    assert np.isnan(cosines(rows, by="epoch").loc[1, 1])


def test_the_ratio_of_the_weighted_gradients() -> None:
    rows = pd.DataFrame(
        [(0, 1, 1, 3.0, 6.0), (0, 1, 2, 4.0, 8.0), (0, 1, 3, 9.0, 0.0),
         (0, 2, 1, 8.0, 1.0), (1, 1, 1, 1.0, 1.0)],
        columns=["seed", "epoch", "block", "norm_cl", "norm_mim"],
    ).assign(cl_weight=0.2)  # fmt: skip
    # 5 to 10 in the blocks that both reach, then 8 to 1; the weights are as 1 to 4
    assert gradient_ratios(rows).tolist() == pytest.approx([2 / 4, 1 / 4])
    assert gradient_ratio(rows) == pytest.approx(np.sqrt(1 / 8))
    assert gradient_ratio(rows.assign(cl_weight=1.0)) == np.inf
    with pytest.raises(MissingResult, match="no block"):
        gradient_ratio(rows.assign(norm_mim=0.0))
    parts = rows[rows["seed"] == 0].assign(epoch=1, cl_weight=[0.2, 0.2, 0.2, 0.5])  # two parts of an epoch
    assert gradient_ratios(parts).tolist() == pytest.approx([np.sqrt(5 / 10 / 4 * 8)])
