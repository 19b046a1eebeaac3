"""What the trainings of params.yaml cost, before any runs: `python -m stages.tools.cost --device h100`.

- FLOP: of matrix products and convolutions, two for each multiplication, of everything that a step runs;
  without the augmentation of images.
- memory: 16 bytes for every number that learns (itself, its gradient, two moments of AdamW), 4 for every
  other one, the views of a batch, and what autograd keeps of as many images as are encoded at once.
- fit: images at once that the memory of the device has room for.
- time: FLOP / (peak of the device × utilisation), of one seed, on one device or one core.

Nothing is downloaded or written. An imported encoder counts as one of `vit:`.
"""

import argparse
import json

from rich.console import Console
from rich.table import Table

from stages.study.command import exit_with
from stages.study.params import load_params
from stages.study.study import Study
from stages.study.timings import spoken
from stages.tools.devices import CPU, GPUS, Device, device_named
from stages.tools.disk import Disk, Images, data_bytes, images_of
from stages.tools.preset import study_with
from stages.tools.pricing import Cost, cost_of

PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")


def main() -> None:
    """Read the command line and print the cost."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.cost", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--device", default=CPU, help=f"{', '.join(GPUS)}, or {CPU}: a core of this machine")
    parser.add_argument("--utilisation", type=float, help="share of the peak that is reached, 0 to 1")
    parser.add_argument("--preset", help="of params.yaml with this preset, which is not applied")
    parser.add_argument("--images", type=int, nargs=2, metavar=("TRAIN", "TEST"), help="if none are prepared")
    parser.add_argument("--json", action="store_true", help="for programs")
    words = parser.parse_args()
    if words.utilisation is not None and not 0 < words.utilisation <= 1:
        parser.error(f"--utilisation {words.utilisation:g}: must be above 0 and at most 1")

    def work() -> str:
        study = study_with(words.preset) if words.preset else load_params()
        images = images_of(study, given=words.images)
        device = device_named(words.device)
        if words.utilisation is not None:
            device = device._replace(utilisation=words.utilisation)
        costs = [cost_of(study, name, images=images, device=device) for name in study.arms]
        disk = disk_of(study, costs, images=images)
        if words.json:
            parts = {"device": device._asdict(), "arms": [cost._asdict() for cost in costs]}
            return json.dumps(parts | {"disk": disk._asdict()}, indent=2)
        show(costs)
        return "\n".join(summary(costs, name=words.device, device=device, disk=disk))

    exit_with("cost", work)


def disk_of(study: Study, costs: list[Cost], *, images: Images) -> Disk:
    """Return what the results of all arms and seeds take on disk."""
    encoders, features, finetuned = (
        int(sum(cost.seeds * getattr(cost, kind) for cost in costs))
        for kind in ("encoder", "features", "finetuned")
    )
    resume = int(max(cost.resume for cost in costs))
    return Disk(data_bytes(study, images), encoders, features, finetuned, resume)


def show(costs: list[Cost]) -> None:
    """Print the table of arms."""
    table = Table(box=None, pad_edge=False)
    heads = ("", "seeds", "precision", "FLOP/image", "images", "FLOP", "time", "memory", "at once", "fit")
    for head in (*heads, "fine-tuning"):
        table.add_column(head, justify="right" if head not in ("", "precision") else "left")
    for cost in costs:
        cells = [cost.precision, scaled(cost.flop_per_image), scaled(cost.images_seen), scaled(cost.flop)]
        cells += [spoken(cost.seconds), scaled(cost.memory, "B"), f"{cost.at_once}", f"{cost.fit}"]
        cells = cells if cost.flop else ["–"] * len(cells)
        table.add_row(cost.arm, f"{cost.seeds}", *cells, spoken(cost.finetuning_seconds))
    Console(width=140, highlight=False).print(table)


def summary(costs: list[Cost], *, name: str, device: Device, disk: Disk) -> list[str]:
    """Return what all trainings take together, and what the estimate rests on."""
    hours = [
        sum(cost.seeds * seconds for cost, seconds in zip(costs, part, strict=True)) / 3600
        for part in ([cost.seconds for cost in costs], [cost.finetuning_seconds for cost in costs])
    ]
    peaks = " or ".join(
        f"{scaled(device.peak(precision))}FLOP/s ({precision})"
        for precision in sorted({cost.precision for cost in costs if cost.flop})
    )
    unit = "core" if name == CPU else name
    lines = [
        f"All seeds: {sum(hours):,.3g} {unit} hours, {hours[0]:,.3g} of pre-training and {hours[1]:,.3g} of "
        "fine-tuning; probes, analyses, segmentation and robustness are not counted.",
        f"Speed: {device.utilisation:.0%} of {peaks or 'its peak'}, {device.source}. `make bench` measures "
        "the share; --utilisation sets it.",
        f"Disk: {scaled(disk.outs, 'B')} of results (data {scaled(disk.data, 'B')}, encoders "
        f"{scaled(disk.encoders, 'B')}, features {scaled(disk.features, 'B')}, fine-tuned "
        f"{scaled(disk.finetuned, 'B')}), as much in DVC's cache unless it links, "
        f"{scaled(disk.store, 'B')} in the store of trainings, {scaled(disk.resume, 'B')} for each at work.",
    ]
    crowded = [cost for cost in costs if cost.flop and cost.at_once > cost.fit]
    return lines + [
        f"{cost.arm}: {scaled(cost.memory, 'B')} do not fit into {device.memory:.3g} GB; set "
        f"runtime.micro_batch to {max(1, cost.fit)} or less."
        for cost in crowded
    ]


def scaled(value: float, unit: str = "") -> str:
    """Return a number with three digits and a prefix: 1.28 M, 261 G."""
    power = 0
    while value >= 999.5 and power < len(PREFIXES) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {PREFIXES[power]}{unit}"


if __name__ == "__main__":
    main()
