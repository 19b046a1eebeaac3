"""Figures in the dark: the same image with a second set of colours, taken where a reader has a dark page."""

import re
from functools import cache

import numpy as np

GROUND = "#1B1E21"  # of a figure on a dark page; `--card` of the style sheet
# What stands in a coloured cell keeps its ink, as the cell keeps its colour.
LIGHT_INK, DARK_INK = "#FEFEFE", "#010101"


def with_dark(svg: bytes) -> bytes:
    """An SVG of matplotlib whose inks change with the reader's colour scheme; paper and print stay light.

    Every fill and stroke keeps its hue and, as near as can be, its contrast to the ground.
    """
    found = sorted(set(re.findall(rb"(fill|stroke): (#[0-9a-f]{6})", svg)))
    rules = [
        f'[style*="{kind.decode()}: {ink.decode()}"]{{{kind.decode()}:{on_dark(ink.decode())}!important}}'
        for kind, ink in found
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
    place = svg.index(first) + (len(first) if first != b"<defs>" else 0)  # after the sheet that it overrules
    return svg[:place] + sheet.encode() + svg[place:]


def _inks_on_dark(style: str) -> str:
    """The fills and strokes of a rule of a style sheet as they are in the dark; nothing if it has none."""
    inks = re.findall(r"(fill|stroke):(#[0-9a-f]{6})", style)
    return ";".join(
        f"{kind}:{on_dark(ink)}" for kind, ink in inks if ink.upper() not in (LIGHT_INK, DARK_INK)
    )


@cache
def on_dark(colour: str) -> str:
    """The mix of a colour with white or with GROUND that stands out from GROUND as it does from white.

    Contrast is that of WCAG 2, at most 11: nothing in the dark is as harsh as black on white.
    """
    wanted = min(contrast(colour, "#FFFFFF"), 11.0)
    mixes = [_mixed(colour, other, share) for other in ("#FFFFFF", GROUND) for share in np.linspace(0, 1, 51)]
    return min(mixes, key=lambda mix: abs(contrast(mix, GROUND) - wanted))


def contrast(colour: str, ground: str) -> float:
    """WCAG 2 contrast ratio of two colours, 1 to 21."""
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
