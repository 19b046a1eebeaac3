"""Format the words and numbers of a report: signs, decimals, intervals, lists."""

import math
import re
from collections.abc import Iterable

from markupsafe import Markup

# Role of an arm in a claim -> its name in the report.
ROLES = {
    "contrastive": "CL",
    "masked": "MIM",
    "hybrid": "hybrid",
    "random": "untrained",
    "autoencoder": "MAE",
    "dino": "DINO",
}


def number(value: float | None, *, digits: int = 3) -> str:
    """Return a number with some significant digits and a true minus sign; a dash for a missing value."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
        return fixed(value, decimals=decimals)
    return f"{value:.{digits - 1}e}".replace("-", "−")


def fixed(value: float, *, decimals: int) -> str:
    """Return a number with fixed decimals, a true minus sign and separated thousands, but no minus zero."""
    text = f"{value:,.{decimals}f}"
    negative = text.startswith("-") and any(digit in text for digit in "123456789")
    return ("−" if negative else "") + text.lstrip("-")


def signed(value: float, *, decimals: int = 1) -> str:
    """Return a difference with its sign: +1.0 or −1.0."""
    text = fixed(value, decimals=decimals)
    return text if text.startswith("−") else f"+{text}"


def interval(mean: float, low: float, high: float, *, unit: str = "", decimals: int | None = None) -> str:
    """Return a mean with its interval.

    decimals: None: as many as the width of the interval needs
    Returns:  for example "16.33 [16.32, 16.35] px"; "below 0.01 px" or "within ±0.01 px" if all three
              would print as 0
    """
    if not all(map(math.isfinite, (mean, low, high))):
        return "–"
    if decimals is None:
        decimals = decimals_for([high - low])
    parts = [fixed(value, decimals=decimals) for value in (mean, low, high)]
    text = f"{parts[0]} [{parts[1]}, {parts[2]}]"
    if mean and max(-low, high) < 0.5 * 10**-decimals:
        bound = fixed(10**-decimals, decimals=decimals)
        text = f"below {bound}" if low >= 0 else f"within ±{bound}"
    return text + (f" {unit}" if unit else "")


def decimals_for(widths: Iterable[float]) -> int:
    """Return the decimals that show half of the narrowest interval with one digit, at most four."""
    wide = [width for width in widths if width > 0]
    return min(4, max(0, -math.floor(math.log10(min(wide) / 2) + 1e-9))) if wide else 2


def unbroken(text: str) -> str:
    """Return a text whose lines do not break between a number and its unit, figure or section."""
    text = re.sub(r"(?<=\d) (?=(?:%|px|π|points|blocks|heads)\b|%)", "\u00a0", text)
    return re.sub(r"(Fig\.|§|\b[dp] =|λ =) (?=[−\d])", "\\1\u00a0", text)


def listed(words: Iterable[str], *, conjunction: str = "and") -> str:
    """Return words as a list in a sentence: a, b and c."""
    *first, last = list(words) or ["none"]
    return f"{', '.join(first)} {conjunction} {last}" if first else last


def any_of(numbers: Iterable[int]) -> str:
    """Return alternative numbers in a sentence: 2 or 3."""
    return listed((f"{value:,}" for value in numbers), conjunction="or")


def minus(comparison: str) -> str:
    """Return a comparison as a difference: "a over b and c" as "a minus the higher of b and c".

    "a over 0" becomes "a, against 0".
    """
    higher, _, lower = comparison.partition(" over ")
    if not lower:
        return comparison
    if lower == "0":
        return f"{role_name(higher)}, against 0"
    names = listed(role_name(role) for role in lower.split(" and "))
    return f"{role_name(higher)} minus {'the higher of ' if ' and ' in lower else ''}{names}"


def role_name(role: str) -> str:
    """Return the name of a role in a claim as the report writes it, such as CL for contrastive."""
    return ROLES.get(role, role)


def on_set(labels: str) -> str:
    """Return a label set as part of a sentence; empty if images have only one label, their class."""
    return "" if labels == "class" else f" on {labels}"


def nowrap(text: str) -> Markup:
    """Return a number and its interval as HTML without a line break between them."""
    return Markup('<span class="number">{}</span>').format(text)
