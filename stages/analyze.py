"""Run one analysis of one arm on held-out images: `python -m stages.analyze --arm NAME --analysis NAME`."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from stages.analyses.contract import Analysis
from stages.analyses.settings import AnalysisSettings
from stages.data.arrays import (
    batches,
    in_order,
    normalize,
    open_split,
    read_manifest,
    unit_range,
)
from stages.data.evaluation import evaluation_subset
from stages.encoders.decoder import Decoder, load_decoder
from stages.encoders.vit import DeepTrace, as_trained, load_encoder, trace_deeply
from stages.study.command import run
from stages.study.device import chosen_device, pick_device
from stages.study.lookup import find
from stages.study.params import load_params
from stages.study.paths import analysis_table, model_dir, writing
from stages.study.store import sealed_seeds
from stages.study.study import Study

MOST_AT_ONCE = 64  # images
TRACE_BYTES = 2**29  # per batch, 11 images of a ViT-B at 224 px; measuring needs as much again


def main() -> None:
    """Read the command line and run the analysis."""
    parser = argparse.ArgumentParser(prog="python -m stages.analyze", description=__doc__)
    parser.add_argument("--arm", required=True, help="a name under arms: in params.yaml")
    parser.add_argument("--analysis", required=True, help="a name under analyses: in params.yaml")
    chosen = parser.parse_args()
    run(
        f"analyze@{chosen.arm}-{chosen.analysis}",
        lambda: analyze(arm=chosen.arm, analysis=chosen.analysis),
        about=chosen_device,
        writes=analysis_table(chosen.analysis, chosen.arm),
    )


def analyze(*, arm: str, analysis: str) -> str:
    """Trace held-out images through the encoders of one arm and write the table of one analysis.

    Rows are written as they are measured, so memory does not grow with the number of images.
    Raises StudyError if the analysis does not exist.
    """
    params = load_params(stage="analyze", arm=arm, analysis=analysis)
    chosen = find(Analysis, analysis)
    rows = 0
    with writing(analysis_table(analysis, arm)) as temporary, temporary.open("w", newline="") as file:
        for seed in sealed_seeds(arm):
            for table in tables_of(params, chosen, params.analyses[analysis], source=model_dir(arm, seed)):
                table.insert(0, "seed", seed)
                table.to_csv(file, index=False, header=rows == 0, float_format="%.6g", lineterminator="\n")
                rows += len(table)
    images = min(params.analyses[analysis].images, len(open_split("test").images))
    return f"{rows} values of {images} images"


def tables_of(
    params: Study, analysis: Analysis, settings: AnalysisSettings, *, source: Path
) -> Iterator[pd.DataFrame]:
    """Yield the tables of one analysis of one encoder, batch by batch. source: folder of the encoder"""
    device = pick_device(params.runtime)
    encoder = load_encoder(source).to(device)
    decoder = load_decoder(source)
    if decoder is not None:
        decoder = decoder.to(device)
    manifest = as_trained(source, read_manifest())
    split = open_split("test")
    chosen = evaluation_subset(len(split.images), settings.images, seed=params.seed)

    def traces(order: list[np.ndarray]) -> Iterator[tuple[Tensor, DeepTrace]]:
        for indices, images in zip(order, batches(split.images, order), strict=True):
            normalized = normalize(unit_range(images.to(device)), mean=manifest.mean, std=manifest.std)
            traced = trace_deeply(encoder, normalized, attention=analysis.reads_attention)
            if decoder is not None:
                traced = traced._replace(decoded=decoded(decoder, encoder, traced.tokens[-1]))
            yield torch.from_numpy(indices), traced

    # Memory holds the attention and the tokens of all blocks of a batch.
    _, single = next(traces([chosen[:1]]))
    at_once = max(1, min(params.runtime.eval_batch_size, MOST_AT_ONCE, TRACE_BYTES // size_of(single)))
    order = in_order(chosen, batch_size=at_once)
    yield from analysis.measure(
        traces(order), settings=settings, patch_size=encoder.patch_embed.patch_size[0], split=split
    )


def size_of(trace: DeepTrace) -> int:
    """Return the size of a trace in bytes."""
    fields = (trace.tokens, trace.attention, trace.attended, trace.heads, trace.decoded)
    return sum(part.nbytes for parts in fields for part in parts)


@torch.no_grad()
def decoded(decoder: Decoder, encoder: VisionTransformer, tokens: Tensor) -> list[Tensor]:
    """Return the tokens of every decoder block for unmasked images.

    tokens: (B, 1+N, D) after the last block of the encoder
    No patch is masked, as for the encoder; the published analysis does the same.
    """
    visible = torch.arange(tokens.shape[1] - 1, device=tokens.device).expand(len(tokens), -1)
    return decoder.tokens(encoder.norm(tokens), visible)


if __name__ == "__main__":
    main()
