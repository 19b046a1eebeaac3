"""Extract the frozen features of one arm once: `python -m stages.features --arm NAME`."""

import argparse

import numpy as np
import torch
from safetensors.torch import save_file

from stages.data.arrays import batches, in_order, normalize, open_split, read_manifest
from stages.encoders.vit import as_trained, load_encoder, pooled_features
from stages.study.command import run
from stages.study.device import pick_device
from stages.study.params import load_params
from stages.study.paths import features_dir, model_dir, writing


def main() -> None:
    """Read the command line and extract."""
    parser = argparse.ArgumentParser(prog="python -m stages.features", description=__doc__)
    parser.add_argument("--arm", required=True, help="a name under arms: in params.yaml")
    name = parser.parse_args().arm
    run(f"features@{name}", lambda: extract(name))


def extract(name: str) -> str:
    """Write the features of both splits as safetensors."""
    params = load_params(stage="features", arm=name)
    device = pick_device(params.runtime)
    encoder = load_encoder(model_dir(name)).to(device)
    manifest = as_trained(model_dir(name), read_manifest())
    counts = []
    with writing(features_dir(name)) as temporary:
        temporary.mkdir()
        for split in ("train", "test"):
            images = open_split(split).images
            order = in_order(np.arange(len(images)), batch_size=params.runtime.eval_batch_size)
            parts = [
                pooled_features(encoder, normalize(batch.to(device), mean=manifest.mean, std=manifest.std))
                for batch in batches(images, order, workers=params.runtime.workers)
            ]
            features = {key: torch.cat([part[key] for part in parts]).cpu() for key in parts[0]}
            save_file(features, temporary / f"{split}.safetensors")
            counts.append(len(features["mean"]))
    return f"{counts[0]} train and {counts[1]} test images, width {encoder.embed_dim}"


if __name__ == "__main__":
    main()
