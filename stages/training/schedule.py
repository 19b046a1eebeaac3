"""How the learning rate and the momentum of a slow copy move over a training."""

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


def copy_momentum(progress: float, *, start: float) -> float:
    """What a slow copy keeps of itself at a step: rises along half a cosine from the start to 1.

    progress: share of the training done, 0 to 1
    Source: Grill et al. 2020 (BYOL), §3 "Implementation details"; MoCo v3 and DINO take it over.
    """
    return 1 - (1 - start) * (1 + math.cos(math.pi * progress)) / 2
