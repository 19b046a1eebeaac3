"""Every claim under every choice, each curve folded up."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from stages.render.figures.specification import specification_alt, specification_caption, specification_figure
from stages.render.page.figure_card import drawn
from stages.render.page.html_table import folded
from stages.render.page.notebook_output import heading, put, say
from stages.render.sections.verdicts import robust


def specification_section(
    claims: list[dict[str, Any]], specifications: pd.DataFrame, *, folder: str = ""
) -> None:
    """Show the specification curve of every claim that was decided in more than one way, each folded up.

    claims, specifications: as `results.claims` and `results.specifications` give them
    """
    drawings = list(curves(claims, specifications))
    if not drawings:
        return
    heading("Every claim under every choice")
    say(
        "A claim is decided by its main choices. Here each is decided again under every combination of the "
        "choices that could reasonably have been made otherwise."
    )
    for claim, rows in drawings:
        figure = drawn(
            specification_figure(rows, claim=claim),
            name=curve_name(claim),
            alt=specification_alt(rows, claim=claim),
            caption=specification_caption(rows, claim=claim),
            data=rows,
            folder=folder,
            folded=True,
        )
        put(folded(f"{claim['statement']} {robust(claim)}", figure))


def curves(
    claims: list[dict[str, Any]], specifications: pd.DataFrame
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The claims that were decided in more than one way, each with its specifications.

    specifications: as `results.specifications` gives them
    """
    for claim in claims:
        rows = specifications[specifications["claim"] == claim["name"]]
        if len(rows) > 1:
            yield claim, rows.dropna(axis="columns", how="all")


def curve_ids(claims: list[dict[str, Any]], specifications: pd.DataFrame) -> dict[str, str]:
    """The id of the figure of each claim that has one, by the name of the claim."""
    return {claim["name"]: f"fig-{curve_name(claim)}" for claim, _ in curves(claims, specifications)}


def curve_name(claim: dict[str, Any]) -> str:
    """The name of the figure of a claim."""
    return f"choices-{claim['name'].replace('_', '-')}"
