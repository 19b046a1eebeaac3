"""Extract the frozen features of one arm: `python -m stages.features --arm NAME`.

Each kind of feature has its own files, so a probe reads only what it needs:

pooled  {train,test}.safetensors         cls, mean (n, D): class token, mean patch token, after the final norm
blocks  blocks-{train,test}.safetensors  0, 1, … L (n, D): mean patch token after the embedding and each block
tokens  tokens-{train,test}.safetensors  patches (n, N, D), float16: all patch tokens, after the final norm

`image` in each file holds the indices of the rows' images in the split. Blocks are float32: before the final
norm, the mean of a channel can be a thousand times its spread, which float16 cannot resolve.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Generator, Tensor

from stages.data.arrays import SPLITS, batches, in_order, normalize, open_split, read_manifest, unit_range
from stages.encoders.vit import add_positions, as_trained, embed, load_encoder, pooled
from stages.study.command import run
from stages.study.device import chosen_device, pick_device
from stages.study.params import load_params
from stages.study.paths import features_dir, features_name, model_dir, writing
from stages.study.seeds import generator
from stages.study.store import sealed_seeds
from stages.study.study import Study

Features = dict[str, Tensor]


def main() -> None:
    """Read the command line and extract the features."""
    parser = argparse.ArgumentParser(prog="python -m stages.features", description=__doc__)
    parser.add_argument("--arm", required=True, help="a name under arms: in params.yaml")
    name = parser.parse_args().arm
    out = features_dir(name, 0).parent
    run(f"features@{name}", lambda: extract(name, out=out), about=chosen_device, writes=out)


def extract(name: str, *, out: Path) -> str:
    """Write all features of both splits for every encoder of one arm as safetensors."""
    params, seeds = load_params(stage="features", arm=name), sealed_seeds(name)
    with writing(out) as temporary:
        for seed in seeds:
            counts = extract_one(params, model_dir(name, seed), target=temporary / f"{seed}")
    encoders = f", {len(seeds)} encoders" if seeds[1:] else ""
    return f"{counts[0]} train and {counts[1]} test images{encoders}"


def extract_one(params: Study, source: Path, *, target: Path) -> list[int]:
    """Write all features of both splits for one encoder, in one pass over the images.

    source:  folder of the encoder; target: a new folder
    returns: number of images of each split
    """
    device = pick_device(params.runtime)
    encoder = load_encoder(source).to(device)
    manifest = as_trained(source, read_manifest())
    target.mkdir(parents=True)
    counts = []
    for split in SPLITS:
        images = open_split(split).images
        limits = {"blocks": params.features.block_images, "tokens": params.features.token_images}
        selected = {"pooled": torch.arange(len(images))} | {
            kind: subset(len(images), at_most=limit, generator=generator(params.seed, "features", split))
            for kind, limit in limits.items()
        }
        order = in_order(np.arange(len(images)), batch_size=params.runtime.eval_batch_size)
        parts: dict[str, list[Features]] = {kind: [] for kind in selected}
        loaded = batches(images, order, workers=params.runtime.workers)
        for indices, batch in zip(order, loaded, strict=True):
            normalized = normalize(unit_range(batch.to(device)), mean=manifest.mean, std=manifest.std)
            for kind, features in frozen_features(encoder, normalized).items():
                rows = torch.isin(torch.from_numpy(indices), selected[kind]).to(device)
                parts[kind].append({key: values[rows].cpu() for key, values in features.items()})
        for kind, batches_of in parts.items():
            features = {key: torch.cat([part[key] for part in batches_of]) for key in batches_of[0]}
            save_file(features | {"image": selected[kind]}, target / features_name(kind, split))
        counts.append(len(images))
    return counts


def subset(total: int, *, at_most: int, generator: Generator) -> Tensor:
    """Return random indices of at most `at_most` images of a split, in ascending order.

    returns: (min(total, at_most),)
    """
    return torch.randperm(total, generator=generator)[:at_most].sort().values


@torch.no_grad()
def frozen_features(encoder: VisionTransformer, images: Tensor) -> dict[str, Features]:
    """Return all features of a batch, by kind.

    images:  (B, 3, S, S), normalised
    returns: pooled: cls and mean (B, D), from `vit.pooled`
             blocks: block number, from 0 for the embedding -> mean patch token (B, D) before any norm
             tokens: patches (B, N, D) after the final norm, float16
    Paper: Fig. 10 for the blocks.
    """
    prefix = encoder.num_prefix_tokens
    tokens = add_positions(encoder, embed(encoder, images))
    blocks = [tokens[:, prefix:].mean(dim=1)]
    for block in encoder.blocks:
        tokens = block(tokens)
        blocks.append(tokens[:, prefix:].mean(dim=1))
    tokens = encoder.norm(tokens)
    return {
        "pooled": pooled(encoder, tokens),
        "blocks": {str(number): mean for number, mean in enumerate(blocks)},
        "tokens": {"patches": tokens[:, prefix:].half()},
    }


if __name__ == "__main__":
    main()
