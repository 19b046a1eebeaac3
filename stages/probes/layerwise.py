"""Linear probe of every block: where in its depth an encoder has what a class needs.

All blocks and learning rates are trained at once by the linear probe's own optimisation, on the mean of the
patch tokens before any norm; block 0 is the embedding. Each block has the learning rate that is best for it,
and the block that is best on the held-out part of the training set is the one whose accuracy is reported.
Paper: Fig. 10.
"""

from torch import Generator, Tensor

from stages.probes import linear
from stages.probes.contract import Features, Outcome, Probe
from stages.probes.settings import Layerwise


def protocol(settings: Layerwise) -> str:
    """The protocol in words, to stand beside every number."""
    return (
        "linear head on the mean patch token after every block, standardised, "
        f"SGD {settings.epochs} epochs, batch {settings.batch_size}, cosine, {len(settings.learning_rates)} "
        f"learning rates; learning rate of each block, and the best block, chosen on "
        f"{settings.validation_fraction:.0%} of the training images, heads trained on the rest"
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
    returns:     block -> predicted (n,), block -> validation accuracy, what was chosen
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
