"""Measure throughput, memory and utilisation of pre-training: `python -m stages.tools.bench`."""

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.data.arrays import Split, batches, normalize, open_split, read_manifest, unit_range
from stages.data.decoding import decode_images
from stages.encoders.architecture import build_encoder
from stages.encoders.settings import Vit
from stages.objectives.contract import Objective
from stages.study.command import exit_with
from stages.study.errors import StudyError
from stages.study.lookup import find
from stages.study.params import load_params
from stages.study.seeds import Draws
from stages.study.settings import Arm
from stages.study.study import Study
from stages.tools.step import MEBI, count_flops, expected_memory, peak_flops, seconds_each
from stages.training.devices import fit_to_device, fuses_adamw, make_fabric
from stages.training.loop import epoch_order, parameter_groups, take_step

CLEAR_REFS = Path("/proc/self/clear_refs")
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
# Heads and masks of the published recipes; the default study uses smaller ones.
PUBLISHED: dict[str, dict[str, Any]] = {
    "contrastive": {"hidden_dim": 4096, "output_dim": 256, "crop_scale_min": 0.08},
    "masked": {"mask_ratio": 0.6, "mask_unit": 2, "target_window": None},
}
TABLE = (  # rows of `make bench`: objective, image size, patch size, width, depth, heads, batch, steps
    ("contrastive", 32, 4, 128, 6, 4, 128, 5),
    ("masked", 32, 4, 128, 6, 4, 128, 10),
    ("hybrid", 32, 4, 128, 6, 4, 128, 5),
    ("contrastive", 224, 16, 384, 12, 6, 16, 3),
    ("masked", 224, 16, 384, 12, 6, 16, 5),
)


def main() -> None:
    """Read the command line and run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m stages.tools.bench", description=__doc__)
    parser.add_argument(
        "--objective", help="an objective in stages/objectives; without it: the table of `make bench`"
    )
    for name, default in (("image-size", 32), ("patch-size", 4), ("width", 128), ("depth", 6), ("heads", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--mlp-ratio", type=float, default=4.0)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10, help="number of timed steps; the median is reported")
    parser.add_argument(
        "--data", type=Path, help="data/prepared/ of a study, or a folder or tar of images; default: noise"
    )
    parser.add_argument("--compile", action="store_true", help="use torch.compile")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    options = parser.parse_args()
    numbers = ("image_size", "patch_size", "width", "depth", "heads", "batch_size", "steps")
    if small := next((name for name in numbers if getattr(options, name) < 1), None):
        parser.error(f"--{small.replace('_', '-')} must be at least 1")
    flags = [word.partition("=")[0] for word in sys.argv[1:] if word.startswith("--")]
    if not options.objective and (others := set(flags) - {"--mlp-ratio", "--compile"}):
        parser.error(f"{', '.join(sorted(others))}: only with --objective; the table has fixed sizes")
    exit_with("bench", lambda: bench(options) if options.objective else table(options))


def table(options: argparse.Namespace) -> str:
    """Return the measurements of TABLE as a Markdown table, each from a separate process."""
    lines = [
        "| objective | encoder | px | batch | images/s | step alone | GFLOP/image | of peak "
        "| MiB | precision |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    names = ("objective", "image-size", "patch-size", "width", "depth", "heads", "batch-size", "steps")
    for row in TABLE:
        words = [word for name, value in zip(names, row, strict=True) for word in (f"--{name}", str(value))]
        words += ["--mlp-ratio", str(options.mlp_ratio), *(["--compile"] if options.compile else [])]
        done = subprocess.run(
            [sys.executable, "-m", "stages.tools.bench", "--json", *words], stdout=subprocess.PIPE, text=True
        )
        if done.returncode:
            sys.exit(done.returncode)  # the process has printed the reason
        result = json.loads(done.stdout)
        objective, size, patch, width, depth, _, batch, _ = row
        lines.append(
            f"| {objective} | {width} × {depth}, patch {patch} | {size} | {batch} "
            f"| {result['images_per_s']:.3g} | {result['images_per_s_step_only']:.3g} "
            f"| {result['gflop_per_image']:.3g} | {result['peak_fraction']:.0%} "
            f"| {result['peak_memory_mib']:.0f} | {result['precision']} |"
        )
    return "\n".join(lines)


def bench(options: argparse.Namespace) -> str:
    """Return one measurement as JSON or as lines."""
    result = measure(options)
    if options.json:
        return json.dumps(result)
    return "\n".join(
        f"{key:26} {value:.4g}" if isinstance(value, float) else f"{key:26} {value}"
        for key, value in result.items()
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the time of a step of one objective, with and without reading and augmenting images.

    Raises StudyError if the objective or the data do not exist, or if the sizes do not match.
    """
    params = load_params()
    runtime = params.runtime.model_copy(update={"compile": options.compile, "devices": 1})
    fabric = make_fabric(runtime, precision=params.pretrain.precision)
    with images_of(options, params) as (split, mean, std):
        memory = PeakMemory(fabric.device)
        task = build_task(options, params)
        fit_to_device(task, runtime=runtime, fabric=fabric)
        groups = parameter_groups(task, weight_decay=0.05, layer_decay=None)
        optimizer = torch.optim.AdamW(groups, lr=1e-4, fused=fuses_adamw(fabric))
        model, optimizer = fabric.setup(task, optimizer)
        model.train()
        generator = torch.Generator(device=fabric.device).manual_seed(0)

        def views_of(batch: Tensor) -> tuple[Tensor, ...]:
            return task.views(
                unit_range(fabric.to_device(batch)),
                normalize=lambda view: normalize(view, mean=mean, std=std),
                draws=Draws(generator, batch=options.batch_size),
            )

        def step(views: tuple[Tensor, ...]) -> None:
            task.before_step(0.5)
            take_step(model, optimizer, views, task=task, clip_grad=3.0, fabric=fabric)

        order = epoch_order(len(split.images), batch_size=options.batch_size, seed=0)
        order = [order[index % len(order)] for index in range(options.steps + 1)]
        stream = batches(split.images, order, workers=runtime.workers)
        views = views_of(next(stream))
        step(views)
        peak_memory = memory.read()
        expected = expected_memory(task, views, autocast=fabric.autocast())
        flops = count_flops(task, views)
        whole, alone = seconds_each(
            lambda: step(views_of(next(stream))),
            lambda: step(views),
            times=options.steps,
            device=fabric.device,
        )
    size, peak = options.batch_size, peak_flops(fabric.device, precision=params.pretrain.precision)
    return {
        "images_per_s": size / whole,
        "images_per_s_step_only": size / alone,
        "gflop_per_image": flops / size / 1e9,
        "peak_fraction": flops / alone / peak,
        "peak_gflop_per_s": peak / 1e9,
        "peak_memory_mib": peak_memory,
        "expected_memory_mib": expected.weights + expected.activations,
        "precision": str(fabric._precision.precision),
        "device": fabric.device.type,
        "threads": torch.get_num_threads(),
    }


