"""Words and numbers of a report: signs, decimals, intervals, lists."""

import math
import re
from collections.abc import Iterable

from markupsafe import Markup


def number(value: float | None, *, digits: int = 3) -> str:
    """A number with so many significant digits and a real minus sign; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
        return fixed(value, decimals=decimals)
    return f"{value:.{digits - 1}e}".replace("-", "−")


def fixed(value: float, *, decimals: int) -> str:
    """A number with so many decimals, a real minus sign and thousands set apart; never a negative zero."""
    text = f"{value:,.{decimals}f}"
    negative = text.startswith("-") and any(digit in text for digit in "123456789")
    return ("−" if negative else "") + text.lstrip("-")


def interval(mean: float, low: float, high: float, *, unit: str = "", decimals: int | None = None) -> str:
    """A mean with its interval, to as many decimals as the width of the interval calls for unless told.

    returns: for example "16.33 [16.32, 16.35] px"
    """
    if not all(map(math.isfinite, (mean, low, high))):
        return "–"
    if decimals is None:
        decimals = decimals_for([high - low])
    parts = [fixed(value, decimals=decimals) for value in (mean, low, high)]
    return f"{parts[0]} [{parts[1]}, {parts[2]}]" + (f" {unit}" if unit else "")


def decimals_for(widths: Iterable[float]) -> int:
    """Decimals that show the narrowest of some intervals to one digit, at most four."""
    wide = [width for width in widths if width > 0]
    return min(4, max(0, -math.floor(math.log10(min(wide))))) if wide else 2


def unbroken(text: str) -> str:
    """The text with a number tied to its unit, and a figure or section to its number, at line ends."""
    text = re.sub(r"(?<=\d) (?=(?:%|px|π|points|blocks|heads)\b|%)", "\u00a0", text)
    return re.sub(r"(Fig\.|§|λ =) (?=\d)", "\\1\u00a0", text)


def listed(words: Iterable[str]) -> str:
    """Words as a person lists them: a, b and c."""
    *first, last = list(words) or ["none"]
    return f"{', '.join(first)} and {last}" if first else last


def on_set(labels: str) -> str:
    """A label set in a sentence: nothing where images have only their class."""
    return "" if labels == "class" else f" on {labels}"


def nowrap(text: str) -> Markup:
    """A number that no line break may tear from its interval."""
    return Markup('<span class="number">{}</span>').format(text)
