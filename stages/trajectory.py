"""Measure one arm at every snapshot of its training: `python -m stages.trajectory --arm NAME`.

Claims on frozen encoders are measured with the code of the main stages on fewer images; no features are
stored. Fine-tuning, segmentation and corrupted images would cost too much at every snapshot.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch

from stages.analyses.contract import Analysis
from stages.analyze import MOST_AT_ONCE, tables_of
from stages.data.arrays import batches, in_order, normalize, open_split, read_manifest, unit_range
from stages.data.evaluation import evaluation_subset
from stages.encoders.vit import as_trained, load_encoder
from stages.features import Features, frozen_features
from stages.probes.contract import Probe
from stages.probes.measuring import probe_features
from stages.study.command import run
from stages.study.device import chosen_device, pick_device
from stages.study.lookup import find
from stages.study.params import load_params
from stages.study.paths import (
    model_dir,
    read_json,
    snapshot_dir,
    snapshot_shares,
    snapshot_table,
    trajectory_dir,
    write_table,
    writing,
)
from stages.study.store import sealed_seeds
from stages.study.study import Study
from stages.study.words import counted


def main() -> None:
    """Read the command line and measure the arm."""
    parser = argparse.ArgumentParser(prog="python -m stages.trajectory", description=__doc__)
    parser.add_argument("--arm", required=True, help="a name under arms: in params.yaml")
    arm = parser.parse_args().arm
    run(f"trajectory@{arm}", lambda: trajectory(arm), about=chosen_device, writes=trajectory_dir(arm))


def trajectory(arm: str) -> str:
    """Measure all snapshots and the end of every training of an arm; an untrained arm has only an end.

    Raises StudyError if an analysis does not exist.
    """
    params = load_params(stage="trajectory", arm=arm)
    seeds = sealed_seeds(arm, snapshots=True)
    places = {seed: encoders(model_dir(arm, seed)) for seed in seeds}
    shares = list(places[seeds[0]])
    with writing(trajectory_dir(arm)) as out:
        out.mkdir()
        for share in shares:
            tables: dict[tuple[str, str], list[pd.DataFrame]] = {}
            for seed in seeds:
                for place, table in measured(params, places[seed][share], seed=seed):
                    table.insert(0, "seed", seed)
                    tables.setdefault(place, []).append(table)
            for (kind, name), parts in tables.items():
                write_table(snapshot_table(out, share, kind, name), pd.concat(parts, ignore_index=True))
        seen = [
            {"seed": seed, "share": share, "images_seen": read_json(folder / "encoder.json")["images_seen"]}
            for seed in seeds
            for share, folder in places[seed].items()
        ]
        write_table(out / "images_seen.csv", pd.DataFrame(seen))
    return f"{len(shares)} per training, {counted(len(seeds), 'training')}" if shares[1:] else "not trained"


def encoders(model: Path) -> dict[float, Path]:
    """Return the folder of the encoder at each share of a training. model: folder of the final encoder"""
    return {share: snapshot_dir(model, share) for share in snapshot_shares(model)} | {1.0: model}


def measured(params: Study, source: Path, *, seed: int) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """Yield the measurements of one encoder: kind (analysis or probe) and name, and the table.

    source: folder of the encoder; seed: of its training, also used for the random numbers of probes
    """
    chosen = params.trajectory
    for name, settings in chosen.analyses.items():
        yield ("analysis", name), pd.concat(tables_of(params, find(Analysis, name), settings, source=source))
    train, test = (
        features(params, source, split=split, images=images)
        for split, images in (("train", chosen.train_images), ("test", chosen.test_images))
    )
    for name in chosen.probes:
        probe = find(Probe, name)
        sides = {"train": train[probe.reads], "test": test[probe.reads]}
        yield ("probe", name), probe_features(probe, params.probes.linear, name, **sides, seed=seed)[1]


def features(params: Study, source: Path, *, split: str, images: int) -> dict[str, Features]:
    """Return pooled and block features of some images; `image` in each kind holds the images' indices.

    images: maximum number of images, selected like the evaluation images
    """
    device, manifest = pick_device(params.runtime), as_trained(source, read_manifest())
    encoder, stored = load_encoder(source).to(device), open_split(split).images
    chosen = evaluation_subset(len(stored), images, seed=params.seed)
    order = in_order(chosen, batch_size=min(params.runtime.eval_batch_size, MOST_AT_ONCE))
    parts: dict[str, list[Features]] = {"pooled": [], "blocks": []}
    for batch in batches(stored, order):
        normalized = normalize(unit_range(batch.to(device)), mean=manifest.mean, std=manifest.std)
        frozen = frozen_features(encoder, normalized)
        for kind, batches_of in parts.items():
            batches_of.append(frozen[kind])
    joined = {kind: {key: torch.cat([b[key] for b in of]) for key in of[0]} for kind, of in parts.items()}
    return {kind: values | {"image": torch.from_numpy(chosen).to(device)} for kind, values in joined.items()}


if __name__ == "__main__":
    main()
