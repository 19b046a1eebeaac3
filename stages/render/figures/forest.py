"""Forest plot of all claims: effects in units of their margins, verdicts, and agreement between choices."""

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from stages.render.figures.captions import NUMBERS
from stages.render.figures.forest_rows import FAMILIES, Comparison, ForestRow
from stages.render.figures.style import PAPER, TEXT, new_figure, styled
from stages.render.words import any_of, fixed, listed

EDGE = 8.0  # margins; larger effects are drawn as an arrow at the edge with their number
GOOD, BAD, OPEN, CLOSED = "#0b6b3a", "#a32a12", "#7a5600", "#4f5b66"
# Verdict -> sign, colour and marker; each of them identifies the verdict.
VERDICTS = {
    "supported": ("✓", GOOD, "o"),
    "higher": ("↑", GOOD, "o"),
    "contradicted": ("✗", BAD, "s"),
    "lower": ("↓", BAD, "s"),
    "negligible": ("≈", CLOSED, "D"),
    "no difference": ("≈", CLOSED, "D"),
    "undecided": ("?", OPEN, "^"),
}
NOT_TESTED = ("–", CLOSED, "x")
OTHERS = (("#A64D86", "v"), ("#3B2F8F", "P"))  # colour and marker of each compared study
SHORT = {"not testable at this budget": "not testable"}
TITLE_LINES = 1.7  # height of the title of a family, in lines


def forest_figure(rows: Sequence[ForestRow], *, narrow: bool = False) -> Figure:
    """Draw each claim on its own line; in the narrow variant, statements stand above the lines.

    rows: as `forest_rows` returns them
    """
    width = 3.2 if narrow else 11.0
    wrapped = [textwrap.wrap(row.statement, 43 if narrow else 82) for row in rows]
    heights = [(len(lines) + 3.1) if narrow else max(1.75, len(lines) + 0.45) for lines in wrapped]
    titles = len(dict.fromkeys(row.family for row in rows))
    lines = sum(heights) + TITLE_LINES * titles
    per_line = 0.135  # inches
    head, foot = 0.1, 1.05 if narrow else 0.62
    figure = new_figure(width=width, height=lines * per_line + head + foot, layout="none")
    with styled():
        left, right = (0.03, 0.97) if narrow else (0.50, 0.80)
        total = figure.get_figheight()
        axis = figure.add_axes((left, foot / total, right - left, 1 - (head + foot) / total))
        axis.set(xlim=(-EDGE * 1.12, EDGE * 1.12), ylim=(lines, 0), yticks=[])
        axis.grid(False)
        for spine in ("left", "top", "right"):
            axis.spines[spine].set_visible(False)
        axis.set_xticks([-8, -4, 0, 4, 8] if narrow else [-8, -6, -4, -2, 0, 2, 4, 6, 8])
        axis.tick_params(labelsize=8)
        line_break = "\n" if narrow else " "
        axis.set_xlabel(f"effect in margins;{line_break}right of 0: as claimed", fontsize=8.5)
        studies = _compared(rows)
        place, family = 0.0, ""
        for row, lines_of, height in zip(rows, wrapped, heights, strict=True):
            if row.family != family:
                family = row.family
                axis.text(
                    0.0 if narrow else -1.64, place + 1.0, FAMILIES[family], weight="bold", fontsize=9.5,
                    transform=axis.get_yaxis_transform(), va="center",
                )  # fmt: skip
                place += TITLE_LINES
            words = place + (0.5 * len(lines_of) if narrow else height / 2)
            line = place + len(lines_of) + 0.75 if narrow else place + height / 2
            half = 0.75 if narrow else height / 2  # half the height of the shaded margin
            axis.fill_betweenx([line - half, line + half], -1, 1, color="#ECEFF1", linewidth=0, zorder=0)
            axis.plot([0, 0], [line - half, line + half], color="#777777", linewidth=0.8, zorder=1)
            axis.text(
                0.0 if narrow else -1.64, words, "\n".join(lines_of), fontsize=8,
                transform=axis.get_yaxis_transform(), va="center", linespacing=1.15,
            )  # fmt: skip
            _row(axis, row, y=line, studies=studies)
            _verdict(axis, row, y=line + 1.35 if narrow else line, narrow=narrow)
            place += height
            if not narrow:
                axis.plot(
                    [-1.64, 1.64], [place, place], color="#E6E6E6", linewidth=0.5, clip_on=False,
                    transform=axis.get_yaxis_transform(), zorder=0,
                )  # fmt: skip
        _legend(figure, rows, studies=studies, narrow=narrow)
    return figure


def _compared(rows: Sequence[ForestRow]) -> list[str]:
    """Return the other studies; the place of a study in this list sets its mark in all rows."""
    return list(dict.fromkeys(name for row in rows for name in row.others))


def _row(axis: Axes, row: ForestRow, *, y: float, studies: Sequence[str]) -> None:
    """Draw the markers of one claim: this study, other studies just below and above, the paper."""
    if row.paper is not None:
        below = row.others or (row.main and abs(row.main.effect) > EDGE)
        aside = -0.45 if below else 0.45  # for an arrow, away from other marks
        _marker(axis, row.paper, y=y, colour=PAPER, marker="|", size=9, label="paper ", aside=aside)
    offset = 0.42
    for name, drawn in row.others.items():
        place = studies.index(name)
        colour, marker = OTHERS[place % len(OTHERS)]
        at = y + offset * (1 if place == 0 else -1)
        _interval(axis, drawn.low, drawn.high, y=at, colour=colour, width=0.9)
        _marker(axis, drawn.effect, y=at, colour=colour, marker=marker, size=3.5, label=None)
    if row.main is not None:
        _study(axis, row.main, y=y)


