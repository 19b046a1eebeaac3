"""Unison of the token movement, and the number of directions in which tokens and images spread."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from stages.render.figures.captions import alt_text, bands
from stages.render.figures.line_charts import DEPTH, Inks, draw_curves, draw_trainings, label_line_ends
from stages.render.figures.name_placing import lines_of, settle
from stages.render.figures.style import new_figure, styled
from stages.render.words import listed
from stages.results.analysis_curves import block_curves
from stages.results.seeds import columns, over_seeds
from stages.results.study_results import Results
from stages.study.errors import StudyError
from stages.study.paths import analysis_table

ANALYSIS = "singular_values"
LEVELS = {"token": "tokens of an image", "image": "mean tokens of all images"}
JACKKNIFE = "95 % intervals over images"
SCALARS = {"rankme": "RankMe", "participation_ratio": "participation ratio", "alpha": "decay α"}
# Half of a 95 % interval in standard errors: for a mean over images, and for a jackknife with ten groups
# (Student's t with 9 degrees of freedom).
ERRORS = {"token": 1.96, "image": 2.262}
SHOWN = 0.75  # share of the ranks in the figure of the spectra
BELOW = 5.0  # how far the axis of the spectra reaches below the lowest value after the last self-attention


def unison_curves(results: Results, *, seed: int = 0) -> pd.DataFrame:
    """Return the unison of the token movement by block, as `analysis_curves.block_curves` does."""
    rows = {"measure": "unison"}
    return block_curves(results, analysis=ANALYSIS, measure="value", rows=rows, seed=seed)


def rank_curves(results: Results, *, level: str, measure: str, seed: int = 0) -> pd.DataFrame:
    """Return one of SCALARS after each self-attention, at one of LEVELS.

    Returns: as `analysis_curves.block_curves`; images: at image level the number behind one value
    Raises StudyError if a table cannot be read, as all functions here.
    """
    if level == "token":
        rows = {"measure": measure, "level": level, "place": "after"}
        return block_curves(results, analysis=ANALYSIS, measure="value", rows=rows, seed=seed)
    curves = _of_all_images(results, by="block", measure=measure, level=level, place="after")
    curves["depth"] = curves["block"] / curves.groupby("label")["block"].transform("max")
    return curves


def spectra(results: Results) -> pd.DataFrame:
    """Return the spectra of the embedding and after the last self-attention, at both levels.

    Returns: label, level, place (before: of the embedding), index (from 1), mean, low, high (of the natural
             logarithm), trainings, seed_0 and so on, images
    Raises StudyError if seeds differ in their number of singular values.
    """
    parts = []
    for level in LEVELS:
        for place in ("before", "after"):
            part = _of_all_images(results, by="index", measure="log_covariance", level=level, place=place)
            parts.append(part.assign(level=level, place=place))
    return pd.concat(parts, ignore_index=True)


def spectrum_figure(spectrum: pd.DataFrame, *, inks: Inks) -> Figure:
    """Draw singular values by rank, for tokens of an image (left) and images (right); embedding: dotted.

    The embedding may leave the axis: small patches span few directions, and the rest is rounding.

    spectrum: as `spectra` returns it
    """
    spectrum = leading_ranks(spectrum)
    with styled():
        figure = new_figure(height=max(4.2, 1.0 + 0.2 * lines_of(spectrum["label"])))
        panels = figure.subplots(1, len(LEVELS), sharey=True)
        for axis, (level, title) in zip(panels, LEVELS.items(), strict=True):
            shown = spectrum[spectrum["level"] == level]
            for (label, place), line in shown.groupby(["label", "place"], sort=False):
                ink, after = inks[label], place == "after"
                if after:
                    axis.fill_between(line["index"], line["low"], line["high"], color=ink.colour, alpha=0.18,
                                      linewidth=0)  # fmt: skip
                if after:
                    draw_trainings(axis, line, ink=ink, x="index")
                axis.plot(
                    line["index"],
                    line["mean"],
                    color=ink.colour,
                    linestyle=ink.line if after else (0, (1, 1.6)),
                    linewidth=1.8 if after else 1.0,
                    marker=ink.marker if after else "",
                    markevery=_doubling(len(line)),
                )
            axis.set(
                title=title.capitalize(), xlabel="rank of the singular value", ylabel="log singular value"
            )
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.tick_params(labelleft=True)
        lowest = spectrum.loc[spectrum["place"] == "after", "mean"].min() - BELOW
        panels[0].set_ylim(bottom=max(lowest, panels[0].get_ylim()[0]))
        settle(figure)
        for axis, level in zip(panels, LEVELS, strict=True):
            after = (spectrum["level"] == level) & (spectrum["place"] == "after")
            label_line_ends(axis, spectrum[after], inks=inks, x="index")
    return figure


def leading_ranks(spectrum: pd.DataFrame) -> pd.DataFrame:
    """Return the first three quarters of the ranks; later ones fall to 0, because tokens are centred."""
    last = spectrum.groupby(["label", "level", "place"])["index"].transform("max")
    return spectrum[spectrum["index"] <= (SHOWN * last).clip(lower=1)]


def rank_figure(curves: dict[tuple[str, str], pd.DataFrame], *, inks: Inks) -> Figure:
    """Draw each of SCALARS against depth in a row, for tokens of an image (left) and images (right).

    curves: (measure, level) -> `rank_curves`
    """
    labels = max(lines_of(curve["label"]) for curve in curves.values())
    with styled():
        figure = new_figure(height=len(SCALARS) * max(2.6, 0.8 + 0.2 * labels))
        grid = figure.subplots(len(SCALARS), len(LEVELS), squeeze=False)
        for axes, (measure, name) in zip(grid, SCALARS.items(), strict=True):
            for axis, (level, title) in zip(axes, LEVELS.items(), strict=True):
                draw_curves(axis, curves[measure, level], inks=inks, x="depth")
                axis.set_xlim(0, 1.02)
                axis.set(title=title.capitalize(), xlabel=DEPTH)
                axis.set_ylabel(name)
        settle(figure)
        for axes, measure in zip(grid, SCALARS, strict=True):
            for axis, level in zip(axes, LEVELS, strict=True):
                label_line_ends(axis, curves[measure, level], inks=inks, x="depth")
    return figure


def rank_rows(curves: dict[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    """Return all curves of `rank_figure` in one table whose first columns are measure and level.

    curves: (measure, level) -> `rank_curves`
    """
    parts = [curve.assign(measure=measure, level=level) for (measure, level), curve in curves.items()]
    rows = pd.concat(parts, ignore_index=True)
    return rows[["measure", "level", *rows.columns.drop(["measure", "level"])]]


def unison_caption(curves: pd.DataFrame, *, patches: Sequence[int]) -> str:
    """Return the caption of unison against depth: its definition, and its value for independent tokens.

    patches: numbers of patches of the encoders
    """
    chance = listed(f"1/{count}" for count in patches)
    return (
        "1 − unison of the patch tokens in each self-attention. Unison: squared mean displacement over mean "
        f"squared displacement; 1: all tokens move alike; {chance}: they move independently. {bands(curves)}"
    )


def spectrum_caption(spectrum: pd.DataFrame) -> str:
    """Return the caption of the spectra.

    spectrum: as `spectra` returns it
    """
    return (
        "Singular values of the covariance of patch tokens (natural logarithm), after the last "
        "self-attention and of the embedding (dotted, cut below); three quarters of the ranks. "
        f"Right: mean tokens of {_counts(spectrum)} images. "
        f"{bands(spectrum.drop(columns='images'), alone=JACKKNIFE)}"
    )


def spectrum_alt(spectrum: pd.DataFrame) -> str:
    """Return the alternative text of the spectra."""
    return alt_text(
        "Line charts of log singular values against rank, for tokens of an image and for images.",
        spectrum["label"],
    )


def rank_caption(curves: dict[tuple[str, str], pd.DataFrame]) -> str:
    """Return the caption of the ranks against depth.

    curves: (measure, level) -> `rank_curves`
    """
    tokens, images = (curves["rankme", level] for level in LEVELS)
    return (
        f"Ranks of tokens ({_counts(tokens)} images) and of images ({_counts(images)}) after self-attention. "
        "RankMe: exponential of the entropy of singular values. Participation ratio: (Σλ)²/Σλ². Decay α: "
        "minus the slope of log λ against log rank. λ: eigenvalues. "
        f"{bands(tokens.drop(columns='images'), alone=JACKKNIFE)}"
    )


def rank_alt(curves: dict[tuple[str, str], pd.DataFrame]) -> str:
    """Return the alternative text of the ranks."""
    return alt_text(
        "Six line charts against depth: three measures of rank, for tokens and for images.",
        curves["rankme", "token"]["label"],
    )


def _of_all_images(results: Results, *, by: str, measure: str, level: str, place: str) -> pd.DataFrame:
    """Return values over all images; by index, those before the first block or after the last one.

    Returns: label, `by`, mean, low, high, trainings, seed_0 and so on, images
    """
    parts = []
    for arm in results.arms:
        frame = results.analysis(ANALYSIS, arm)
        images = frame.loc[frame["measure"] == "unison", "image"].nunique()
        chosen = frame[
            (frame["image"] == -1)
            & (frame["measure"] == measure)
            & (frame["level"] == level)
            & (frame["place"] == place)
        ]
        if by == "index":
            block = chosen["block"].min() if place == "before" else chosen["block"].max()
            chosen = chosen[chosen["block"] == block]
        path = analysis_table(ANALYSIS, arm)
        remedy = f"`dvc repro analyze@{arm}-{ANALYSIS}` writes it anew"
        if chosen.empty:
            raise StudyError(f"{path}: no {measure} of {level} level {place}; {remedy}")
        values, errors = (
            chosen.pivot(index="seed", columns=by, values=name).reindex(results.seeds(arm))
            for name in ("value", "error")
        )
        if values.isna().to_numpy().any():
            raise StudyError(f"{path}: seeds differ in blocks or width; {remedy}")
        half = ERRORS[level] * errors.to_numpy()[0]
        first = values.to_numpy()[0]
        numbers = over_seeds(values.to_numpy(), alone=(first - half, first + half))
        about = {"label": results.label(arm), by: values.columns.to_numpy()}
        rows = about | columns(numbers, seeds=results.seeds(arm)) | {"images": images}
        parts.append(pd.DataFrame(rows))
    return pd.concat(parts, ignore_index=True)


def _doubling(count: int) -> list[int]:
    """Return the places of the ranks 1, 2, 4, 8 and so on, which are evenly spaced on a logarithmic axis."""
    return [2**power - 1 for power in range(count.bit_length()) if 2**power <= count]


def _counts(curves: pd.DataFrame) -> str:
    return listed(f"{count:,}" for count in sorted(curves["images"].unique()))
