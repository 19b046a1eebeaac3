"""Tables by block hold an interval per block, as HTML that is not escaped."""

import pandas as pd
from bs4 import BeautifulSoup

from stages.render.page.html_table import table
from stages.render.sections.block_numbers import curve_rows


def test_cells_are_intervals_in_order_and_missing_blocks_are_dashes() -> None:
    rows = [("B", 1, 1.0), ("B", 2, 2.0), ("A", 1, 3.0), ("A", 2, 4.0), ("A", 10, 5.0)]
    curves = pd.DataFrame(rows, columns=["label", "block", "mean"])
    curves = curves.assign(low=curves["mean"] - 0.1, high=curves["mean"] + 0.1)
    soup = BeautifulSoup(table(curve_rows(curves), caption="Numbers"), "html.parser")
    heads = [head.get_text() for head in soup.select("thead th")]
    assert heads == ["arm", "block 1", "block 2", "block 10"]
    assert [head.get_text() for head in soup.select("tbody th")] == ["B", "A"]
    first, second = ([cell.get_text() for cell in row.find_all("td")] for row in soup.select("tbody tr"))
    assert first == ["1.0 [0.9, 1.1]", "2.0 [1.9, 2.1]", "–"]
    assert second == ["3.0 [2.9, 3.1]", "4.0 [3.9, 4.1]", "5.0 [4.9, 5.1]"]
    assert len(soup.select("td .number")) == 5
