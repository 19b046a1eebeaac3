"""The paper's claims, one entry each.

A claim says that the arms of one method have a higher value of a measure than those of others, or, with
nothing under `lower`, that the value is above 0. Its statement is in our words; what the study finds is
decided in decision.py and stands in results/claims.json. Under each claim stand the choices it depends on: it
is decided by the first option of each, and again under every combination of options (specification.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from stages.claims.measures import ALL_SETS, CHOSEN, fall, finetuned_accuracy, in_blocks, probe_accuracy

Role = Literal["contrastive", "masked", "hybrid", "random"]

# The methods that a role may be filled by: first the one that the paper measures in the main text (MoCo v3,
# SimMIM). Only that one decides; another is no choice of how to measure but another experiment, so the same
# comparison with it is a replication, and is shown apart.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "contrastive": ("contrastive", "dino"),
    "masked": ("masked", "autoencoder"),
}

EACH = "each alone"  # option of `labels` that stands for one option per label set


@dataclass(frozen=True)
class Choice:
    """Something that a reasonable reader could have chosen otherwise.

    name:    keyword of the measure; `images` is of the bootstrap instead
    options: the first decides the claim
    """

    name: str
    options: tuple[str, ...]


IMAGES = Choice(
    "images", ("all", "one half", "other half")
)  # every second image: sources list class by class
BLOCKS = Choice(
    "blocks", ("last third", "last quarter", "last half", "last block", "last half but the last block")
)
LAST = Choice("blocks", ("last block", "last third", "last half"))
BEFORE = Choice("before", ("as many before", "the one before", "all before"))
HEADS = Choice("heads", ("mean", "median"))
FREQUENCY = Choice("frequency", ("highest bin", "upper half of the bins"))
PROBE = Choice("probe", ("linear", "knn", "few_shot", "attentive"))
POOLING = Choice("pooling", (CHOSEN, "cls", "mean"))
LABELS = Choice("labels", (ALL_SETS, EACH))

NO_ATTENTION_VARIANTS = ("epsilon 1e-8 of the attention", "attention among patches only", "the last epoch")
NO_VARIANTS = ("patch tokens only", "the last epoch")
NO_TRAINING_VARIANTS = ("the last epoch",)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One directional statement of the paper.

    measure: what is compared: a function of measures.py; `given` are its arguments that are no choice
    higher:  the role that the paper says has more of it, than each of `lower`, or than 0 if that is empty
    fixed:   choices that the tables of a study cannot take otherwise
    """

    name: str
    section: str
    statement: str
    measure: Callable[..., pd.Series]
    given: Mapping[str, str] = field(default_factory=dict)
    statistic: str
    unit: str
    higher: Role
    lower: tuple[Role, ...]
    choices: tuple[Choice, ...]
    fixed: tuple[str, ...] = ()

    @property
    def comparison(self) -> str:
        """Who is compared, in words."""
        return f"{self.higher} over {' and '.join(self.lower) or '0'}"


