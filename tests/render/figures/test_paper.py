"""The numbers of the paper are those that it prints."""

import pytest

from stages.render.figures.paper import (
    distance,
    hybrid_sweep,
    layerwise,
    log_amplitude,
    methods,
    mutual_information,
)


def test_numbers_of_the_paper() -> None:
    assert len(distance().values) == len(distance().depth) == 12 and distance().values[-1] == 113.6
    assert len(mutual_information().values) == 12 and max(mutual_information().values) == 0.322
    moco, simmim = log_amplitude()
    assert (len(moco.values), moco.values[-1], simmim.values[-1]) == (13, -2.51, -2.31)
    probed = {curve.method: curve.values for curve in layerwise()}
    assert [len(values) for values in probed.values()] == [12] * 3
    assert max(probed["SimMIM"]) - probed["SimMIM"][-1] == pytest.approx(11.5)
    # MoCo v3 is above SimMIM from block 8, above MAE in blocks 5 to 8 and from block 10.
    for other, above in (("SimMIM", [8, 9, 10, 11, 12]), ("MAE", [5, 6, 7, 8, 10, 11, 12])):
        pairs = zip(probed["MoCo v3"], probed[other], strict=True)
        assert [block for block, (ours, theirs) in enumerate(pairs, start=1) if ours > theirs] == above
    assert {point.method: point.linear for point in methods()}["MoCo v3"] == 76.7
    assert hybrid_sweep()[0.2].finetuned == 82.29
