"""Make an SVG smaller: text with fallback fonts, classes for styles, short ids, no empty groups."""

import re

# Figures are laid out in DejaVu Sans; Verdana is as wide and exists on most machines without DejaVu Sans.
FONTS = "DejaVu Sans,Verdana,sans-serif"
_GROUP = re.compile(r"<g\b[^>]*>|</g>")


def compact(svg: str, *, prefix: str = "") -> str:
    """Return the same drawing of matplotlib in fewer bytes, with the same look on light and dark pages.

    Coordinates are rounded to a tenth of a point, styles become classes, which repeated marks share, and ids
    become short.

    prefix: of classes and ids, for drawings that are combined
    """
    text = re.sub(r"<!DOCTYPE[^>]*>|<!--.*?-->", "", svg, flags=re.DOTALL)
    text = re.sub(r">\s+<", "><", text)
    text = re.sub(r' transform="rotate\(-0 [^"]*\)"', "", text)
    text = re.sub(r' d="([^"]*)"', lambda path: f' d="{_path(path[1])}"', text)
    text = re.sub(
        r' (?:x|y)="[^"]*"|translate\([^)]*\)|rotate\([^)]*\)', lambda place: _rounded(place[0]), text
    )
    text = re.sub(r"'DejaVu Sans'", FONTS, text)
    text = _without_idle_groups(text)
    text = _with_classes(text, prefix)
    text = _with_shared_classes(text)
    text = _with_short_ids(text, prefix)
    return text.replace("xlink:href=", "href=").replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")


def _path(data: str) -> str:
    short = re.sub(r"\s*([A-Za-z])\s*", r"\1", " ".join(map(_rounded, data.split())))
    return re.sub(r"\s+", " ", short).strip()


def _rounded(text: str) -> str:
    """Round the numbers in a text to one decimal; below 10, as in markers, to two."""

    def cut(number: re.Match[str]) -> str:
        value = float(number[0])
        return f"{value:.{2 if abs(value) < 10 else 1}f}".rstrip("0").rstrip(".").replace("-0.", "-.") or "0"

    return re.sub(r"-?\d+\.\d+(?:e-?\d+)?", cut, text)


def _without_idle_groups(text: str) -> str:
    """Remove groups without attributes, or with only an id that nothing refers to."""
    referred = set(re.findall(r'(?:href="|url\()#([\w-]+)', text))
    open_groups: list[bool] = []  # whether each open group stays

    def group(tag: re.Match[str]) -> str:
        if tag[0] == "</g>":
            return "</g>" if open_groups.pop() else ""
        if tag[0].endswith("/>"):
            return ""
        name = re.search(r'id="([^"]*)"', tag[0])
        idle = bool(re.fullmatch(r'<g( id="[^"]*")?>', tag[0])) and not (name and name[1] in referred)
        open_groups.append(not idle)
        return "" if idle else tag[0]

    return _GROUP.sub(group, text)


def _with_classes(text: str, prefix: str) -> str:
    """Move every style into the style sheet once, and refer to it by a class."""
    styles = list(dict.fromkeys(re.findall(r' style="([^"]*)"', text)))
    names = {style: prefix + _name(place) for place, style in enumerate(styles)}
    text = re.sub(r' style="([^"]*)"', lambda style: f' class="{names[style[1]]}"', text)
    rules = "".join(
        f".{name}{{{style.replace('; ', ';').replace(': ', ':')}}}" for style, name in names.items()
    )
    return text.replace("</style>", f"{rules}</style>", 1)


def _with_shared_classes(text: str) -> str:
    """Move the class of a row of marks to a group around them."""

    def row(marks: re.Match[str]) -> str:
        if len(set(re.findall(r' class="(\w+)"', marks[0]))) != 1:
            return marks[0]
        css = re.search(r' class="\w+"', marks[0])
        assert css is not None
        return f"<g{css[0]}>{marks[0].replace(css[0], '')}</g>"

    return re.sub(r'(?:<use [^>]* class="\w+"/>){3,}', row, text)


def _with_short_ids(text: str, prefix: str) -> str:
    ids = dict.fromkeys(re.findall(r' id="([^"]*)"', text))
    names = {old: f"i{prefix}{_name(place)}" for place, old in enumerate(ids)}
    text = re.sub(r' id="([^"]*)"', lambda old: f' id="{names[old[1]]}"', text)
    return re.sub(r'(href="|url\()#([\w-]+)', lambda old: f"{old[1]}#{names.get(old[2], old[2])}", text)


def _name(place: int) -> str:
    """Return the name of a place: a, b, ..., z, aa, ab, ..."""
    letters = ""
    while place >= 0:
        letters = chr(97 + place % 26) + letters
        place = place // 26 - 1
    return letters
