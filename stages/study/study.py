"""The whole of params.yaml, composed of the settings of all rooms."""

from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from stages.analyses import settings as analyses
from stages.analyses.settings import AnalysisSettings, Trajectory
from stages.corruptions import settings as corruptions
from stages.corruptions.settings import Robustness
from stages.data.settings import Data
from stages.encoders.settings import Features, Vit
from stages.objectives.settings import Objectives
from stages.probes.settings import Probes, Segmentation
from stages.render.settings import Report
from stages.study.names import Name
from stages.study.plain import shown
from stages.study.section import Section, Seed, Seeds
from stages.study.settings import Arm, Runtime
from stages.training.settings import Finetune, LinearAugmented, Pretrain


class Study(Section):
    seed: Seed
    seeds: Seeds
    labels: dict[Name, Annotated[str, Field(pattern=r"\S", max_length=80)]]
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
    analyses: Annotated[dict[Name, AnalysisSettings], Field(min_length=1)]
    report: Report
    trajectory: Trajectory
    runtime: Runtime

    @model_validator(mode="after")
    def _fits(self) -> "Study":
        grid, rest = divmod(self.data.image_size, self.vit.patch_size)
        if rest:
            raise ValueError(
                f"data.image_size {self.data.image_size} is not a multiple of "
                f"vit.patch_size {self.vit.patch_size}; change one of them"
            )
        if grid < 3:
            raise ValueError(
                f"vit.patch_size {self.vit.patch_size} cuts images of {self.data.image_size} px into "
                f"{grid} × {grid} patches, but the Fourier analysis needs at least 3 × 3; use smaller patches"
            )
        if self.data.test_source and self.data.source == "shapes_textures":
            raise ValueError("data.test_source: shapes_textures draws its own test images; leave it empty")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {self.seeds} must differ; remove the duplicates")
        names: dict[str, str] = {}
        for name in self.arms:
            label = self.labels.get(name, name)
            if (other := names.setdefault(label, name)) != name:
                raise ValueError(
                    f"labels: arms {other} and {name} are both called {label!r}; give each its own label"
                )
        for name in self.linear_augmented.arms:
            if name not in self.arms:
                raise ValueError(
                    f"linear_augmented.arms: no arm {name!r}; choose from: {', '.join(self.arms)}"
                )
        for name, arm in self.arms.items():
            place, depth = arm.mim_block or 1, arm.depth or self.vit.depth
            if place > 1 and (place % 1 or place > depth):
                raise ValueError(
                    f"arms.{name}.mim_block is {place:g}; set it to a block number from 1 to {depth}, or to "
                    "a share of the depth below 1"
                )
        for section, plugins, declared in (
            ("analyses", self.analyses, analyses.DECLARED),
            ("trajectory.analyses", self.trajectory.analyses, analyses.DECLARED),
            ("robustness.corruptions", self.robustness.corruptions, corruptions.DECLARED),
        ):
            for name, settings in plugins.items():
                if name in declared:
                    _refuse_unfit(settings, declared[name], at=f"{section}.{name}")
        for level in getattr(self.robustness.corruptions.get("patch_shuffle"), "levels", []):
            if self.data.image_size % level:
                raise ValueError(
                    "robustness.corruptions.patch_shuffle.levels: images of "
                    f"{self.data.image_size} px cannot be cut into {level:g} × {level:g} tiles"
                )
        self.objectives.check(
            used={arm.objective for arm in self.arms.values()},
            image_size=self.data.image_size,
            patch_size=self.vit.patch_size,
        )
        return self


def _refuse_unfit(settings: Section, declared: type[Section], *, at: str) -> None:
    """Refuse settings of a plug-in that it does not have, or that are out of range.

    declared: the type of these settings
    at:       dotted name of the settings
    Raises ValueError with the key and what is allowed.
    """
    try:
        declared.model_validate(settings.model_dump(exclude_unset=True), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join([at, *(str(part) for part in first["loc"])])
        if first["type"] == "extra_forbidden":
            valid = ", ".join(declared.model_fields)
            raise ValueError(f"{key}: unknown key; valid keys here: {valid}") from None
        if first["type"] == "missing":
            raise ValueError(f"{key}: missing; add this key") from None
        raise ValueError(f"{key} is {shown(first['input'])}: {first['msg']}") from None
