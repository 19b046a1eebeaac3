"""Attention distance, mutual information, entropy and head diversity."""

from collections.abc import Iterable

import pandas as pd
import torch
from torch import Tensor

from stages.analyses.contract import Analysis
from stages.analyses.settings import AnalysisSettings
from stages.data.arrays import Split
from stages.encoders.vit import DeepTrace

LARGE_EPSILON = 1e-4  # 10,000 times the authors' value, to check that their results do not depend on it


def measure(
    traces: Iterable[tuple[Tensor, DeepTrace]], *, settings: AnalysisSettings, patch_size: int, split: Split
) -> Iterable[pd.DataFrame]:
    """Yield attention distance, mutual information, entropy and diversity of every image, block and head.

    traces: image indices (B,) and traces
    yields: tables with the columns image, block (from 1), head (from 1), distance (px), nmi, entropy (nats),
            diversity (nats, of this head from the others; 0 for a single head), and these variants:
            distance_epsilon, nmi_epsilon  with LARGE_EPSILON
            distance_prefix                attention to prefix tokens counts as distance 0
            nmi_prefix                     prefix tokens count as queries and keys
    """
    for images, trace in traces:
        prefix = trace.num_prefix_tokens
        for block, attention in enumerate(trace.attention, start=1):
            patches = patch_attention(attention, prefix)
            softened = patch_attention(attention, prefix, LARGE_EPSILON)
            whole = attention.to(patches.dtype)
            entropy = attention_entropy(patches)
            measures = {  # (B, H) each
                "distance": attention_distance(patches, patch_size),
                "nmi": normalized_mutual_information(patches, entropy=entropy),
                "entropy": entropy,
                "diversity": head_diversity(patches, entropy=entropy),
                "distance_epsilon": attention_distance(softened, patch_size),
                "nmi_epsilon": normalized_mutual_information(softened),
                "distance_prefix": attention_distance(whole[:, :, prefix:, prefix:], patch_size),
                "nmi_prefix": normalized_mutual_information(whole),
            }
            batch, heads = measures["distance"].shape
            place = {
                "image": images.repeat_interleave(heads).numpy(),
                "block": block,
                "head": torch.arange(1, heads + 1).repeat(batch).numpy(),
            }
            values = {name: value.flatten().cpu().numpy() for name, value in measures.items()}
            yield pd.DataFrame(place | values)


def patch_attention(attention: Tensor, num_prefix_tokens: int = 1, eps: float = 1e-8) -> Tensor:
    """Return the attention among patches: drop prefix rows and columns, and normalise the rows.

    attention: (B, H, prefix+N, prefix+N)
    eps:       added to every weight, so that a query that attends only to the prefix gets a uniform row
    returns:   (B, H, N, N), float32 or wider; rows sum to 1
    Paper: Fig. 3, 4. The order of operations is that of the authors' notebook.
    """
    patches = attention[:, :, num_prefix_tokens:, num_prefix_tokens:]
    patches = patches.to(torch.promote_types(patches.dtype, torch.float32)) + eps
    return patches / patches.sum(dim=-1, keepdim=True)


def patch_positions(patches: int) -> Tensor:
    """Return row and column of each patch of a square grid in row-major order.

    returns: (N, 2)
    Raises ValueError if N is not a square number.
    """
    grid = round(patches**0.5)
    if grid * grid != patches:
        raise ValueError(f"{patches} patches do not make a square grid")
    steps = torch.arange(grid)
    return torch.cartesian_prod(steps, steps)


def attention_distance(attention: Tensor, patch_size: int) -> Tensor:
    """Return the mean distance in pixels between a query patch and the keys it attends to.

    attention: (B, H, N, N), N = h·h patches in row-major order; rows sum to 1, or to less if the rest counts
               as distance 0
    returns:   (B, H)
    Raises ValueError if N is not a square number.
    Paper: §2, Fig. 3.
    """
    positions = patch_positions(attention.shape[-1]).to(attention)  # (N, 2) row, column
    distance = patch_size * torch.cdist(positions, positions, compute_mode="donot_use_mm_for_euclid_dist")
    return torch.linalg.vecdot(attention, distance).mean(dim=-1)


def normalized_mutual_information(attention: Tensor, *, entropy: Tensor | None = None) -> Tensor:
    """Return the normalised mutual information of query and key, I(q; k) / sqrt(H(q) H(k)).

    attention: (B, H, N, N), p(k | q), rows sum to 1; queries are uniform
    entropy:   (B, H), its `attention_entropy`, if already computed
    returns:   (B, H), 0 if every query has the same attention ("collapse"), 1 if the key determines the
               query; 0 if either entropy is 0
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
    """Return the entropy of attention over the keys, -Σ A log A, mean over the queries.

    attention: (B, H, N, N), rows sum to 1
    returns:   (B, H), nats: 0 if each query attends to one key, log N if it attends to all keys equally
    Source: Clark et al. 2019 (What does BERT look at?), §3.3.
    """
    attention = attention.to(torch.promote_types(attention.dtype, torch.float32))
    return _entropy(attention).mean(dim=-1)


def head_diversity(attention: Tensor, *, entropy: Tensor | None = None) -> Tensor:
    """Return how much the attention of each head differs from that of the other heads of its block.

    attention: (B, H, N, N), rows sum to 1
    entropy:   (B, H), its `attention_entropy`, if already computed
    returns:   (B, H), nats: the Jensen–Shannon divergence between a query's attention in this head and in
               another, mean over the other heads and the queries; from 0 (equal heads) to log 2. A single
               head has 0. The mean over heads is the mean over pairs of heads.
    Source: Xie et al. 2023 (Revealing the Dark Secrets of MIM), here with a symmetric, bounded divergence.
    """
    attention = attention.to(torch.promote_types(attention.dtype, torch.float32))
    heads = attention.shape[1]
    if entropy is None:
        entropy = attention_entropy(attention)
    total = torch.zeros_like(entropy)
    # Pair by pair, because the mixtures of all pairs together take H times the memory of the attention.
    for first in range(heads):
        for second in range(first + 1, heads):
            mixture = (attention[:, first] + attention[:, second]) / 2  # (B, N, N)
            mixed = _entropy(mixture).mean(dim=-1)
            divergence = (mixed - (entropy[:, first] + entropy[:, second]) / 2).clamp(min=0)
            total[:, first] += divergence
            total[:, second] += divergence
    return total / max(heads - 1, 1)


def _entropy(probabilities: Tensor) -> Tensor:
    """Return -Σ p log p over the last dimension, with 0 log 0 = 0; twice as fast as `torch.special.entr`."""
    tiny = torch.finfo(probabilities.dtype).tiny
    return -torch.linalg.vecdot(probabilities, probabilities.clamp(min=tiny).log_())


ANALYSIS = Analysis(measure, reads_attention=True)
