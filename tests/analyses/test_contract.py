"""What every analysis of params.yaml promises, measured on a small encoder as `stages.analyze` does."""

import importlib

import numpy as np
import pandas as pd
import pytest
import torch

from stages.analyses.contract import Analysis
from stages.analyses.settings import AnalysisSettings
from stages.data.arrays import Split
from stages.encoders.vit import Vit, build_encoder, trace_deeply
from stages.study.errors import ParamsError
from stages.study.params import load_params

IMAGES, BLOCKS = 6, 3
VIT = Vit(width=16, depth=BLOCKS, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")
SPLIT = Split(np.zeros((IMAGES, 24, 24, 3), dtype=np.uint8), {"class": np.arange(IMAGES) % 2}, None)


@pytest.mark.parametrize("name", load_params().analyses)
def test_every_block_is_measured_with_what_the_analysis_asks_for(name):
    analysis: Analysis = importlib.import_module(f"stages.analyses.{name}").ANALYSIS
    encoder = build_encoder(vit=VIT, image_size=24, seed=1).eval()
    pixels = torch.randn(IMAGES, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        trace = trace_deeply(encoder, pixels, attention=analysis.reads_attention)
    settings = load_params().analyses[name].model_copy(update={"images": IMAGES})
    measured = analysis.measure([(torch.arange(IMAGES), trace)], settings=settings, patch_size=4, split=SPLIT)
    table = pd.concat(measured, ignore_index=True)
    blocks = {BLOCKS} if name == "token_embedding" else set(range(1, BLOCKS + 1))
    assert set(table["block"]) - {0} == blocks
    assert set(range(IMAGES)) <= set(table["image"].dropna()) <= {-1, *range(IMAGES)}
    assert np.isfinite(table["value" if "value" in table else table.columns[-1]]).all()


def test_a_whole_number_is_one_from_1():
    entry = AnalysisSettings(images=3, one=1, many=20, none=0, half=0.5, yes=True)
    assert entry.whole_number("one", of="made_up") == 1 and entry.whole_number("many", of="made_up") == 20
    for name, value in (("none", "0"), ("half", "0.5"), ("yes", "True"), ("lacking", "None")):
        with pytest.raises(ParamsError, match=rf"analyses\.made_up\.{name} is {value}: set a whole number"):
            entry.whole_number(name, of="made_up")
