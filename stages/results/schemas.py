"""The required columns of every table of results, and their types."""

from collections.abc import Mapping
from typing import Literal

# whole: integers; number: finite; optional: finite or empty; text: as written, never parsed as a number or
# as a missing value; flag: true or false.
Kind = Literal["whole", "number", "optional", "text", "flag"]
Schema = Mapping[str, Kind]

SEED: Schema = {"seed": "whole"}
IMAGE: Schema = {**SEED, "image": "whole"}

HISTORY: Schema = {**SEED, "epoch": "whole", "loss": "number"}
GRADIENTS: Schema = {
    **SEED,
    "epoch": "whole",
    "block": "whole",
    "cl_weight": "number",
    "batches": "whole",  # each batch measures one of the two losses
    "dot": "optional",  # this column and those below are empty for epochs with too few steps
    "square_cl": "optional",
    "square_mim": "optional",
    "half_cl": "optional",  # empty if the loss has no gradient in the block
    "half_mim": "optional",
    "norm_cl": "optional",
    "norm_mim": "optional",
}
PREDICTIONS: Schema = {**IMAGE, "labels": "text", "truth": "whole", "predicted": "whole"}
LAYERWISE: Schema = {**PREDICTIONS, "block": "whole", "chosen": "flag"}
ROBUSTNESS: Schema = {
    **PREDICTIONS,
    "trial": "text",
    "level": "number",
    "amplitude": "number",  # 0 for corruptions without amplitude
    "head": "text",
    "rival": "whole",
}
SEGMENTATION: Schema = {
    **IMAGE,
    "way": "text",
    "class": "whole",
    "intersection": "number",
    "union": "number",
}
COMPARISON: Schema = {
    **SEED,
    "arm": "text",
    "block": "whole",
    "other_arm": "text",
    "other_block": "whole",
    "cka": "number",
}
IMAGES_SEEN: Schema = {**SEED, "share": "number", "images_seen": "whole"}
SPECIFICATIONS: Schema = {
    "claim": "text",
    "specification": "whole",
    "effect": "number",
    "low": "number",
    "high": "number",
    "p": "number",
    "d_z": "optional",
    "verdict": "text",
}

# The columns that identify a row of each analysis; readers name the measures that they need. An analysis
# that is not listed needs only the columns of SEED.
ANALYSES: Mapping[str, Schema] = {
    "attention": {**IMAGE, "block": "whole", "head": "whole"},
    "fourier": {**IMAGE, "block": "whole", "frequency": "number"},
    "similarity": {
        **SEED,
        "image": "optional",  # empty for values of all images together
        "measure": "text",
        "variant": "text",
        "block": "whole",
        "other_block": "whole",
        "value": "number",
    },
    "singular_values": {
        **IMAGE,
        "measure": "text",
        "level": "text",
        "place": "text",
        "block": "whole",
        "index": "whole",
        "value": "number",
        "error": "number",
    },
    "attention_maps": {
        **IMAGE,
        "measure": "text",
        "block": "whole",
        "query": "text",
        "row": "whole",
        "column": "whole",
        "value": "number",
        "map": "text",
    },
    "token_embedding": {
        **IMAGE,
        "measure": "text",
        "class": "whole",
        "block": "whole",
        "index": "whole",
        "value": "number",
    },
}
