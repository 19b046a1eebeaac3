"""The effect of every claim against the images that its trainings have seen, a panel each."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator

from stages.render.figures.line_charts import panels
from stages.render.figures.style import COLOURS, CONTROL, TEXT, styled
from stages.render.words import listed

BAND = "#DDE6EE"  # of effects too small to be of interest
ACROSS = 4  # panels of a row
WORDS = ("stable", "emerging", "reversing", "unclear")


def followed(claims: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the claims that were measured at snapshots."""
    return [claim for claim in claims if claim.get("trajectory")]


def trajectory_figure(claims: Sequence[dict[str, Any]]) -> Figure:
    """The effect of each claim with its interval, at every share of the training.

    claims: with a trajectory, see `followed`
    """
    with styled():
        figure, axes = panels(len(claims), height=2.1, columns=ACROSS)
        for axis, claim in zip(axes, claims, strict=True):
            _draw(axis, claim)
        for axis in axes[-ACROSS:]:
            axis.set_xlabel("images seen")
    return figure


def trajectory_rows(claims: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The numbers behind the figure: claim, word, unit, and the fields of its points, not scaled."""
    return pd.DataFrame(
        {"claim": claim["name"], "trajectory": claim["trajectory_word"], "unit": claim["unit"]} | point
        for claim in claims
        for point in claim["trajectory"]
    )


def trajectory_caption(claims: Sequence[dict[str, Any]]) -> str:
    """Caption of `trajectory_figure`."""
    shares = [f"{100 * point['share']:.0f} %" for point in claims[0]["trajectory"]]
    return (
        f"Difference between the sides of each claim after {listed(shares)} of the training, with its 95 % "
        "interval over trainings, not corrected. Above 0 is as the paper says. The band holds effects too "
        "small to be of interest. Images seen are those of the claimed side; fewer held-out images than for "
        "the verdicts."
    )


def trajectory_alt(claims: Sequence[dict[str, Any]]) -> str:
    """Alternative text of `trajectory_figure`: which effects move how."""
    told = [
        f"{word}: {listed(words_of(claim) for claim in claims if claim['trajectory_word'] == word)}"
        for word in WORDS
        if any(claim["trajectory_word"] == word for claim in claims)
    ]
    return f"Line charts of effects against images seen, a panel each. {'; '.join(told).capitalize()}."


def in_words(claims: Sequence[dict[str, Any]]) -> str:
    """How many claims have which trajectory."""
    words = [claim["trajectory_word"] for claim in claims]
    return listed([f"{words.count(word)} {word}" for word in WORDS if word in words])


def words_of(claim: dict[str, Any]) -> str:
    """The name of a claim, as a title."""
    return str(claim["name"]).replace("_", " ")


def scale_of(claim: dict[str, Any]) -> tuple[float, str]:
    """What effects are multiplied by, and their unit then: shares are shown in points."""
    return (100.0, "points") if claim["unit"].startswith("share of") else (1.0, claim["unit"])


def _draw(axis: Axes, claim: dict[str, Any]) -> None:
    points = pd.DataFrame(claim["trajectory"])
    scale, unit = scale_of(claim)
    margin = scale * claim.get("margin", 0.0)
    effect, low, high = (scale * points[name] for name in ("effect", "low", "high"))
    axis.axhspan(-margin, margin, color=BAND, linewidth=0)
    axis.axhline(0, color=CONTROL, linewidth=0.8)
    axis.errorbar(
        points["images_seen"], effect, yerr=[effect - low, high - effect], color=COLOURS[0], marker="o",
        capsize=2.5, elinewidth=1.2, linewidth=1.6,
    )  # fmt: skip
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(points["images_seen"].tolist()))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(EngFormatter(places=0, sep=""))
    axis.margins(x=0.15)
    axis.set_title(f"{words_of(claim)}\n{claim['trajectory_word']}", color=TEXT, fontsize=8.5)
    axis.set_ylabel(unit)
