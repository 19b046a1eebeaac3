"""Give figures a second set of colours for dark pages."""

import re
from functools import cache

import numpy as np

GROUND = "#1B1E21"  # background of a figure on a dark page; `--card` of the style sheet
# Colours of text in coloured cells, which do not change.
LIGHT_INK, DARK_INK = "#FEFEFE", "#010101"


def with_dark(svg: bytes) -> bytes:
    """Return an SVG of matplotlib whose colours follow the reader's colour scheme; print stays light.

    Every fill and stroke keeps its hue and, as far as possible, its contrast with the background.
    """
    inks = sorted(set(re.findall(rb"(fill|stroke): (#[0-9a-f]{6})", svg)))
    rules = [
        f'[style*="{kind.decode()}: {ink.decode()}"]{{{kind.decode()}:{on_dark(ink.decode())}!important}}'
        for kind, ink in inks
        if ink.decode().upper() not in (LIGHT_INK, DARK_INK)
    ]
    rules += [
        f".{name.decode()}{{{dark}}}"
        for name, style in re.findall(rb"\.(\w+)\{([^}]*)\}", svg)
        if (dark := _inks_on_dark(style.decode()))
    ]
    if not rules:
        return svg
    sheet = (
        f'<style data-scheme="dark">@media screen and (prefers-color-scheme:dark){{{"".join(rules)}}}</style>'
    )
    first = b"</style></defs>" if b"</style></defs>" in svg else b"<defs>"
    place = svg.index(first) + (
        len(first) if first != b"<defs>" else 0
    )  # after the style sheet that it overrides
    return svg[:place] + sheet.encode() + svg[place:]


def _inks_on_dark(style: str) -> str:
    """Return the fills and strokes of a style rule for a dark page; empty if the rule has none."""
    inks = re.findall(r"(fill|stroke):(#[0-9a-f]{6})", style)
    return ";".join(
        f"{kind}:{on_dark(ink)}" for kind, ink in inks if ink.upper() not in (LIGHT_INK, DARK_INK)
    )


@cache
def on_dark(colour: str) -> str:
    """Return a mix of a colour with white or GROUND that keeps its contrast with the background.

    The contrast is that of WCAG 2, limited to 11, because black on white is too harsh on a dark page.
    """
    wanted = min(contrast(colour, "#FFFFFF"), 11.0)
    mixes = [_mixed(colour, other, share) for other in ("#FFFFFF", GROUND) for share in np.linspace(0, 1, 51)]
    return min(mixes, key=lambda mix: abs(contrast(mix, GROUND) - wanted))


def contrast(colour: str, ground: str) -> float:
    """Return the WCAG 2 contrast ratio of two colours, from 1 to 21."""
    low, high = sorted((_luminance(colour), _luminance(ground)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = _parts(colour) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def _mixed(colour: str, other: str, share: float) -> str:
    red, green, blue = np.rint((1 - share) * _parts(colour) + share * _parts(other)).astype(int)
    return f"#{red:02X}{green:02X}{blue:02X}"


def _parts(colour: str) -> np.ndarray:
    return np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)], dtype=float)
