"""Join rows of markers in an SVG into one path each; matplotlib writes one element per marker."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping

USE = "{http://www.w3.org/2000/svg}use"
PATH = "{http://www.w3.org/2000/svg}path"
HREF = "{http://www.w3.org/1999/xlink}href"
FEWEST = 2  # markers of a row


def joined_dots(root: ET.Element, definitions: Mapping[str, ET.Element]) -> None:
    """Replace consecutive markers of one kind by one path, in place.

    definitions: id -> path of a marker
    """
    for parent in list(root.iter()):
        runs: list[list[ET.Element]] = []
        for child in parent:
            if runs and child.tag == USE and _kind(child) == _kind(runs[-1][0]):
                runs[-1].append(child)
            else:
                runs.append([child])
        parent[:] = [_joined(run, definitions) if len(run) >= FEWEST else run[0] for run in runs]


def _kind(use: ET.Element) -> tuple[str | None, ...]:
    """Return the properties that markers of one path share."""
    return use.tag, use.get(HREF), use.get("style"), use.get("clip-path")


def _joined(run: list[ET.Element], definitions: Mapping[str, ET.Element]) -> ET.Element:
    marker = definitions[run[0].get(HREF, "").lstrip("#")]
    right, down, steps = _relative(marker.get("d", ""))
    style = "; ".join(filter(None, (marker.get("style"), run[0].get("style"))))
    fill = re.search(r"fill: (#\w+)", style)
    # A disc is the round cap of a line of length zero.
    if steps.startswith("a") and fill and "stroke" not in style:
        places = "".join(f"M{float(use.get('x', 0)):.1f} {float(use.get('y', 0)):.1f}h0" for use in run)
        pen = f"fill: none; stroke: {fill[1]}; stroke-width: {-2 * right:.2f}; stroke-linecap: round"
        return ET.Element(PATH, {"d": places, "style": f"{style.replace(fill[0], pen)}"})
    places = "".join(
        f"M{float(use.get('x', 0)) + right:.1f} {float(use.get('y', 0)) + down:.1f}{steps}" for use in run
    )
    return ET.Element(PATH, {"d": places, "style": style})


def _relative(path: str) -> tuple[float, float, str]:
    """Return the start of a marker's path and the steps from there; a circle becomes two arcs."""
    tokens = re.findall(r"[A-Za-z]|-?[\d.]+(?:e-?\d+)?", path)
    if "C" in tokens:  # the only round marker of matplotlib is eight curves from the lowest point
        radius = float(tokens[2])
        arc = f"a{radius:.2f} {radius:.2f} 0 1 0"
        return -radius, 0.0, f"{arc} {2 * radius:.2f} 0{arc} {-2 * radius:.2f} 0z"
    start: tuple[float, float] | None = None
    position, steps, place = (0.0, 0.0), "", 0
    while place < len(tokens):
        command = tokens[place]
        if command in "zZ":
            steps, place = f"{steps}z", place + 1
            continue
        end = (float(tokens[place + 1]), float(tokens[place + 2]))
        if start is None:
            start = end
        else:
            steps += f"{command.lower()}{end[0] - position[0]:.2f} {end[1] - position[1]:.2f}"
        position, place = end, place + 3
    return *(start or (0.0, 0.0)), steps
