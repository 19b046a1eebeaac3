"""Show the throughput of the pre-trainings that ran here: `python -m stages.tools.throughput`.

Each row is an arm: the median over its runs of images/s, from the first saved epoch to the last, checkpoints
included. The last row adds up runs that shared the device. "Of peak" is the time that the FLOP of all matrix
products would take at the speed of this device's fastest matrix product, measured now, times
`runtime.devices`, as a share of the time taken. The times come from scratch/timings.jsonl; delete it after a
change of batch size or images.
"""

import argparse
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import NamedTuple

from stages.data.arrays import read_manifest
from stages.study.command import exit_with
from stages.study.device import pick_device
from stages.study.errors import StudyError
from stages.study.params import load_params
from stages.study.recipe import recipe_of
from stages.study.study import Study
from stages.study.timings import timings_file
from stages.tools.pricing import pretraining_step
from stages.tools.step import peak_flops


class Span(NamedTuple):
    """The time from the first to the last saved epoch of one training in one process."""

    arm: str
    start: float  # seconds since 1970
    end: float
    epochs: int

    @property
    def seconds(self) -> float:
        return self.end - self.start


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.throughput", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.parse_args()
    exit_with("throughput", lambda: table(load_params(), images=read_manifest().splits["train"].images))


def table(study: Study, *, images: int) -> str:
    """Return a Markdown table of all arms that saved two or more epochs in one run.

    images: number of training images
    Raises StudyError if there is no such arm.
    """
    arms: dict[str, list[Span]] = defaultdict(list)
    for span in spans():
        if span.arm in study.arms:
            arms[span.arm].append(span)
    if not arms:
        raise StudyError(f"{timings_file()}: no pre-training with two saved epochs; train first")
    lines = ["| arm | runs | images/s | GFLOP/image | of peak |", "|---|---|---|---|---|"]
    total_images, total_ideal = 0.0, 0.0
    for arm, several in arms.items():
        recipe = recipe_of(study, arm)[1]
        batch = recipe.batch_size
        rows = batch // study.runtime.devices
        at_once = min(study.runtime.micro_batch or rows, rows)
        flop = pretraining_step(study, arm, rows=rows, at_once=at_once).flop
        peak = study.runtime.devices * peak_flops(pick_device(study.runtime), precision=recipe.precision)
        ideal = flop / peak  # s per image
        rates = [span.epochs * batch * (images // batch) / span.seconds for span in several]
        rate = statistics.median(rates)
        lines.append(f"| {arm} | {len(several)} | {rate:,.0f} | {flop / 1e9:.3g} | {rate * ideal:.1%} |")
        seen = sum(rate * span.seconds for rate, span in zip(rates, several, strict=True))
        total_images, total_ideal = total_images + seen, total_ideal + seen * ideal
    every = [span for several in arms.values() for span in several]
    seconds = covered([(span.start, span.end) for span in every])
    rate, share = total_images / seconds, total_ideal / seconds
    return "\n".join([*lines, f"| together | {len(every)} | {rate:,.0f} | | {share:.1%} |"])


def covered(intervals: Sequence[tuple[float, float]]) -> float:
    """Return the time in at least one of the intervals."""
    total, reached = 0.0, -math.inf
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def spans() -> Iterator[Span]:
    """Yield the span of every training in scratch/timings.jsonl that saved two or more epochs of an arm.

    A process may train several seeds, one after the other.
    """
    saved: dict[tuple[str, ...], list[tuple[float, int]]] = defaultdict(list)  # time and number of each epoch
    stages: dict[tuple[str, str, int], tuple[str, ...]] = {}  # of each process: its stage and start
    for line in read_lines():
        with suppress(ValueError, KeyError, TypeError):
            event = json.loads(line)
            process = (event.get("host", ""), event.get("job", ""), event["process"])
            if event["event"] == "began":
                stages[process] = (event["stage"], f"{process}", f"{event['time']}")
            elif event["event"] == "saved":
                saved[stages[process]].append((event["time"], event["epoch"]))
    for (stage, *_), epochs in saved.items():
        kind, _, training = stage.partition("@")
        starts = [i for i, (_, number) in enumerate(epochs) if i == 0 or number <= epochs[i - 1][1]]
        for first, after in pairwise([*starts, len(epochs)]):
            (start, low), (end, high) = epochs[first], epochs[after - 1]
            if kind == "pretrain" and end > start:
                yield Span(training.partition("-")[0], start, end, high - low)


def read_lines() -> list[str]:
    """Return the lines of scratch/timings.jsonl; none if there is no such file."""
    with suppress(OSError):
        return timings_file().read_text(encoding="utf-8", errors="replace").splitlines()
    return []


if __name__ == "__main__":
    main()
