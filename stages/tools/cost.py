"""Estimate the cost of all trainings before any runs: `python -m stages.tools.cost --device h100`.

The columns are per seed, on one device or one core:

- FLOP: matrix products and convolutions of a whole step, two FLOP per multiplication. The augmentation of
  images does not count.
- time: FLOP / (peak of the device × utilisation).
- memory: 16 bytes per trained parameter (value, gradient, two moments of AdamW), 4 per other parameter, the
  views of a batch, and the activations of one pass of the encoder.
- per pass: the number of images that the encoder takes in one pass.
- largest: the largest number of images per pass that fits into the memory of the device.

The command downloads and writes nothing. It counts an imported encoder as one of `vit:`.
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
from stages.tools.disk import DRAWN, Disk, Images, data_bytes, images_of
from stages.tools.preset import study_with
from stages.tools.pricing import Cost, cost_of

PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")


def main() -> None:
    """Read the command line and print the cost."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.cost", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--device", default=CPU, help=f"{', '.join(GPUS)}, or {CPU}: one core of this machine"
    )
    parser.add_argument("--utilisation", type=float, help="expected share of the peak, 0 to 1")
    parser.add_argument("--preset", help="apply this preset, without writing params.yaml")
    parser.add_argument(
        "--images", type=int, nargs=2, metavar=("TRAIN", "TEST"), help="numbers, if prepare has not run"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.utilisation is not None and not 0 < options.utilisation <= 1:
        parser.error(f"--utilisation {options.utilisation:g}: must be above 0 and at most 1")

    def work() -> str:
        study = study_with(options.preset) if options.preset else load_params()
        images = images_of(study, numbers=options.images)
        device = device_named(options.device)
        if options.utilisation is not None:
            device = device._replace(utilisation=options.utilisation)
        costs = [cost_of(study, name, images=images, device=device) for name in study.arms]
        disk = disk_of(study, costs, images=images)
        if options.json:
            values = {"device": device._asdict(), "arms": [cost._asdict() for cost in costs]}
            return json.dumps(values | {"disk": disk._asdict()}, indent=2)
        show(costs)
        lines = summary(costs, name=options.device, device=device, disk=disk)
        return "\n".join(
            [in_words(images, prepared=options.images is None and study.data.source != DRAWN), *lines]
        )

    exit_with("cost", work)


def in_words(images: Images, *, prepared: bool) -> str:
    """Return the number of images.

    prepared: they were counted in data/prepared/, perhaps before a change of settings
    """
    words = f"Images: {images.train:,} for training and {images.test:,} held out"
    return words + (" in data/prepared/; if data: changed since, add --images." if prepared else ".")


def disk_of(study: Study, costs: list[Cost], *, images: Images) -> Disk:
    """Return the disk space of the results of all arms and seeds."""
    encoders, features, finetuned = (
        int(sum(cost.seeds * getattr(cost, kind) for cost in costs))
        for kind in ("encoder", "features", "finetuned")
    )
    resume = int(max(cost.resume for cost in costs))
    return Disk(data_bytes(study, images), encoders, features, finetuned, resume)


def show(costs: list[Cost]) -> None:
    """Print the table of arms."""
    table = Table(box=None, pad_edge=False)
    before = ("", "seeds", "precision", "FLOP/image", "images", "FLOP", "time")
    for name in (*before, "memory", "per pass", "largest", "fine-tuning"):
        table.add_column(name, justify="right" if name not in ("", "precision") else "left")
    for cost in costs:
        cells = [cost.precision, scaled(cost.flop_per_image), scaled(cost.images_seen), scaled(cost.flop)]
        cells += [spoken(cost.seconds), scaled(cost.memory, "B"), f"{cost.at_once}", f"{cost.fit}"]
        cells = cells if cost.flop else ["–"] * len(cells)
        table.add_row(cost.arm, f"{cost.seeds}", *cells, spoken(cost.finetuning_seconds))
    Console(width=140, highlight=False).print(table)


def summary(costs: list[Cost], *, name: str, device: Device, disk: Disk) -> list[str]:
    """Return lines with the total cost of all trainings, and with the assumptions of the estimate."""
    hours = [
        sum(cost.seeds * seconds for cost, seconds in zip(costs, column, strict=True)) / 3600
        for column in ([cost.seconds for cost in costs], [cost.finetuning_seconds for cost in costs])
    ]
    peaks = " or ".join(
        f"{scaled(device.peak(precision))}FLOP/s ({precision})"
        for precision in sorted({cost.precision for cost in costs if cost.flop})
    )
    unit = "core" if name == CPU else name
    lines = [
        f"All seeds: {hourly(sum(hours))} {unit} hours ({hourly(hours[0])} pre-training, {hourly(hours[1])} "
        "fine-tuning). Probes, analyses, segmentation and robustness come on top.",
        f"Speed: {device.utilisation:.0%} of {peaks or 'the peak'}, {device.source}. `make bench` measures "
        "this share; --utilisation sets it.",
        f"Disk: {scaled(disk.outs, 'B')} of results (data {scaled(disk.data, 'B')}, encoders "
        f"{scaled(disk.encoders, 'B')}, features {scaled(disk.features, 'B')}, fine-tuned encoders "
        f"{scaled(disk.finetuned, 'B')}); the same again in DVC's cache, unless DVC links files; "
        f"{scaled(disk.store, 'B')} in the store of trainings; {scaled(disk.resume, 'B')} for each "
        "running training.",
    ]
    crowded = [cost for cost in costs if cost.flop and cost.at_once > cost.fit]
    return lines + [
        f"{cost.arm}: {scaled(cost.memory, 'B')} do not fit into {device.memory:.3g} GB; set "
        f"runtime.micro_batch to {max(1, cost.fit)} or less"
        for cost in crowded
    ]


def hourly(hours: float) -> str:
    """Return hours with three digits, or whole ones from 100 on: 0.75, 12.5, 1,900."""
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"


def scaled(value: float, unit: str = "") -> str:
    """Return a number with three digits and a prefix: 1.28 M, 261 G."""
    power = 0
    while value >= 999.5 and power < len(PREFIXES) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {PREFIXES[power]}{unit}"


if __name__ == "__main__":
    main()
