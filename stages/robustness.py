"""Test one arm on corrupted images and on stimuli: `python -m stages.robustness --arm NAME`."""

import argparse

import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor

from stages.corruptions.stimuli import stimuli
from stages.corruptions.trials import Trial, corrupted
from stages.data.arrays import Manifest, normalize, read_manifest
from stages.encoders.vit import as_trained, load_encoder, pooled_features
from stages.heads.decisions import cue_conflict, metrics, probed, rows, tuned_classes, without_blocks
from stages.heads.tuned_head import load_head
from stages.results.metrics import over_seeds
from stages.study.command import run
from stages.study.device import chosen_device, pick_device
from stages.study.params import load_params
from stages.study.paths import (
    features_dir,
    features_name,
    finetune_dir,
    model_dir,
    robustness_metrics,
    robustness_table,
    write_json,
    write_table,
)
from stages.study.store import sealed_seeds
from stages.study.study import Study


def main() -> None:
    """Read the command line and test the arm."""
    parser = argparse.ArgumentParser(prog="python -m stages.robustness", description=__doc__)
    parser.add_argument("--arm", required=True, help="a name under arms: in params.yaml")
    name = parser.parse_args().arm
    run(f"robustness@{name}", lambda: robustness(name), about=chosen_device, writes=robustness_table(name))


def robustness(name: str) -> str:
    """Write the predictions of probes and fine-tuned encoders for corrupted images and stimuli.

    Every image is corrupted once for the encoders of all seeds.
    Raises StudyError if a corruption does not exist or does not fit the images, or if stimuli cannot be read.
    """
    params = load_params(stage="robustness", arm=name)
    device = pick_device(params.runtime)
    seeds = sealed_seeds(name)
    manifest = as_trained(model_dir(name, seeds[0]), read_manifest())
    encoders = {
        seed: tuple(load_encoder(folder(name, seed)).to(device) for folder in (model_dir, finetune_dir))
        for seed in seeds
    }
    heads = {seed: load_head(finetune_dir(name, seed), device=device) for seed in seeds}
    trials: list[Trial] = []
    features: dict[int, list[dict[str, Tensor]]] = {seed: [] for seed in seeds}
    logits: dict[int, list[Tensor]] = {seed: [] for seed in seeds}
    for trial in [*corrupted(params, manifest), *stimuli(params, manifest)]:
        for batch in trial.batches:
            inputs = normalize(batch.to(device), mean=manifest.mean, std=manifest.std)
            for seed, (frozen, tuned) in encoders.items():
                features[seed].append(pooled_features(frozen, inputs))
                logits[seed].append(heads[seed](pooled_features(tuned, inputs)))
        trials.append(trial)
    tables = {}
    for seed in seeds:
        table = decided(
            trials, features[seed], torch.cat(logits[seed]), manifest, params=params, arm=name, seed=seed
        )
        if params.robustness.reinitialise:
            reset = without_blocks(trials[0], encoders[seed][1], heads[seed], manifest, arm=name, seed=seed)
            table = pd.concat([table, reset])
        tables[seed] = table
    whole = pd.concat(tables, names=["seed"]).reset_index("seed")
    write_table(robustness_table(name), whole)
    write_json(robustness_metrics(name), over_seeds({seed: metrics(table) for seed, table in tables.items()}))
    hits = (whole["truth"] == whole["predicted"]).groupby(whole["trial"], sort=False).mean()
    return ", ".join(f"{trial} {share:.1%}" for trial, share in hits.items())


def decided(
    trials: list[Trial],
    features: list[dict[str, Tensor]],
    logits: Tensor,
    manifest: Manifest,
    *,
    params: Study,
    arm: str,
    seed: int,
) -> pd.DataFrame:
    """Return a row for every prediction of the linear probe and of the fine-tuned encoder of one seed.

    features: pooled features of every batch of all trials, in order; logits: (images of all trials, classes)
    """
    test = {pooling: torch.cat([batch[pooling] for batch in features]) for pooling in features[0]}
    device = logits.device
    train = load_file(features_dir(arm, seed) / features_name("pooled", "train"), device=str(device))
    del train["image"]  # pooled features cover all images in order
    settings = params.probes.linear
    decisions = {
        "linear": probed(train, test, manifest, settings=settings, seed=seed),
        "fine-tuned": tuned_classes(logits, manifest),
    }
    table = pd.concat([rows(trials, predicted, head=kind) for kind, predicted in decisions.items()])
    if conflict := cue_conflict(trials[0], train, test, manifest, settings=settings, seed=seed):
        table = pd.concat([table, rows([conflict[0]], conflict[1], head="linear")])
    return table


if __name__ == "__main__":
    main()
