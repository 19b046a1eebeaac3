"""The probe that is never told whether shape or texture counts."""

import torch

from stages.probes import shape_bias
from stages.study.params import load_params

CLASSES = 4
CODES = torch.eye(CLASSES)


def decisions(*, shape_weight, texture_weight):
    generator = torch.Generator().manual_seed(0)
    shape, texture = torch.randint(CLASSES, (2, 600), generator=generator)

    def features(shape, texture):
        noise = 0.05 * torch.randn(len(shape), 2 * CLASSES, generator=generator)
        both = torch.cat([shape_weight * CODES[shape], texture_weight * CODES[texture]], dim=1)
        return {"mean": both + noise}

    conflict_shape = torch.randint(CLASSES, (200,), generator=generator)
    conflict_texture = (conflict_shape + torch.randint(1, CLASSES, (200,), generator=generator)) % CLASSES
    seen = shape_bias.decide(
        features(shape, texture),
        shape=shape,
        texture=texture,
        test=features(conflict_shape, conflict_texture),
        classes=CLASSES,
        settings=load_params().probes.linear,
        generator=torch.Generator().manual_seed(1),
    )
    return (seen == conflict_shape).float().mean().item(), (seen == conflict_texture).float().mean().item()


def test_features_of_one_cue_alone_are_followed():
    assert decisions(shape_weight=1.0, texture_weight=0.0)[0] > 0.95
    assert decisions(shape_weight=0.0, texture_weight=1.0)[1] > 0.95


def test_without_enough_images_whose_cues_agree_there_is_no_decision():
    labels = torch.tensor([0, 1, 0, 1])
    features = {"mean": torch.randn(4, 8)}
    assert (
        shape_bias.decide(
            features,
            shape=labels,
            texture=1 - labels,
            test=features,
            classes=2,
            settings=load_params().probes.linear,
            generator=torch.Generator().manual_seed(0),
        )
        is None
    )
