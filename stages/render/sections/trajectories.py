"""Show how the effect of each claim depends on the budget of training."""

from typing import Any

from markupsafe import Markup

from stages.render.figures.trajectories import (
    followed,
    in_words,
    trajectory_alt,
    trajectory_caption,
    trajectory_figure,
    trajectory_rows,
    words_of,
)
from stages.render.page.figure_card import drawn, show
from stages.render.page.html_table import folded
from stages.render.page.notebook_output import heading, put, say
from stages.render.words import listed, unbroken

HEADLINE = ("headline", "hybrid")


def trajectory_section(claims: list[dict[str, Any]], *, folder: str = "") -> None:
    """Show the effect of every claim against images seen: headline claims first, all others in a fold.

    claims: as `results.claims` returns them
    """
    measured = followed(claims)
    if not measured:
        return
    heading("Effects during training")
    headline = [claim for claim in measured if claim["family"] in HEADLINE]
    others = [claim for claim in measured if claim["family"] not in HEADLINE]
    if headline:
        total = sum(claim["family"] in HEADLINE for claim in claims)
        say(
            f"{len(headline)} of {total} headline claims, those on the hybrid included, have a trajectory: "
            f"{in_words(headline)}."
        )
        show(trajectory_figure(headline), name="trajectories", lead=True, folder=folder, **about(headline))
    if others:
        figure = drawn(trajectory_figure(others), name="trajectories-others", folder=folder, **about(others))
        put(folded(f"Other claims: {in_words(others)}", figure))
    missing = [words_of(claim) for claim in claims if not claim.get("trajectory")]
    notes = [
        "Stable: all intervals lie on one side of 0, or all lie within the margin. Emerging: the first "
        "intervals contain 0 and later ones lie on one side of 0. Reversing: one interval lies above 0 and "
        "another below. Unclear: anything else."
    ]
    if missing:
        notes.append(
            f"Claims without a trajectory: {listed(missing)}. Such claims need an arm that this study lacks, "
            "or measurements that snapshots lack: fine-tuning, segmentation, corrupted images, other "
            "analyses or probes. The preset checkpoints has these in mid-training."
        )
    paragraphs = Markup("\n").join(Markup("<p>{}</p>").format(unbroken(note)) for note in notes)
    put(folded("Terms, and claims without a trajectory", paragraphs))


def about(claims: list[dict[str, Any]]) -> dict[str, Any]:
    """Return alternative text, caption and data of the figure of some claims."""
    return {
        "alt": trajectory_alt(claims),
        "caption": trajectory_caption(claims),
        "data": trajectory_rows(claims),
    }
