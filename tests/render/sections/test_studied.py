"""The recipe and the arms say what was set."""

from stages.render.sections.studied import arm_rows, recipe
from stages.study.params import load_params
from stages.study.settings import Arm
from tests.render.synthetic import ROOT


def test_the_recipe_tells_of_the_objectives_that_an_arm_uses() -> None:
    manifest = {
        "image_size": 32,
        "source": "shapes_textures",
        "splits": {"train": {"images": 10}, "test": {"images": 5}},
        "labels": {"shape": ["a", "b"]},
    }
    study = load_params(ROOT / "params.yaml")
    for objective, told in (
        ("hybrid", {"Contrastive objective", "Masked objective"}),
        ("layered", {"Contrastive objective", "Masked objective"}),
        ("autoencoder", {"Autoencoder objective"}),
        ("random", set()),
    ):
        arms = {"x": Arm(objective=objective, cl_weight=0.2, mim_block=2 if objective == "layered" else None)}
        rows = recipe(study.model_copy(update={"arms": arms}), manifest)
        assert {name for name in rows.index if name.endswith("objective")} == told


def test_an_arm_tells_what_it_sets_even_if_that_is_nothing() -> None:
    arms = {"cl": Arm(objective="contrastive", epochs=300, clip_grad=None), "mim": Arm(objective="masked")}
    study = load_params(ROOT / "params.yaml").model_copy(update={"arms": arms, "labels": {}})
    told = arm_rows(study)["own settings"]
    assert told["cl"] == "epochs 300, clip_grad none" and told["mim"] == "–"
