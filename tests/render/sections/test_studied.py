"""The tables of recipe and arms show the settings."""

from stages.render.sections.studied import arm_rows, recipe
from stages.study.params import load_params
from stages.study.settings import Arm
from tests.render.synthetic import ROOT


def test_the_recipe_lists_the_objectives_in_use() -> None:
    manifest = {
        "image_size": 32,
        "source": "shapes_textures",
        "splits": {"train": {"images": 10}, "test": {"images": 5}},
        "labels": {"shape": ["a", "b"]},
    }
    study = load_params(ROOT / "params.yaml")
    for objective, names in (
        ("hybrid", {"Contrastive objective", "Masked objective"}),
        ("layered", {"Contrastive objective", "Masked objective"}),
        ("autoencoder", {"Autoencoder objective"}),
        ("random", set()),
    ):
        arms = {"x": Arm(objective=objective, cl_weight=0.2, mim_block=2 if objective == "layered" else None)}
        rows = recipe(study.model_copy(update={"arms": arms}), manifest)
        assert {name for name in rows.index if name.endswith("objective")} == names
        assert ("Pre-training" in rows.index) == (objective != "random") and "Encoder" in rows.index
    arms = {"x": Arm(objective="imported", weights="a.pth", format="mae")}  # of settings of its own
    rows = recipe(study.model_copy(update={"arms": arms}), manifest)
    assert not {"Encoder", "Pre-training"} & set(rows.index)


def test_other_settings_include_none() -> None:
    arms = {"cl": Arm(objective="contrastive", epochs=300, clip_grad=None), "mim": Arm(objective="masked")}
    study = load_params(ROOT / "params.yaml").model_copy(update={"arms": arms, "labels": {}})
    settings = arm_rows(study)["other settings"]
    assert settings["cl"] == "epochs 300, clip_grad none" and settings["mim"] == "–"
