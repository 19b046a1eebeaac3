"""What the claims compare, against plain loops over small tables."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress

from stages.claims.accuracy_measures import finetuned_accuracy, growth_with_size, probe_accuracy
from stages.claims.measures import before_late, fall, heads_alike, in_blocks, late
from stages.claims.roles import candidates, values_of
from stages.claims.tables import Tables
from stages.encoders.architecture import build_encoder
from stages.results.files import MissingResult
from stages.results.study_results import Results
from stages.study.params import load_params
from stages.study.paths import analysis_table, finetune_dir, probe_predictions
from stages.study.settings import Arm

IMAGES, BLOCKS, HEADS = (3, 5, 8), 6, 3


@pytest.fixture
def tables(tmp_path):
    """Attention of one arm, its values known, and predictions under two label sets."""
    rng = np.random.default_rng(0)
    rows = [
        (image, block, head, rng.normal(), rng.normal())
        for image in IMAGES
        for block in range(1, BLOCKS + 1)
        for head in range(1, HEADS + 1)
    ]
    attention = pd.DataFrame(rows, columns=["image", "block", "head", "distance", "nmi"])
    rows = [(i, b, f, rng.normal()) for i in IMAGES for b in range(BLOCKS + 1) for f in (0.25, 0.5, 0.75)]
    fourier = pd.DataFrame(rows, columns=["image", "block", "frequency", "log_amplitude"])
    answers = pd.DataFrame(
        [(0, "shape", "cls", 1, 1, True), (1, "shape", "cls", 1, 2, True), (0, "texture", "mean", 3, 0, True),
         (1, "texture", "mean", 3, 3, True), (0, "shape", "mean", 1, 2, False)],
        columns=["image", "labels", "pooling", "truth", "predicted", "chosen"],
    )  # fmt: skip
    files = {
        analysis_table("attention", "cl"): attention,
        analysis_table("fourier", "cl"): fourier,
        probe_predictions("linear", "cl"): answers,
        probe_predictions("gone", "cl"): answers,
        probe_predictions("linear_augmented", "cl"): answers,
        probe_predictions("knn", "cl"): answers.drop(columns="predicted"),
        finetune_dir("cl", 0) / "predictions.csv": answers.drop(columns="chosen"),
    }
    for path, table in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        table.assign(seed=0).to_csv(tmp_path / path, index=False)
    return Tables(Results(one_seed(load_params()), tmp_path))


def one_seed(study):
    return study.model_copy(update={"seeds": [0]})


@pytest.mark.parametrize("heads", ["mean", "median"])
@pytest.mark.parametrize(("blocks", "late_ones"), [("last third", (5, 6)), ("last block", (6,))])
def test_late_attention_is_that_of_a_loop(tables, heads, blocks, late_ones):
    table = pd.read_csv(tables.results.root / analysis_table("attention", "cl"))
    nmi = in_blocks(tables, "cl", analysis="attention", column="nmi", blocks=blocks, heads=heads)
    for image in IMAGES:
        of_image = table[table["image"] == image]
        late_blocks = [of_image[of_image["block"] == block]["nmi"] for block in late_ones]
        expected = np.mean([getattr(np, heads)(values) for values in late_blocks])
        assert nmi[image] == pytest.approx(expected)


def test_attention_is_counted_as_the_choice_says(tables):
    options = {"analysis": "attention", "column": "nmi", "blocks": "last block", "heads": "mean"}
    path = tables.results.root / analysis_table("attention", "cl")
    table = pd.read_csv(path)
    with pytest.raises(MissingResult, match="nmi_prefix"):
        in_blocks(tables, "cl", **options, attention="with prefix tokens")
    table.assign(nmi_prefix=2 * table["nmi"], nmi_epsilon=3 * table["nmi"]).to_csv(path, index=False)
    read_anew = Tables(Results(tables.params, tables.results.root))
    plain = in_blocks(read_anew, "cl", **options, attention="among patches")
    for attention, factor in (("with prefix tokens", 2), ("among patches, epsilon 1e-4", 3)):
        nmi = in_blocks(read_anew, "cl", **options, attention=attention)
        np.testing.assert_allclose(nmi, factor * plain)
        fallen, before = (
            fall(read_anew, "cl", **options, attention=counted) for counted in (attention, "among patches")
        )
        np.testing.assert_allclose(fallen, factor * before)


def test_frequencies_and_the_fall_are_those_of_a_loop(tables):
    table = pd.read_csv(tables.results.root / analysis_table("fourier", "cl")).set_index(
        ["image", "block", "frequency"]
    )
    amplitude = table["log_amplitude"]
    options = {"analysis": "fourier", "column": "log_amplitude"}
    highest = in_blocks(tables, "cl", **options, blocks="last block", frequency="highest bin")
    upper = in_blocks(tables, "cl", **options, blocks="last block", frequency="upper half of the bins")
    fallen = fall(tables, "cl", **options, blocks="last third", frequency="highest bin")
    for image in IMAGES:
        assert highest[image] == pytest.approx(amplitude[image, 6, 0.75])
        assert upper[image] == pytest.approx((amplitude[image, 6, 0.5] + amplitude[image, 6, 0.75]) / 2)
        before = np.mean([amplitude[image, block, 0.75] for block in (1, 2, 3, 4)])
        after = np.mean([amplitude[image, block, 0.75] for block in (5, 6)])
        assert fallen[image] == pytest.approx(before - after)
    # A table without heads needs no choice of them; what it tells apart otherwise is averaged.
    whole = in_blocks(tables, "cl", **options, blocks="last block")
    assert whole[3] == pytest.approx(np.mean([amplitude[3, 6, f] for f in (0.25, 0.5, 0.75)]))


def test_the_upper_half_of_an_odd_number_of_bins_has_the_middle_one(tables):
    path = tables.results.root / analysis_table("fourier", "cl")
    rows = [
        (0, i, b, f, i + 10 * b + f**2) for i in (3, 5) for b in range(3) for f in (0.2, 0.4, 0.6, 0.8, 1)
    ]
    columns = ["seed", "image", "block", "frequency", "log_amplitude"]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    options = {"analysis": "fourier", "column": "log_amplitude", "blocks": "last block"}
    values = in_blocks(
        Tables(Results(tables.params, tables.results.root)),
        "cl", **options, frequency="upper half of the bins",
    )  # fmt: skip
    assert values.to_dict() == pytest.approx({image: image + 20 + (0.36 + 0.64 + 1) / 3 for image in (3, 5)})


def test_which_blocks_are_late_and_which_come_before():
    assert late(12, "last third") == [9, 10, 11, 12] and late(12, "last quarter") == [10, 11, 12]
    assert late(12, "last half without the last block") == [7, 8, 9, 10, 11]
    assert late(1, "last third") == late(1, "last block") == [1]
    assert before_late([4, 5]) == [1, 2, 3]  # not the embedding
    for call in (lambda: late(2, "last half without the last block"), lambda: before_late([1])):
        with pytest.raises(MissingResult, match="no"):
            call()


def test_accuracy_by_pooling_and_label_set(tables):
    options = {"probe": "linear", "pooling": "chosen on validation"}
    assert probe_accuracy(tables, "cl", **options, labels="mean of all").tolist() == [0.5, 0.5]
    assert probe_accuracy(tables, "cl", **options, labels="shape").tolist() == [1, 0]
    assert probe_accuracy(tables, "cl", probe="linear", pooling="mean", labels="shape").tolist() == [0]
    assert finetuned_accuracy(tables, "cl", labels="texture").tolist() == [0, 1]
    assert tables.label_sets("cl") == ["shape", "texture"] and tables.label_sets("mim") == []


def test_what_is_missing_is_said(tables):
    options = {"pooling": "chosen on validation", "labels": "shape"}
    with pytest.raises(MissingResult, match="gone is not among the probes"):  # though a table is left of it
        probe_accuracy(tables, "cl", probe="gone", **options)
    with pytest.raises(MissingResult, match=r"knn/cl\.csv: no column predicted"):
        probe_accuracy(tables, "cl", probe="knn", **options)
    with pytest.raises(MissingResult, match="no pooling register"):
        probe_accuracy(tables, "cl", probe="linear", pooling="register", labels="shape")
    with pytest.raises(
        MissingResult, match=r"finetune/mim/0/predictions\.csv: not found; `dvc repro finetune@mim`"
    ):
        finetuned_accuracy(tables, "mim", labels="shape")
    with pytest.raises(MissingResult, match="a slope needs 3 widths of both CL and MIM; this study has 1"):
        growth_with_size(tables, "cl", labels="shape")


def test_the_probe_on_augmented_images_counts_for_the_arms_that_it_was_asked_for(tables):
    options = {"probe": "linear_augmented", "pooling": "chosen on validation", "labels": "shape"}
    with pytest.raises(MissingResult, match="linear_augmented is not among the probes"):
        probe_accuracy(tables, "cl", **options)
    settings = tables.params.linear_augmented.model_copy(update={"arms": ["cl"]})
    params = tables.params.model_copy(update={"linear_augmented": settings})
    assert probe_accuracy(Tables(Results(params, tables.results.root)), "cl", **options).tolist() == [1, 0]


def test_arms_of_a_method():
    params = load_params()
    published = Arm(objective="imported", weights="vit-b-300ep.pth.tar", format="moco_v3")
    cl = params.arms["cl"]
    arms = {"moco": published, "wide": Arm(objective="contrastive", width=768), "cl": cl}
    study = params.model_copy(update={"arms": arms, "seeds": [0, 3]})
    assert candidates(study, "contrastive") == ["wide", "cl", "moco"]

    def small(arm, seed):
        return pd.Series([1.0 + seed, np.nan], name=arm)

    stopped = study.model_copy(
        update={
            "arms": {
                **arms,
                "cl_3": cl.model_copy(update={"stop_epoch": 3}),
                "random": Arm(objective="random"),
            }
        }
    )
    assert candidates(stopped, "contrastive") == candidates(study, "contrastive")
    with pytest.raises(MissingResult, match="no arm has the objective masked"):
        values_of("masked", measure=small, params=stopped)
    values = values_of("contrastive", measure=small, params=study)
    assert values.columns.tolist() == [0, 3] and values.columns.name == "wide" and len(values) == 1
    assert values.to_numpy().tolist() == [[1.0, 4.0]]
    with pytest.raises(MissingResult, match="arm wide: no image has a value of every seed"):
        values_of("contrastive", measure=lambda arm, seed: pd.Series({seed: 1.0}), params=study)
    with pytest.raises(MissingResult, match="no arm has the objective dino"):
        values_of("dino", measure=small, params=study)


def test_a_measure_is_of_one_seed(tables):
    path = tables.results.root / finetune_dir("cl", 2)
    path.mkdir(parents=True)
    rows = pd.DataFrame({"seed": 2, "image": [0, 1], "labels": "class", "truth": 1, "predicted": [1, 1]})
    rows.to_csv(path / "predictions.csv", index=False)
    study = tables.params.model_copy(update={"seeds": [0, 2]})
    both = Tables(Results(study, tables.results.root))
    assert finetuned_accuracy(both.of(2), "cl", labels="class").tolist() == [1, 1]
    assert finetuned_accuracy(both, "cl", labels="texture").tolist() == [0, 1]


def test_an_imported_arm_is_one_encoder(tables):
    arms = {"moco": Arm(objective="imported", weights="a.pth", format="moco_v3")}
    study = tables.params.model_copy(update={"arms": arms, "seeds": [4, 5]})
    values = values_of("contrastive", measure=lambda arm, seed: pd.Series([seed]), params=study)
    assert values.columns.tolist() == [0]


def test_growth_with_size_is_the_slope_of_a_regression(tables):
    rng = np.random.default_rng(9)
    arms = {
        f"{method}_{width}": Arm(objective=objective, width=width, heads=2)
        for method, objective in (("cl", "contrastive"), ("mim", "masked"))
        for width in (16, 32, 64)
    }
    arms["cl_96"] = Arm(objective="contrastive", width=96, heads=2)  # MIM has no such width
    accuracy = {}
    for arm in arms:
        path = tables.results.root / finetune_dir(arm, 0) / "predictions.csv"
        path.parent.mkdir(parents=True)
        rows = pd.DataFrame({"seed": 0, "image": range(20), "labels": "class", "truth": 1})
        rows.assign(predicted=rng.integers(0, 2, 20)).to_csv(path, index=False)
        accuracy[arm] = (pd.read_csv(path)["predicted"] == 1).mean()
    study = tables.params.model_copy(update={"arms": arms})
    slopes = growth_with_size(Tables(Results(study, tables.results.root)), "mim_16", labels="class")
    image_size, vit = study.data.image_size, study.vit
    sizes = []
    for width in (16, 32, 64):  # counted anew: the weights of timm's own encoder
        encoder = build_encoder(
            vit=vit.model_copy(update={"width": width, "heads": 2}), image_size=image_size, seed=0
        )
        sizes.append(sum(weight.numel() for weight in encoder.parameters() if weight.requires_grad))
    expected = linregress(np.log10(sizes), [accuracy[f"mim_{width}"] for width in (16, 32, 64)])
    assert slopes.mean() == pytest.approx(expected.slope) and len(slopes) == 20

    fewer = arms | {"mim_64": arms["mim_64"].model_copy(update={"seeds": [0]})}
    study = study.model_copy(update={"arms": fewer, "seeds": [0, 1]})
    with pytest.raises(MissingResult, match=r"arm mim_64 has no seed 1; a slope needs it of every width"):
        growth_with_size(Tables(Results(study, tables.results.root), seed=1), "mim_16", labels="class")


def test_heads_are_alike_where_their_attention_does_not_diverge(tables):
    path = tables.results.root / analysis_table("attention", "cl")
    table = pd.read_csv(path)
    table = table.assign(diversity=np.random.default_rng(3).uniform(0, np.log(2), len(table)))
    table.to_csv(path, index=False)
    values = heads_alike(tables, "cl", measure="attention maps", blocks="last block")
    for image in IMAGES:
        of_block = table[(table["image"] == image) & (table["block"] == BLOCKS)]["diversity"]
        assert values[image] == pytest.approx(1 - of_block.mean() / np.log(2))


def test_a_share_of_the_blocks_is_rounded_up():
    assert late(7, "last third") == [5, 6, 7] and late(6, "last quarter") == [5, 6]
    assert late(5, "last half") == [3, 4, 5] and late(1, "last third") == [1]


def test_blocks_of_a_decoder_are_not_blocks_of_the_encoder(tables):
    path = tables.results.root / analysis_table("fourier", "cl")
    options = {
        "analysis": "fourier",
        "column": "log_amplitude",
        "blocks": "last third",
        "frequency": "highest bin",
    }
    before = [measure(tables, "cl", **options) for measure in (in_blocks, fall)]
    encoder = pd.read_csv(path)
    decoder = encoder.assign(part="decoder", log_amplitude=99.0)
    pd.concat([encoder.assign(part="encoder"), decoder]).to_csv(path, index=False)
    read = Tables(Results(tables.params, tables.results.root))
    for expected, measure in zip(before, (in_blocks, fall), strict=True):
        pd.testing.assert_series_equal(measure(read, "cl", **options), expected)
