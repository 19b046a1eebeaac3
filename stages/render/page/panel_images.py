"""Split the SVG of a figure into one image per panel, so that a narrow page can stack the panels of a row."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from matplotlib.artist import Artist
from matplotlib.figure import Figure

from stages.render.page.svg_dots import joined_dots

SVG = "http://www.w3.org/2000/svg"
HREF = "{http://www.w3.org/1999/xlink}href"
OVERLAP = 2.0  # points by which two neighbouring panels may overlap
MARGIN = 4.0  # points around a panel
SHORT = 0.8  # a row that ends before this share of the width is cropped


class Box(NamedTuple):
    """A rectangle in points from the upper left corner, and the ids of the panels in it."""

    left: float
    top: float
    right: float
    bottom: float
    ids: tuple[str, ...]


class Image(NamedTuple):
    """One image of a figure: its SVG, and its size in points."""

    svg: str
    width: float
    height: float


def mark_panels(fig: Figure) -> list[Box]:
    """Give every panel and legend an id, and return their rectangles.

    fig: with a fixed layout
    """
    across, up = (72 * inches for inches in fig.get_size_inches())
    scale = 72 / fig.dpi
    parts: Sequence[Artist] = [*fig.axes, *fig.legends, *fig.texts]
    boxes = []
    for place, part in enumerate(parts):
        part.set_gid(f"panel{place}")
        box = part.get_tightbbox()
        if box is None:
            continue
        left, right = max(scale * box.x0, 0), min(scale * box.x1, across)
        top, bottom = max(up - scale * box.y1, 0), min(up - scale * box.y0, up)
        boxes.append(Box(left, top, right, bottom, (f"panel{place}",)))
    return boxes


def rows_of(boxes: Sequence[Box], *, width: float, height: float) -> list[list[Box]]:
    """Split a figure into rows of cells, which contain its panels and touch each other.

    A row of one cell ends where its content ends. Consecutive rows of one cell are merged.

    boxes:         as `mark_panels` returns them
    width, height: of the figure, points
    """
    rows = [sorted(_groups(row, "left", "right"), key=lambda cell: cell.left)
            for row in ([*_members(group, boxes)] for group in _groups(boxes, "top", "bottom"))]  # fmt: skip
    merged: list[list[Box]] = []
    for row in rows:
        if merged and len(row) == len(merged[-1]) == 1:
            merged[-1] = [_around([*merged[-1], *row])]
        else:
            merged.append(row)
    tops = [min(cell.top for cell in row) for row in merged]
    bottoms = [max(cell.bottom for cell in row) for row in merged]
    edges = [0.0, *((low + high) / 2 for low, high in zip(bottoms, tops[1:], strict=False)), height]
    cells = []
    for row, (top, bottom) in zip(merged, pairwise(edges), strict=True):
        sides = [(one.right + other.left) / 2 for one, other in pairwise(row)]
        if len(row) == 1 and len(merged) > 1:
            ends = [max(row[0].left - MARGIN, 0), min(row[0].right + MARGIN, width)]
        else:
            end = row[-1].right + MARGIN if row[-1].right < SHORT * width else width
            ends = [0.0, *sides, end]
        cells.append([Box(left, top, right, bottom, cell.ids)
                       for cell, (left, right) in zip(row, pairwise(ends), strict=True)])  # fmt: skip
    return cells


def images_of(svg: bytes, rows: Sequence[Sequence[Box]]) -> list[list[Image]]:
    """Split the SVG of a figure into one SVG per cell, each with only the definitions that it needs.

    svg:  as matplotlib writes it, with the ids of `mark_panels`
    rows: as `rows_of` returns them
    """
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", HREF[1:].partition("}")[0])
    root = ET.fromstring(svg)
    definitions = {child.attrib["id"]: child for defs in root.iter(f"{{{SVG}}}defs") for child in defs
                   if "id" in child.attrib}  # fmt: skip
    parts = {tag.attrib["id"]: tag for tag in root.iter() if re.fullmatch(r"panel\d+", tag.get("id", ""))}
    style = root.find(f"{{{SVG}}}defs/{{{SVG}}}style")
    for tag in list(root.iter()):
        for defs in tag.findall(f"{{{SVG}}}defs"):
            tag.remove(defs)
    joined_dots(root, definitions)
    return [[_image(cell, parts, definitions, style) for cell in row] for row in rows]


def _image(
    cell: Box, parts: dict[str, ET.Element], definitions: dict[str, ET.Element], style: ET.Element | None
) -> Image:
    width, height = cell.right - cell.left, cell.bottom - cell.top
    frame = [f"{value:.2f}" for value in (cell.left, cell.top, width, height)]
    root = ET.Element(f"{{{SVG}}}svg", {"x": frame[0], "y": frame[1], "width": frame[2], "height": frame[3],
                                        "viewBox": " ".join(frame)})  # fmt: skip
    content = [parts[name] for name in cell.ids if name in parts]
    needed: dict[str, ET.Element] = {}
    waiting = [*content]
    while waiting:
        for name in _references(waiting.pop()):
            if name in definitions and name not in needed:
                needed[name] = definitions[name]
                waiting.append(definitions[name])
    if style is not None:  # separate, because `with_dark` adds its style sheet after it
        ET.SubElement(root, f"{{{SVG}}}defs").append(style)
    if needed:
        ET.SubElement(root, f"{{{SVG}}}defs").extend(needed.values())
    root.extend(content)
    for tag in root.iter():
        if tag.get("id") not in needed:
            tag.attrib.pop("id", None)
    _unwrap(root)
    return Image(ET.tostring(root, encoding="unicode").replace(" />", "/>"), width, height)


def _references(element: ET.Element) -> Iterator[str]:
    """Yield the ids that an element and its descendants refer to."""
    for tag in element.iter():
        yield tag.get(HREF, "").lstrip("#")
        yield from re.findall(r"url\(#([^)]+)\)", " ".join(tag.attrib.values()))


def _unwrap(root: ET.Element) -> None:
    """Replace groups without attributes by their content."""
    for tag in root.iter():
        while any(child.tag == f"{{{SVG}}}g" and not child.attrib for child in tag):
            flat: list[ET.Element] = []
            for child in tag:
                flat += [*child] if child.tag == f"{{{SVG}}}g" and not child.attrib else [child]
            tag[:] = flat


def _groups(boxes: Sequence[Box], low: str, high: str) -> list[Box]:
    """Merge boxes that overlap along one direction, and return them in order."""
    groups: list[list[Box]] = []
    end = -float("inf")
    for box in sorted(boxes, key=lambda box: float(getattr(box, low))):
        if not groups or getattr(box, low) > end - OVERLAP:
            groups.append([])
        groups[-1].append(box)
        end = max(end, float(getattr(box, high)))
    return [_around(group) for group in groups]


def _members(group: Box, boxes: Sequence[Box]) -> Iterator[Box]:
    return (box for box in boxes if set(box.ids) <= set(group.ids))


def _around(boxes: Sequence[Box]) -> Box:
    ids = tuple(name for box in boxes for name in box.ids)
    return Box(min(box.left for box in boxes), min(box.top for box in boxes),
               max(box.right for box in boxes), max(box.bottom for box in boxes), ids)  # fmt: skip