CLAIMS = (
    Claim(
        name="attention_distance",
        section="§2, Fig. 3",
        statement="In late blocks, the attention of CL reaches further than that of MIM.",
        measure=in_blocks,
        given={"analysis": "attention", "column": "distance"},
        statistic="attention distance, mean over the last third of the blocks and all heads",
        unit="px",
        higher="contrastive",
        lower=("masked",),
        choices=(BLOCKS, HEADS, IMAGES),
        fixed=NO_ATTENTION_VARIANTS,
    ),
    Claim(
        name="attention_collapse",
        section="§2, Fig. 4",
        statement="In late blocks, the attention of CL depends less on the query than that of MIM.",
        measure=in_blocks,
        given={"analysis": "attention", "column": "nmi"},
        statistic="normalised mutual information, mean over the last third of the blocks and all heads",
        unit="",
        higher="masked",
        lower=("contrastive",),
        choices=(BLOCKS, HEADS, IMAGES),
        fixed=NO_ATTENTION_VARIANTS,
    ),
    Claim(
        name="collapse_beyond_untrained",
        section="§2, Fig. 4 (our control)",
        statement="In late blocks, the attention of CL depends less on the query than untrained attention.",
        measure=in_blocks,
        given={"analysis": "attention", "column": "nmi"},
        statistic="normalised mutual information, mean over the last third of the blocks and all heads",
        unit="",
        higher="random",
        lower=("contrastive",),
        choices=(BLOCKS, HEADS, IMAGES),
        fixed=NO_ATTENTION_VARIANTS,
    ),
    Claim(
        name="collapse_with_depth",
        section="§2, Fig. 4",
        statement="In late blocks, the attention of CL depends less on the query than before.",
        measure=fall,
        given={"analysis": "attention", "column": "nmi"},
        statistic="fall of normalised mutual information (mean over all heads) from as many blocks before to "
        "the last third",
        unit="",
        higher="contrastive",
        lower=(),
        choices=(BLOCKS, BEFORE, HEADS, IMAGES),
        fixed=NO_ATTENTION_VARIANTS,
    ),
    Claim(
        name="frequency",
        section="§3, Fig. 8",
        statement="The last block of MIM carries more of the high frequencies than that of CL.",
        measure=in_blocks,
        given={"analysis": "fourier", "column": "log_amplitude"},
        statistic="relative log amplitude at the highest frequency after the last block",
        unit="log",
        higher="masked",
        lower=("contrastive",),
        choices=(LAST, FREQUENCY, IMAGES),
        fixed=NO_VARIANTS,
    ),
    Claim(
        name="frequency_falls",
        section="§3, Fig. 8",
        statement="The late blocks of MIM reduce the high frequencies, as decoders do.",
        measure=fall,
        given={"analysis": "fourier", "column": "log_amplitude"},
        statistic="fall of relative log amplitude at the highest frequency from as many blocks before to the "
        "last third",
        unit="log",
        higher="masked",
        lower=(),
        choices=(BLOCKS, BEFORE, FREQUENCY, IMAGES),
        fixed=NO_VARIANTS,
    ),
    Claim(
        name="linear_probing",
        section="§1, Fig. 1 left",
        statement="The linear probe of CL is better than that of MIM.",
        measure=probe_accuracy,
        statistic="linear probe accuracy, mean over the label sets",
        unit="share of images",
        higher="contrastive",
        lower=("masked",),
        choices=(PROBE, POOLING, LABELS, IMAGES),
        fixed=NO_TRAINING_VARIANTS,
    ),
    Claim(
        name="small_models",
        section="§1, Fig. 1 middle",
        statement="Small models fine-tune better after CL than after MIM.",
        measure=finetuned_accuracy,
        statistic="fine-tuned accuracy of an encoder no wider than ViT-S, mean over the label sets",
        unit="share of images",
        higher="contrastive",
        lower=("masked",),
        choices=(Choice("size", ("ViT-S or smaller", "ViT-Ti or smaller")), LABELS, IMAGES),
        fixed=NO_TRAINING_VARIANTS,
    ),
    Claim(
        name="large_models",
        section="§1, Fig. 1 left and middle",
        statement="Large models fine-tune better after MIM than after CL.",
        measure=finetuned_accuracy,
        statistic="fine-tuned accuracy of an encoder at least as wide as ViT-B, mean over the label sets",
        unit="share of images",
        higher="masked",
        lower=("contrastive",),
        choices=(Choice("size", ("ViT-B or larger", "ViT-S or larger")), LABELS, IMAGES),
        fixed=NO_TRAINING_VARIANTS,
    ),
    Claim(
        name="hybrid_linear",
        section="§5, Fig. 12 left",
        statement="The linear probe of the hybrid is better than those of both of its parents.",
        measure=probe_accuracy,
        statistic="linear probe accuracy, mean over the label sets",
        unit="share of images",
        higher="hybrid",
        lower=("contrastive", "masked"),
        choices=(PROBE, POOLING, LABELS, IMAGES),
        fixed=NO_TRAINING_VARIANTS,
    ),
    Claim(
        name="hybrid_finetuned",
        section="§5, Fig. 12 left",
        statement="The hybrid fine-tunes better than both of its parents.",
        measure=finetuned_accuracy,
        statistic="fine-tuned accuracy, mean over the label sets",
        unit="share of images",
        higher="hybrid",
        lower=("contrastive", "masked"),
        choices=(LABELS, IMAGES),
        fixed=NO_TRAINING_VARIANTS,
    ),
    Claim(
        name="hybrid_attention",
        section="§5, Fig. 12 middle",
        statement="In late blocks, the attention of the hybrid depends less on the query than before.",
        measure=fall,
        given={"analysis": "attention", "column": "nmi"},
        statistic="fall of normalised mutual information (mean over all heads) from as many blocks before to "
        "the last third",
        unit="",
        higher="hybrid",
        lower=(),
        choices=(BLOCKS, BEFORE, HEADS, IMAGES),
        fixed=NO_ATTENTION_VARIANTS,
    ),
    Claim(
        name="hybrid_frequency",
        section="§5, Fig. 12 right",
        statement="The late blocks of the hybrid reduce the high frequencies.",
        measure=fall,
        given={"analysis": "fourier", "column": "log_amplitude"},
        statistic="fall of relative log amplitude at the highest frequency from as many blocks before to the "
        "last third",
        unit="log",
        higher="hybrid",
        lower=(),
        choices=(BLOCKS, BEFORE, FREQUENCY, IMAGES),
        fixed=NO_VARIANTS,
    ),
)
