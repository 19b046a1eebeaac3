"""The paper's claims, one entry each.

A claim says that the arms of one method have a higher value of a measure than those of others, or than 0.
Its statement is in our words; what the study finds is decided in decision.py and stands in
results/claims.json. Under each claim stand the choices it depends on: it is decided by the first option of
each, and again under every combination of options (specification.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from stages.claims.decision import ZERO
from stages.claims.measures import (
    ALL_SETS,
    CHOSEN,
    VARIANTS,
    depth_accuracy,
    fall,
    fall_after_best,
    finetuned_accuracy,
    gain_over_linear,
    in_blocks,
    noise_loss,
    overlap,
    probe_accuracy,
    shape_preference,
    without_texture,
)
from stages.claims.roles import LAST_EPOCH

Role = Literal["contrastive", "masked", "hybrid", "random", "autoencoder", "0"]

# The methods that a role may be filled by: first the one that the paper measures in the main text (MoCo v3,
# SimMIM). Only that one decides; another is no choice of how to measure but another experiment, so the same
# comparison with it is a replication, and is shown apart.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "contrastive": ("contrastive", "dino"),
    "masked": ("masked", "autoencoder"),
}

EACH = "each alone"  # option of `labels` that stands for one option per label set
EARLIER = "each earlier"  # option of `epoch` that stands for one option per epoch at which arms stop


@dataclass(frozen=True)
class Choice:
    """Something that a reasonable reader could have chosen otherwise.

    name:    keyword of the measure; but `epoch` picks the arms and `images` is of the bootstrap
    options: the first decides the claim
    """

    name: str
    options: tuple[str, ...]


EPOCH = Choice("epoch", (LAST_EPOCH, EARLIER))  # an earlier one, where the study has arms that stop there
IMAGES = Choice(
    "images", ("all", "one half", "other half")
)  # every second image: sources list class by class
ALWAYS = (EPOCH, IMAGES)
BLOCKS = Choice(
    "blocks", ("last third", "last quarter", "last half", "last block", "last half but the last block")
)
LAST = Choice("blocks", ("last block", "last third", "last half"))
BEFORE = Choice("before", ("as many before", "the one before", "all before"))
ATTENTION = Choice("attention", tuple(VARIANTS))
HEADS = Choice("heads", ("mean", "median"))
FREQUENCY = Choice("frequency", ("highest bin", "upper half of the bins"))
PROBE = Choice("probe", ("linear", "linear_augmented", "knn", "few_shot", "attentive"))
POOLING = Choice("pooling", (CHOSEN, "cls", "mean"))
LABELS = Choice("labels", (ALL_SETS, EACH))
VARIANT = Choice("variant", ("raw", "centred", "with prefix tokens"))
HEAD = Choice("head", ("fine-tuned", "linear"))  # which one the paper tested is not known

PATCHES = ("patch tokens only",)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One directional statement of the paper.

    measure: what is compared: a function of measures.py; `given` are its arguments that are no choice
    higher:  the role that the paper says has more of it, than each of `lower`, where "0" is the number: what
             is said to change with depth must change, and more than in `random`, where it may change as well
    fixed:   choices that the tables of a study cannot take otherwise
    general: whether the paper says it of every method of a family, so that another one replicates it
    """

    name: str
    section: str
    statement: str
    measure: Callable[..., pd.Series]
    given: Mapping[str, Any] = field(default_factory=dict)
    statistic: str
    unit: str
    higher: Role
    lower: tuple[Role, ...]
    choices: tuple[Choice, ...]
    fixed: tuple[str, ...] = ()
    general: bool = True

    @property
    def sides(self) -> tuple[Role, ...]:
        """The roles that are compared."""
        return (self.higher, *(role for role in self.lower if role != ZERO))

    @property
    def comparison(self) -> str:
        """Who is compared, in words."""
        return f"{self.higher} over {' and '.join(self.lower)}"


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
        choices=(BLOCKS, ATTENTION, HEADS, *ALWAYS),
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
        choices=(BLOCKS, ATTENTION, HEADS, *ALWAYS),
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
        choices=(BLOCKS, ATTENTION, HEADS, *ALWAYS),
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
        lower=("0", "random"),
        choices=(BLOCKS, BEFORE, ATTENTION, HEADS, *ALWAYS),
    ),
    Claim(
        name="same_map",
        section="§2, Fig. 2",
        statement="In late blocks of CL, two patches of an image look at the same places, more than in MIM.",
        measure=in_blocks,
        given={"analysis": "attention_maps", "column": "value", "where": {"measure": "similarity"}},
        statistic="cosine between the attention maps of the centre and the corner, mean over the last third",
        unit="",
        higher="contrastive",
        lower=("masked",),
        choices=(BLOCKS, *ALWAYS),
        fixed=("mean over the heads of a block", "centre and corner as queries"),
    ),
    Claim(
        name="heads_alike",
        section="§2, Fig. 5",
        statement="In late blocks, the heads of CL are more alike than those of MIM.",
        measure=in_blocks,
        given={"analysis": "similarity", "column": "value", "where": {"measure": "heads"}},
        statistic="cosine between the outputs of two heads, mean over the last third of the blocks",
        unit="",
        higher="contrastive",
        lower=("masked",),
        choices=(VARIANT, BLOCKS, *ALWAYS),
    ),
    Claim(
        name="blocks_alike",
        section="§2, Fig. 5",
        statement="Late blocks of CL differ less from the block before than those of MIM.",
        measure=in_blocks,
        given={"analysis": "similarity", "column": "value", "where": {"measure": "blocks", "apart": 1}},
        statistic="cosine between the tokens of a block and of the one before, mean over the last third",
        unit="",
        higher="contrastive",
        lower=("masked",),
        choices=(VARIANT, BLOCKS, *ALWAYS),
    ),
    Claim(
        name="positions_alike",
        section="§2, Fig. 5",
        statement="In late blocks, the tokens of an image are more alike in CL than in MIM.",
        measure=in_blocks,
        given={"analysis": "similarity", "column": "value", "where": {"measure": "positions"}},
        statistic="cosine between two patch tokens of an image, mean over the last third of the blocks",
        unit="",
        higher="contrastive",
        lower=("masked",),
        choices=(VARIANT, BLOCKS, *ALWAYS),
    ),
    Claim(
        name="tokens_in_unison",
        section="§3, Fig. 6",
        statement="The self-attention of CL moves the tokens of an image more alike than that of MIM does.",
        measure=in_blocks,
        given={
            "analysis": "singular_values",
            "column": "value",
            "where": {"measure": "unison", "level": "token"},
        },
        statistic="unison of the movement (squared mean over mean squared displacement), last third",
        unit="",
        higher="contrastive",
        lower=("masked",),
        choices=(BLOCKS, *ALWAYS),
        fixed=PATCHES,
    ),
    Claim(
        name="token_spread",
        section="§3, Fig. 7",
        statement="The tokens of one image spread in more directions in MIM than in CL.",
        measure=in_blocks,
        given={
            "analysis": "singular_values",
            "column": "value",
            "where": {"level": "token", "place": "after"},
        },
        statistic="RankMe of the patch tokens of an image after the last self-attention",
        unit="",
        higher="masked",
        lower=("contrastive",),
        choices=(Choice("measure", ("rankme", "participation_ratio")), LAST, *ALWAYS),
        fixed=(*PATCHES, "tokens centred"),
    ),
    Claim(
        name="image_spread",
        section="§3, Fig. 7",
        statement="Different images spread in more directions in CL than in MIM.",
        measure=in_blocks,
        given={
            "analysis": "singular_values",
            "column": "value",
            "where": {"level": "image_share", "place": "after"},
        },
        statistic="RankMe of all images' mean patch tokens after the last self-attention, by pseudo-values",
        unit="",
        higher="contrastive",
        lower=("masked",),
        choices=(Choice("measure", ("rankme", "participation_ratio")), LAST, *ALWAYS),
        fixed=(*PATCHES, "images centred"),
    ),
    Claim(
        name="tokens_by_image",
        section="App. E, Fig. E.2",
        statement="The tokens of CL lie together by image more than those of MIM do.",
        measure=in_blocks,
        given={
            "analysis": "token_embedding",
            "column": "value",
            "where": {"measure": "silhouette_image"},
            "blocks": "last block",
        },
        statistic="silhouette of the last block's tokens by image, cosine distance",
        unit="",
        higher="contrastive",
        lower=("masked",),
        choices=ALWAYS,
        fixed=PATCHES,
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
        choices=(LAST, FREQUENCY, *ALWAYS),
        fixed=PATCHES,
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
        lower=("0", "random"),
        choices=(BLOCKS, BEFORE, FREQUENCY, *ALWAYS),
        fixed=PATCHES,
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
        choices=(PROBE, POOLING, LABELS, *ALWAYS),
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
        choices=(Choice("size", ("ViT-S or smaller", "ViT-Ti or smaller")), LABELS, *ALWAYS),
    ),
    Claim(
        name="large_models",
        section="§1, Fig. 1 left and middle",
        statement="Large models fine-tune better after MIM than after CL.",
        measure=finetuned_accuracy,
        given={"size": "ViT-B or larger"},
        statistic="fine-tuned accuracy of an encoder at least as wide as ViT-B, mean over the label sets",
        unit="share of images",
        higher="masked",
        lower=("contrastive",),
        choices=(LABELS, *ALWAYS),
    ),
    Claim(
        name="shape_bias",
        section="§3, Fig. 9 left",
        statement="Where shape and texture disagree, CL follows the shape more than MIM.",
        measure=shape_preference,
        statistic="share of cue-conflict images decided for the shape less that for the texture",
        unit="share of images",
        higher="contrastive",
        lower=("masked",),
        choices=(Choice("trials", ("cue conflict", "all with a texture that competes")), *ALWAYS),
        fixed=("a linear probe on frozen features",),
    ),
    Claim(
        name="other_textures",
        section="§3, Fig. 9 left",
        statement="CL is more accurate than MIM on images that have lost their textures.",
        measure=without_texture,
        statistic="accuracy on images with the amplitudes of others, for the shape where it has labels",
        unit="share of images",
        higher="contrastive",
        lower=("masked",),
        choices=(Choice("trial", ("amplitude_exchange", "edges", "silhouette")), HEAD, *ALWAYS),
    ),
    Claim(
        name="low_frequency_noise",
        section="§3, Fig. 9 right",
        statement="Noise at low frequencies costs CL more than MIM.",
        measure=noise_loss,
        statistic="accuracy without noise less that with noise in the lowest third of the frequencies",
        unit="share of images",
        higher="contrastive",
        lower=("masked",),
        choices=(Choice("bands", ("lowest third", "lowest half", "lowest band")), HEAD, LABELS, *ALWAYS),
        fixed=("one noise level",),
    ),
    Claim(
        name="high_frequency_noise",
        section="§3, Fig. 9 right",
        statement="Noise at high frequencies costs MIM more than CL.",
        measure=noise_loss,
        statistic="accuracy without noise less that with noise in the highest third of the frequencies",
        unit="share of images",
        higher="masked",
        lower=("contrastive",),
        choices=(Choice("bands", ("highest third", "highest half", "highest band")), HEAD, LABELS, *ALWAYS),
        fixed=("one noise level",),
    ),
    Claim(
        name="early_blocks",
        section="§4, Fig. 10",
        statement="In early blocks, the linear probe of MIM is better than that of CL.",
        measure=depth_accuracy,
        statistic="accuracy of a linear probe of each block, mean over the first half and the label sets",
        unit="share of images",
        higher="masked",
        lower=("contrastive",),
        choices=(Choice("depth", ("first half", "first third", "first block")), LABELS, *ALWAYS),
        fixed=("mean of the patch tokens",),
    ),
    Claim(
        name="late_blocks",
        section="§4, Fig. 10",
        statement="In late blocks, the linear probe of CL is better than that of MIM.",
        measure=depth_accuracy,
        statistic="accuracy of a linear probe of each block, mean over the last third and the label sets",
        unit="share of images",
        higher="contrastive",
        lower=("masked",),
        choices=(Choice("depth", ("last third", "last half", "last block")), LABELS, *ALWAYS),
        fixed=("mean of the patch tokens",),
    ),
    Claim(
        name="implicit_decoder",
        section="§4, Fig. 10",
        statement="The late blocks of MIM lose what its best block knows, as decoders do.",
        measure=fall_after_best,
        statistic="accuracy of the linear probe of the best block (chosen on validation) less the last one's",
        unit="share of images",
        higher="masked",
        lower=("0", "random"),
        choices=(LABELS, *ALWAYS),
        fixed=("mean of the patch tokens",),
        general=False,  # a MAE, whose decoder is another network, loses little: see explicit_decoder
    ),
    Claim(
        name="explicit_decoder",
        section="§4, Fig. 10 and 11",
        statement="With a decoder of its own (MAE), the late blocks of MIM lose less.",
        measure=fall_after_best,
        statistic="accuracy of the linear probe of the best block (chosen on validation) less the last one's",
        unit="share of images",
        higher="masked",
        lower=("autoencoder",),
        choices=(LABELS, *ALWAYS),
        fixed=("mean of the patch tokens",),
    ),
    Claim(
        name="learnt_pooling",
        section="beyond (Psomas et al. 2025)",
        statement="A probe that learns its pooling helps MIM more than CL.",
        measure=gain_over_linear,
        given={"probe": "attentive"},
        statistic="accuracy of the attentive probe less that of the linear probe, mean over the label sets",
        unit="share of images",
        higher="masked",
        lower=("contrastive",),
        choices=(LABELS, *ALWAYS),
    ),
    Claim(
        name="dense_prediction",
        section="§1, Fig. 1 right",
        statement="MIM is better than CL at dense prediction.",
        measure=overlap,
        statistic="intersection over union of fine-tuned segmentation, mean over the classes of an image",
        unit="share of pixels",
        higher="masked",
        lower=("contrastive",),
        choices=(
            Choice("way", ("fine-tuned", "linear", "knn")),
            Choice("objects", ("and background", "alone")),
            *ALWAYS,
        ),
        fixed=("segmentation, where the paper cites detection of others",),
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
        choices=(PROBE, POOLING, LABELS, *ALWAYS),
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
        choices=(LABELS, *ALWAYS),
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
        lower=("0", "random"),
        choices=(BLOCKS, BEFORE, ATTENTION, HEADS, *ALWAYS),
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
        lower=("0", "random"),
        choices=(BLOCKS, BEFORE, FREQUENCY, *ALWAYS),
        fixed=PATCHES,
    ),
)
