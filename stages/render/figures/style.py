"""How every figure looks: one ink per arm, the same on every page, and print-ready type."""

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

# Okabe & Ito's blue, vermillion, green and purple, darkened until each has 3:1 contrast on white, then two
# dark colours of their own; told apart with any colour vision, and by their marker in a grey print.
COLOURS = ("#0072B2", "#D55E00", "#00805F", "#A64D86", "#8C6D00", "#3B2F8F")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES: tuple[Any, ...] = ("-", (0, (5, 1.2)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))
CONTROL = "#666666"
CONTROL_LINES: tuple[Any, ...] = ((0, (4, 2)), (0, (2, 2)), (0, (7, 2, 1.5, 2)))
PAPER = "#8A8A8A"
TEXT = "#222222"


@dataclass(frozen=True)
class Ink:
    """How one label is drawn everywhere: colour, line and marker."""

    colour: str
    line: Any
    marker: str


def palette(study: Study) -> dict[str, Ink]:
    """One ink per label, in the order of params.yaml; an untrained control is always grey and dashed.

    returns: label -> ink; adding an arm at the end changes no other arm's ink
    """
    labels = {name: label_of(study, name) for name in study.arms}
    controls = [label for name, label in labels.items() if study.arms[name].objective == "random"]
    trained = [label for label in labels.values() if label not in controls]
    inks = {
        label: Ink(
            colour=COLOURS[place % len(COLOURS)],
            line=LINES[place // len(COLOURS) % len(LINES)],
            # The second arm of a colour has another marker, so that two points of it can be told apart.
            marker=MARKERS[(place + place // len(COLOURS)) % len(MARKERS)],
        )
        for place, label in enumerate(trained)
    }
    for place, label in enumerate(controls):
        inks[label] = Ink(colour=CONTROL, line=CONTROL_LINES[place % len(CONTROL_LINES)], marker="x")
    return {label: inks[label] for label in labels.values()}


def darker(colour: str, share: float = 0.25) -> str:
    """The colour mixed with black, for text that needs more contrast than a line.

    share: 0 leaves it as it is, 1 is black
    """
    parts = [round(int(colour[start : start + 2], 16) * (1 - share)) for start in (1, 3, 5)]
    return "#{:02X}{:02X}{:02X}".format(*parts)


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save under the settings of the study; the same figure gives the same bytes."""
    settings: dict[str, Any] = {
        "font.family": "DejaVu Sans",  # ships with matplotlib, so the same on every machine
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
        "figure.constrained_layout.w_pad": 0.06,  # inches
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
        "svg.fonttype": "none",  # text stays text: smaller, and can be searched and copied
    }
    # Names may be in any script. The report's drawings keep text as text, so that a browser shows it in a
    # font of the reader; a PNG file has a box for a letter that DejaVu lacks.
    with (
        style.context(["default", settings]),  # whatever matplotlibrc the user has
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from|Matplotlib currently does not")
        yield


WIDE, NARROW = 8.4, 4.4  # inches: of panels side by side, and of one panel, which a phone can show


def new_figure(*, width: float = WIDE, height: float = 3.6, layout: Any = "constrained") -> Figure:
    """An empty figure without pyplot's state; fill it inside `styled()`.

    width, height: inches
    layout:        as matplotlib names it
    """
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)  # has one renderer for all questions of how large a text is
    return figure
