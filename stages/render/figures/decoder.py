"""High frequencies in the encoder and the decoder of a masked autoencoder."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from stages.render.figures.captions import alt_text, bands
from stages.render.figures.line_charts import Inks, draw_trainings, title_of, whole_ticks
from stages.render.figures.paper import PaperCurve
from stages.render.figures.style import PAPER, darker, new_figure, styled
from stages.results.analysis_curves import block_curve, encoder_rows
from stages.results.study_results import Results
from stages.study.errors import StudyError
from stages.study.paths import analysis_table

STYLES: tuple[Any, Any] = ("-", (0, (4, 2)))  # lines of the encoder and the decoder


def decoder_curves(results: Results, *, seed: int = 0) -> pd.DataFrame:
    """Return the log amplitude near the highest frequency of the arms with a decoder; no rows without any.

    Returns: label, part, block (of the part, 0 after its embedding), place (the decoder continues after the
             last block of the encoder), mean, low, high, trainings, seed_0 and so on, images
    Raises StudyError if a table cannot be read, or if only some seeds have a decoder.
    """
    curves: list[pd.DataFrame] = []
    for arm in results.arms:
        table = results.analysis("fourier", arm, measures=["block", "frequency", "log_amplitude"])
        if "part" not in table or not table["part"].eq("decoder").any():
            continue
        last = 0
        for part in ("encoder", "decoder"):
            rows = encoder_rows(table, part=part)
            rows = rows[rows["frequency"] == rows["frequency"].max()]
            where = str(analysis_table("fourier", arm))
            if rows["seed"].nunique() < len(results.seeds(arm)):
                remedy = f"`dvc repro analyze@{arm}-fourier` writes it anew"
                raise StudyError(f"{where}: only some seeds have a decoder; {remedy}")
            curve = block_curve(results, arm, rows, measure="log_amplitude", where=where, seed=seed)
            curves.append(curve.assign(part=part, place=last + curve["block"]))
            last = int(curve["block"].max())
    return pd.concat(curves, ignore_index=True) if curves else pd.DataFrame()


def decoder_figure(curves: pd.DataFrame, *, inks: Inks, paper: Sequence[PaperCurve]) -> Figure:
    """Draw a panel per label with the blocks of the encoder and the decoder (dashed), then the paper.

    paper: curves of encoder and decoder, depth in blocks
    """
    labels = list(dict.fromkeys(curves["label"]))
    with styled():
        figure = new_figure(height=3.4)
        panels = figure.subplots(1, len(labels) + 1, squeeze=False, sharey=True)[0]
        for axis, label in zip(panels, labels, strict=False):
            ink = inks[label]
            for part, style in zip(("encoder", "decoder"), STYLES, strict=True):
                line = curves[(curves["label"] == label) & (curves["part"] == part)]
                axis.fill_between(
                    line["place"], line["low"], line["high"], color=ink.colour, alpha=0.18, linewidth=0
                )
                draw_trainings(axis, line, ink=ink, x="place")
                axis.plot(line["place"], line["mean"], color=ink.colour, linestyle=style, marker=ink.marker)
                axis.annotate(
                    part,
                    (line["place"].iloc[-1], line["mean"].iloc[-1]),
                    xytext=(0, 8),
                    textcoords="offset points",
                    ha="right",
                    color=darker(ink.colour),
                )
            title_of(axis, label, ink)
        for curve, style in zip(paper, STYLES, strict=True):
            panels[-1].plot(curve.depth, curve.values, color=PAPER, linestyle=style, marker="o")
        panels[-1].set_title("Paper (MAE, ViT-B/16)", color=darker(PAPER, 0.3))
        for axis in panels:
            axis.set(xlabel="block", ylabel="relative log amplitude")
            axis.tick_params(labelleft=True)
            whole_ticks(axis)
    return figure


def decoder_caption(curves: pd.DataFrame, *, paper: Sequence[PaperCurve]) -> str:
    """Return the caption of `decoder_figure`."""
    return (
        "Relative log amplitude near the highest frequency, for unmasked images, in the encoder (solid) and "
        f"the decoder (dashed). {bands(curves)} Right: {paper[0].described}."
    )


def decoder_alt(curves: pd.DataFrame) -> str:
    """Return the alternative text of `decoder_figure`."""
    return alt_text(
        "Line charts of relative log amplitude against block, in encoder and decoder.", curves["label"]
    )
