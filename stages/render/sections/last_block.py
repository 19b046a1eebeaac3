"""Measures of the last block, one row an arm."""

import pandas as pd

from stages.render.figures.captions import trainings_of
from stages.render.figures.similarity import similarity_curves
from stages.render.sections.block_numbers import interval_texts
from stages.results.analysis_curves import block_curves, last_block, uniform_distance
from stages.results.study_results import Results
from stages.study.study import Study

# measure of an analysis -> heading, unit; one row of a table per arm is made of these
MEASURES = {
    ("attention", "distance"): ("attention distance", "px"),
    ("attention", "nmi"): ("normalised mutual information", ""),
    ("attention", "entropy"): ("attention entropy", "nats"),
    ("attention", "diversity"): ("head diversity", "nats"),
    ("fourier", "log_amplitude"): ("relative log amplitude", ""),
    ("similarity", "positions"): ("cosine between positions", ""),
}


def measure_rows(results: Results, *, seed: int = 0) -> pd.DataFrame:
    """Label × measure: the value of the last block with its interval; only analyses of the study.

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
    """Caption of `measure_rows`, with the level of evenly spread attention where attention was measured."""
    said = f"Measures of the last block: {trainings_of(study)}."
    if "attention" in study.analyses:
        grid, patch = study.data.image_size // study.vit.patch_size, study.vit.patch_size
        level = uniform_distance(grid=grid, patch_size=patch)
        said += f" Attention spread evenly over {grid} × {grid} patches of {patch} px reaches {level:.2f} px."
    return said
