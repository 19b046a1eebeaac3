"""Build, run, save and load the decoder of a masked autoencoder.

Linear layers have Xavier initialisation, and the mask token has a standard deviation of 0.02.
Source: He et al. 2022 (MAE), §3 "MAE decoder", and its public configuration.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from stages.encoders.architecture import sincos_positions
from stages.study.errors import StudyError
from stages.study.paths import writing

FILE = "decoder.safetensors"


class Decoder(nn.Module):
    """A small ViT that predicts the pixels of all patches from the encoded visible patches."""

    positions: Tensor

    def __init__(
        self, *, grid: int, patch_size: int, encoder_width: int, width: int, depth: int, heads: int
    ) -> None:
        super().__init__()
        self.heads = heads
        self.embed = nn.Linear(encoder_width, width)
        self.mask_token = nn.Parameter(nn.init.normal_(torch.empty(width), std=0.02))
        positions = torch.cat([torch.zeros(1, width), sincos_positions(grid, width)])  # class token first
        self.register_buffer("positions", positions)
        self.blocks = nn.ModuleList(Block(width, heads, qkv_bias=True) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pixels = nn.Linear(width, patch_size**2 * 3)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, encoded: Tensor, visible: Tensor) -> Tensor:
        """Predict the pixels (B, N, p·p·3) of all patches; for the arguments see `tokens`."""
        return self.pixels(self.norm(self.tokens(encoded, visible)[-1])[:, 1:])

    def tokens(self, encoded: Tensor, visible: Tensor) -> list[Tensor]:
        """Return the tokens at every depth of the decoder.

        encoded: (B, 1+n, encoder width), the class token and the visible patches, from `encode_visible`
        visible: (B, n) indices of the visible patches
        returns: depth+1 tensors (B, 1+N, width): after embedding, then after each block; no final norm
        """
        class_token, seen = self.embed(encoded).split([1, visible.shape[1]], dim=1)
        hidden = self.mask_token.to(seen.dtype).expand(len(seen), len(self.positions) - 1, -1)
        patches = hidden.scatter(1, visible[:, :, None].expand_as(seen), seen)
        tokens = [torch.cat([class_token, patches], dim=1) + self.positions]
        for block in self.blocks:
            tokens.append(block(tokens[-1]))
        return tokens


def save_decoder(directory: Path, decoder: Decoder) -> None:
    """Write a decoder beside its encoder; its tensors and its number of heads define all its sizes."""
    heads = torch.tensor(decoder.heads)
    weights = {name: value.detach().cpu().clone() for name, value in decoder.state_dict().items()}
    with writing(directory / FILE) as temporary:
        save_file(weights | {"heads": heads}, temporary)


def load_decoder(directory: Path) -> Decoder | None:
    """Load the decoder beside an encoder, in evaluation mode; return None if there is none.

    Raises StudyError if the file is not a complete decoder.
    """
    if not (directory / FILE).exists():
        return None
    try:
        weights = load_file(directory / FILE)
        width, encoder_width = weights["embed.weight"].shape
        decoder = Decoder(
            grid=round((len(weights["positions"]) - 1) ** 0.5),
            patch_size=round((len(weights["pixels.bias"]) / 3) ** 0.5),
            encoder_width=encoder_width,
            width=width,
            depth=sum(name.endswith(".norm1.weight") for name in weights),
            heads=int(weights.pop("heads")),
        )
        decoder.load_state_dict(weights)
    except (OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise StudyError(
            f"{directory / FILE}: not a complete decoder ({error}); run `dvc repro` to make it"
        ) from None
    return decoder.eval()
