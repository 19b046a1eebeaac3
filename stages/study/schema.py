"""What params.yaml may hold: every section as a type, with the bounds of its values."""

import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stages.study.errors import ParamsError
from stages.study.names import Name

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
DropPath = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Seeds = Annotated[list[Seed], Field(min_length=1)]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]  # of matrix products; weights are always float32


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def __getattr__(self, name: str) -> Any:
        if name in type(self).model_fields:
            raise ParamsError(
                f"dvc.yaml: this stage reads {type(self).__name__.lower()}.{name}, which its "
                "params: list does not declare; declare it there"
            )
        extra = self.__dict__ if name.startswith("__") else self.__pydantic_extra__
        if extra is not None and name in extra:
            return extra[name]
        raise AttributeError(name)


class ShapesTextures(Section):
    train_images: Count
    test_images: Count
    size_min: Annotated[float, Field(gt=0, le=1)]
    size_max: Annotated[float, Field(gt=0, le=1)]
    rotation: Annotated[float, Field(ge=0, le=180)]
    shift: Annotated[float, Field(ge=0, le=0.5)]
    colour: Fraction
    clutter: Fraction
    contrast: Annotated[float, Field(ge=0, le=0.5)]
    texture_contrast: Annotated[float, Field(gt=0, le=0.5)]

    @model_validator(mode="after")
    def _ordered(self) -> "ShapesTextures":
        if self.size_min > self.size_max:
            raise ValueError("size_min must not exceed size_max")
        return self


class Masks(Section):
    source: Annotated[str, Field(min_length=1)]
    test_source: str | None = None
    object: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None
    ignored: list[Annotated[int, Field(ge=0)]] = []

    @model_validator(mode="after")
    def _apart(self) -> "Masks":
        if both := set(self.object or ()) & set(self.ignored):
            raise ValueError(f"object and ignored must not share values, but share {sorted(both)}")
        return self


class Data(Section):
    source: Annotated[str, Field(min_length=1)]
    test_source: str | None
    root: str | None
    test_fraction: Annotated[float, Field(gt=0, lt=1)]
    image_size: Annotated[int, Field(ge=8, le=1024)]
    max_train_images: Count | None
    max_test_images: Count | None
    max_unreadable: Fraction
    masks: Masks | None
    shapes_textures: ShapesTextures


class Vit(Section):
    width: Annotated[int, Field(ge=8)]
    depth: Count
    heads: Count
    patch_size: Count
    mlp_ratio: Positive
    position: Literal["sincos", "learned", "relative", "none"]
    layer_scale: Positive | None = None

    @model_validator(mode="after")
    def _divisible(self) -> "Vit":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        if self.position == "sincos" and self.width % 4:
            raise ValueError(f"width {self.width} must be a multiple of 4 for sincos positions")
        return self


class Pretrain(Section):
    epochs: Annotated[int, Field(ge=0)]
    batch_size: Annotated[int, Field(ge=2)]
    lr: Positive
    lr_scaling_batch: Literal[256, 512] | None
    min_lr: NonNegative
    schedule: Literal["cosine", "multistep"]
    milestone: Share
    weight_decay: NonNegative
    weight_decay_end: NonNegative | None
    decay_all: bool
    beta2: Share
    warmup_epochs: NonNegative
    clip_grad: Positive | None
    drop_path: DropPath
    precision: Precision

    @property
    def peak_lr(self) -> float:
        """The highest learning rate of the training, at its batch size."""
        return self.lr * self.batch_size / self.lr_scaling_batch if self.lr_scaling_batch else self.lr

    @model_validator(mode="after")
    def _ordered(self) -> "Pretrain":
        if self.min_lr > self.peak_lr:
            raise ValueError(f"min_lr {self.min_lr:g} must not exceed the peak rate {self.peak_lr:g}")
        if self.weight_decay_end is not None and self.weight_decay == 0:
            raise ValueError(
                "weight_decay_end needs a weight_decay above 0 to start from; leave weight_decay_end empty"
            )
        return self


