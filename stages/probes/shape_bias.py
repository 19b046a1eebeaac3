"""Linear probe for cue conflicts: does it classify by shape or by texture?

The probe is trained on images whose shape and texture belong to the same class, so neither cue is preferred.
It is tested on images whose cues differ, like the cue conflicts of Geirhos et al. 2019, "ImageNet-trained
CNNs are biased towards texture".
"""

from torch import Generator, Tensor

from stages.probes import linear
from stages.probes.settings import Linear


def decide(
    train: linear.Features,
    *,
    shape: Tensor,
    texture: Tensor,
    test: linear.Features,
    classes: int,
    settings: Linear,
    generator: Generator,
) -> Tensor | None:
    """Return the predicted class of each test image, with the pooling that validation chooses.

    train, test:    pooling -> (n, D)
    shape, texture: (n,) labels of the training images
    returns:        (n,), or None if the cues agree in fewer than two training images per class
    """
    agree = shape == texture
    if agree.sum() < 2 * classes:
        return None
    predictions, choice, _ = linear.fit_predict(
        {pooling: features[agree] for pooling, features in train.items()},
        shape[agree],
        test,
        classes=classes,
        settings=settings,
        generator=generator,
    )
    return predictions[max(choice, key=lambda pooling: choice[pooling])]
