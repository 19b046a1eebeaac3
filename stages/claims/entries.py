"""The paper's claims, one entry each.

A claim says that the arms of one objective have a higher value of a measure than those of others. Its
statement is in our words; what the study finds is decided in decision.py and stands in results/claims.json.
"""

from dataclasses import dataclass
from typing import Literal

Role = Literal["contrastive", "masked", "hybrid", "random"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One directional statement of the paper.

    measure: what is compared: a function of measures.py
    higher:  the objective that the paper says has more of it, than each of `lower`
    """

    name: str
    section: str
    statement: str
    measure: str
    statistic: str
    unit: str
    higher: Role
    lower: tuple[Role, ...]


CLAIMS = (
    Claim(
        name="attention_distance",
        section="§2, Fig. 3",
        statement="In late blocks, the attention of CL reaches further than that of MIM.",
        measure="late_attention_distance",
        statistic="attention distance, mean over the last third of the blocks and all heads",
        unit="px",
        higher="contrastive",
        lower=("masked",),
    ),
    Claim(
        name="attention_collapse",
        section="§2, Fig. 4",
        statement="In late blocks, the attention of CL depends less on the query than that of MIM.",
        measure="late_mutual_information",
        statistic="normalised mutual information, mean over the last third of the blocks and all heads",
        unit="",
        higher="masked",
        lower=("contrastive",),
    ),
    Claim(
        name="frequency",
        section="§3, Fig. 8",
        statement="The last block of MIM carries more of the high frequencies than that of CL.",
        measure="last_log_amplitude",
        statistic="relative log amplitude at the highest frequency after the last block",
        unit="log",
        higher="masked",
        lower=("contrastive",),
    ),
    Claim(
        name="linear_probing",
        section="§1, Fig. 1 left",
        statement="The linear probe of CL is better than that of MIM.",
        measure="linear_accuracy",
        statistic="linear probe accuracy, mean over the label sets",
        unit="share of images",
        higher="contrastive",
        lower=("masked",),
    ),
    Claim(
        name="small_models",
        section="§1, Fig. 1 middle",
        statement="Small models fine-tune better after CL than after MIM.",
        measure="finetuned_accuracy_small",
        statistic="fine-tuned accuracy of an encoder no wider than ViT-S, mean over the label sets",
        unit="share of images",
        higher="contrastive",
        lower=("masked",),
    ),
    Claim(
        name="hybrid_linear",
        section="§5, Fig. 12 left",
        statement="The linear probe of the hybrid is better than those of both of its parents.",
        measure="linear_accuracy",
        statistic="linear probe accuracy, mean over the label sets",
        unit="share of images",
        higher="hybrid",
        lower=("contrastive", "masked"),
    ),
    Claim(
        name="hybrid_finetuned",
        section="§5, Fig. 12 left",
        statement="The hybrid fine-tunes better than both of its parents.",
        measure="finetuned_accuracy",
        statistic="fine-tuned accuracy, mean over the label sets",
        unit="share of images",
        higher="hybrid",
        lower=("contrastive", "masked"),
    ),
)
