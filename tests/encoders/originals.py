"""The encoders of the original projects written out, with the names their files use, and such files."""

import sys
from argparse import Namespace
from types import ModuleType

import numpy as np
import torch
from torch import nn

WIDTH, DEPTH, HEADS, PATCH, SIZE = 48, 3, 4, 8, 32


class Attention(nn.Module):
    """Each head on its own; the query is scaled, a bias comes before the softmax."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def projected(self, tokens):
        return self.qkv(tokens)

    def forward(self, tokens, bias):
        query, key, value = self.projected(tokens).chunk(3, dim=-1)
        size = query.shape[-1] // self.heads
        maps, answers = [], []
        for head in range(self.heads):
            part = slice(head * size, (head + 1) * size)
            scores = torch.einsum("bqd,bkd->bqk", query[..., part] / size**0.5, key[..., part])
            maps.append(torch.softmax(scores + bias[head], dim=-1))
            answers.append(maps[-1] @ value[..., part])
        return self.proj(torch.cat(answers, dim=-1)), torch.stack(maps, dim=1)


class TwoBiasAttention(Attention):
    """SimMIM's: biases of query and value are parameters of their own, the key has none."""

    def __init__(self, width, heads):
        super().__init__(width, heads)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))

    def projected(self, tokens):
        none = torch.zeros_like(self.q_bias)
        return self.qkv(tokens) + torch.cat([self.q_bias, none, self.v_bias])


class Mlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens):
        return self.fc2(nn.functional.gelu(self.fc1(tokens)))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width)

    def forward(self, tokens, bias):
        answer, attention = self.attn(self.norm1(tokens), bias)
        tokens = tokens + answer
        return tokens + self.mlp(self.norm2(tokens)), attention


class ScaledBlock(Block):
    """SimMIM's: what each half adds is scaled channel by channel."""

    def __init__(self, width, heads):
        super().__init__(width, heads)
        self.attn = TwoBiasAttention(width, heads)
        self.gamma_1 = nn.Parameter(torch.ones(width))
        self.gamma_2 = nn.Parameter(torch.ones(width))

    def forward(self, tokens, bias):
        answer, attention = self.attn(self.norm1(tokens), bias)
        tokens = tokens + self.gamma_1 * answer
        return tokens + self.gamma_2 * self.mlp(self.norm2(tokens)), attention


class PatchEmbed(nn.Module):
    def __init__(self, width, patch):
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, stride=patch)


class Encoder(nn.Module):
    """MoCo v3, MAE, DINO and timm: a class token, absolute positions, a final norm."""

    block = Block

    def __init__(self, width=WIDTH, depth=DEPTH, heads=HEADS, patch=PATCH, size=SIZE):
        super().__init__()
        self.grid, self.heads = size // patch, heads
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.add_positions(width)
        self.patch_embed = PatchEmbed(width, patch)
        self.blocks = nn.ModuleList([self.block(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def add_positions(self, width):
        self.pos_embed = nn.Parameter(torch.zeros(1, self.grid**2 + 1, width))

    def positioned(self, tokens):
        return tokens + self.pos_embed

    def biases(self, block):
        return torch.zeros(self.heads, 1, 1)

    def forward(self, images):
        """L+1 tensors of tokens, L of attention, and the final features."""
        patches = self.patch_embed.proj(images).flatten(2).transpose(1, 2)
        tokens = [self.positioned(torch.cat([self.cls_token.expand(len(images), -1, -1), patches], dim=1))]
        maps = []
        for index, block in enumerate(self.blocks):
            after, attention = block(tokens[-1], self.biases(index))
            tokens.append(after)
            maps.append(attention)
        return tokens, maps, self.norm(tokens[-1])


class Positions(nn.Module):
    """SimMIM's table of displacements, and the index into it that its files hold as well."""

    def __init__(self, grid, heads):
        super().__init__()
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * grid - 1) ** 2 + 3, heads))
        self.register_buffer("relative_position_index", displacements(grid))

    def bias(self):
        return self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)