class Contrastive(Section):
    temperature: Positive
    momentum: Fraction
    freeze_patch_embed: bool
    hidden_dim: Count
    output_dim: Count
    crop_scale_min: Annotated[float, Field(gt=0, le=1)]
    jitter_probability: Fraction
    jitter_strength: Annotated[float, Field(ge=0, le=2.5)]
    grey_probability: Fraction
    blur_probability: Fraction
    solarize_probability: Fraction


class WeakView(Section):
    """A crop, and colours of objectives whose publication leaves them alone."""

    crop_scale_min: Annotated[float, Field(gt=0, le=1)]
    jitter_probability: Fraction
    jitter_strength: Annotated[float, Field(ge=0, le=2.5)]
    grey_probability: Fraction


class Masked(WeakView):
    mask_ratio: Annotated[float, Field(gt=0, lt=1)]
    mask_unit: Count
    target_window: Annotated[int, Field(ge=3)] | None

    @model_validator(mode="after")
    def _has_a_centre(self) -> "Masked":
        if self.target_window is not None and not self.target_window % 2:
            raise ValueError(f"target_window {self.target_window} must be odd, or null")
        return self


class Autoencoder(WeakView):
    mask_ratio: Annotated[float, Field(gt=0, lt=1)]
    normalize_target: bool
    decoder_width: Annotated[int, Field(ge=4)]
    decoder_depth: Count
    decoder_heads: Count

    @model_validator(mode="after")
    def _divisible(self) -> "Autoencoder":
        if self.decoder_width % self.decoder_heads:
            raise ValueError(
                f"decoder_width {self.decoder_width} must be a multiple of decoder_heads {self.decoder_heads}"
            )
        if self.decoder_width % 4:
            raise ValueError(
                f"decoder_width {self.decoder_width} must be a multiple of 4 for sincos positions"
            )
        return self


class Dino(Section):
    momentum: Fraction
    student_temperature: Positive
    teacher_temperature_start: Positive
    teacher_temperature: Positive
    teacher_temperature_warmup: Fraction
    center_momentum: Fraction
    freeze_last_layer: Fraction
    hidden_dim: Count
    bottleneck_dim: Count
    output_dim: Annotated[int, Field(ge=2)]
    global_scale_min: Annotated[float, Field(gt=0, le=1)]
    local_crops: Annotated[int, Field(ge=0)]
    local_size: Count
    local_scale_min: Annotated[float, Field(gt=0, le=1)]
    local_scale_max: Annotated[float, Field(gt=0, le=1)]
    jitter_probability: Fraction
    jitter_strength: Annotated[float, Field(ge=0, le=2.5)]
    grey_probability: Fraction
    blur_probability: Fraction
    solarize_probability: Fraction

    @model_validator(mode="after")
    def _ordered(self) -> "Dino":
        if self.local_scale_min > self.local_scale_max:
            raise ValueError("local_scale_min must not exceed local_scale_max")
        return self


class Supervised(WeakView):
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]


class Objectives(Section):
    contrastive: Contrastive
    masked: Masked
    autoencoder: Autoencoder
    dino: Dino
    supervised: Supervised


class Arm(Section):
    """One encoder under study; what it does not set is taken from the common recipe.

    A null takes the common value too, except where null is a value of the recipe: no clipping, for example.
    """

    objective: Name
    seeds: Seeds | None = None  # of its trainings; null: those of the study
    cl_weight: Fraction | None = None
    mim_block: Positive | None = None  # a whole number: that block, from 1; else a share of the depth
    weights: str | None = None
    format: Literal["moco_v3", "simmim", "mae", "dino", "timm"] | None = None
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

    @model_validator(mode="after")
    def _complete(self) -> "Arm":
        if self.objective in ("hybrid", "layered") and self.cl_weight is None:
            raise ValueError(f"objective {self.objective} needs cl_weight, a number from 0 to 1")
        if (self.objective == "layered") != (self.mim_block is not None):
            raise ValueError(
                "mim_block, the block that the MIM loss reads, is for objective layered, which needs it"
            )
        if self.objective == "imported" and not (self.weights and self.format):
            raise ValueError("objective imported needs weights, the path of a checkpoint, and its format")
        if self.objective != "imported" and (self.weights is not None or self.format is not None):
            raise ValueError("weights and format are for objective imported; every other arm is trained here")
        if self.seeds is not None and self.objective == "imported":
            raise ValueError("seeds are for arms that are trained here; an imported arm has one encoder")
        if self.seeds is not None and len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {self.seeds} must differ")
        if self.stop_epoch is not None and self.objective in ("random", "imported"):
            raise ValueError(f"stop_epoch is for arms that are trained here, not objective {self.objective}")
        return self


