"""Are CL and MIM complementary: the gradients of both losses."""

from stages.render.figures.gradients import (
    gradient_alt,
    gradient_caption,
    gradient_figure,
    gradient_findings,
    gradient_rows,
)
from stages.render.figures.line_charts import Inks
from stages.render.page.figure_card import show
from stages.render.page.notebook_output import conclude, put
from stages.results.study_results import Results


def gradient_section(results: Results, *, inks: Inks, folder: str = "") -> None:
    """Show the cosine between the gradients of both losses, if the study has an arm with two losses.

    Raises StudyError as `gradient_rows` does.
    """
    rows = gradient_rows(results)
    if len(rows):
        put("<h3>Do the gradients of both losses agree?</h3>")
        conclude(gradient_findings(rows))
        show(
            gradient_figure(rows, inks=inks),
            name="gradients",
            lead=True,
            alt=gradient_alt(rows),
            caption=gradient_caption(rows),
            data=rows,
            folder=folder,
        )
