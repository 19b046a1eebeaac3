"""All claims, one entry each, in the order of the paper's sections.

A claim says that one method has a higher value of a measure than other methods, or than 0. Statements are in
our words; `results/claims.json` holds the verdicts. The main specification of a claim takes the first option
of every choice; specification.py decides the claim again under all other combinations. Main specifications
are frozen: LOG.md records every later change with its date.
"""

from stages.claims.entries_abilities import ABILITIES
from stages.claims.entries_attention import ATTENTIONS
from stages.claims.entries_components import COMPONENTS
from stages.claims.entries_representations import REPRESENTATIONS

CLAIMS = (*ABILITIES, *ATTENTIONS, *REPRESENTATIONS, *COMPONENTS)
