"""Whether verdicts would have been others with a smaller budget."""

from typing import Any

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
from stages.render.words import listed

HEADLINE = ("headline", "hybrid")


def trajectory_section(claims: list[dict[str, Any]], *, folder: str = "") -> None:
    """Show the effect of every claim against images seen: headline claims, and the others folded up.

    claims: as `results.claims` gives them
    """
    measured = followed(claims)
    if not measured:
        return
    heading("Effect against images seen")
    say(
        "Each claim is measured again at snapshots of its trainings. Stable: on one side of 0 at every "
        "point, or always within the margin. Emerging: open first, then on one side. Reversing: above 0 at "
        "one point and below it at another. Unclear: anything else."
    )
    headline = [claim for claim in measured if claim["family"] in HEADLINE]
    others = [claim for claim in measured if claim["family"] not in HEADLINE]
    if headline:
        say(f"Headline claims: {in_words(headline)}.")
        show(trajectory_figure(headline), name="trajectories", lead=True, folder=folder, **about(headline))
    if others:
        figure = drawn(trajectory_figure(others), name="trajectories-others", folder=folder, **about(others))
        put(folded(f"The other claims: {in_words(others)}", figure))
    missing = [words_of(claim) for claim in claims if not claim.get("trajectory")]
    if missing:
        say(
            "Not measured at snapshots, because they need fine-tuning, segmentation, corrupted images, "
            f"another analysis or probe, or an arm that this study lacks: {listed(missing)}."
        )


def about(claims: list[dict[str, Any]]) -> dict[str, Any]:
    """What stands beside the figure of some claims."""
    return {
        "alt": trajectory_alt(claims),
        "caption": trajectory_caption(claims),
        "data": trajectory_rows(claims),
    }
