"""A ViT written out from its weights, for the tests that compute a whole loss in another way."""

import torch
import torch.nn.functional as F


def run_blocks(blocks, tokens):
    """Pre-norm blocks without dropout. tokens: (T, D) of one image"""
    for block in blocks:
        normed = layer_norm(tokens, block.norm1)
        query, key, value = F.linear(normed, block.attn.qkv.weight, block.attn.qkv.bias).chunk(3, dim=1)
        heads, width = block.attn.num_heads, tokens.shape[1] // block.attn.num_heads
        answers = []
        for head in range(heads):
            q, k, v = (part[:, head * width : (head + 1) * width] for part in (query, key, value))
            answers.append((q @ k.T / width**0.5).softmax(dim=1) @ v)
        answer = sum(
            part @ block.attn.proj.weight[:, i * width : (i + 1) * width].T for i, part in enumerate(answers)
        )
        tokens = tokens + answer + block.attn.proj.bias
        hidden = F.gelu(layer_norm(tokens, block.norm2) @ block.mlp.fc1.weight.T + block.mlp.fc1.bias)
        tokens = tokens + hidden @ block.mlp.fc2.weight.T + block.mlp.fc2.bias
    return tokens


def layer_norm(tokens, norm):
    centred = tokens - tokens.mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True) + 1e-6).sqrt() * norm.weight + norm.bias


def patches_of(image, size):
    """The patches of one image (3, S, S), row by row, each (3, size, size)."""
    steps = range(0, image.shape[1], size)
    return [image[:, row : row + size, column : column + size] for row in steps for column in steps]


def patch_tokens(encoder, image):
    """The linear projection of each patch of one image (3, S, S), without positions."""
    weight, bias = encoder.patch_embed.proj.weight.flatten(1), encoder.patch_embed.proj.bias
    return [weight @ patch.flatten() + bias for patch in patches_of(image, encoder.patch_embed.patch_size[0])]


def plain_targets(images, window):
    """Each pixel of images (B, 3, S, S) less the mean of the window around it, over the deviation there."""
    if window is None:
        return images
    reach, size, targets = window // 2, images.shape[-1], torch.empty_like(images)
    for row in range(size):
        for column in range(size):
            near = images[..., max(0, row - reach) : row + reach + 1, max(0, column - reach) :][
                ..., : min(column, reach) + reach + 1
            ].flatten(2)
            deviation = (near.var(dim=2, correction=0) + 1e-6).sqrt()
            targets[..., row, column] = (images[..., row, column] - near.mean(dim=2)) / deviation
    return targets
