"""Norms of tokens in closed form, and a planted artefact."""

import numpy as np
import pandas as pd
import torch

from stages.analyses.settings import AnalysisSettings
from stages.analyses.token_norms import ANALYSIS, high_norm_share, relative, token_norms
from stages.data.arrays import Split
from stages.encoders.vit import DeepTrace

SPLIT = Split(np.zeros((0, 0, 0, 3), dtype=np.uint8), {}, None)  # not read


def test_norms_are_those_of_numpy_in_float32():
    tokens = torch.randn(3, 9, 5, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(token_norms(tokens), np.linalg.norm(tokens.numpy(), axis=-1), rtol=1e-6)
    assert token_norms(tokens.bfloat16()).dtype == torch.float32


def test_tokens_of_one_length_have_no_artefact():
    norms = token_norms(torch.full((2, 16, 4), 3.0))
    assert (norms == 6).all() and (relative(norms) == 1).all() and (high_norm_share(norms, 3.0) == 0).all()
    nothing = torch.zeros(2, 16)
    assert (relative(nothing) == 0).all() and (high_norm_share(nothing, 3.0) == 0).all()


def test_one_long_token_of_sixteen_is_a_sixteenth_whatever_the_scale():
    tokens = torch.ones(1, 16, 4)
    tokens[0, 5] = 10.0
    for scale in (1e-3, 1.0, 1e3):
        norms = token_norms(scale * tokens)
        torch.testing.assert_close(relative(norms).amax(), torch.tensor(10.0))
        assert high_norm_share(norms, 3.0).item() == 1 / 16 and high_norm_share(norms, 10.5).item() == 0


def test_the_table_leaves_prefix_tokens_out():
    ordinary, with_artefact = torch.ones(2, 1 + 4, 4), torch.ones(2, 1 + 4, 4)
    ordinary[:, 0] = 100.0  # the class token
    with_artefact[1, 2] = 8.0
    trace = DeepTrace([ordinary, with_artefact], [], 1, [], [])
    tables = ANALYSIS.measure(
        [(torch.tensor([4, 8]), trace)], settings=AnalysisSettings(images=2), patch_size=4, split=SPLIT
    )
    expected = {
        "image": [4, 8, 4, 8],
        "block": [0, 0, 1, 1],
        "norm": [2.0, 2.0, 2.0, (3 * 2 + 16) / 4],
        "largest": [1.0, 1.0, 1.0, 8.0],
        "high": [0.0, 0.0, 0.0, 0.25],
    }
    pd.testing.assert_frame_equal(
        pd.concat(tables, ignore_index=True), pd.DataFrame(expected), check_dtype=False
    )
    assert not ANALYSIS.reads_attention
