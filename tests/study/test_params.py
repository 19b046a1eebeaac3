"""params.yaml: what is refused, with which words, and who may read what."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stages.study.errors import ParamsError
from stages.study.params import declared_params, load_params, seeds_of, validate
from stages.study.recipe import recipe_of

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "params.yaml").read_text()


@pytest.fixture
def values():
    return yaml.safe_load(TEXT)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("arms.hybrid.cl_weight", 1.2, ["arms.hybrid.cl_weight", "1.2", "less than or equal to 1"]),
        ("probes.knn.k", 0, ["probes.knn.k", "0", "greater than or equal to 1"]),
        ("probes.few_shot.shares", [0.01, 1.5], ["probes.few_shot.shares", "1.5", "less than or equal to 1"]),
        ("features.token_images", 0, ["features.token_images", "0", "greater than or equal to 1"]),
        ("probes.knn.neighbours", 3, ["probes.knn.neighbours", "unknown key", "temperature"]),
        ("vit.position", "learnt", ["vit.position", "'learnt'", "sincos"]),
        ("vit.width", 65, ["vit", "65", "multiple of heads"]),
        ("vit.patch_size", 5, ["image_size 32", "patch_size 5"]),
        ("vit.patch_size", 16, ["patch_size 16", "3 × 3"]),
        ("finetune.randaugment", "rand-x9", ["finetune.randaugment", "'rand-x9'"]),
        ("data.test_source", "held-out", ["data.test_source", "shapes_textures"]),
        ("arms.data", {"objective": "random", "typo": 1}, ["arms.data.typo", "unknown key", "objective"]),
        ("objectives.masked.mask_unit", 3, ["mask_unit 3", "must divide 8"]),
        (
            "arms.random",
            {"objective": "random", "stop_epoch": 3},
            ["arms.random", "stop_epoch", "trained here"],
        ),
        (
            "labels",
            {"cl": "Both", "mim": "Both"},
            ["labels", "arms cl and mim", "'Both'"],
        ),
        ("seeds", [0, 1, 1], ["seeds [0, 1, 1] must differ"]),
        ("seeds", [], ["seeds", "at least 1 item"]),
        ("arms.cl", {"objective": "contrastive", "seeds": [2, 2]}, ["arms.cl", "must differ"]),
        (
            "arms.theirs",
            {"objective": "imported", "weights": "x.pth", "format": "mae", "seeds": [1]},
            ["arms.theirs", "single encoder"],
        ),
        ("objectives.masked.target_window", 4, ["objectives.masked", "target_window 4", "odd"]),
        ("pretrain.lr", "fast", ["pretrain.lr", "'fast'", "number"]),
        ("pretrain.lr", float("nan"), ["pretrain.lr", "nan", "finite"]),
        ("arms.hybrid.cl_weight", None, ["arms.hybrid", "cl_weight"]),
        ("arms.mae", {"objective": "imported", "weights": "mae.pth"}, ["arms.mae", "weights", "format"]),
        ("arms.mae", {"objective": "imported", "format": "mae"}, ["arms.mae", "weights", "format"]),
        ("arms.mae", {"objective": "imported", "weights": "a", "format": "beit"}, ["mae.format", "'simmim'"]),
        ("arms.mae", {"objective": "masked", "weights": "mae.pth"}, ["arms.mae", "objective imported"]),
        ("arms.both", {"objective": "layered", "cl_weight": 0.2}, ["arms.both", "mim_block", "layered"]),
        ("arms.hybrid.gradient_ratio", 1.0, ["arms.hybrid", "cl_weight", "gradient_ratio", "remove one"]),
        ("arms.cl.gradient_ratio", 1.0, ["arms.cl", "gradient_ratio", "hybrid"]),
        (
            "arms.both",
            {"objective": "hybrid", "gradient_ratio": 0.0},
            ["gradient_ratio", "greater than 0"],
        ),
        ("arms.both", {"objective": "layered", "mim_block": 2}, ["arms.both", "layered needs cl_weight"]),
        ("arms.cl", {"objective": "contrastive", "mim_block": 2}, ["arms.cl", "mim_block", "layered"]),
        (
            "arms.both",
            {"objective": "layered", "cl_weight": 0.2, "mim_block": 7},
            ["arms.both.mim_block is 7", "from 1 to 6"],
        ),
        (
            "arms.both",
            {"objective": "layered", "cl_weight": 0.2, "mim_block": 1.5},
            ["arms.both.mim_block is 1.5", "share of the depth"],
        ),
        (
            "arms.both",
            {"objective": "layered", "cl_weight": 0.2, "mim_block": 3, "depth": 2},
            ["arms.both.mim_block is 3", "from 1 to 2"],
        ),
        ("arms.both", {"objective": "layered", "mim_block": 0}, ["arms.both.mim_block", "greater than 0"]),
        ("arms.Bad Name", {"objective": "random"}, ["Bad Name"]),
        ("arms.nan", {"objective": "random"}, ["arms.nan", "missing value", "another"]),
        ("arms.null", {"objective": "random"}, ["arms.null", "missing value", "another"]),
        ("analyses.null", {"images": 5}, ["analyses.null", "missing value"]),
        ("arms." + 65 * "a", {"objective": "random"}, ["arms.aaa", "at most 64 characters"]),
        ("arms.size", {"objective": "random"}, ["arms.size", "run cache", "another name"]),
        ("analyses.nfiles", {"images": 5}, ["analyses.nfiles", "run cache", "another name"]),
        ("analyses.fourier.size", 14, ["analyses.fourier.size", "run cache", "another name"]),
        ("robustness.corruptions.size", {"levels": [1]}, ["robustness.corruptions.size", "run cache"]),
        ("robustness.corruptions.edges.nfiles", 2, ["robustness.corruptions.edges.nfiles", "run cache"]),
        ("robustness.stimuli.size", {"source": "a", "classes": {"b": "c"}}, ["stimuli.size", "run cache"]),
        (
            "robustness.stimuli.own",
            {"source": "a", "classes": {"size": "c", "d": "e"}},
            ["robustness.stimuli.own.classes.size", "run cache"],
        ),
        ("extra", 1, ["extra", "unknown key", "seed"]),
        ("data.shapes_textures.size_min", 0.99, ["size_min", "size_max"]),
        ("objectives.autoencoder.decoder_heads", 3, ["decoder_width 32", "decoder_heads 3"]),
        ("objectives.autoencoder.decoder_width", 34, ["decoder_width 34", "multiple of 4"]),
        ("objectives.autoencoder.normalize_target", "no idea", ["normalize_target", "'no idea'"]),
        ("pretrain.lr_scaling_batch", 1024, ["pretrain.lr_scaling_batch", "1024", "256 or 512"]),
        ("pretrain.schedule", "linear", ["pretrain.schedule", "'linear'", "'cosine' or 'multistep'"]),
        ("pretrain.milestone", 700, ["pretrain.milestone", "700", "less than 1"]),
        ("pretrain.snapshots", [0.1, 1.0], ["pretrain.snapshots.1", "1.0", "less than 1"]),
        ("pretrain.snapshots", [0.3, 0.1], ["pretrain", "snapshots [0.3, 0.1]", "rise"]),
        ("pretrain.snapshots", [0.3333331, 0.3333332], ["pretrain", "snapshots [0.3333331", "duplicates"]),
        ("pretrain.min_lr", 0.1, ["pretrain", "min_lr 0.1", "peak rate 0.002"]),
        ("pretrain.clip_grad", 0, ["pretrain.clip_grad", "0", "greater than 0"]),
        ("pretrain.drop_path", 1.0, ["pretrain.drop_path", "1.0", "less than 1"]),
        ("arms.new", {"objective": "random", "decay_all": 3}, ["arms.new.decay_all", "3", "boolean"]),
        ("objectives.dino.local_scale_min", 0.5, ["local_scale_min", "local_scale_max"]),
        (
            "objectives.supervised.label_smoothing",
            1,
            ["objectives.supervised.label_smoothing", "less than 1"],
        ),
    ],
)
def test_a_wrong_value_is_named_in_one_line(values, path, value, words):
    *parents, last = path.split(".")
    section = values
    for key in parents:
        section = section[key]
    section[last] = value
    with pytest.raises(ParamsError) as error:
        validate(values)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("objective", "setting", "value", "words"),
    [
        ("autoencoder", "mask_ratio", 0.999, ["mask_ratio 0.999", "64 patches"]),
        ("dino", "local_size", 14, ["local_size 14", "patch_size 4"]),
        ("dino", "local_size", 36, ["local_size 36", "image_size 32"]),
    ],
)
def test_what_does_not_fit_the_images_is_refused_where_an_arm_uses_it(
    values, objective, setting, value, words
):
    values["objectives"][objective][setting] = value
    validate(values)
    values["arms"]["new"] = {"objective": objective}
    with pytest.raises(ParamsError) as error:
        validate(values)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("name", ["edges", "mine", "clean", "reinitialised"])
def test_stimuli_cannot_have_the_name_of_a_trial_of_the_study(values, name):
    stimuli = {"source": "stimuli", "classes": {"a": "b", "c": "d"}}
    values["robustness"]["corruptions"] = {"mine": {"levels": [1.0]}}
    values["robustness"]["stimuli"] = {"cue_conflict": stimuli, "their_edges": stimuli}
    validate(values)
    values["robustness"]["stimuli"][name] = stimuli
    with pytest.raises(ParamsError, match=rf"robustness.*stimuli\.{name}: .* this name; choose another"):
        validate(values)


def test_a_missing_key_is_named(values):
    del values["probes"]["knn"]["k"]
    with pytest.raises(ParamsError, match=r"probes\.knn\.k: missing"):
        validate(values)


def test_a_probe_is_left_out_by_taking_its_lines_out(values):
    assert list(dict(validate(values).probes)) == list(values["probes"])
    del values["probes"]["layerwise"], values["probes"]["attentive"]
    assert list(dict(validate(values).probes)) == list(values["probes"])
    values["probes"]["layerwise"] = None  # dvc.yaml would still make stages of it
    with pytest.raises(ParamsError, match=r"probes\.layerwise is None"):
        validate(values)


def test_yaml_that_is_not_yaml_is_placed(tmp_path):
    (tmp_path / "params.yaml").write_text("seed: 0\ndata: [1,\nvit: }\n")
    with pytest.raises(ParamsError, match="line 3"):
        load_params(tmp_path / "params.yaml")


def test_the_numbers_that_dvc_writes_are_read(values):
    # PyYAML reads 1e-05, which DVC writes for -S pretrain.lr=0.00001, as a string.
    values["pretrain"]["lr"] = "1e-05"
    assert validate(values).pretrain.lr == 1e-5


def test_an_undeclared_parameter_is_refused_by_name():
    params = load_params(ROOT / "params.yaml", stage="features", arm="cl")
    assert params.features.token_images > 0
    with pytest.raises(ParamsError, match="vit"):
        params.vit  # noqa: B018
    params = load_params(ROOT / "params.yaml", stage="probe", arm="cl", probe="knn")
    assert params.probes.knn.k > 0 and params.runtime.devices
    with pytest.raises(ParamsError, match="linear"):
        params.probes.linear  # noqa: B018
    params = load_params(ROOT / "params.yaml", stage="pretrain", arm="cl")
    assert params.data.image_size and list(params.arms) == ["cl"]
    with pytest.raises(ParamsError, match="source"):
        params.data.source  # noqa: B018


def test_templates_are_filled_in():
    study = load_params(ROOT / "params.yaml")
    assert "arms.hybrid" in declared_params("pretrain", study, ROOT / "dvc.yaml", arm="hybrid")
    with pytest.raises(ParamsError, match="no stage 'nonsense'"):
        declared_params("nonsense", study, ROOT / "dvc.yaml")
    with pytest.raises(ParamsError, match="no arm 'nobody'"):
        declared_params("pretrain", study, ROOT / "dvc.yaml", arm="nobody")


def test_arms_override_the_common_recipe(values):
    values["arms"]["wide"] = {"objective": "masked", "width": 128, "epochs": 3, "seeds": [7, 2]}
    study = validate(values)
    vit, recipe = recipe_of(study, "wide")
    assert (vit.width, recipe.epochs, seeds_of(study, "wide")) == (128, 3, [7, 2])
    assert seeds_of(study, "cl") == study.seeds == [0, 1, 2, 3]
    assert vit.depth == values["vit"]["depth"] and recipe.batch_size == values["pretrain"]["batch_size"]
    values["arms"]["wide"]["width"] = 66
    with pytest.raises(ParamsError, match=r"arms\.wide.*66"):
        recipe_of(validate(values), "wide")


def test_a_null_of_an_arm_is_a_value_where_the_recipe_may_have_none(values):
    values["pretrain"] |= {"clip_grad": 3.0, "lr_scaling_batch": 256, "weight_decay_end": 0.4}
    values["vit"]["layer_scale"] = 0.1
    nothing = {"clip_grad": None, "lr_scaling_batch": None, "weight_decay_end": None, "layer_scale": None}
    values["arms"]["bare"] = {"objective": "masked", **nothing, "epochs": None, "lr": 0.5}
    study = validate(values)
    vit, recipe = recipe_of(study, "bare")
    assert (recipe.clip_grad, recipe.weight_decay_end, recipe.peak_lr, vit.layer_scale) == (
        None,
        None,
        0.5,
        None,
    )
    assert recipe.epochs == values["pretrain"]["epochs"]
    vit, recipe = recipe_of(study, "mim")
    assert (recipe.clip_grad, recipe.weight_decay_end, vit.layer_scale) == (3.0, 0.4, 0.1)
    assert recipe.peak_lr == values["pretrain"]["lr"] * values["pretrain"]["batch_size"] / 256


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        ({"objective": "masked", "min_lr": 1.0}, ["min_lr 1", "peak rate"]),
        ({"objective": "masked", "stop_epoch": 9, "epochs": 9}, ["stop_epoch is 9", "number of epochs, 9"]),
        ({"objective": "masked", "weight_decay": 0, "weight_decay_end": 0.4}, ["weight_decay_end"]),
    ],
)
def test_overrides_that_do_not_fit_together_are_one_line(values, arm, words):
    values["arms"]["odd"] = arm
    with pytest.raises(ParamsError) as error:
        recipe_of(validate(values), "odd")
    assert "\n" not in str(error.value)
    for word in ["arms.odd", *words]:
        assert word in str(error.value)


def test_the_default_study_is_trained_by_one_plain_recipe(values):
    plain = {
        "lr_scaling_batch": None,
        "min_lr": 0.0,
        "schedule": "cosine",
        "weight_decay_end": None,
        "decay_all": False,
        "drop_path": 0.0,
    }
    study = validate(values)
    for name in study.arms:
        vit, recipe = recipe_of(study, name)
        assert recipe == study.pretrain and vit == study.vit
        assert {key: getattr(recipe, key) for key in plain} == plain and recipe.peak_lr == recipe.lr
    assert study.objectives.contrastive.freeze_patch_embed and vit.layer_scale is None


def test_the_heads_of_an_imported_arm_are_not_those_of_the_common_encoder(values):
    arm = {"objective": "imported", "weights": "small.pth", "format": "moco_v3", "heads": 12}
    values["arms"]["theirs"] = arm
    study = validate(values)
    assert recipe_of(study, "theirs")[0].heads == values["vit"]["heads"]
    assert seeds_of(study, "theirs") == [0]  # one encoder, whatever the seeds of the study


def test_dvc_changes_a_number_and_leaves_the_rest_of_the_file_alone(tmp_path):
    (tmp_path / "params.yaml").write_text(TEXT)
    code = "from dvc.utils.serialize import modify_yaml\nwith modify_yaml('params.yaml') as d: d['seed'] = 1"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert (tmp_path / "params.yaml").read_text() == TEXT.replace("\nseed: 0 ", "\nseed: 1 ")


def test_a_command_ends_with_2_and_one_line(tmp_path):
    for name in ("stages", "dvc.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "params.yaml").write_text(TEXT.replace("cl_weight: 0.2", "cl_weight: 7"))
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-m", "stages.pretrain", "--arm", "hybrid"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "arms.hybrid.cl_weight is 7" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
