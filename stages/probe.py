"""Probe the frozen features of one arm: `python -m stages.probe --arm NAME --probe NAME`."""

import argparse
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file

from stages.data.arrays import open_split, read_manifest
from stages.probes.accuracy import prediction_table, summarize
from stages.study.command import run
from stages.study.device import pick_device
from stages.study.lookup import find
from stages.study.params import load_params
from stages.study.paths import features_dir, probe_metrics, probe_predictions, write_json, write_text
from stages.study.seeds import generator


def main() -> None:
    """Read the command line and probe."""
    parser = argparse.ArgumentParser(prog="python -m stages.probe", description=__doc__)
    parser.add_argument("--arm", required=True, help="a name under arms: in params.yaml")
    parser.add_argument("--probe", required=True, help="a name under probes: in params.yaml")
    chosen = parser.parse_args()
    run(f"probe@{chosen.arm}-{chosen.probe}", lambda: probe(arm=chosen.arm, name=chosen.probe))


def probe(*, arm: str, name: str) -> str:
    """Fit the probe to every label set of the data and write its metrics and predictions.

    Raises StudyError if there is no such probe.
    """
    params = load_params(stage="probe", arm=arm, probe=name)
    module = find("stages.probes", name, function="fit_predict")
    settings = getattr(params.probes, name)
    device = pick_device(params.runtime)
    train, test = (
        {
            pooling: values.to(device)
            for pooling, values in load_file(features_dir(arm) / f"{split}.safetensors").items()
        }
        for split in ("train", "test")
    )
    train_labels, test_labels = open_split("train").labels, open_split("test").labels
    metrics: dict[str, Any] = {}
    tables = []
    for labels, names in read_manifest().labels.items():
        predictions, choice, told = module.fit_predict(
            train,
            torch.from_numpy(train_labels[labels]).to(device),
            test,
            classes=len(names),
            settings=settings,
            generator=generator(params.seed, "probe", name, labels),
        )
        pooling = max(choice, key=lambda key: choice[key])
        results = {
            key: summarize(value.cpu().numpy(), test_labels[labels], classes=len(names))
            for key, value in predictions.items()
        }
        by_pooling = {key: result["accuracy"] for key, result in results.items()}
        metrics[labels] = results[pooling] | told | {"pooling": pooling, "by_pooling": by_pooling}
        tables += [
            prediction_table(value.cpu().numpy(), test_labels[labels], labels=labels, pooling=key).assign(
                chosen=key == pooling
            )
            for key, value in predictions.items()
        ]
    table = pd.concat(tables).to_csv(index=False, lineterminator="\n")
    write_text(probe_predictions(name, arm), table)
    write_json(probe_metrics(name, arm), {"labels": metrics, "protocol": module.protocol(settings)})
    return ", ".join(
        f"{labels} {value['accuracy']:.1%} ({value['pooling']})" for labels, value in metrics.items()
    )


if __name__ == "__main__":
    main()
