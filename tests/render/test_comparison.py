"""The matrix of all blocks of all arms."""

import pandas as pd
import pytest

from stages.render import comparison
from stages.render.style import palette
from stages.study.errors import StudyError
from stages.study.paths import COMPARISON
from stages.study.settings import Arm

ARMS = {
    "a": Arm(objective="contrastive", label="CL"),
    "b": Arm(objective="contrastive", label="CL"),
    "c": Arm(objective="masked"),
}


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Blocks 0 and 1 of three arms, two of them replicates, and of one that is no longer in the study."""
    monkeypatch.chdir(tmp_path)
    rows = []
    for place, arm in enumerate("abcd"):
        for number, other in enumerate("abcd"):
            for block in (0, 1):
                for other_block in (0, 1):
                    value = (
                        1.0 if (arm, block) == (other, other_block) else 0.1 * (place + number) + 0.01 * block
                    )
                    rows.append((arm, block, other, other_block, value))
    COMPARISON.parent.mkdir()
    columns = ["arm", "block", "other_arm", "other_block", "cka"]
    pd.DataFrame(rows, columns=columns).to_csv(COMPARISON, index=False)


def test_replicates_are_averaged_and_not_compared_with_each_other(table):
    alike = comparison.blocks_alike(ARMS)
    assert list(alike.index) == [("CL", 0), ("CL", 1), ("c", 0), ("c", 1)] == list(alike.columns)
    assert alike.loc[("CL", 1), ("CL", 1)] == 1
    assert alike.loc[("CL", 1), ("CL", 0)] == pytest.approx((0.01 + 0.21) / 2)
    assert alike.loc[("CL", 1), ("c", 1)] == pytest.approx((0.21 + 0.31) / 2)


def test_the_figure_and_its_words_name_every_arm(table):
    alike = comparison.blocks_alike(ARMS)
    figure = comparison.comparison_figure(alike, inks=palette(ARMS))
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["CL", "c"]
    assert "CL and c 0.26" in comparison.comparison_caption(alike)
    assert "CL and c 0.26" in comparison.comparison_alt(alike)


def test_a_table_without_an_arm_is_refused(table):
    with pytest.raises(StudyError, match="no arm e; `dvc repro compare`"):
        comparison.blocks_alike(ARMS | {"e": Arm(objective="masked")})
