"""Log amplitude against frequency after the first and after the last block."""

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import bands, extremes, in_order
from stages.render.figures.line_charts import Inks, draw_curves, label_line_ends
from stages.render.figures.name_placing import settle
from stages.render.figures.style import new_figure, styled
from stages.render.words import listed, number


def spectrum_figure(spectra: pd.DataFrame, *, inks: Inks, ylabel: str) -> Figure:
    """Amplitude against frequency in one panel per place of the encoder.

    spectra: label, place, frequency (units of pi), mean, low, high
    """
    places = list(dict.fromkeys(spectra["place"]))
    with styled():
        figure = new_figure(height=max(3.4, 1.0 + 0.2 * spectra["label"].nunique()))
        axes = figure.subplots(1, len(places), sharey=True, squeeze=False)[0]
        for axis, place in zip(axes, places, strict=True):
            chosen = spectra[spectra["place"] == place]
            draw_curves(axis, chosen, inks=inks, x="frequency")
            axis.set(title=place.capitalize(), xlabel="frequency (π)")
            bins = sorted(chosen["frequency"].unique())
            if len(bins) <= 8:
                axis.set_xticks(bins, [f"{frequency:.3g}" for frequency in bins])
        axes[0].set_ylabel(ylabel)
        settle(figure)
        for axis, place in zip(axes, places, strict=True):
            label_line_ends(axis, spectra[spectra["place"] == place], inks=inks, x="frequency")
    return figure


def spectrum_caption(spectra: pd.DataFrame) -> str:
    """Caption of the spectra: what is drawn, and the drop from the lowest to the highest frequency.

    spectra: as `analysis_curves.spectra` gives them
    """
    ranked = in_order(_highest(spectra))
    return (
        "Relative log amplitude along the diagonal of the spectrum of the token map, after the first and "
        f"after the last block; zero frequency is 0 by definition. {bands(spectra)} "
        f"Highest frequency ({bins(spectra)}) after the last block, from highest to lowest: {ranked}."
    )


def spectrum_alt(spectra: pd.DataFrame) -> str:
    """Alternative text of the spectra: who keeps most and least, then the ends of each line."""
    kept = extremes(_highest(spectra), least="least")
    said = [f"After the last block the highest frequency is kept most in {kept}."]
    said += ["Two line charts of relative log amplitude against frequency, one line per arm."]
    for (place, label), line in spectra.groupby(["place", "label"], sort=False):
        first, last = line["mean"].iloc[0], line["mean"].iloc[-1]
        said.append(f"{str(place).capitalize()}, {label}: {number(first)} to {number(last)}.")
    return " ".join(said)


def bins(spectra: pd.DataFrame) -> str:
    """The highest frequency of our spectra in units of π; all, if arms differ in their grid."""
    highest = spectra.groupby("label", sort=False)["frequency"].max().unique()
    return listed(f"{frequency:.3g} π" for frequency in sorted(highest))


def _highest(spectra: pd.DataFrame) -> pd.DataFrame:
    last = spectra[spectra["place"] == "last block"]
    return last.loc[last.groupby("label", sort=False)["frequency"].idxmax()].set_index("label")
