"""Attention with a relative position bias."""

from typing import Any

import torch
from timm.layers import Attention, RelPosBias, maybe_add_mask
from torch import Tensor


class RelativeAttention(Attention):
    """Attention with a learned bias for each head and each displacement between two patches.

    grid: patches along a side; the class token has three further biases: to it, from it, and to itself
    All biases start at zero. The tables of BEiT and SimMIM fit.
    Source: Bao et al. 2022 (BEiT) and Xie et al. 2022 (SimMIM).
    """

    def __init__(self, dim: int, *, num_heads: int, grid: int, **settings: Any) -> None:
        super().__init__(dim, num_heads=num_heads, **settings)
        self.position = RelPosBias(window_size=(grid, grid), num_heads=num_heads, prefix_tokens=1)
        torch.nn.init.zeros_(self.position.relative_position_bias_table)

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """Attend with the bias added to the scores; (B, 1+N, D) -> (B, 1+N, D)."""
        bias = self.position.get_bias()  # (1, H, 1+N, 1+N)
        return super().forward(x, attn_mask=maybe_add_mask(bias, attn_mask), is_causal=is_causal)