def _study(axis: Axes, drawn: Comparison, *, y: float) -> None:
    _, colour, marker = VERDICTS.get(drawn.verdict, NOT_TESTED)
    _interval(axis, *drawn.outer, y=y, colour=colour, width=0.9)
    _interval(axis, drawn.low, drawn.high, y=y, colour=colour, width=3.2)
    dots = [value for value in drawn.seeds if abs(value) <= EDGE]
    axis.plot(dots, [y - 0.42] * len(dots), linestyle="none", marker=".", markersize=2.6, color="#555555")
    _marker(axis, drawn.effect, y=y, colour=colour, marker=marker, size=5.5)


def _interval(axis: Axes, low: float, high: float, *, y: float, colour: str, width: float) -> None:
    ends = [min(max(end, -EDGE), EDGE) for end in (low, high)]
    if ends[0] < ends[1]:
        axis.plot(ends, [y, y], color=colour, linewidth=width, solid_capstyle="butt", zorder=2)


def _marker(
    axis: Axes,
    value: float,
    *,
    y: float,
    colour: str,
    marker: str,
    size: float,
    label: str | None = "",
    aside: float = 0.0,
) -> None:
    """Draw a value; beyond the edge, draw an arrow with the number, unless the label is None.

    aside: distance of the arrow from y
    """
    if abs(value) <= EDGE:
        tick = marker == "|"
        axis.plot(
            [value], [y], marker=marker, markersize=size, color=colour, zorder=4,
            markeredgecolor=colour if tick else "white", markeredgewidth=1.8 if tick else 0.6,
        )  # fmt: skip
        return
    right = value > 0
    edge = EDGE if right else -EDGE
    y += aside
    axis.plot([edge], [y], marker=">" if right else "<", markersize=4.5, color=colour, zorder=4)
    if label is None:
        return
    axis.text(
        edge - (0.35 if right else -0.35), y + (0.0 if aside else 0.45), f"{label}{fixed(value, decimals=0)}",
        fontsize=7, color=TEXT, ha="right" if right else "left", va="center", zorder=5,
        path_effects=[withStroke(linewidth=2, foreground="white")],
    )  # fmt: skip


def _verdict(axis: Axes, row: ForestRow, *, y: float, narrow: bool) -> None:
    """Write the verdict with its sign, and the number of choices that agree."""
    verdict = row.main.verdict if row.main else "not tested"
    sign, colour, _ = VERDICTS.get(verdict, NOT_TESTED)
    words = f"{sign} {SHORT.get(verdict, verdict)}"
    agreement = row.main.agreement if row.main else ""
    if row.main and verdict == "undecided":
        low, high = row.main.outer
        words += " > 0" if low > 0 else " < 0" if high < 0 else ""
    if row.main and row.main.fragile:
        words += ", fragile"
    across = axis.get_yaxis_transform()
    if narrow:
        words += f" · {agreement} choices agree" if agreement else ""
        axis.text(0.0, y, words, fontsize=8, color=colour, weight="bold", transform=across, va="center")
        return
    axis.text(1.02, y, words, fontsize=8, color=colour, weight="bold", transform=across, va="center")
    axis.text(1.64, y, agreement, fontsize=8, transform=across, va="center", ha="right")


def _legend(figure: Figure, rows: Sequence[ForestRow], *, studies: Sequence[str], narrow: bool) -> None:
    """Explain the marks below the axis."""
    marks = [
        "● mean over seeds",
        "thick line: 95 % interval",
        "thin line: corrected interval",
        "· one seed",
        "shaded: margin",
    ]
    if any(row.paper is not None for row in rows):
        marks.append("| value of the paper")
    marks += [f"{'▼✚'[place % 2]} {name}" for place, name in enumerate(studies)]
    text = ";  ".join(marks)
    if narrow:
        text = "\n".join(textwrap.wrap(text, 54))
    figure.text(
        0.02, 0.06 / figure.get_figheight(), text, fontsize=7 if narrow else 8, va="bottom", color="#555555"
    )


def forest_alt(rows: Sequence[ForestRow]) -> str:
    """Return the number of claims by verdict, in at most 250 characters."""
    verdicts = [row.main.verdict if row.main else "not tested" for row in rows]
    counts = listed(f"{verdicts.count(name)} {name}" for name in dict.fromkeys(verdicts))
    return f"Forest plot of {len(rows)} claims in units of their margins: {counts}. {NUMBERS}"[:250]


def forest_caption(rows: Sequence[ForestRow]) -> str:
    """Return the caption: what is plotted, its uncertainty, and over how many trainings."""
    counts = sorted({len(row.main.seeds) for row in rows if row.main and row.main.seeds})
    several = counts != [1]
    seeds = f"; small dots: {any_of(counts)} seeds" if counts and several else ""
    over = "trainings" if several else "images where each arm has one training"
    return (
        "Effects of claims in units of their margins, the smallest effects of interest; positive: as "
        f"claimed. Thick lines: 95 % intervals over {over}; thin lines: corrected intervals, which decide "
        f"(> 0, < 0: they exclude 0){seeds}. Arrows: effects beyond ±{EDGE:g} margins; lines and dots are "
        "cut. x of y: choices that agree."
    )