class Features(Section):
    block_images: Count
    token_images: Count


class Knn(Section):
    k: Count
    temperature: Positive


class Linear(Section):
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    learning_rates: Annotated[list[Positive], Field(min_length=1)]
    validation_fraction: Annotated[float, Field(gt=0, lt=1)]


class Layerwise(Linear):
    """A linear probe like the other, on the output of every block."""


class FewShot(Section):
    shares: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)]
    l2: Positive


class Attentive(Section):
    heads: Count
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    learning_rates: Annotated[list[Positive], Field(min_length=1)]
    weight_decay: NonNegative
    validation_fraction: Annotated[float, Field(gt=0, lt=1)]


class Probes(Section):
    """The probes of a study; a line taken out of params.yaml leaves a probe out, unless claims need it."""

    knn: Knn
    linear: Linear
    layerwise: Layerwise = Field(default=None)  # type: ignore[assignment]
    few_shot: FewShot = Field(default=None)  # type: ignore[assignment]
    attentive: Attentive = Field(default=None)  # type: ignore[assignment]

    def __iter__(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]  # pydantic says generator
        """Name and settings of those that are not left out."""
        return ((name, settings) for name, settings in super().__iter__() if settings is not None)


class LinearAugmented(Section):
    """A linear probe of augmented images, of those arms alone that it names."""

    arms: list[Name]
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    learning_rates: Annotated[list[Positive], Field(min_length=1)]
    crop_scale_min: Annotated[float, Field(gt=0, le=1)]
    validation_fraction: Share
    precision: Precision

    @property
    def peak_lr(self) -> float:
        """The first rate of the steepest of the heads, at its batch size."""
        return max(self.learning_rates) * self.batch_size / 256

    # No decay, warm-up or clipping, in any of the publications.
    weight_decay: ClassVar[float] = 0.0
    warmup_epochs: ClassVar[float] = 0.0
    clip_grad: ClassVar[float | None] = None


class Finetune(Section):
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    lr: Positive
    weight_decay: NonNegative
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    warmup_epochs: NonNegative
    drop_path: DropPath
    crop_scale_min: Annotated[float, Field(gt=0, le=1)]
    mixup: NonNegative
    cutmix: NonNegative
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    randaugment: Annotated[str, Field(pattern=r"^rand(-(m|n|p|mstd|mmax|inc)[0-9.]+)*$")]
    clip_grad: Positive
    precision: Precision

    @property
    def peak_lr(self) -> float:
        """The highest learning rate of the training, at its batch size."""
        return self.lr


class Segmentation(Section):
    train_images: Annotated[int, Field(ge=2)]
    test_images: Count
    epochs: Count
    batch_size: Count
    learning_rates: Annotated[list[Positive], Field(min_length=1)]
    validation_fraction: Share
    bank: Count
    k: Count
    temperature: Positive
    finetune_epochs: Count


class Analysis(Section):
    """One analysis; `images` is all that this project asks of it, others may be added per analysis."""

    model_config = ConfigDict(extra="allow", frozen=True)
    images: Count

    def whole_number(self, name: str, *, of: str) -> int:
        """One of the settings that an analysis adds, which must be a whole number from 1.

        of: name of the analysis
        Raises ParamsError with the key and its value if it is none.
        """
        value = (self.model_extra or {}).get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ParamsError(f"params.yaml: analyses.{of}.{name} is {value!r}: set a whole number from 1")
        return value


