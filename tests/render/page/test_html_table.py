"""Tables have headings, a caption and stable bytes."""

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from markupsafe import Markup

from stages.render.page.html_table import table


def test_table_has_heads_caption_and_stable_bytes() -> None:
    frame = pd.DataFrame(
        {"value": [0.12345, np.nan], "text": ["<b>", Markup("<i>it</i>")]}, index=["one", "two"], dtype=object
    ).rename_axis("row")
    html = table(frame, caption="Some & more")
    assert html == table(frame.copy(), caption="Some & more")
    soup = BeautifulSoup(html, "html.parser")
    assert soup.caption is not None and soup.caption.get_text() == "Some & more"
    assert [head["scope"] for head in soup.find_all("th")] == ["col"] * 3 + ["row"] * 2
    assert [cell.get_text() for cell in soup.find_all("td")] == ["0.123", "<b>", "–", "it"]
    assert soup.find("i") is not None and soup.find("b") is None
    assert [cell["data-column"] for cell in soup.find_all("td")] == ["value", "text"] * 2  # of the cards


def test_table_with_two_header_rows() -> None:
    columns = pd.MultiIndex.from_tuples([("knn", "shape"), ("knn", "texture"), ("linear", "shape")])
    html = table(pd.DataFrame([[1, -2.5, 3]], index=["a"], columns=columns), caption="c")
    soup = BeautifulSoup(html, "html.parser")
    upper = [(head["scope"], head.get("colspan")) for head in soup.find_all("tr")[0].find_all("th")]
    assert upper == [("colgroup", "2"), ("colgroup", "1")]
    cells = soup.select("tbody td")
    assert [cell.get_text() for cell in cells] == ["1", "−2.5", "3"]
    assert [cell["data-column"] for cell in cells] == ["knn, shape", "knn, texture", "linear, shape"]


def test_table_needs_a_caption() -> None:
    with pytest.raises(ValueError, match="caption"):
        table(pd.DataFrame({"a": [1]}), caption=" ")
