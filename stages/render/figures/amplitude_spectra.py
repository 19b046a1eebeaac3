"""Log amplitude against frequency, after the first and the last block."""

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import alt_text, bands
from stages.render.figures.line_charts import Inks, draw_curves, label_line_ends
from stages.render.figures.name_placing import lines_of, settle
from stages.render.figures.style import new_figure, styled
from stages.render.words import listed


def spectrum_figure(spectra: pd.DataFrame, *, inks: Inks, ylabel: str) -> Figure:
    """Draw amplitude against frequency, one panel per place in the encoder.

    spectra: label, place, frequency (units of π), mean, low, high
    """
    places = list(dict.fromkeys(spectra["place"]))
    with styled():
        figure = new_figure(height=max(3.4, 1.0 + 0.2 * lines_of(spectra["label"])))
        axes = figure.subplots(1, len(places), sharey=True, squeeze=False)[0]
        for axis, place in zip(axes, places, strict=True):
            chosen = spectra[spectra["place"] == place]
            draw_curves(axis, chosen, inks=inks, x="frequency")
            axis.set(title=place.capitalize(), xlabel="frequency (π)", ylabel=ylabel)
            axis.tick_params(labelleft=True)
            bins = sorted(chosen["frequency"].unique())
            if len(bins) <= 8:
                axis.set_xticks(bins, [f"{frequency:.3g}" for frequency in bins])
        settle(figure)
        for axis, place in zip(axes, places, strict=True):
            label_line_ends(axis, spectra[spectra["place"] == place], inks=inks, x="frequency")
    return figure


def spectrum_caption(spectra: pd.DataFrame) -> str:
    """Return the caption of the spectra.

    spectra: as `analysis_curves.spectra` returns them
    """
    return (
        "Log amplitude along the diagonal of the spectrum of the token map, relative to frequency zero, up "
        f"to {bins(spectra)}, after the first and the last block. {bands(spectra)}"
    )


def spectrum_alt(spectra: pd.DataFrame) -> str:
    """Return the alternative text of the spectra."""
    return alt_text(
        "Line charts of relative log amplitude against frequency, after two blocks.", spectra["label"]
    )


def bins(spectra: pd.DataFrame) -> str:
    """Return the highest frequency of the spectra in words; several if the grids of the arms differ."""
    highest = spectra.groupby("label", sort=False)["frequency"].max().unique()
    return listed(f"{frequency:.3g} π" for frequency in sorted(highest))
