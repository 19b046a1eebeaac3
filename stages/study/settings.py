"""The settings of an arm and of the runtime in params.yaml."""

import shlex
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from stages.study.names import Name
from stages.study.section import (
    MOST,
    Batch,
    Count,
    Depth,
    DropPath,
    Fraction,
    NonNegative,
    Positive,
    Precision,
    Processes,
    Section,
    Seeds,
    Share,
    Width,
)


class Arm(Section):
    """One encoder under study; values that are not set come from the common recipe.

    A null also means the common value, unless null is itself a valid value, such as clip_grad: null.
    """

    objective: Name
    seeds: Seeds | None = None  # null: the seeds of the study
    cl_weight: Fraction | None = None
    gradient_ratio: Positive | None = None  # norm of the weighted CL gradient over MIM; replaces cl_weight
    mim_block: Positive | None = None  # block number, from 1; a value below 1 is a share of the depth
    weights: str | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")] | None = None  # of the weights file
    format: Literal["moco_v3", "simmim", "mae", "dino", "timm", "transformers"] | None = None
    epochs: Annotated[int, Field(ge=0, le=MOST)] | None = None
    stop_epoch: Count | None = None  # use the checkpoint after this epoch; schedules still span all epochs
    batch_size: Batch | None = None
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
    width: Annotated[Width, Field(ge=8)] | None = None
    depth: Depth | None = None
    heads: Count | None = None
    position: Literal["sincos", "learned", "relative", "none"] | None = None
    layer_scale: Positive | None = None
    objectives: dict[str, dict[str, Any]] | None = None  # this arm's overrides of the section objectives:

    @model_validator(mode="after")
    def _complete(self) -> "Arm":
        mixed = self.objective in ("hybrid", "layered")
        if mixed and self.cl_weight is None and self.gradient_ratio is None:
            raise ValueError(
                f"objective {self.objective} needs cl_weight, from 0 to 1, or gradient_ratio; set one of them"
            )
        if self.gradient_ratio is not None and not mixed:
            raise ValueError(
                f"gradient_ratio is for objectives hybrid and layered; remove it from {self.objective}"
            )
        if self.gradient_ratio is not None and self.cl_weight is not None:
            raise ValueError("cl_weight and gradient_ratio both set the weight of CL; remove one")
        if self.objective == "layered" and self.mim_block is None:
            raise ValueError("objective layered needs mim_block, the block that the MIM loss reads; set it")
        if self.objective != "layered" and self.mim_block is not None:
            raise ValueError(f"mim_block is for objective layered; remove it from {self.objective}")
        if self.objective == "imported" and not (self.weights and self.format):
            raise ValueError(
                "objective imported needs weights, the path of a checkpoint, and its format; set both"
            )
        if self.objective != "imported" and any((self.weights, self.format, self.sha256)):
            raise ValueError(
                f"weights, format and sha256 are for objective imported; remove them from {self.objective}"
            )
        if self.seeds is not None and self.objective == "imported":
            raise ValueError("an imported arm is a single encoder and has no seeds; remove seeds")
        if self.seeds is not None and len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {self.seeds} must differ; remove the duplicates")
        if self.stop_epoch is not None and self.objective in ("random", "imported"):
            raise ValueError(
                f"stop_epoch is for arms that are trained here; remove it from objective {self.objective}"
            )
        return self


def _as_words(options: str) -> str:
    """Check that a shell can split these options. Raises ValueError if a quotation is not closed."""
    shlex.split(options)
    return options


Options = Annotated[str, AfterValidator(_as_words)]  # options of sbatch, as on a command line


class Slurm(Section):
    """The sbatch options of each kind of job of `python -m stages.tools.submit`; empty: Slurm's defaults."""

    prepare: Options = ""
    pretrain: Options = ""  # one training
    evaluate: Options = ""  # one arm
    gather: Options = ""
    cap: Count | None = None  # maximum number of simultaneous trainings; null: Slurm's own limit


class Runtime(Section):
    accelerator: Literal["auto", "cpu", "cuda", "mps"]
    devices: Processes
    jobs: Processes | None
    micro_batch: Count | None
    compile: bool
    threads: Processes | None
    workers: Annotated[int, Field(ge=0, le=4096)]
    eval_batch_size: Count
    slurm: Slurm = Slurm()