def displacements(grid):
    """Row of the table for each query and key, by counting; the last three rows are the class token's."""
    side = 2 * grid - 1
    index = torch.zeros(grid**2 + 1, grid**2 + 1, dtype=torch.long)
    for query in range(grid**2):
        for key in range(grid**2):
            down, right = query // grid - key // grid, query % grid - key % grid
            index[query + 1, key + 1] = (down + grid - 1) * side + right + grid - 1
    index[0, 1:], index[1:, 0], index[0, 0] = side**2, side**2 + 1, side**2 + 2
    return index


class SharedEncoder(Encoder):
    """SimMIM in pre-training: no absolute positions, one relative bias for all blocks."""

    block = ScaledBlock

    def add_positions(self, width):
        self.rel_pos_bias = Positions(self.grid, self.heads)

    def positioned(self, tokens):
        return tokens

    def biases(self, block):
        return self.rel_pos_bias.bias()


class FineTunedSimmim(SharedEncoder):
    """SimMIM fine-tuned: a table in every block, and the norm after the mean over the patches."""

    def __init__(self):
        super().__init__()
        self.fc_norm = self.norm
        del self.norm, self.rel_pos_bias
        for block in self.blocks:
            positions = Positions(self.grid, self.heads)
            block.attn.relative_position_bias_table = positions.relative_position_bias_table
            block.attn.register_buffer("relative_position_index", positions.relative_position_index)

    def biases(self, block):
        attention = self.blocks[block].attn
        return attention.relative_position_bias_table[attention.relative_position_index].permute(2, 0, 1)

    def forward(self, images):
        self.norm = nn.Identity()
        return super().forward(images)


