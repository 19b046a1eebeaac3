"""Analysis choices that several claims share; no choice changes the quantity that is compared."""

from stages.claims.accuracy_measures import ALL_SETS, CHOSEN
from stages.claims.claim import Choice
from stages.claims.measures import VARIANTS

EACH = "each alone"  # expands to one option per label set

BLOCKS = Choice(
    "blocks", ("last third", "last quarter", "last half", "last block", "last half without the last block")
)
LAST = Choice("blocks", ("last block", "last third", "last half"))
ATTENTION = Choice("attention", tuple(VARIANTS))
HEADS = Choice("heads", ("mean", "median"))
FREQUENCY = Choice("frequency", ("highest bin", "upper half of the bins"))
PROBE = Choice("probe", ("linear", "linear_augmented"))
POOLING = Choice("pooling", (CHOSEN, "cls", "mean"))
LABELS = Choice("labels", (ALL_SETS, EACH))
VARIANT = Choice("variant", ("raw", "centred", "with prefix tokens"))

PATCHES = ("patch tokens only",)
MEAN_PATCH = ("mean of the patch tokens",)
LINEAR_HEAD = ("a linear probe on frozen features",)
TUNED_HEAD = ("the fine-tuned encoder",)
