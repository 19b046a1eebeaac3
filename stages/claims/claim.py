"""What a claim of the paper is made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

Role = Literal["contrastive", "masked", "hybrid", "random", "autoencoder", "0"]
ZERO = "0"  # the number, where a claim names what has less

# headline: of the paper's abstract and figure titles; hybrid: its two of §5; exploratory: what else it says;
# ours: what it does not say, never counted among its claims. A correction is within a family.
Family = Literal["headline", "hybrid", "exploratory", "ours"]

# The methods that a role may be filled by: first the one that the paper measures in the main text (MoCo v3,
# SimMIM). Only that one decides; another is no choice of how to measure but another experiment, so the same
# comparison with it is a replication, and is shown apart.
ALTERNATIVES: Mapping[str, tuple[str, ...]] = {
    "contrastive": ("contrastive", "dino"),
    "masked": ("masked", "autoencoder"),
}

FROZEN = "2026-11-28"  # since when the main specification of every claim is as it stands; LOG.md has changes


@dataclass(frozen=True)
class Choice:
    """Something that a reasonable reader could have chosen otherwise, for the same quantity.

    name:    keyword of the measure
    options: the first decides the claim
    """

    name: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Margin:
    """The smallest effect of interest, in the unit of a claim.

    rule: fixed: the value; even attention: a share of the distance that evenly spread attention reaches;
          span: the value, but a tenth of the span between the extreme arms where they span less than it
    """

    value: float
    reason: str
    rule: Literal["fixed", "even attention", "span"] = "fixed"


@dataclass(frozen=True)
class Part:
    """A measure that stands beside that of a claim and decides nothing."""

    name: str
    measure: Callable[..., pd.Series]
    given: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One directional statement of the paper.

    family:  decides with which other claims it is corrected
    measure: what is compared: a function of a measures file; `given` are its arguments that are no choice
    higher:  the role that the paper says has more of it, than each of `lower`, where "0" is the number: what
             is said to change with depth must change, and more than in `random`, where it may change as well
    margin:  an effect that is smaller counts as none
    fixed:   choices that the tables of a study cannot take otherwise
    general: whether the paper says it of every method of its kind, so that another one replicates it
    tuned:   whether it is measured after fine-tuning, which must have converged
    beside:  what else is shown of each side
    frozen:  since when its main specification is as it stands
    """

    name: str
    family: Family
    section: str
    statement: str
    measure: Callable[..., pd.Series]
    given: Mapping[str, Any] = field(default_factory=dict)
    statistic: str
    unit: str
    margin: Margin
    higher: Role
    lower: tuple[Role, ...]
    choices: tuple[Choice, ...] = ()
    fixed: tuple[str, ...] = ()
    general: bool = True
    tuned: bool = False
    beside: tuple[Part, ...] = ()
    frozen: str = FROZEN

    @property
    def sides(self) -> tuple[Role, ...]:
        """The roles that are compared."""
        return (self.higher, *(role for role in self.lower if role != ZERO))

    @property
    def comparison(self) -> str:
        """Who is compared, in words."""
        return f"{self.higher} over {' and '.join(self.lower)}"
