"""Which components matter: probes of every block, reset blocks, similarity of blocks."""

from collections.abc import Iterable

from stages.render.figures import paper
from stages.render.figures.comparison import (
    blocks_alike,
    comparison_alt,
    comparison_caption,
    comparison_figure,
    pair_rows,
)
from stages.render.figures.depth import depth_alt, depth_figure
from stages.render.figures.layerwise import layerwise_caption, layerwise_curves
from stages.render.figures.line_charts import Inks
from stages.render.figures.lost_blocks import (
    block_losses,
    losses_alt,
    losses_caption,
    losses_figure,
    losses_findings,
)
from stages.render.page.figure_card import show
from stages.render.page.html_table import folded, table
from stages.render.page.notebook_output import conclude, put
from stages.render.sections.block_numbers import curve_rows
from stages.render.words import on_set
from stages.results.study_results import Results


def comparison_section(results: Results, *, inks: Inks, folder: str = "") -> None:
    """Show how similar the representations of all blocks of all arms are.

    Raises StudyError if the table is missing.
    """
    alike = blocks_alike(results)
    put("<h3>Similarity of blocks between arms</h3>")
    show(
        comparison_figure(alike, inks=inks),
        name="comparison",
        alt=comparison_alt(alike),
        caption=comparison_caption(),
        data=pair_rows(alike),
        folder=folder,
    )


def layerwise_section(results: Results, *, label_sets: Iterable[str], inks: Inks, folder: str = "") -> None:
    """Show the linear probe of every block: a figure and a folded table per label set.

    Raises StudyError if a table cannot be read, as all functions here.
    """
    put("<h3>Linear-probe accuracy by block</h3>")
    published = paper.layerwise()
    for labels in label_sets:
        curves = layerwise_curves(results, labels=labels)
        measure = f"linear-probe accuracy{on_set(labels)}"
        show(
            depth_figure(
                curves,
                inks=inks,
                ylabel=f"linear probe{on_set(labels)} (%)",
                paper=published,
                paper_ylabel="linear probe (%)",
                share_y=True,
                limits=(0, 100),
            ),
            name=f"layerwise-{labels}",
            lead=True,
            alt=depth_alt(curves, measure=measure, paper=published),
            caption=layerwise_caption(curves, labels=labels, paper=paper.LAYERWISE),
            data=curves,
            folder=folder,
        )
        numbers = table(curve_rows(curves), caption=f"{measure.capitalize()} by block (%)")
        put(folded(f"Table: {measure} by block", numbers))


def lost_blocks_section(results: Results, *, inks: Inks, folder: str = "") -> None:
    """Show how much accuracy depends on each block, if this was measured.

    Raises StudyError if a table is missing.
    """
    losses = block_losses(results)
    if len(losses):
        conclude(losses_findings(losses))
        show(
            losses_figure(losses, inks=inks),
            name="lost-blocks",
            lead=True,
            alt=losses_alt(losses),
            caption=losses_caption(losses),
            data=losses,
            folder=folder,
        )
