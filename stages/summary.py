"""Write the report of the whole study as one self-contained file: `python -m stages.summary`."""

import argparse
from pathlib import Path

from stages.render.page.joining import joined_page
from stages.render.page.notebook_run import notebook_body
from stages.render.page.provenance import provenance
from stages.results.dvc_plots import plot_tables
from stages.results.study_results import CLAIMS, MANIFEST, SPECIFICATIONS, Results
from stages.study.command import run
from stages.study.errors import StudyError
from stages.study.params import load_params, seeds_of
from stages.study.paths import (
    COMPARISON,
    analysis_table,
    finetune_metrics,
    gradients_table,
    model_dir,
    probe_metrics,
    probe_predictions,
    robustness_table,
    segmentation_metrics,
    writing,
)
from stages.study.study import Study
from stages.study.words import counted

NOTEBOOK = Path("notebooks/summary.ipynb")
INDEX = Path("reports/index.html")
PLOTS = Path("reports/plots")


def main() -> None:
    """Read the command line and write the report."""
    argparse.ArgumentParser(prog="python -m stages.summary", description=__doc__).parse_args()
    run("summary", summary, writes=INDEX)


def summary() -> str:
    """Run the summary notebook, append the pages of all analyses, and write the report.

    Also writes the tables of `dvc plots`.

    Raises StudyError if an input is missing or a cell fails.
    """
    study = load_params(stage="summary")
    pages = {analysis: Path("reports/pages") / f"{analysis}.html" for analysis in study.analyses}
    read = [NOTEBOOK, *pages.values(), *inputs(study)]
    missing = [str(path) for path in read if not path.is_file()]
    if missing:
        raise StudyError(f"{', '.join(missing)}: not found; `dvc repro` writes the missing files")
    with writing(Path("reports/figures/summary")) as figures, writing(PLOTS) as plots:
        figures.mkdir()
        plots.mkdir()
        for name, table in plot_tables(Results(study)).items():
            table.to_csv(plots / f"{name}.csv", index=False, float_format="%.6g")
        body = notebook_body(NOTEBOOK, parameters={"figures": str(figures)})
        html = joined_page(
            body,
            name="summary",
            pages={analysis: path.read_text(encoding="utf-8") for analysis, path in pages.items()},
            provenance=provenance(study, inputs=read),
        )
        with writing(INDEX) as file:
            file.write_text(html, encoding="utf-8")
    return f"{counted(len(study.arms), 'arm')} and {len(pages)} analyses"


def inputs(study: Study) -> list[Path]:
    """Return the path of every result that the notebook reads."""
    files = [MANIFEST, COMPARISON, CLAIMS, SPECIFICATIONS]
    files += [probe_metrics("linear_augmented", arm) for arm in study.linear_augmented.arms]
    for arm in study.arms:
        files += [probe_metrics(probe, arm) for probe in dict(study.probes)]
        files += [finetune_metrics(arm), robustness_table(arm), segmentation_metrics(arm)]
        for seed in seeds_of(study, arm):
            files.append(model_dir(arm, seed) / "history.csv")
            some = (model_dir(arm, seed) / "training.json", gradients_table(arm, seed))
            files += [path for path in some if path.is_file()]  # early trainings have no record
        if "layerwise" in dict(study.probes):  # its curves need the prediction for each image
            files.append(probe_predictions("layerwise", arm))
        files += [analysis_table(analysis, arm) for analysis in study.analyses]
    return files


if __name__ == "__main__":
    main()
