"""The block under the title of the report: study, data, arms and compute."""

from typing import Any

from markupsafe import Markup

from stages.render.encoder_size import forward_flops, millions, vit_of
from stages.render.figures.style import Ink
from stages.render.page.provenance import portable
from stages.render.words import any_of, listed, number, unbroken
from stages.study.params import label_of, seeds_of
from stages.study.recipe import images_seen
from stages.study.study import Study
from stages.study.words import counted

UNTRAINED = ("random", "imported")  # objectives that are not pre-trained here
# Markers of matplotlib in a square from -4 to 4; other markers become a disc.
SHAPES = {
    "o": "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0Z",
    "s": "M-3-3H3V3H-3Z",
    "^": "M0-4L4 3.2H-4Z",
    "v": "M0 4L4-3.2H-4Z",
    "D": "M0-4.2L4.2 0L0 4.2L-4.2 0Z",
    "P": "M-1.4-4H1.4V-1.4H4V1.4H1.4V4H-1.4V1.4H-4V-1.4H-1.4Z",
    "x": "M-3-3L3 3M-3 3L3-3",
}


def title_block(study: Study, manifest: dict[str, Any], *, inks: dict[str, Ink]) -> str:
    """Return study, data, arms and compute as an HTML list, for the header of the page.

    manifest: content of data/prepared/manifest.json
    """
    rows = {
        "Study": unbroken(_study(study)),
        "Data": unbroken(_data(manifest)),
        "Arms": _arms(study, inks=inks),
        "Compute": unbroken(_compute(study, images=manifest["splits"]["train"]["images"])),
    }
    parts = [Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(*row) for row in rows.items()]
    return Markup('<dl class="facts">{}</dl>').format(Markup("\n").join(parts))


def _study(study: Study) -> str:
    probes, analyses = (
        listed(name.replace("_", " ") for name in names) for names in (dict(study.probes), study.analyses)
    )
    return f"{counted(len(study.arms), 'encoder')}; probes: {probes}; fine-tuning; analyses: {analyses}"


def _data(manifest: dict[str, Any]) -> str:
    size = manifest["image_size"]
    images = {split: f"{content['images']:,}" for split, content in manifest["splits"].items()}
    labels = listed(f"{name} ({len(names)} classes)" for name, names in manifest["labels"].items())
    return (
        f"{portable(manifest['source'])}: {images['train']} training and {images['test']} held-out images of "
        f"{size} × {size} px, labelled by {labels}"
    )


def _arms(study: Study, *, inks: dict[str, Ink]) -> str:
    """Return one line per arm, with its mark in the figures, its objective and its number of seeds."""
    items = []
    for name, arm in study.arms.items():
        label, seeds = label_of(study, name), seeds_of(study, name)
        words = arm.objective + (f", λ = {arm.cl_weight:g}" if arm.cl_weight is not None else "")
        words += f", gradient ratio {arm.gradient_ratio:g} : 1" if arm.gradient_ratio is not None else ""
        words += f", {len(seeds)} seeds" if len(seeds) > 1 else ", one training"
        items.append(Markup("<li>{}{} ({})</li>").format(_swatch(inks[label]), label, unbroken(words)))
    return Markup("<ul>{}</ul>").format(Markup("\n").join(items))


def _compute(study: Study, *, images: int) -> str:
    """Return the size of the encoders, the images that each saw, and the operations of a forward pass."""
    size = study.data.image_size
    parts = [words] if (words := millions(study)) else []
    trained = [
        (arm, images_seen(study, name, images=images))
        for name, arm in study.arms.items()
        if arm.objective not in UNTRAINED
        for _ in seeds_of(study, name)
    ]
    if trained:
        flops = sum(count * forward_flops(vit_of(study, arm), image_size=size) for arm, count in trained)
        shown = any_of(sorted({count for _, count in trained}))
        each = ", each" if len(trained) > 1 else ""
        parts.append(
            f"{counted(len(trained), 'training')}{each} on {shown} images (with repetitions); one "
            f"forward pass over all of these images takes {number(flops / 1e12, digits=2)} TFLOP, and "
            "training takes several times as much"
        )
    words = f"{'; '.join(parts)}. " if parts else ""
    return f"{words}The appendix lists hardware, precision and wall time."


def _swatch(ink: Ink) -> str:
    """Return the line and marker of a label as in the figures, on a light background."""
    dashes = Markup(' stroke-dasharray="5 3"') if ink.line != "-" else ""
    return Markup(
        '<svg class="swatch" width="30" height="14" viewBox="-15 -7 30 14" aria-hidden="true">'
        '<path d="M-13 0H13" stroke="{0}" stroke-width="2"{1}/>'
        '<path d="{2}" fill="{0}" stroke="{0}"/></svg>'
    ).format(ink.colour, dashes, SHAPES.get(ink.marker, SHAPES["o"]))
