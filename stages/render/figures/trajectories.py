"""The effect of every claim against the number of images seen, one panel per claim."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from stages.render.figures.captions import LONGEST_ALT, NUMBERS
from stages.render.figures.line_charts import bar_lengths, panels
from stages.render.figures.style import COLOURS, CONTROL, TEXT, styled
from stages.render.words import listed

BAND = "#DDE6EE"  # colour of the margin
ACROSS = 3  # panels in a row
WORDS = ("stable", "emerging", "reversing", "unclear")


def followed(claims: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the claims with effects at snapshots."""
    return [claim for claim in claims if claim.get("trajectory")]


def trajectory_figure(claims: Sequence[dict[str, Any]]) -> Figure:
    """Draw the effect of each claim with its interval, at every snapshot.

    claims: with a trajectory, see `followed`
    """
    with styled():
        figure, axes = panels(len(claims), height=2.1, columns=ACROSS)
        for axis, claim in zip(axes, claims, strict=True):
            _draw(axis, claim)
    return figure


def trajectory_rows(claims: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return the numbers of the figure: claim, word, unit, and the fields of its points, not scaled."""
    return pd.DataFrame(
        {"claim": claim["name"], "trajectory": claim["trajectory_word"], "unit": claim["unit"]} | point
        for claim in claims
        for point in claim["trajectory"]
    )


def trajectory_caption(claims: Sequence[dict[str, Any]]) -> str:
    """Return the caption of `trajectory_figure`."""
    shares = sorted({point["share"] for claim in claims for point in claim["trajectory"]})
    after = listed([f"{100 * share:.0f} %" for share in shares])
    return (
        f"Effect of each claim after {after} of the training, with uncorrected 95 % intervals over "
        "trainings. Positive: as claimed. Shaded: the margin. Horizontal axis: images seen by the side "
        "claimed to be higher. Probes and analyses of snapshots use fewer images than verdicts, so compare "
        "shapes, not absolute values."
    )


def trajectory_alt(claims: Sequence[dict[str, Any]]) -> str:
    """Return the alternative text of `trajectory_figure`, with the trajectory of each claim."""
    groups = [
        f"{word}: {listed(words_of(claim) for claim in claims if claim['trajectory_word'] == word)}"
        for word in WORDS
        if any(claim["trajectory_word"] == word for claim in claims)
    ]
    drawing = "Line charts of effects against images seen, a panel per claim."
    text = f"{drawing} {'; '.join(groups).capitalize()}."
    return text if len(text) <= LONGEST_ALT else f"{drawing} {in_words(claims).capitalize()}. {NUMBERS}"


def in_words(claims: Sequence[dict[str, Any]]) -> str:
    """Return the number of claims by trajectory."""
    words = [claim["trajectory_word"] for claim in claims]
    return listed([f"{words.count(word)} {word}" for word in WORDS if word in words])


def words_of(claim: dict[str, Any]) -> str:
    """Return the name of a claim in words."""
    return str(claim["name"]).replace("_", " ")


def scale_of(claim: dict[str, Any]) -> tuple[float, str]:
    """Return the factor and the unit in which effects are shown: shares are shown in points."""
    return (100.0, "points") if claim["unit"].startswith("share of") else (1.0, claim["unit"])


def in_thousands(seen: float) -> str:
    """Return a number of images with two digits: 1,600 as 1.6k, 16,000 as 16k, 2,000,000 as 2M."""
    scale, unit = (1e6, "M") if seen >= 1e6 else (1e3, "k") if seen >= 1e3 else (1.0, "")
    value = float(f"{seen:.2g}") / scale
    return f"{value:g}{unit}"


def _draw(axis: Axes, claim: dict[str, Any]) -> None:
    points = pd.DataFrame(claim["trajectory"])
    scale, unit = scale_of(claim)
    margin = scale * claim.get("margin", 0.0)
    effect, low, high = (scale * points[name] for name in ("effect", "low", "high"))
    axis.axhspan(-margin, margin, color=BAND, linewidth=0)
    axis.axhline(0, color=CONTROL, linewidth=0.8)
    axis.errorbar(
        points["images_seen"], effect, yerr=bar_lengths(effect, low=low, high=high), color=COLOURS[0],
        marker="o", capsize=2.5, elinewidth=1.2, linewidth=1.6,
    )  # fmt: skip
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(points["images_seen"].tolist()))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda seen, _: in_thousands(seen)))
    axis.margins(x=0.15)
    axis.set_title(f"{words_of(claim)}\n{claim['trajectory_word']}", color=TEXT, fontsize=8.5)
    axis.set(xlabel="images seen", ylabel=unit)
