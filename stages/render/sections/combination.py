"""Are CL and MIM complementary: accuracy against λ and gradient ratio, and agreement of gradients."""

from collections.abc import Mapping

from stages.render.figures.gradients import (
    gradient_alt,
    gradient_caption,
    gradient_figure,
    gradient_findings,
    gradient_rows,
    measured,
)
from stages.render.figures.line_charts import Inks
from stages.render.page.figure_card import show
from stages.render.page.notebook_output import conclude, put
from stages.render.sections.sweeps import Sweep
from stages.results.study_results import Results


def weight_section(swept: Mapping[str, Sweep], *, folder: str = "") -> None:
    """Show accuracy against λ and against the gradient ratio, and measures against λ, if the study has them.

    swept: as `sweeps.sweeps` returns them
    """
    chosen = {name: sweep for name, sweep in swept.items() if name.endswith(("-by-weight", "-by-ratio"))}
    if chosen:
        put("<h3>Weight of CL and gradient ratio</h3>")
    for name, sweep in chosen.items():
        conclude(sweep.findings)
        show(**sweep.drawing, lead=name.startswith("accuracy"), folder=folder)


def gradient_section(results: Results, *, inks: Inks, folder: str = "") -> None:
    """Show the cosine between the gradients of both losses, if the study has an arm with two losses.

    Raises StudyError as `gradient_rows` does.
    """
    rows = gradient_rows(results)
    if len(rows):
        put("<h3>Do the gradients of both losses agree?</h3>")
        conclude(gradient_findings(rows))
        if not measured(rows):
            conclude("Noise between batches dominates both gradients, so their cosine cannot be measured.")
            return
        show(
            gradient_figure(rows, inks=inks),
            name="gradients",
            lead=True,
            alt=gradient_alt(rows),
            caption=gradient_caption(rows),
            data=rows,
            folder=folder,
        )
