"""Linear probe of every block.

The optimisation is that of the linear probe, for all blocks and learning rates together. Features are the
mean of the patch tokens, before any norm; block 0 is the embedding. Each block has its best learning rate.
The reported accuracy is that of the best block on the held-out part of the training set.
Paper: Fig. 10.
"""

from torch import Generator, Tensor

from stages.probes import linear
from stages.probes.contract import Features, Outcome, Probe
from stages.probes.settings import Layerwise


def protocol(settings: Layerwise) -> str:
    """Return the protocol in words, as printed beside every number."""
    return (
        "linear head on the mean patch token after every block, standardised, "
        f"SGD, {settings.epochs} epochs, batch {settings.batch_size}, cosine schedule, "
        f"{len(settings.learning_rates)} learning rates; learning rate of each block and best block chosen "
        f"on {settings.validation_fraction:.0%} of the training images, heads trained on the rest"
    )


def fit_predict(
    train: Features,
    labels: Tensor,
    test: Features,
    *,
    classes: int,
    settings: Layerwise,
    generator: Generator,
) -> Outcome:
    """Predict the test images from each block.

    train, test: block -> (n, D); labels: (n,) of the training images
    returns:     block -> predicted (n,), block -> validation accuracy, the chosen learning rates
    """
    blocks = sorted(train, key=int)
    return linear.fit_predict(
        {block: train[block] for block in blocks},
        labels,
        test,
        classes=classes,
        settings=settings,
        generator=generator,
    )


PROBE = Probe(reads="blocks", varies="block", protocol=protocol, fit_predict=fit_predict)
