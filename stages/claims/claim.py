"""The data structures of a claim."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

Role = Literal["contrastive", "masked", "hybrid", "random", "autoencoder", "0"]
ZERO = "0"  # in `lower`: compare with the number 0 instead of an arm

# headline: in the paper's abstract or the title of a figure; hybrid: the two claims of §5; exploratory: other
# claims of the paper; ours: not in the paper, counted separately. Corrections apply within a family.
Family = Literal["headline", "hybrid", "exploratory", "ours"]

# The methods that can play a role. The first is the one of the paper's main text (MoCo v3, SimMIM), and only
# it decides. Another method is another experiment, not an analysis choice: the same comparison with it is a
# replication and is reported separately.
ALTERNATIVES: Mapping[str, tuple[str, ...]] = {
    "contrastive": ("contrastive", "dino"),
    "masked": ("masked", "autoencoder"),
}

FROZEN = "2026-11-28"  # the main specifications are fixed since this date; LOG.md lists later changes


@dataclass(frozen=True)
class Choice:
    """An analysis choice: reasonable readers could differ on it and still measure the same quantity.

    name:    keyword argument of the measure
    options: the first one decides the claim
    """

    name: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Margin:
    """The smallest effect of interest, in the unit of a claim.

    rule: fixed: the value itself
          even attention: the value times the attention distance of evenly spread attention
          span: the value; if all arms lie closer together than the value, a tenth of their range
    """

    value: float
    reason: str
    rule: Literal["fixed", "even attention", "span"] = "fixed"


@dataclass(frozen=True)
class Part:
    """A secondary measure, shown beside that of a claim; it decides nothing."""

    name: str
    measure: Callable[..., pd.Series]
    given: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One directional statement: one role has a higher value of a measure than each of the lower roles.

    family:  the claims of a family are corrected together
    measure: the function whose values are compared, from a measures file
    given:   arguments of the measure that are not analysis choices
    higher:  the role with the higher value
    lower:   the roles with lower values; "0" is the number, for a change with depth in one method
    margin:  the smallest effect of interest
    fixed:   analysis decisions to which the tables of a study offer no alternative
    general: whether the paper states the claim for every method of its kind, so that others can replicate it
    tuned:   whether the measure needs fine-tuning, which must have converged
    sizes:   whether the measure of an arm reads all arms of its method, one of each size
    beside:  secondary measures, shown for each side
    frozen:  date since which the main specification is fixed
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
    sizes: bool = False
    beside: tuple[Part, ...] = ()
    frozen: str = FROZEN

    @property
    def sides(self) -> tuple[Role, ...]:
        """Return the roles that are compared."""
        return (self.higher, *(role for role in self.lower if role != ZERO))

    @property
    def comparison(self) -> str:
        """Return the comparison as text, such as "contrastive over masked"."""
        return f"{self.higher} over {' and '.join(self.lower)}"
