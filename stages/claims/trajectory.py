"""Trajectories: the effect of a claim against the number of images seen during training."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import pandas as pd

from stages.claims.claim import Claim
from stages.claims.inference import METHODS
from stages.claims.roles import aligned
from stages.claims.specification import claim_values, joint_of, main_choices
from stages.claims.tables import Tables
from stages.results.files import MissingResult
from stages.results.snapshots import ResultsAt, SnapshotResults

STABLE, EMERGING, REVERSING, UNCLEAR = "stable", "emerging", "reversing", "unclear"
NOT_MEASURED = "not measured"


class Point(NamedTuple):
    """The effect of a claim at a share of the trainings, with its uncorrected 95 % interval.

    images_seen:       of the first role that is trained, the higher one if possible; 0 without one
    images_seen_other: of the next role that is trained; None without one
    """

    share: float
    images_seen: int
    images_seen_other: int | None
    effect: float
    low: float
    high: float
    scope: str


def trajectory(
    claim: Claim,
    *,
    snapshots: Sequence[SnapshotResults],
    stopped: Sequence[ResultsAt] = (),
    margin: float,
) -> dict[str, Any]:
    """Return the trajectory of a claim under its main specification, with a word for its shape.

    snapshots: in ascending order of share, the end last; sides are matched by share, not by images
    stopped:   the same of arms that stop early, used if snapshots lack what the claim needs
    margin:    of the claim at the end of training
    returns:   trajectory, a list of points; trajectory_word; and trajectory_why if nothing was measured
    """
    points, why = [], "the study has no snapshots of the compared arms"
    try:
        points = [_point(claim, results) for results in snapshots]
    except MissingResult as missing:
        why = f"{missing}"
    if not _moves(points):
        points = list(_possible(claim, stopped))
    if not _moves(points):
        return {"trajectory": [], "trajectory_word": NOT_MEASURED, "trajectory_why": why}
    return {
        "trajectory": [point._asdict() for point in points],
        "trajectory_word": in_a_word(points, margin=margin),
    }


def in_a_word(points: Sequence[Point], *, margin: float) -> str:
    """Return a word for the shape of a trajectory, from its intervals alone.

    points: in ascending order of share, the end of training last
    A point is above if its interval lies above 0, below if it lies below 0, and open otherwise.
    stable:    all points are above, or all are below, or all intervals lie within the margin
    reversing: otherwise, at least one point is above and at least one is below
    emerging:  open points come first, followed by points on one side up to the end
    unclear:   anything else, and every trajectory about these encoders only, because trainings may differ
    """
    if any(point.scope != METHODS for point in points):
        return UNCLEAR
    signs = [(point.low > 0) - (point.high < 0) for point in points]
    within = all(-margin < point.low and point.high < margin for point in points)
    if within or set(signs) in ({-1}, {1}):
        return STABLE
    if {-1, 1} <= set(signs):
        return REVERSING
    last_open = max(place for place, sign in enumerate(signs) if not sign)
    began = [place for place, sign in enumerate(signs) if sign]
    return EMERGING if began and last_open < began[0] else UNCLEAR


def trajectory_table(entries: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return the points of all claims as one table. entries: claim -> result of `trajectory`"""
    rows = [
        {"claim": name} | point for name, entry in entries.items() for point in entry.get("trajectory", ())
    ]
    return pd.DataFrame(rows, columns=["claim", *Point._fields])


def _moves(points: Sequence[Point]) -> bool:
    """Return whether points show more than one moment of a training."""
    return len(points) > 1 and points[0].images_seen != points[-1].images_seen


def _possible(claim: Claim, stopped: Sequence[ResultsAt]) -> Iterator[Point]:
    """Yield the points at those shares that have all sides of a claim."""
    for results in stopped:
        with suppress(MissingResult):
            yield _point(claim, results)


def _point(claim: Claim, results: ResultsAt) -> Point:
    sides = aligned(claim_values(claim, main_choices(claim), tables=Tables(results)))
    joint = joint_of(sides, higher=claim.higher, lower=claim.lower)
    seen = [results.images_seen(str(sides[role].columns.name)) for role in claim.sides]
    trained = [images for images in seen if images] or [0]
    low, high = joint.bounds()
    return Point(
        share=results.share,
        images_seen=trained[0],
        images_seen_other=trained[1] if len(trained) > 1 else None,
        effect=joint.weakest.effect,
        low=low,
        high=high,
        scope=joint.scope,
    )
