"""The stored head of a fine-tuned encoder answers as the encoder did."""

import pytest
import torch

from stages.encoders.architecture import Architecture, build_encoder
from stages.encoders.vit import pooled_features
from stages.heads.tuned_head import FEATURE, TunedHead

VIT = {"width": 32, "depth": 2, "heads": 2, "patch_size": 4, "mlp_ratio": 2.0, "position": "learned"}


@pytest.mark.parametrize("norm", [False, True], ids=["final norm", "norm after pooling"])
@pytest.mark.parametrize(("pooling", "timm_pooling"), [("mean", "avg"), ("token", "token")])
def test_the_head_reads_what_fine_tuning_fed_it(norm, pooling, timm_pooling):
    encoder = build_encoder(
        vit=Architecture.model_validate(VIT | {"pooled_norm": norm}), image_size=16, seed=0
    ).eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 16, 16, generator=generator)
    encoder.reset_classifier(5, global_pool=timm_pooling)
    head = TunedHead(encoder.head.weight, encoder.head.bias, FEATURE[pooling])
    with torch.no_grad():
        if norm:
            encoder.fc_norm.weight.uniform_(0.5, 2.0, generator=generator)
        torch.testing.assert_close(head(pooled_features(encoder, images)), encoder(images))
