"""How the learning rate moves over a training."""

import math


def learning_rate(step: int, *, peak: float, warmup_steps: int, total_steps: int) -> float:
    """Linear warm-up to the peak, then half a cosine to zero.

    step: the step about to be taken, from 0
    Source: Loshchilov & Hutter 2017, Eq. 5 without restarts; Goyal et al. 2017, §2.2.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * progress)) / 2
