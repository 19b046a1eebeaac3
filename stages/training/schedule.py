"""Schedules of the learning rate, the weight decay and the momentum of a copy of the encoder."""

import math


def learning_rate(
    step: int,
    *,
    peak: float,
    warmup_steps: int,
    total_steps: int,
    minimum: float = 0.0,
    milestone: float | None = None,
) -> float:
    """Return the learning rate: linear warm-up to the peak, then half a cosine to the minimum, or a step.

    step:      number of the next step, from 0
    milestone: share of the whole training after which the rate is a tenth of the peak; None: the cosine
    Source: Loshchilov & Hutter 2017, Eq. 5 without restarts; Goyal et al. 2017, §2.2; for the milestone, the
    public configuration of SimMIM.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if milestone is not None:
        return peak if step < round(milestone * total_steps) else 0.1 * peak
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return minimum + (peak - minimum) * (1 + math.cos(math.pi * progress)) / 2


def rising_weight_decay(progress: float, *, start: float, end: float) -> float:
    """Return the weight decay, which moves from start to end along half a cosine.

    progress: share of the training done, 0 to 1
    Source: Caron et al. 2021 (DINO), §3.2 "Implementation details".
    """
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def copy_momentum(progress: float, *, start: float) -> float:
    """Return the momentum of the moving average, which rises from start to 1 along half a cosine.

    progress: share of the training done, 0 to 1
    Source: Grill et al. 2020 (BYOL), §3 "Implementation details"; adopted by MoCo v3 and DINO.
    """
    return 1 - (1 - start) * (1 + math.cos(math.pi * progress)) / 2
