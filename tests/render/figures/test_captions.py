"""Captions follow the numbers."""

import pandas as pd

from stages.render.figures.captions import DOTS, bands, in_order
from stages.render.figures.depth import depth_alt, depth_caption


def test_captions_follow_the_numbers() -> None:
    curves = pd.DataFrame(
        {
            "label": ["A", "A", "B", "B"],
            "block": [1, 2, 1, 2],
            "depth": [0.5, 1, 0.5, 1],
            "mean": [1, 2, 5, 4.0],
            "low": [0.9, 1.9, 4.9, 3.9],
            "high": [1.1, 2.1, 5.1, 4.1],
            "trainings": [1, 1, 3, 3],
            "images": 500,
        }
    )
    caption = depth_caption(curves, measure="M.", unit="px", paper="theirs.")
    assert caption.index("B 4.0 [3.9, 4.1] px") < caption.index("A 2.0 [1.9, 2.1] px")
    assert "mean over 3 trainings and 500 held-out images (thin lines: each training)" in caption
    assert "A: one training, bands are 95 % bootstrap intervals over images." in caption
    swapped = curves.assign(mean=[1, 6, 5, 4.0])
    assert in_order(swapped[swapped["block"] == 2].set_index("label")).startswith("A 6")
    alt = depth_alt(curves, measure="m", unit="px")
    assert alt.startswith("In the last block, m is highest in B, 4.0 [3.9, 4.1] px, and lowest in A, 2.0 [")
    assert "B: 5.00 px at block 1, 4.00 px at block 2." in alt
    bent = pd.concat([curves[:2], curves[:1].assign(block=3, mean=0.5), curves[:1].assign(block=4, mean=1.5)])
    said = depth_alt(bent, measure="m")
    assert said.endswith(
        "A: 1.00 at block 1, lowest 0.500 at block 3, highest 2.00 at block 2, 1.50 at block 4."
    )
    assert "bands: 95 % t-intervals over trainings, cut at the frame. A: one" in caption
    alone = bands(curves[curves["label"] == "A"])
    assert alone == ("One training an arm; 500 held-out images, bands: 95 % bootstrap intervals over images.")
    assert bands(curves[curves["label"] == "B"], marks=DOTS).endswith(
        "bars: 95 % t-intervals over trainings."
    )
