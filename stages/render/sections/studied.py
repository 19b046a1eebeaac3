"""Tables of the data, the common recipe, and the settings of each arm."""

from typing import Any

import pandas as pd

from stages.render.encoder_size import builds
from stages.render.page.provenance import portable
from stages.render.words import listed
from stages.results.study_results import AUGMENTED
from stages.study.params import label_of, seeds_of
from stages.study.recipe import overrides
from stages.study.settings import Arm
from stages.study.study import Study
from stages.study.words import counted
from stages.training.settings import Pretrain


def recipe(study: Study, manifest: dict[str, Any]) -> pd.DataFrame:
    """Return the data and the common recipe, one row per part.

    manifest: content of data/prepared/manifest.json
    """
    vit, pretrain, finetune = study.vit, study.pretrain, study.finetune
    size = manifest["image_size"]
    images = {split: f"{content['images']:,}" for split, content in manifest["splits"].items()}
    grid = size // vit.patch_size
    labelled = "all" if finetune.train_images is None else f"{finetune.train_images:,}"
    rows = {
        "Data": f"{portable(manifest['source'])}: {images['train']} training and {images['test']} held-out "
        f"images of {size} × {size} px",
        "Labels": listed(f"{name} ({len(names)} classes)" for name, names in manifest["labels"].items()),
    }
    used = {arm.objective for arm in study.arms.values()}
    if builds(study):
        rows["Encoder"] = (
            f"ViT of {vit.depth} blocks, width {vit.width}, {vit.heads} heads, "
            f"{grid} × {grid} patches of {vit.patch_size} px, positions: {vit.position}"
        )
    if used - {"random", "imported"}:
        rows["Pre-training"] = (
            f"{counted(pretrain.epochs, 'epoch')}, batch {pretrain.batch_size}, peak learning "
            f"rate {pretrain.peak_lr:g}, weight decay {pretrain.weight_decay:g}"
        )
    if used & {"hybrid", "layered"}:
        used |= {"contrastive", "masked"}
    for name, settings in dict(study.objectives).items():
        words = ", ".join(
            f"{key.replace('_', ' ')} {_in_words(value)}" for key, value in dict(settings).items()
        )
        if name in used:
            rows[f"{name.capitalize()} objective"] = words
    rows |= {
        "Fine-tuning": f"{counted(finetune.epochs, 'epoch')} of {labelled} labelled images (probes use all), "
        f"batch {finetune.batch_size}, peak learning rate {finetune.lr:g}, layer decay "
        f"{finetune.layer_decay:g}",
        "Probes": listed([*dict(study.probes), *([AUGMENTED] if study.linear_augmented.arms else [])]),
        "Analyses": listed(study.analyses),
    }
    unreadable = len(manifest.get("unreadable", []))
    if unreadable:
        rows["Skipped"] = f"{unreadable:,} unreadable image files"
    return pd.DataFrame({"value": rows}, dtype=object).rename_axis("part")


def arm_rows(study: Study) -> pd.DataFrame:
    """Return label, objective, seeds and other settings of every arm."""
    rows = {}
    for name, arm in study.arms.items():
        rows[name] = {
            "label": label_of(study, name),
            "objective": arm.objective,
            "seeds": listed(map(str, seeds_of(study, name))),
            "other settings": _other(arm),
        }
    return pd.DataFrame.from_dict(rows, orient="index", dtype=object).rename_axis("arm")


def _other(arm: Arm) -> str:
    """Return the settings of an arm besides its objective and seeds."""
    fields = arm.model_dump(exclude={"objective", "seeds"}, exclude_none=True)
    fields |= {name: "none" for name, value in overrides(arm, Pretrain).items() if value is None}
    return ", ".join(f"{name} {portable(value)}" for name, value in fields.items()) or "–"


def _in_words(value: float | str | None) -> str:
    """Return one setting of an objective as text."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:g}"
