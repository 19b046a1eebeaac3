"""Which images the sides of a claim share, and which arm stands for a method."""

import numpy as np
import pandas as pd

from stages.claims.roles import aligned, candidates, method_of, values_of
from stages.study.params import load_params
from stages.study.settings import Arm


def test_sides_share_images_in_ascending_order():
    first = pd.DataFrame({0: [1.0, 2.0, 3.0]}, index=[7, 2, 5])
    second = pd.DataFrame({0: [4.0, 5.0], 1: [6.0, 7.0]}, index=[9, 7])
    third = pd.DataFrame({3: [8.0, 9.0, 10.0]}, index=[2, 7, 9])
    both = aligned({"a": first, "b": third})
    assert both["a"].index.tolist() == both["b"].index.tolist() == [2, 7]
    assert both["a"][0].tolist() == [2.0, 1.0] and both["b"][3].tolist() == [8.0, 9.0]
    everywhere = aligned({"a": first, "b": second, "c": third})
    assert [table.index.tolist() for table in everywhere.values()] == [[7], [7], [7]]


def test_an_imported_checkpoint_is_of_the_method_that_trained_it():
    methods = {
        "moco_v3": "contrastive",
        "simmim": "masked",
        "mae": "autoencoder",
        "dino": "dino",
        "timm": "imported",
    }
    for name, method in methods.items():
        assert method_of(Arm(objective="imported", weights="a.pth", format=name)) == method
    assert method_of(Arm(objective="masked")) == "masked"


def test_images_that_a_training_lacks_are_left_out():
    arms = {"mim_2": Arm(objective="masked", stop_epoch=2), "mim": Arm(objective="masked", seeds=[1, 4])}
    study = load_params().model_copy(update={"arms": arms})
    assert candidates(study, "masked") == ["mim"]
    values = values_of(
        "masked",
        measure=lambda arm, seed: pd.Series([seed, 1.0, np.nan if seed == 4 else 2.0], index=[3, 5, 8]),
        params=study,
    )
    assert values.index.tolist() == [3, 5] and values.columns.name == "mim"
    assert values.to_numpy().tolist() == [[1, 4], [1, 1]]
