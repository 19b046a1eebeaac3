"""What claims compare of single blocks, corrupted images and mixed tables, against plain loops."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from stages.claims.accuracy_measures import (
    cue_accuracy,
    depth_accuracy,
    fall_after_best,
    few_label_accuracy,
    gain_over_linear,
    noise_contrast,
    overlap,
    probe_accuracy,
    shape_preference,
    without_texture,
)
from stages.claims.measures import blocks_alike, heads_alike, in_blocks
from stages.claims.tables import Tables
from stages.results.files import MissingResult
from stages.results.study_results import Results
from stages.study.params import load_params
from stages.study.paths import analysis_table, probe_predictions, robustness_table, segmentation_table

IMAGES = (2, 3, 7, 9)


@pytest.fixture
def tables(tmp_path):
    rng = np.random.default_rng(1)
    blocks = pd.DataFrame(
        [
            (image, labels, block, rng.integers(2), rng.integers(2), block == (3 if labels == "shape" else 5))
            for labels in ("shape", "texture")
            for block in range(7)
            for image in IMAGES
        ],
        columns=["image", "labels", "block", "truth", "predicted", "chosen"],
    )
    levels = {
        "clean": [0.0],
        "frequency_noise": [0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.42],
        "edges": [1.0],
        "silhouette": [0.5, 1.0],
    }
    trials = pd.DataFrame(
        [
            (trial, level, amplitude, head, labels, image, rng.integers(2), -1, rng.integers(2))
            for trial, of_trial in levels.items()
            for level in of_trial
            for amplitude in ([0.1, 0.2] if trial == "frequency_noise" else [0.0])
            for head in ("linear", "fine-tuned")
            for labels in ("shape", "texture")
            for image in IMAGES
        ],
        columns=["trial", "level", "amplitude", "head", "labels", "image", "truth", "rival", "predicted"],
    )
    conflict = [
        ("cue_conflict", 0.0, 0.0, "linear", "shape", image, 0, 1, guess)
        for image, guess in zip(IMAGES, (0, 1, 2, 0), strict=True)
    ]
    trials = pd.concat([trials, pd.DataFrame(conflict, columns=trials.columns)])
    similarity = pd.DataFrame(
        [
            (image, measure, variant, block, other, rng.normal())
            for image in IMAGES
            for measure in ("blocks", "branches", "cka_share", "positions")
            for variant in ("raw", "centred")
            for block in range(7)
            for other in ([block] if measure == "positions" else range(block))
        ],
        columns=["image", "measure", "variant", "block", "other_block", "value"],
    )
    answers = {
        name: pd.DataFrame(
            {
                "image": IMAGES,
                "labels": "class",
                "truth": 1,
                "predicted": rng.integers(0, 2, 4),
                "chosen": True,
            }
        )
        for name in ("linear", "attentive", "few_shot")
    }
    files = {
        probe_predictions("layerwise", "cl"): blocks,
        robustness_table("cl"): trials,
        analysis_table("similarity", "cl"): similarity,
        **{probe_predictions(name, "cl"): table for name, table in answers.items()},
    }
    for path, table in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        table.insert(0, "seed", 0)
        table.to_csv(tmp_path / path, index=False)
    return Tables(Results(load_params().model_copy(update={"seeds": [0]}), tmp_path))


def hits(table, image, **where):
    for name, value in where.items():
        table = table[table[name].isin(value if isinstance(value, list) else [value])]
    table = table[table["image"] == image]
    return np.mean(table["truth"].to_numpy() == table["predicted"].to_numpy())


@pytest.mark.parametrize(
    ("depth", "blocks"),
    [("first half", [1, 2, 3]), ("first third", [1, 2]), ("first block", [1]), ("last third", [5, 6])],
)
def test_probes_of_single_blocks(tables, depth, blocks):
    table = tables.probe("layerwise", "cl")
    accuracy = depth_accuracy(tables, "cl", depth=depth, labels="shape")
    for image in IMAGES:
        assert accuracy[image] == pytest.approx(hits(table, image, labels="shape", block=blocks))


def test_a_share_of_an_odd_number_of_blocks_is_rounded_up():
    rows = {"block": range(6), "labels": "class", "image": 2, "truth": 1, "predicted": [0, 1, 0, 1, 0, 0]}
    tables = SimpleNamespace(probe=lambda name, arm: pd.DataFrame(rows))
    depths = ("first half", "first third", "first block", "last third", "last half")
    of_depth = {depth: depth_accuracy(tables, "cl", depth=depth, labels="class")[2] for depth in depths}
    assert of_depth == pytest.approx(dict(zip(depths, (2 / 3, 1 / 2, 1, 0, 1 / 3), strict=True)))


def test_the_fall_after_the_best_block_is_of_each_label_set(tables):
    table = tables.probe("layerwise", "cl")
    falls = fall_after_best(tables, "cl", labels="mean of all")
    for image in IMAGES:
        best = (
            hits(table, image, labels="shape", block=3) + hits(table, image, labels="texture", block=5)
        ) / 2
        assert falls[image] == pytest.approx(best - hits(table, image, block=6))


@pytest.mark.parametrize(
    ("bands", "low", "high"),
    [
        ("outer thirds", [0.2, 0.4], [1.2, 1.42]),
        ("halves", [0.2, 0.4, 0.6], [1.0, 1.2, 1.42]),
        ("halves up to π", [0.2, 0.4], [0.8, 1.0]),
        ("outer bands", [0.2], [1.42]),
    ],
)
@pytest.mark.parametrize(
    ("amplitude", "rms"), [("mean of all", [0.1, 0.2]), ("weakest", [0.1]), ("strongest", [0.2])]
)
def test_what_is_left_under_noise_is_relative_to_what_there_was(tables, bands, low, high, amplitude, rms):
    table = tables.trials("cl")
    values = noise_contrast(
        tables, "cl", bands=bands, amplitude=amplitude, head="linear", labels="mean of all"
    )

    noise = {"trial": "frequency_noise", "amplitude": rms}
    parts = ({"trial": "clean"}, *(noise | {"level": part} for part in (high, low)))
    right = [[hits(table, image, head="linear", **where) for image in IMAGES] for where in parts]

    def contrast(weights):
        """Ratios of accuracies, of images that count by a weight."""
        clean, of_high, of_low = (np.average(part, weights=weights) for part in right)
        return of_high / clean - of_low / clean

    whole = contrast([1, 1, 1, 1])
    assert values.mean() == pytest.approx(whole)
    for place, image in enumerate(IMAGES):  # what an image makes of it: the slope by its share of the weight
        more = contrast(np.full(4, (1 - 1e-6) / 4) + 1e-6 * np.eye(4)[place])
        assert values[image] - whole == pytest.approx((more - whole) / 1e-6, rel=1e-3, abs=1e-6)


def test_decisions_for_shape_and_for_texture(tables):
    assert shape_preference(tables, "cl").tolist() == [1, -1, 0, 1]
    assert cue_accuracy(tables, "cl", cue="shape").tolist() == [1, 0, 0, 1]
    assert cue_accuracy(tables, "cl", cue="texture").tolist() == [0, 1, 0, 0]


def test_without_texture_counts_shapes_at_the_strongest_level(tables):
    table = tables.trials("cl")
    accuracy = without_texture(tables, "cl", trial="silhouette", head="fine-tuned")
    for image in IMAGES:
        conditions = {"trial": "silhouette", "head": "fine-tuned", "labels": "shape", "level": 1.0}
        assert accuracy[image] == hits(table, image, **conditions)
    with pytest.raises(MissingResult, match="amplitude_exchange is not among the corruptions"):
        without_texture(tables, "cl", trial="amplitude_exchange", head="linear")


def test_rows_of_one_measure_among_several(tables):
    table = pd.read_csv(tables.results.root / analysis_table("similarity", "cl"))
    options = {"analysis": "similarity", "column": "value", "blocks": "last third"}
    near = in_blocks(tables, "cl", **options, where={"measure": "blocks", "apart": 1}, variant="centred")
    alike = in_blocks(tables, "cl", **options, where={"measure": "positions"}, variant="raw")
    for image in IMAGES:
        cells = table[table["image"] == image].set_index(["measure", "variant", "block", "other_block"])[
            "value"
        ]
        expected = np.mean([cells["blocks", "centred", block, block - 1] for block in (5, 6)])
        assert near[image] == pytest.approx(expected)
        expected = np.mean([cells["positions", "raw", block, block] for block in (5, 6)])
        assert alike[image] == pytest.approx(expected)
        for name, (column, variant) in {
            "attention branches": ("branches", "raw"),
            "CKA of mean tokens": ("cka_share", "centred"),
            "tokens, centred": ("blocks", "centred"),
        }.items():
            values = blocks_alike(tables, "cl", measure=name, blocks="last block")
            assert values[image] == cells[column, variant, 6, 5]
    with pytest.raises(MissingResult, match=r"similarity/cl\.csv has no heads raw"):
        heads_alike(tables, "cl", measure="outputs", blocks="last block")
    with pytest.raises(MissingResult, match=r"similarity/cl\.csv has no heads raw"):
        in_blocks(tables, "cl", **options, where={"measure": "heads"}, variant="raw")


def test_outputs_of_heads_are_compared_as_they_are_or_centred(tables):
    path = tables.results.root / analysis_table("similarity", "cl")
    heads = pd.DataFrame(
        [
            (0, image, "heads", variant, block, block, value)
            for image in IMAGES
            for block in (1, 2, 3)
            for variant, value in (("raw", 0.1 * block + 0.01 * image), ("centred", -0.2 * block))
        ],
        columns=["seed", "image", "measure", "variant", "block", "other_block", "value"],
    )
    pd.concat([pd.read_csv(path), heads]).to_csv(path, index=False)
    for image in IMAGES:
        for measure, value in {"outputs": 0.3 + 0.01 * image, "outputs, centred": -0.6}.items():
            values = heads_alike(tables, "cl", measure=measure, blocks="last block")
            assert values[image] == pytest.approx(value)


def test_few_labels_are_a_mean_over_shares_and_not_the_chosen_one():
    few = {"share": 0.01, "chosen": False, "image": [3, 5], "truth": 1, "predicted": [1, 0]}
    more = {"share": 0.1, "chosen": True, "image": [3, 5], "truth": 1, "predicted": [1, 1]}
    table = pd.concat([pd.DataFrame(few), pd.DataFrame(more)]).assign(labels="class")
    tables = SimpleNamespace(probe=lambda name, arm: {("few_shot", "cl"): table}[name, arm])
    assert few_label_accuracy(tables, "cl", labels="mean of all").to_dict() == {3: 1.0, 5: 0.5}


def test_a_probe_that_has_no_pooling_is_taken_as_it_chose(tables):
    few = probe_accuracy(tables, "cl", probe="few_shot", pooling="chosen on validation", labels="mean of all")
    table = tables.probe("few_shot", "cl")
    assert few.tolist() == [hits(table, image) for image in IMAGES]
    with pytest.raises(MissingResult, match="no pooling cls"):
        probe_accuracy(tables, "cl", probe="few_shot", pooling="cls", labels="mean of all")
    linear, better = (tables.probe(name, "cl") for name in ("linear", "attentive"))
    gain = gain_over_linear(tables, "cl", probe="attentive", labels="mean of all")
    assert gain.tolist() == [hits(better, image) - hits(linear, image) for image in IMAGES]


def written(tables, path, rows):
    """The same study with one table written anew, of seed 0."""
    (tables.results.root / path).parent.mkdir(parents=True, exist_ok=True)
    rows.assign(seed=0).to_csv(tables.results.root / path, index=False)
    return Tables(Results(tables.params, tables.results.root))


def test_competing_textures_count_but_for_those_of_the_same_class_and_other_heads(tables):
    rows = [
        ("cue_conflict", "linear", 2, 0, 1, 0),
        ("cue_conflict", "linear", 3, 0, 1, 1),
        ("cue_conflict", "linear", 7, 4, 0, 4),  # the first class may compete
        ("cue_conflict", "linear", 8, 1, 0, 2),
        ("cue_conflict", "linear", 9, 1, 1, 1),  # the texture is of the class of the shape
        ("cue_conflict", "linear", 9, 1, -1, 1),  # or of none
        ("cue_conflict", "fine-tuned", 3, 0, 1, 0),
        ("other_stimuli", "linear", 3, 0, 1, 0),  # other pictures
    ]
    columns = ["trial", "head", "image", "truth", "rival", "predicted"]
    trials = pd.DataFrame(rows, columns=columns).assign(level=0.0, amplitude=0.0, labels="shape")
    read = written(tables, robustness_table("cl"), trials)
    assert shape_preference(read, "cl").to_dict() == {2: 1, 3: -1, 7: 1, 8: 0}
    none = written(tables, robustness_table("cl"), trials[trials["trial"] != "cue_conflict"])
    with pytest.raises(MissingResult, match="no test images whose shape and texture"):
        shape_preference(none, "cl")


def test_without_texture_and_shapes_every_label_set_counts(tables):
    path = robustness_table("cl")
    table = pd.read_csv(tables.results.root / path).query("trial == 'silhouette'")
    table["labels"] = table["labels"].replace("shape", "class")
    accuracy = without_texture(written(tables, path, table), "cl", trial="silhouette", head="linear")
    for image in IMAGES:
        assert accuracy[image] == hits(table, image, head="linear", level=1.0)


@pytest.mark.parametrize("objects", ["without background", "with background"])
def test_overlap_is_the_mean_over_the_classes_of_an_image(tables, objects):
    rows = [
        ("knn", 2, 0, 8, 10), ("knn", 2, 1, 1, 4), ("knn", 2, 3, 0, 2), ("knn", 5, 0, 9, 10),
        ("knn", 5, 1, 3, 4), ("linear", 2, 1, 4, 4),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["way", "image", "class", "intersection", "union"])
    segmented = written(tables, segmentation_table("cl"), table)
    iou = overlap(segmented, "cl", probe="knn", objects=objects)
    expected = {
        "without background": [(1 / 4 + 0) / 2, 3 / 4],
        "with background": [(8 / 10 + 1 / 4 + 0) / 3, (9 / 10 + 3 / 4) / 2],
    }
    assert iou.index.tolist() == [2, 5] and iou.tolist() == pytest.approx(expected[objects])
    with pytest.raises(MissingResult, match="no fine-tuned segmentation"):
        overlap(segmented, "cl", probe="fine-tuned", objects=objects)
