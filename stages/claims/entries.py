"""All claims, one entry each, in the order of the paper's sections.

A claim says that the arms of one method have a higher value of a measure than those of others, or than 0.
Its statement is in our words; what a study decides stands in results/claims.json. Each claim is decided by
the first option of each of its choices, and again under every combination of options (specification.py). The
main specification of a claim is frozen: LOG.md records every later change with its date.
"""

from stages.claims.entries_abilities import ABILITIES
from stages.claims.entries_attention import ATTENTIONS
from stages.claims.entries_components import COMPONENTS
from stages.claims.entries_representations import REPRESENTATIONS

CLAIMS = (*ABILITIES, *ATTENTIONS, *REPRESENTATIONS, *COMPONENTS)
