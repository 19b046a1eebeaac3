"""Where attention goes: how far, how widely, whether it depends on the query, and on the head, at all."""

from collections.abc import Iterable

import pandas as pd
import torch
from torch import Tensor

from stages.analyses.contract import Analysis
from stages.analyses.settings import AnalysisSettings
from stages.data.arrays import Split
from stages.encoders.vit import DeepTrace

LARGE_EPSILON = 1e-4  # ten thousand times the authors': does what they found depend on it?


def measure(
    traces: Iterable[tuple[Tensor, DeepTrace]], *, settings: AnalysisSettings, patch_size: int, split: Split
) -> Iterable[pd.DataFrame]:
    """Attention distance, mutual information, entropy and diversity of every image, block and head.

    traces: image indices (B,) and what passes through the encoder
    yields: tables with the columns image, block (from 1), head (from 1), distance (px), nmi, entropy (nats),
            diversity (nats, of this head from the others; 0 if there are none), and of distance and nmi, as a
            reader could have had them otherwise,
            distance_epsilon, nmi_epsilon  with LARGE_EPSILON
            distance_prefix                what goes to prefix tokens goes no distance, as they have no place
            nmi_prefix                     prefix tokens are queries and keys like patches
    """
    for images, trace in traces:
        prefix = trace.num_prefix_tokens
        for block, attention in enumerate(trace.attention, start=1):
            patches = patch_attention(attention, prefix)
            softened = patch_attention(attention, prefix, LARGE_EPSILON)
            whole = attention.to(patches.dtype)
            entropy = attention_entropy(patches)
            found = {  # (B, H) each
                "distance": attention_distance(patches, patch_size),
                "nmi": normalized_mutual_information(patches, entropy=entropy),
                "entropy": entropy,
                "diversity": head_diversity(patches, entropy=entropy),
                "distance_epsilon": attention_distance(softened, patch_size),
                "nmi_epsilon": normalized_mutual_information(softened),
                "distance_prefix": attention_distance(whole[:, :, prefix:, prefix:], patch_size),
                "nmi_prefix": normalized_mutual_information(whole),
            }
            batch, heads = found["distance"].shape
            place = {
                "image": images.repeat_interleave(heads).numpy(),
                "block": block,
                "head": torch.arange(1, heads + 1).repeat(batch).numpy(),
            }
            yield pd.DataFrame(place | {name: value.flatten().cpu().numpy() for name, value in found.items()})


def patch_attention(attention: Tensor, num_prefix_tokens: int = 1, eps: float = 1e-8) -> Tensor:
    """Attention among patches alone: prefix rows and columns dropped, rows summing to 1 again.

    attention: (B, H, prefix+N, prefix+N)
    eps:       added to every weight, so that a row that looks only at the prefix becomes uniform
    returns:   (B, H, N, N), float32 or wider
    Paper: Fig. 3, 4; the order of operations is that of the authors' notebook.
    """
    patches = attention[:, :, num_prefix_tokens:, num_prefix_tokens:]
    patches = patches.to(torch.promote_types(patches.dtype, torch.float32)) + eps
    return patches / patches.sum(dim=-1, keepdim=True)


def patch_positions(patches: int) -> Tensor:
    """Row and column of each patch of a square grid in row-major order.

    returns: (N, 2)
    Raises ValueError if N is not a square number.
    """
    grid = round(patches**0.5)
    if grid * grid != patches:
        raise ValueError(f"{patches} patches do not make a square grid")
    steps = torch.arange(grid)
    return torch.cartesian_prod(steps, steps)


def attention_distance(attention: Tensor, patch_size: int) -> Tensor:
    """Mean distance in pixels between a query patch and the keys it attends to.

    attention: (B, H, N, N), N = h·h patches in row-major order; rows sum to 1, or to less where the rest
               goes no distance
    returns:   (B, H)
    Raises ValueError if N is not a square number.
    Paper: §2, Fig. 3.
    """
    positions = patch_positions(attention.shape[-1]).to(attention)  # (N, 2) row, column
    distance = patch_size * torch.cdist(positions, positions, compute_mode="donot_use_mm_for_euclid_dist")
    return torch.linalg.vecdot(attention, distance).mean(dim=-1)


def normalized_mutual_information(attention: Tensor, *, entropy: Tensor | None = None) -> Tensor:
    """How much a key tells of its query: I(q; k) / sqrt(H(q) H(k)), queries uniform.

    attention: (B, H, N, N), rows sum to 1, p(k | q)
    entropy:   (B, H), its `attention_entropy`, where that is known already
    returns:   (B, H), 0 where every query has the same attention ("collapse"), 1 where the keys tell the
               query; 0 where either entropy is 0
    Paper: §2, Fig. 4.
    """
    attention = attention.to(torch.promote_types(attention.dtype, torch.float32))
    queries = attention.shape[-2]
    marginal = attention.mean(dim=-2)  # (B, H, N), p(k)
    key_entropy = _entropy(marginal)
    # I(q; k) = H(k) - H(k | q)
    conditional = attention_entropy(attention) if entropy is None else entropy
    query_entropy = torch.log(torch.tensor(float(queries), dtype=attention.dtype, device=attention.device))
    scale = (query_entropy * key_entropy).sqrt()
    information = (key_entropy - conditional).clamp(min=0)
    return torch.where(scale > 0, information / scale.clamp(min=torch.finfo(scale.dtype).tiny), 0.0)


def attention_entropy(attention: Tensor) -> Tensor:
    """How widely a query spreads its attention: -Σ A log A over the keys, mean over the queries.

    attention: (B, H, N, N), rows sum to 1
    returns:   (B, H), nats: 0 where each query attends to one key, log N where it attends to all alike
    Source: Clark et al. 2019 (What does BERT look at?), §3.3.
    """
    attention = attention.to(torch.promote_types(attention.dtype, torch.float32))
    return _entropy(attention).mean(dim=-1)


def head_diversity(attention: Tensor, *, entropy: Tensor | None = None) -> Tensor:
    """How unlike the attention of a head is to that of the other heads of its block.

    attention: (B, H, N, N), rows sum to 1
    entropy:   (B, H), its `attention_entropy`, where that is known already
    returns:   (B, H), nats: the Jensen-Shannon divergence of a query's attention in this head and in
               another, mean over the other heads and the queries; 0 where all heads attend alike, at most
               log 2; 0 for a head that is alone. Its mean over heads is the mean over pairs of heads.
    Source: Xie et al. 2023 (Revealing the Dark Secrets of MIM), with the symmetric, bounded divergence.
    """
    attention = attention.to(torch.promote_types(attention.dtype, torch.float32))
    heads = attention.shape[1]
    if entropy is None:
        entropy = attention_entropy(attention)
    total = torch.zeros_like(entropy)
    # Pair by pair: the mixtures of all pairs at once would take H times the memory of the attention.
    for first in range(heads):
        for second in range(first + 1, heads):
            mixture = (attention[:, first] + attention[:, second]) / 2  # (B, N, N)
            mixed = _entropy(mixture).mean(dim=-1)
            divergence = (mixed - (entropy[:, first] + entropy[:, second]) / 2).clamp(min=0)
            total[:, first] += divergence
            total[:, second] += divergence
    return total / max(heads - 1, 1)


def _entropy(probabilities: Tensor) -> Tensor:
    """-Σ p log p over the last dimension, where 0 log 0 = 0; half the time of `torch.special.entr`."""
    tiny = torch.finfo(probabilities.dtype).tiny
    return -torch.linalg.vecdot(probabilities, probabilities.clamp(min=tiny).log_())


ANALYSIS = Analysis(measure, reads_attention=True)
