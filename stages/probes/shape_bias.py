"""Does a linear probe follow shape or texture, where it was never told which of them to follow?

It is trained on the images whose shape and texture agree, as one class each, and shown images in which they
differ, as the cue conflicts of Geirhos et al. 2019, "ImageNet-trained CNNs are biased towards texture".
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
    """The class that the probe sees in each test image, with the pooling that it chose.

    train, test:    pooling -> (n, D); shape, texture: (n,) of the training images
    returns:        (n,), or None if fewer than two training images a class have cues that agree
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