class Corruption(Section):
    """One corruption; it is applied at each of its levels, others may be added per corruption."""

    model_config = ConfigDict(extra="allow", frozen=True)
    levels: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]

    def positive(self, name: str, *, of: str) -> float:
        """One of the settings that a corruption adds, which must be a number above 0.

        of: name of the corruption
        Raises ParamsError with the key and its value if it is none.
        """
        value = (self.model_extra or {}).get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
            key = f"robustness.corruptions.{of}.{name}"
            raise ParamsError(f"params.yaml: {key} is {value!r}: set a number above 0")
        return float(value)


class Stimuli(Section):
    """Images of somebody else, whose classes are told in the words of the data."""

    source: Annotated[str, Field(min_length=1)]
    classes: Annotated[dict[str, str], Field(min_length=2)]


class Robustness(Section):
    images: Count
    reinitialise: bool
    corruptions: dict[Name, Corruption]
    stimuli: dict[Name, Stimuli]


class Runtime(Section):
    accelerator: Literal["auto", "cpu", "cuda", "mps"]
    devices: Count
    jobs: Count | None
    micro_batch: Count | None
    compile: bool
    threads: Count | None
    workers: Annotated[int, Field(ge=0)]
    eval_batch_size: Count


class Study(Section):
    seed: Seed
    seeds: Seeds
    labels: dict[Name, Annotated[str, Field(min_length=1)]]
    data: Data
    vit: Vit
    pretrain: Pretrain
    objectives: Objectives
    arms: Annotated[dict[Name, Arm], Field(min_length=1)]
    features: Features
    probes: Probes
    linear_augmented: LinearAugmented
    finetune: Finetune
    segmentation: Segmentation
    robustness: Robustness
    analyses: Annotated[dict[Name, Analysis], Field(min_length=1)]
    runtime: Runtime

    @model_validator(mode="after")
    def _fits(self) -> "Study":
        grid, rest = divmod(self.data.image_size, self.vit.patch_size)
        if rest:
            raise ValueError(
                f"data.image_size {self.data.image_size} must be a multiple of "
                f"vit.patch_size {self.vit.patch_size}"
            )
        if grid < 3:
            raise ValueError(
                f"vit.patch_size {self.vit.patch_size} cuts images of {self.data.image_size} px into "
                f"{grid} × {grid} patches; 3 × 3 are the fewest that have a high frequency"
            )
        if self.data.test_source and self.data.source == "shapes_textures":
            raise ValueError("data.test_source: shapes_textures draws its own test images; leave it empty")
        if grid % self.objectives.masked.mask_unit:
            raise ValueError(
                f"objectives.masked.mask_unit {self.objectives.masked.mask_unit} must divide the "
                f"{grid} patches of a side"
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {self.seeds} must differ")
        for name in self.labels:
            if name not in self.arms:
                raise ValueError(f"labels: no arm {name!r}; there are: {', '.join(self.arms)}")
        names: dict[str, str] = {}
        for name in self.arms:
            label = self.labels.get(name, name)
            if (other := names.setdefault(label, name)) != name:
                raise ValueError(f"labels: arms {other} and {name} are both called {label!r}")
        for name in self.linear_augmented.arms:
            if name not in self.arms:
                raise ValueError(f"linear_augmented.arms: no arm {name!r}; there are: {', '.join(self.arms)}")
        for name, arm in self.arms.items():
            place, depth = arm.mim_block or 1, arm.depth or self.vit.depth
            if place > 1 and (place % 1 or place > depth):
                raise ValueError(
                    f"arms.{name}.mim_block {place:g} must be one of its {depth} blocks, 1 to {depth}, "
                    "or a share of the depth below 1"
                )
        used = {arm.objective for arm in self.arms.values()}
        if "autoencoder" in used and math.ceil(self.objectives.autoencoder.mask_ratio * grid**2) == grid**2:
            raise ValueError(
                f"objectives.autoencoder.mask_ratio {self.objectives.autoencoder.mask_ratio} hides all "
                f"{grid**2} patches; the encoder must see one"
            )
        local_size = self.objectives.dino.local_size
        if "dino" in used and (local_size % self.vit.patch_size or local_size > self.data.image_size):
            raise ValueError(
                f"objectives.dino.local_size {local_size} must be a multiple of vit.patch_size "
                f"{self.vit.patch_size} and at most data.image_size {self.data.image_size}"
            )
        return self
