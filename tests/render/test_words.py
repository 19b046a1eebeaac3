"""Numbers, intervals and lists in words."""

import pytest

from stages.render.words import any_of, decimals_for, fixed, interval, listed, minus, number, unbroken


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-2.514, "−2.51"),
        (1234.5, "1,234"),
        (0.00042, "0.000420"),
        (None, "–"),
        (float("nan"), "–"),
        (3e-7, "3.00e−07"),
        (-0.0, "0"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text


def test_intervals_in_words() -> None:
    assert interval(16.333, 16.321, 16.346, unit="px") == "16.33 [16.32, 16.35] px"
    assert interval(-0.0004, -0.02, 0.02) == "0.00 [−0.02, 0.02]"
    assert interval(1e-5, 0.5e-5, 2e-5, unit="px", decimals=4) == "below 0.0001 px"
    assert interval(-3e-5, -4.9e-5, 4e-5) == interval(3e-5, -4e-5, 4.9e-5) == "within ±0.0001"
    assert interval(0.0, 0.0, 0.0) == "0.00 [0.00, 0.00]"
    assert fixed(-0.001, decimals=2) == "0.00"
    assert [decimals_for(widths) for widths in ([0.025], [3.0], [1e-9], [0.0], [0.5, 0.002])] == [
        2,
        0,
        4,
        2,
        3,
    ]
    assert (any_of([2, 3]), any_of([4000])) == ("2 or 3", "4,000")
    assert (listed([]), listed("a"), listed("abc")) == ("none", "a", "a, b and c")
    assert unbroken("Fig. 3, 95 % of 16 px") == "Fig.\u00a03, 95\u00a0% of 16\u00a0px"


def test_a_comparison_is_a_difference() -> None:
    assert minus("contrastive over masked") == "CL minus MIM"
    assert minus("hybrid over contrastive and masked") == "hybrid minus the higher of CL and MIM"
    assert minus("masked over 0") == "MIM, against 0" and minus("") == ""
