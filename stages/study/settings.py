"""What params.yaml may hold of an arm, and of how everything runs."""

import shlex
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from stages.study.names import Name
from stages.study.section import (
    Count,
    DropPath,
    Fraction,
    NonNegative,
    Positive,
    Precision,
    Section,
    Seeds,
    Share,
)


class Arm(Section):
    """One encoder under study; what it does not set is taken from the common recipe.

    A null takes the common value too, except where null is a value of the recipe: no clipping, for example.
    """

    objective: Name
    seeds: Seeds | None = None  # of its trainings; null: those of the study
    cl_weight: Fraction | None = None
    gradient_ratio: Positive | None = None  # of the weighted gradients, CL to MIM, instead of cl_weight
    mim_block: Positive | None = None  # a whole number: that block, from 1; else a share of the depth
    weights: str | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")] | None = None  # of the file of weights
    format: Literal["moco_v3", "simmim", "mae", "dino", "timm", "transformers"] | None = None
    epochs: Annotated[int, Field(ge=0)] | None = None
    stop_epoch: Count | None = None  # the checkpoint after this epoch; schedules are of the whole training
    batch_size: Annotated[int, Field(ge=2)] | None = None
    lr: Positive | None = None
    lr_scaling_batch: Literal[256, 512] | None = None
    min_lr: NonNegative | None = None
    schedule: Literal["cosine", "multistep"] | None = None
    milestone: Share | None = None
    weight_decay: NonNegative | None = None
    weight_decay_end: NonNegative | None = None
    decay_all: bool | None = None
    beta2: Share | None = None
    warmup_epochs: NonNegative | None = None
    clip_grad: Positive | None = None
    drop_path: DropPath | None = None
    precision: Precision | None = None
    width: Annotated[int, Field(ge=8)] | None = None
    depth: Count | None = None
    heads: Count | None = None
    position: Literal["sincos", "learned", "relative", "none"] | None = None
    layer_scale: Positive | None = None
    objectives: dict[str, dict[str, Any]] | None = None  # what this arm sets otherwise under objectives:

    @model_validator(mode="after")
    def _complete(self) -> "Arm":
        mixed = self.objective in ("hybrid", "layered")
        if mixed and self.cl_weight is None and self.gradient_ratio is None:
            raise ValueError(
                f"objective {self.objective} needs cl_weight, a number from 0 to 1, or gradient_ratio"
            )
        if self.gradient_ratio is not None and not mixed:
            raise ValueError("gradient_ratio is for objectives hybrid and layered, which have two losses")
        if self.gradient_ratio is not None and self.cl_weight is not None:
            raise ValueError("cl_weight and gradient_ratio both set the weight of CL; leave one out")
        if (self.objective == "layered") != (self.mim_block is not None):
            raise ValueError(
                "mim_block, the block that the MIM loss reads, is for objective layered, which needs it"
            )
        if self.objective == "imported" and not (self.weights and self.format):
            raise ValueError("objective imported needs weights, the path of a checkpoint, and its format")
        if self.objective != "imported" and any((self.weights, self.format, self.sha256)):
            raise ValueError(
                "weights, format and sha256 are for objective imported; every other arm is trained here"
            )
        if self.seeds is not None and self.objective == "imported":
            raise ValueError("seeds are for arms that are trained here; an imported arm has one encoder")
        if self.seeds is not None and len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {self.seeds} must differ")
        if self.stop_epoch is not None and self.objective in ("random", "imported"):
            raise ValueError(f"stop_epoch is for arms that are trained here, not objective {self.objective}")
        return self


def _as_words(options: str) -> str:
    """Check that a shell could split this. Raises ValueError if a quotation is not closed."""
    shlex.split(options)
    return options


Options = Annotated[str, AfterValidator(_as_words)]  # of sbatch, as on a command line


class Slurm(Section):
    """What each kind of job of `python -m stages.tools.submit` asks Slurm for; empty: what Slurm gives."""

    prepare: Options = ""
    pretrain: Options = ""  # of one training
    evaluate: Options = ""  # of one arm
    gather: Options = ""
    cap: Count | None = None  # trainings at once; null: as many as Slurm lets run


class Runtime(Section):
    accelerator: Literal["auto", "cpu", "cuda", "mps"]
    devices: Count
    jobs: Count | None
    micro_batch: Count | None
    compile: bool
    threads: Count | None
    workers: Annotated[int, Field(ge=0)]
    eval_batch_size: Count
    slurm: Slurm = Slurm()
