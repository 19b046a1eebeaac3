"""Probe the frozen features of one arm: `python -m stages.probe --arm NAME --probe NAME`."""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file

from stages.probes.contract import Probe
from stages.probes.measuring import probe_features
from stages.results.metrics import over_seeds
from stages.study.command import run
from stages.study.device import chosen_device, pick_device
from stages.study.lookup import find
from stages.study.params import load_params
from stages.study.paths import (
    features_dir,
    features_name,
    probe_metrics,
    probe_predictions,
    trained_seeds,
    write_json,
    write_table,
)
from stages.study.study import Study

Features = dict[str, torch.Tensor]


def main() -> None:
    """Read the command line and probe the arm."""
    parser = argparse.ArgumentParser(prog="python -m stages.probe", description=__doc__)
    parser.add_argument("--arm", required=True, help="a name under arms: in params.yaml")
    parser.add_argument("--probe", required=True, help="a name under probes: in params.yaml")
    chosen = parser.parse_args()
    run(
        f"probe@{chosen.arm}-{chosen.probe}",
        lambda: probe(arm=chosen.arm, name=chosen.probe),
        about=chosen_device,
        writes=probe_metrics(chosen.probe, chosen.arm),
    )


def probe(*, arm: str, name: str) -> str:
    """Fit a probe to every label set and encoder of one arm, and write metrics and predictions.

    A probe has variants: poolings, blocks or shares of the labels. All accuracies are written; the chosen
    variant gives the accuracy of the probe.
    Raises StudyError if the probe does not exist.
    """
    params = load_params(stage="probe", arm=arm, probe=name)
    chosen = find(Probe, name)
    settings = getattr(params.probes, name)
    results = {
        seed: probe_one(params, chosen, settings, name, folder=features_dir(arm, seed), seed=seed)
        for seed in trained_seeds(arm)
    }
    table = pd.concat({seed: table for seed, (_, table) in results.items()}, names=["seed"])
    write_table(probe_predictions(name, arm), table.reset_index("seed"))
    metrics = over_seeds({seed: metrics for seed, (metrics, _) in results.items()})
    write_json(probe_metrics(name, arm), metrics | {"protocol": chosen.protocol(settings)})
    return ", ".join(
        f"{labels} {value['accuracy']:.1%}"
        + (f" ({chosen.varies} {value[chosen.varies]})" if chosen.varies in value else "")
        for labels, value in metrics["labels"].items()
    )


def probe_one(
    params: Study, probe: Probe, settings: Any, name: str, *, folder: Path, seed: int
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return metrics and predictions of a probe on the features of one encoder.

    folder: of the features; seed: of the encoder, also used for the random numbers of the probe
    """
    device = pick_device(params.runtime)
    train, test = (
        load_file(folder / features_name(probe.reads, split), device=str(device))
        for split in ("train", "test")
    )
    return probe_features(probe, settings, name, train=train, test=test, seed=seed)


if __name__ == "__main__":
    main()
