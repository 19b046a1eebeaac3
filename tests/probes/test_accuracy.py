"""The interval of an accuracy contains the accuracy."""

import pytest

from stages.probes.accuracy import wilson_interval


@pytest.mark.parametrize("total", [1, 7, 200, 1000, 3925, 50_000])
@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_the_interval_contains_the_share_despite_rounding(total: int, share: float) -> None:
    correct = round(share * total)
    low, high = wilson_interval(correct, total)
    assert 0 <= low <= correct / total <= high <= 1 and low < high
