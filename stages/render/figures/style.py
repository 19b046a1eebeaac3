"""The style of all figures: one colour, line and marker per arm on every page, and type for print."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from stages.study.params import label_of
from stages.study.study import Study

# Blue, vermillion, green and purple of Okabe & Ito, darkened to 3:1 contrast on white, and two more dark
# colours. They are distinguishable with any colour vision; in grey print, markers differ.
COLOURS = ("#0072B2", "#D55E00", "#00805F", "#A64D86", "#8C6D00", "#3B2F8F")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES: tuple[Any, ...] = ("-", (0, (5, 1.2)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))
CONTROL = "#666666"
CONTROL_LINES: tuple[Any, ...] = ((0, (4, 2)), (0, (2, 2)), (0, (7, 2, 1.5, 2)))
PAPER = "#8A8A8A"
TEXT = "#222222"


@dataclass(frozen=True)
class Ink:
    """Colour, line and marker of one label in all figures."""

    colour: str
    line: Any
    marker: str


def palette(study: Study) -> dict[str, Ink]:
    """Return one ink per label, in the order of params.yaml; untrained controls are grey and dashed.

    Returns: label -> ink; a new arm at the end does not change the inks of the others
    """
    labels = {name: label_of(study, name) for name in study.arms}
    controls = [label for name, label in labels.items() if study.arms[name].objective == "random"]
    trained = [label for label in labels.values() if label not in controls]
    inks = {
        label: Ink(
            colour=COLOURS[place % len(COLOURS)],
            line=LINES[place // len(COLOURS) % len(LINES)],
            # A second arm of the same colour has another marker.
            marker=MARKERS[(place + place // len(COLOURS)) % len(MARKERS)],
        )
        for place, label in enumerate(trained)
    }
    for place, label in enumerate(controls):
        inks[label] = Ink(colour=CONTROL, line=CONTROL_LINES[place % len(CONTROL_LINES)], marker="x")
    return {label: inks[label] for label in labels.values()}


def darker(colour: str, share: float = 0.25) -> str:
    """Return a colour mixed with black, because text needs more contrast than a line.

    share: of black, from 0 to 1
    """
    parts = [round(int(colour[start : start + 2], 16) * (1 - share)) for start in (1, 3, 5)]
    return "#{:02X}{:02X}{:02X}".format(*parts)


@contextmanager
def styled() -> Iterator[None]:
    """Apply the settings of the study; the same figure then gives the same bytes."""
    settings: dict[str, Any] = {
        "font.family": "DejaVu Sans",  # part of matplotlib, hence the same on every machine
        "font.size": 9.5,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelcolor": TEXT,
        "axes.edgecolor": "#777777",
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "figure.constrained_layout.w_pad": 0.09,  # inches
        "figure.constrained_layout.h_pad": 0.07,
        "grid.color": "#E6E6E6",
        "grid.linewidth": 0.7,
        "text.color": TEXT,
        "text.parse_math": False,  # a dollar sign in a label is a dollar sign
        "xtick.color": "#444444",
        "ytick.color": "#444444",
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "lines.linewidth": 1.8,
        "lines.markersize": 4.5,
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "savefig.dpi": 150,
        "svg.hashsalt": "study",
        "svg.fonttype": "none",  # text stays text: small, searchable, can be copied
    }
    # Labels may be in any script. An SVG keeps text as text, and browsers have fonts for it. A PNG shows a
    # box for a letter that DejaVu Sans lacks.
    with (
        style.context(["default", settings]),  # independent of the user's matplotlibrc
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from|Matplotlib currently does not")
        yield


WIDE, NARROW = 8.4, 4.4  # inches: width of panels side by side, and of one panel, which fits a phone


def new_figure(*, width: float = WIDE, height: float = 3.6, layout: Any = "constrained") -> Figure:
    """Return an empty figure that does not depend on pyplot; fill it inside `styled()`.

    width, height: inches
    layout:        layout engine of matplotlib
    """
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)  # one renderer measures all text
    return figure
