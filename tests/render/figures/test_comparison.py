"""The matrix of all blocks of all arms."""

from itertools import product

import pandas as pd
import pytest

from stages.render.figures import comparison
from stages.render.figures.style import palette
from stages.results.study_results import Results
from stages.study.errors import StudyError
from stages.study.paths import COMPARISON
from tests.render.synthetic import study_of

STUDY = study_of({"a": "contrastive", "c": "masked"}, labels={"a": "CL"})


@pytest.fixture
def results(tmp_path):
    """Return results for blocks 0 and 1 of two arms in two seeds, and of an arm outside the study."""
    rows = []
    arms = ("a", "c", "d")
    for seed, (place, arm), (number, other), block, other_block in product(
        (0, 1), enumerate(arms), enumerate(arms), (0, 1), (0, 1)
    ):
        value = 1.0 if (arm, block) == (other, other_block) else 0.1 * (place + number + seed) + 0.01 * block
        rows.append((seed, arm, block, other, other_block, value))
    (tmp_path / COMPARISON).parent.mkdir()
    columns = ["seed", "arm", "block", "other_arm", "other_block", "cka"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / COMPARISON, index=False)
    return Results(STUDY, tmp_path)


def test_seeds_are_averaged(results):
    alike = comparison.blocks_alike(results)
    assert list(alike.index) == [("CL", 0), ("CL", 1), ("c", 0), ("c", 1)] == list(alike.columns)
    assert alike.loc[("CL", 1), ("CL", 1)] == 1
    assert alike.loc[("CL", 1), ("CL", 0)] == pytest.approx((0.01 + 0.11) / 2)
    assert alike.loc[("CL", 1), ("c", 1)] == pytest.approx((0.11 + 0.21) / 2)


def test_arms_without_a_common_seed_are_not_compared(results):
    path = results.root / COMPARISON
    table = pd.read_csv(path, keep_default_na=False)
    apart = table[(table["arm"] == "c") == (table["seed"] == 1)]
    apart[(apart["other_arm"] == "c") == (apart["seed"] == 1)].to_csv(path, index=False)
    alike = comparison.blocks_alike(Results(STUDY, results.root))
    assert alike.loc["CL", "c"].isna().all(axis=None) and alike.loc["c", "c"].notna().all(axis=None)
    comparison.comparison_figure(alike, inks=palette(STUDY))


def test_the_figure_and_its_words_name_every_arm(results):
    alike = comparison.blocks_alike(results)
    figure = comparison.comparison_figure(alike, inks=palette(STUDY))
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["CL", "c"]
    assert "Arms: CL and c." in comparison.comparison_alt(alike)
    lowest, highest = figure.axes[0].images[0].get_clim()
    assert highest == 1 and 0 <= alike.to_numpy().min() - lowest < 0.1


def test_a_table_without_an_arm_is_refused(results):
    with pytest.raises(StudyError, match="no arm e; `dvc repro compare`"):
        comparison.blocks_alike(Results(study_of({"e": "masked"}), results.root))