def build_task(options: argparse.Namespace, params: Study) -> Any:
    """Return an objective with the heads of its publication, around an encoder of the given sizes.

    Raises StudyError if the sizes do not match, or if the objective trains nothing without labels.
    """
    if options.image_size % options.patch_size or options.width % (4 * options.heads):
        raise StudyError(
            "--image-size must be a multiple of --patch-size, and --width a multiple of 4 times --heads"
        )
    objective = find(Objective, options.objective)
    if objective.build is None or objective.needs_labels:
        raise StudyError(
            f"--objective {options.objective}: trains nothing, or needs labels; choose another objective"
        )
    settings = params.objectives.model_copy(
        update={
            name: getattr(params.objectives, name).model_copy(update=published)
            for name, published in PUBLISHED.items()
        }
    )
    vit = Vit(
        width=options.width,
        depth=options.depth,
        heads=options.heads,
        patch_size=options.patch_size,
        mlp_ratio=options.mlp_ratio,
        position="sincos",
    )
    encoder = build_encoder(vit=vit, image_size=options.image_size, seed=0)
    sums: dict[str, dict[str, Any]] = {
        "hybrid": {"cl_weight": 0.2},
        "layered": {"cl_weight": 0.2, "mim_block": 0.5},
    }
    arm = Arm(objective=options.objective, **sums.get(options.objective, {}))
    return objective.build(encoder, arm=arm, settings=settings, seed=0, classes=())


@contextlib.contextmanager
def images_of(
    options: argparse.Namespace, params: Study
) -> Iterator[tuple[Split, tuple[float, ...], tuple[float, ...]]]:
    """Yield memory-mapped training images with the mean and standard deviation of their channels.

    Images that are not prepared yet are decoded first. The time does not count, because a study does this
    once.
    Raises StudyError if the images have another size, or are fewer than a batch.
    """
    size = options.image_size
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        if options.data is None:
            path = directory / "images.npy"
            noise = np.random.default_rng(0).integers(
                0, 256, (max(64, options.batch_size), size, size, 3), np.uint8
            )
            np.save(path, noise)
            yield Split(np.load(path, mmap_mode="r"), {}, None), IMAGENET["mean"], IMAGENET["std"]
            return
        if (options.data / "manifest.json").exists():
            directory = options.data
        else:
            data = params.data.model_copy(
                update={"source": str(options.data), "test_source": None, "image_size": size, "masks": None}
            )
            decode_images(directory, data=data, seed=0, threads=torch.get_num_threads())
        manifest, split = read_manifest(directory), open_split("train", directory)
        if manifest.image_size != size:
            size = manifest.image_size
            raise StudyError(f"--data {options.data}: images have {size} px; set --image-size {size}")
        if len(split.images) < options.batch_size:
            raise StudyError(
                f"--data {options.data}: {len(split.images)} images are fewer than a batch; "
                "lower --batch-size"
            )
        yield split, tuple(manifest.mean), tuple(manifest.std)


class PeakMemory:
    """Measure the peak memory since creation, in MiB above the memory at creation.

    On Linux, pages mapped from files do not count: code of libraries, which is read on first use, and images,
    which the system can drop at any time.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        elif CLEAR_REFS.exists():
            CLEAR_REFS.write_text("5")  # reset the peak resident size, see proc(5)
        self.start = self._highest()

    def read(self) -> float:
        """Return the peak so far, in MiB."""
        return (self._highest() - self.start) / MEBI

    def _highest(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated()
        if CLEAR_REFS.exists():
            rows = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
            kib = {row[0]: int(row[1]) for row in rows if row[0] in ("VmHWM:", "RssFile:")}
            return 1024 * (kib["VmHWM:"] - kib["RssFile:"])
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
