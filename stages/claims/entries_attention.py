"""The claims of the paper's §2: self-attention."""

from stages.claims.choices import ATTENTION, BLOCKS, HEADS, VARIANT
from stages.claims.claim import Choice, Claim
from stages.claims.margins import ALIKENESS, COSINE, DISTANCE, NMI
from stages.claims.measures import blocks_alike, fall, heads_alike, in_blocks

INFORMATION = "normalised mutual information, mean over the last third of the blocks and all heads"
COLLAPSE = {"analysis": "attention", "column": "nmi"}

ATTENTIONS = (
    Claim(
        name="attention_distance",
        family="headline",
        section="§2, Fig. 3",
        statement="In late blocks, CL attends over longer distances than MIM.",
        measure=in_blocks,
        given={"analysis": "attention", "column": "distance"},
        statistic="attention distance, mean over the last third of the blocks and all heads",
        unit="px",
        margin=DISTANCE,
        higher="contrastive",
        lower=("masked",),
        choices=(BLOCKS, ATTENTION, HEADS),
    ),
    Claim(
        name="attention_collapse",
        family="headline",
        section="§2, Fig. 4",
        statement="In late blocks, attention depends less on the query in CL than in MIM.",
        measure=in_blocks,
        given=COLLAPSE,
        statistic=INFORMATION,
        unit="",
        margin=NMI,
        higher="masked",
        lower=("contrastive",),
        choices=(BLOCKS, ATTENTION, HEADS),
    ),
    Claim(
        name="collapse_beyond_untrained",
        family="ours",
        section="§2, Fig. 4 (our control)",
        statement="In late blocks, attention depends less on the query in CL than in an untrained encoder.",
        measure=in_blocks,
        given=COLLAPSE,
        statistic=INFORMATION,
        unit="",
        margin=NMI,
        higher="random",
        lower=("contrastive",),
        choices=(BLOCKS, ATTENTION, HEADS),
    ),
    Claim(
        name="collapse_with_depth",
        family="exploratory",
        section="§2, Fig. 4",
        statement="In CL, attention depends less on the query in late blocks than in earlier ones.",
        measure=fall,
        given=COLLAPSE,
        statistic="decrease of normalised mutual information (mean over all heads), from the first two "
        "thirds of the blocks to the last third",
        unit="",
        margin=NMI,
        higher="contrastive",
        lower=("0",),
        choices=(BLOCKS, ATTENTION, HEADS),
        frozen="2026-11-30",
    ),
    Claim(
        name="same_map",
        family="exploratory",
        section="§2, Fig. 2",
        statement="In late blocks, distant patches attend to more similar places in CL than in MIM.",
        measure=in_blocks,
        given={"analysis": "attention_maps", "column": "value", "where": {"measure": "similarity"}},
        statistic="cosine similarity between the attention maps of the centre and the corner patch, mean "
        "over the last third of the blocks",
        unit="",
        margin=COSINE,
        higher="contrastive",
        lower=("masked",),
        choices=(BLOCKS,),
        fixed=("mean over the heads of a block", "centre and corner patch as queries"),
    ),
    Claim(
        name="heads_alike",
        family="exploratory",
        section="§2, Fig. 5",
        statement="In late blocks, the attention maps of heads are more similar to each other in CL than in "
        "MIM.",
        measure=heads_alike,
        statistic="1 minus the Jensen–Shannon divergence (in units of log 2) between the attention of two "
        "heads, mean over the last third of the blocks",
        unit="",
        margin=ALIKENESS,
        higher="contrastive",
        lower=("masked",),
        choices=(Choice("measure", ("attention maps", "outputs", "outputs, centred")), BLOCKS),
    ),
    Claim(
        name="blocks_alike",
        family="exploratory",
        section="§2, Fig. 5",
        statement="Late blocks are more similar to the preceding block in CL than in MIM.",
        measure=blocks_alike,
        statistic="linear CKA between the mean tokens of a block and of the preceding block, mean over the "
        "last third of the blocks",
        unit="",
        margin=ALIKENESS,
        higher="contrastive",
        lower=("masked",),
        choices=(
            Choice("measure", ("CKA of mean tokens", "attention branches", "tokens", "tokens, centred")),
            BLOCKS,
        ),
    ),
    Claim(
        name="positions_alike",
        family="headline",
        section="§2, Fig. 5",
        statement="In late blocks, the tokens of an image are more similar to each other in CL than in MIM.",
        measure=in_blocks,
        given={"analysis": "similarity", "column": "value", "where": {"measure": "positions"}},
        statistic="cosine similarity between two patch tokens of an image, mean over the last third of the "
        "blocks",
        unit="",
        margin=COSINE,
        higher="contrastive",
        lower=("masked",),
        choices=(VARIANT, BLOCKS),
    ),
)
