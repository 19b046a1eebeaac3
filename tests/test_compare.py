"""Linear CKA between the blocks of all arms."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from stages.compare import compare, unit_kernel
from stages.study.paths import COMPARISON, features_dir, features_name, model_dir
from tests.project import copy_project


def gram_cka(x, y):
    """CKA by its definition over Gram matrices with a centring matrix."""
    n = len(x)
    centring = np.eye(n) - 1 / n
    k, m = (centring @ (z @ z.T) @ centring for z in (x, y))
    return np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))


def cka(x, y):
    return (unit_kernel(x).T @ unit_kernel(y)).square().sum().item()


@pytest.mark.parametrize("widths", [(3, 3), (2, 7), (40, 5)])
def test_it_is_the_alignment_of_centred_gram_matrices(widths):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(20, width, generator=generator) + 3 for width in widths)
    assert cka(x, y) == pytest.approx(gram_cka(x.double().numpy(), y.double().numpy()), rel=1e-4)


def test_rotation_scale_and_shift_do_not_count_and_constant_features_are_like_nothing():
    x = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
    rotation, _ = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1)))
    assert cka(x, 5 * x @ rotation + 2) == pytest.approx(1, abs=1e-5)
    assert cka(x, torch.ones(30, 4)) == 0


def test_every_pair_of_blocks_of_every_pair_of_arms_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(copy_project(tmp_path / "study"))
    monkeypatch.delenv("DVC_ROOT", raising=False)
    generator = torch.Generator().manual_seed(0)
    blocks = {"random": 12, "cl": 3, "mim": 3, "hybrid": 3}
    for arm, count in blocks.items():
        features = {f"{block}": torch.randn(10, 4, generator=generator) for block in range(count)}
        features_dir(arm, 0).mkdir(parents=True)
        model_dir(arm, 0).mkdir(parents=True)
        save_file(
            features | {"image": torch.arange(10)}, features_dir(arm, 0) / features_name("blocks", "test")
        )
    compare()
    table = pd.read_csv(COMPARISON)
    assert len(table) == sum(blocks.values()) ** 2
    assert table.groupby("arm")["block"].nunique().to_dict() == blocks
    diagonal = table[(table["arm"] == table["other_arm"]) & (table["block"] == table["other_block"])]
    np.testing.assert_allclose(diagonal["cka"], 1, atol=1e-5)
    square = table.pivot(index=["arm", "block"], columns=["other_arm", "other_block"], values="cka")
    square = square[list(square.index)]
    np.testing.assert_allclose(square, square.T, atol=1e-6)
