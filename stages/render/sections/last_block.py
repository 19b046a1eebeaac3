"""Table of the measures of the last block."""

import pandas as pd

from stages.render.encoder_size import builds
from stages.render.figures.captions import trainings_of
from stages.render.figures.similarity import similarity_curves
from stages.render.sections.block_numbers import interval_texts
from stages.results.analysis_curves import block_curves, last_block, uniform_distance
from stages.results.study_results import Results
from stages.study.study import Study

# (analysis, measure) -> heading and unit of a column
MEASURES = {
    ("attention", "distance"): ("attention distance", "px"),
    ("attention", "nmi"): ("normalised mutual information", ""),
    ("attention", "entropy"): ("attention entropy", "nats"),
    ("attention", "diversity"): ("head diversity", "nats"),
    ("fourier", "log_amplitude"): ("relative log amplitude", ""),
    ("similarity", "positions"): ("cosine between positions", ""),
}


def measure_rows(results: Results, *, seed: int = 0) -> pd.DataFrame:
    """Return label × measure: the value of the last block with its interval, for the analyses of the study.

    Raises StudyError if a table of such an analysis cannot be read.
    """
    columns = {}
    for (analysis, measure), (name, unit) in MEASURES.items():
        if analysis not in results.study.analyses:
            continue
        if analysis == "similarity":
            curves = similarity_curves(results, measure=measure, variant="raw", seed=seed)
            if curves.empty:
                continue
        else:
            curves = block_curves(results, analysis=analysis, measure=measure, seed=seed,
                                  highest_frequency=analysis == "fourier")  # fmt: skip
        columns[f"{name} ({unit})" if unit else name] = interval_texts(last_block(curves))
    return pd.DataFrame(columns, dtype=object).rename_axis("arm")


def measures_caption(study: Study) -> str:
    """Return the caption of `measure_rows`; it gives the distance of uniform attention for comparison."""
    caption = f"Measures of the last block: {trainings_of(study)}."
    if "attention" in study.analyses and builds(study):
        grid, patch = study.data.image_size // study.vit.patch_size, study.vit.patch_size
        level = uniform_distance(grid=grid, patch_size=patch)
        caption += f" Uniform attention over {grid} × {grid} patches of {patch} px gives {level:.2f} px."
    return caption
