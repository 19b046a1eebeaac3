"""What the probes are given."""

import torch

from stages.encoders.vit import build_encoder, pooled_features
from stages.study.params import Vit


def test_features_are_those_of_timm():
    vit = Vit(width=16, depth=2, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")
    encoder = build_encoder(vit=vit, image_size=16, seed=0).eval()
    images = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    found = pooled_features(encoder, images)
    tokens = encoder.forward_features(images)
    torch.testing.assert_close(found, {"cls": tokens[:, 0], "mean": tokens[:, 1:].mean(dim=1)})
