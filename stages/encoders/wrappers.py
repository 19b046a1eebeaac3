"""Find the encoder in a checkpoint, whatever wraps it, and choose among several encoders."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor

# Tensors of every ViT, in the names of timm and transformers. A single one marks an encoder, so that an
# encoder with a missing tensor is reported instead of skipped.
MARKS = (
    "patch_embed.proj.weight",
    "blocks.0.norm1.weight",
    "blocks.0.attn.qkv.weight",
    "embeddings.patch_embeddings.projection.weight",
)
COPIES = ("teacher", "target", "ema")  # moving averages, which all methods but MoCo evaluate
OTHERS = ("student", "predictor", "momentum", "decoder")
# Parts that torch.compile and FSDP insert into names.
INSIDE = re.compile(r"(^|\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.)")


# Typical names in other projects' encoders, which timm can convert.
ELSEWHERE = {
    "conv_proj.weight": "torchvision",
    "visual.conv1.weight": "OpenAI's CLIP",
    "vision_model.embeddings.patch_embedding.weight": "CLIP or SigLIP of transformers",
    "patch_embed.projection.weight": "mmpretrain",
    "layer1.0.conv1.weight": "a ResNet",
}


class Wrapped(NamedTuple):
    """One encoder in a checkpoint."""

    entry: str  # keys that lead to the tensors, e.g. teacher or state_dict; empty at the top level
    prefix: str  # prefix of the names, as in the file
    tensors: dict[str, Tensor]  # by name without the prefix

    @property
    def name(self) -> str:
        """Return the encoder's name for messages."""
        return " ".join(part for part in (self.entry, self.prefix.rstrip(".")) if part)


def encoders_in(content: Any) -> list[Wrapped]:
    """Return every ViT in a checkpoint, in the order of the file."""
    return [
        Wrapped(entry, prefix, _within(tensors, prefix))
        for entry, tensors in _groups(content)
        for prefix in dict.fromkeys(
            name.removesuffix(mark)
            for name in tensors
            for mark in MARKS
            if name.endswith(mark) and (name == mark or name.removesuffix(mark)[-1] == ".")
        )
    ]


def choose(encoders: list[Wrapped], *, online: bool) -> Wrapped:
    """Return the encoder that the method's authors evaluate.

    online: choose the trained encoder (MoCo v3) rather than its moving average, teacher or target
    """

    def rank(encoder: Wrapped) -> int:
        words = re.split(r"[._/ ]", f"{encoder.entry}.{encoder.prefix}")
        trained = not any(word in words for word in OTHERS)
        copied = any(word in words for word in COPIES)
        if online:
            return 0 if trained and not copied else 1
        return 0 if copied and trained else 1 if trained else 2

    return min(encoders, key=rank)


def _groups(content: Any, path: str = "", depth: int = 3) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield every group of named tensors, with the keys that lead to it."""
    if not isinstance(content, Mapping):
        return
    tensors = {f"{name}": value for name, value in content.items() if isinstance(value, Tensor)}
    if tensors:
        yield path, tensors
    if depth:
        for name, value in content.items():
            if isinstance(name, str) and isinstance(value, Mapping):
                yield from _groups(value, f"{path}/{name}" if path else name, depth - 1)


def _within(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        INSIDE.sub("", name.removeprefix(prefix)).lstrip("."): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def project_of(encoder: Wrapped) -> str | None:
    """Return the format of a checkpoint if its names identify it, otherwise None."""
    names = list(encoder.tensors)
    if "base_encoder" in encoder.prefix.split("."):
        return "moco_v3"
    if any(name.endswith("relative_position_bias_table") for name in names):
        return "simmim"
    if any(name.startswith("decoder_pred.") for name in names):
        return "mae"
    if any(name.startswith("embeddings.patch_embeddings.") for name in names):
        return "transformers"
    return None


def inside(content: object) -> str:
    """Describe the content of a file without a known ViT, and say what to do."""
    names: list[str] = []
    waiting = [content]
    while waiting and len(names) < 10_000:
        value = waiting.pop(0)
        if isinstance(value, dict):
            names += [str(name) for name in value]
            waiting += [inner for inner in value.values() if isinstance(inner, dict)]
    for ending, project in ELSEWHERE.items():
        if any(name.endswith(ending) for name in names):
            if project == "a ResNet":
                return "a ResNet, but only ViTs are supported; choose another checkpoint"
            return (
                f"its names come from {project}; load it into timm's vit_*, save its state_dict() as "
                "safetensors, and set format: timm"
            )
    return f"no patch_embed.proj.weight among its names: {listed(names) or 'none'}; check the file"


def listed(names: Iterable[str], most: int = 8) -> str:
    """Return the first names in words, with the number of further names."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