def filled(encoder, seed=0):
    """The same encoder with every parameter far from what it is initialised with."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if ("norm" in name and name.endswith("weight")) or "gamma" in name:
                parameter.copy_(1 + 0.3 * noise)
            elif parameter.dim() > 1 and "weight" in name:
                parameter.copy_(1.5 * noise / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_(0.5 * noise)
    return encoder.eval()


def prefixed(encoder, prefix):
    return {prefix + name: value for name, value in encoder.state_dict().items()}


def head(prefix, width=WIDTH):
    """Some of a projector, which no encoder has."""
    return {f"{prefix}0.weight": torch.ones(8, width), f"{prefix}1.running_mean": torch.ones(8)}


def moco_v3(encoder):
    other = {name: value + 1 for name, value in prefixed(encoder, "module.momentum_encoder.").items()}
    weights = prefixed(encoder, "module.base_encoder.") | head("module.base_encoder.head.")
    return {
        "epoch": 300,
        "arch": "vit_base",
        "state_dict": weights | other | head("module.momentum_encoder.head.") | head("module.predictor."),
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        "scaler": {"scale": 65536.0},
    }


def moco_v3_linear(encoder):
    weights = prefixed(encoder, "module.") | {"module.head.weight": torch.ones(10, WIDTH)}
    return {"epoch": 90, "arch": "vit_base", "state_dict": weights, "best_acc1": torch.tensor(76.7)}


def simmim(encoder):
    extra = {"encoder.mask_token": torch.ones(1, 1, WIDTH), "decoder.0.weight": torch.ones(8, WIDTH, 1, 1)}
    return {
        "model": prefixed(encoder, "encoder.") | extra | {"decoder.0.bias": torch.ones(8)},
        "optimizer": {"state": {}, "param_groups": []},
        "lr_scheduler": {"base_values": [1e-4]},
        "max_accuracy": 0.0,
        "epoch": 799,
        "config": yacs_config(),
    }


def simmim_finetuned(encoder):
    weights = prefixed(encoder, "") | {"head.weight": torch.ones(10, WIDTH), "head.bias": torch.ones(10)}
    return {"model": weights, "max_accuracy": np.float64(83.8), "epoch": 99}


class MaeDecoder(nn.Module):
    """MAE's: what is hidden is a mask token, and everything has a position of its own width."""

    def __init__(self, width=32, depth=2, heads=16, grid=SIZE // PATCH):
        super().__init__()
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_embed = nn.Linear(WIDTH, width)
        self.decoder_pos_embed = nn.Parameter(torch.zeros(1, grid**2 + 1, width))
        self.decoder_blocks = nn.ModuleList([Block(width, heads) for _ in range(depth)])
        self.decoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.decoder_pred = nn.Linear(width, PATCH**2 * 3)

    def forward(self, latent, restore):
        """latent: (B, 1+n, D) of what is visible; restore: (B, N), the place of each patch in it."""
        seen = self.decoder_embed(latent)
        hidden = self.mask_token.expand(len(seen), restore.shape[1] + 1 - seen.shape[1], -1)
        patches = torch.cat([seen[:, 1:], hidden], dim=1)
        patches = torch.stack([row[order] for row, order in zip(patches, restore, strict=True)])
        tokens = [torch.cat([seen[:, :1], patches], dim=1) + self.decoder_pos_embed]
        for block in self.decoder_blocks:
            tokens.append(block(tokens[-1], torch.zeros(16, 1, 1))[0])
        return tokens, self.decoder_pred(self.decoder_norm(tokens[-1]))[:, 1:]


def mae(encoder):
    weights = prefixed(encoder, "") | prefixed(filled(MaeDecoder(), seed=1), "")
    return {"model": weights, "args": Namespace(lr=1e-4, output_dir="out"), "epoch": 1}


def mae_encoder_alone(encoder):
    return {"model": prefixed(encoder, "")}


def dino(encoder):
    student = {name: value + 1 for name, value in prefixed(encoder, "module.backbone.").items()}
    return {
        "student": student | head("module.head.mlp."),
        "teacher": prefixed(encoder, "backbone.") | head("head.mlp."),
        # The rates come from a schedule that numpy computed.
        "optimizer": {"state": {}, "param_groups": [{"lr": np.float64(1e-3), "params": [0]}]},
        "epoch": 100,
        "args": Namespace(arch="vit_small", patch_size=16),
        "fp16_scaler": {"scale": 65536.0},
        "dino_loss": {"center": torch.ones(1, 8)},
    }


def dino_distributed(encoder):
    return {"teacher": prefixed(encoder, "module.backbone.") | head("module.head.mlp.")}


def alone(encoder):
    return prefixed(encoder, "")


TRANSFORMERS = (
    ("cls_token", "embeddings.cls_token"),
    ("pos_embed", "embeddings.position_embeddings"),
    ("patch_embed.proj.", "embeddings.patch_embeddings.projection."),
    (".attn.proj.", ".attention.output.dense."),
    (".norm1.", ".layernorm_before."),
    (".norm2.", ".layernorm_after."),
    (".mlp.fc1.", ".intermediate.dense."),
    (".mlp.fc2.", ".output.dense."),
    ("blocks.", "encoder.layer."),
)


def transformers(encoder, *, prefix="", kind="vit"):
    """The names of Hugging Face's transformers: query, key and value lie apart; Dinov2 renames less."""
    shared_names = (".norm1.", ".norm2.", ".mlp.fc1.", ".mlp.fc2.") if kind == "dinov2" else ()
    tensors = {"embeddings.mask_token": torch.zeros(1, 1, WIDTH)}
    for name, value in encoder.state_dict().items():
        name = f"layernorm.{name.removeprefix('norm.')}" if name.startswith("norm.") else name
        for ours, theirs in TRANSFORMERS:
            name = name if ours in shared_names else name.replace(ours, theirs)
        if ".attn.qkv." in name:
            for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                tensors[name.replace(".attn.qkv.", f".attention.attention.{part}.")] = third.contiguous()
        else:
            tensors[name] = value
    return {prefix + name: value for name, value in tensors.items()}


def timm_with_head(encoder):
    return prefixed(encoder, "") | {"head.weight": torch.ones(10, WIDTH), "head.bias": torch.ones(10)}


def yacs_config():
    """A configuration of yacs, which need not be installed where the file is read."""
    module = sys.modules.setdefault("yacs.config", ModuleType("yacs.config"))
    sys.modules.setdefault("yacs", ModuleType("yacs"))
    kind = type("CfgNode", (dict,), {"__module__": "yacs.config"})
    module.CfgNode = kind
    config, inner = kind(TYPE="vit"), kind(EMBED_DIM=WIDTH)
    inner.__dict__["__immutable__"] = config.__dict__["__immutable__"] = True
    config["VIT"] = inner
    return config


def save(content, path):
    """As torch.save, after which yacs is gone again."""
    torch.save(content, path)
    for name in ("yacs", "yacs.config"):
        sys.modules.pop(name, None)
    return path
