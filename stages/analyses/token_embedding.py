"""Clustering of tokens by image: silhouettes of all images, and a t-SNE plane of a few."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_samples
from threadpoolctl import threadpool_limits
from torch import Tensor

from stages.analyses.contract import Analysis
from stages.analyses.settings import AnalysisSettings
from stages.data.arrays import Split
from stages.encoders.vit import DeepTrace
from stages.study.errors import StudyError


def measure(
    traces: Iterable[tuple[Tensor, DeepTrace]], *, settings: AnalysisSettings, patch_size: int, split: Split
) -> Iterable[pd.DataFrame]:
    """Yield silhouettes of the last block's patch tokens by image and by class, and a t-SNE of a few images.

    traces: image indices (B,) and traces
    split:  its first label set defines the classes
    yields: tables in long format, one value per row, with the columns
        measure  silhouette_image, silhouette_class (of tokens, by cosine distance, all images)
                 plane_image, plane_class (of t-SNE coordinates, shown images); x, y (t-SNE coordinates)
        image    index of the image
        class    label of the image
        block    the last one, counted from 1
        index    number of the patch, from 1, for x and y; 0 for silhouettes, which are means over patches
        value
    The first `images_per_class` images of each of the first `classes` classes are shown, in the order of
    `traces`. Silhouettes of a single image or class are not defined and have no rows.
    Raises StudyError if a setting is missing or is not a whole number of at least 1, or if there are too few
    tokens for `perplexity`.
    The last block's tokens of all images are in memory at once.
    Paper: Fig. E.2.
    """
    classes, per_class, perplexity = (
        settings.whole_number(name, of="token_embedding")
        for name in ("classes", "images_per_class", "perplexity")
    )
    indices, parts, block = [], [], 0
    for images, trace in traces:
        indices.append(images)
        parts.append(trace.tokens[-1][:, trace.num_prefix_tokens :].float().cpu())
        block = len(trace.tokens) - 1
    image, tokens = torch.cat(indices), torch.cat(parts)
    label = torch.from_numpy(next(iter(split.labels.values()))[image.numpy()])

    def rows(measure: str, value: Tensor, of: Tensor, patch: Tensor | int = 0) -> pd.DataFrame:
        columns = {"image": image[of].numpy(), "class": label[of].numpy(), "block": block}
        index = patch.numpy() if isinstance(patch, Tensor) else patch
        return pd.DataFrame({"measure": measure, **columns, "index": index, "value": value.numpy()})

    numbers = torch.arange(len(image))
    for name, groups in (("image", numbers), ("class", label)):
        if len(groups.unique()) > 1:
            yield rows(f"silhouette_{name}", cosine_silhouette(tokens, groups).mean(dim=1), numbers)

    shown = first_of_each(label, groups=classes, each=per_class)
    count, patches = len(shown), tokens.shape[1]
    if perplexity >= count * patches:
        raise StudyError(
            f"params.yaml: analyses.token_embedding.perplexity is {perplexity}: it must be below "
            f"{count * patches}, the number of tokens of {count} images; lower it or show more images"
        )
    places = embed(tokens[shown].flatten(0, 1), perplexity=perplexity)  # (images · patches, 2)
    of = shown.repeat_interleave(patches)
    patch = torch.arange(1, patches + 1).repeat(count)
    for name, coordinate in zip("xy", places.unbind(dim=1), strict=True):
        yield rows(name, coordinate, of, patch)
    for name, groups in (("image", of), ("class", label[of])):
        if 1 < len(groups.unique()) < len(groups):
            silhouette = torch.from_numpy(silhouette_samples(places.numpy(), groups.numpy()))
            yield rows(f"plane_{name}", silhouette.view(count, patches).double().mean(dim=1), shown)


def cosine_silhouette(tokens: Tensor, groups: Tensor) -> Tensor:
    """Return the silhouette of every token by cosine distance: (b - a) / max(a, b).

    a: mean distance to the other tokens of the same group; b: mean distance to the nearest other group
    tokens:  (B, N, D)
    groups:  (B,) integers, the group of each image: the image itself, or its class
    returns: (B, N), float64 in [-1, 1]; 1 for tight groups far apart; 0 for equal tokens, and for a token
             that is alone in its group
    The mean cosine distance to a group is 1 minus the product with the group's mean unit token, so one matrix
    product compares all images.
    Raises ValueError for a single group.
    Source: Rousseeuw 1987.
    """
    names, group = groups.unique(return_inverse=True)
    if len(names) < 2:
        raise ValueError("a silhouette needs at least two groups")
    unit = torch.nn.functional.normalize(tokens.double(), dim=-1)  # a token of length 0 stays 0
    patches, width = unit.shape[1:]
    sizes = torch.bincount(group).double() * patches
    sums = unit.new_zeros(len(names), width).index_add_(0, group, unit.sum(dim=1))
    distance = 1 - unit @ (sums / sizes[:, None]).T  # (B, N, groups)
    number = group[:, None, None].expand(-1, patches, 1)
    size = sizes[group][:, None]
    to_itself = 1 - unit.square().sum(dim=-1)  # the group's mean contains the token; subtract it
    within = (size * distance.gather(-1, number)[..., 0] - to_itself) / (size - 1).clamp(min=1)
    nearest = distance.scatter(-1, number, torch.inf).amin(dim=-1)
    within, nearest = within.clamp(min=0), nearest.clamp(min=0)
    larger = torch.maximum(within, nearest)
    # Distances at the level of rounding count as 0.
    defined = (larger > 1e-12) & (size > 1)
    return torch.where(defined, (nearest - within) / larger.clamp(min=1e-12), 0.0)


def first_of_each(label: Tensor, *, groups: int, each: int) -> Tensor:
    """Return the positions of the first `each` items of each of the first `groups` labels, label by label.

    label:   (n,)
    returns: at most groups · each positions
    """
    return torch.cat([(label == name).nonzero()[:each, 0] for name in label.unique()[:groups]])


def embed(tokens: Tensor, *, perplexity: float) -> Tensor:
    """Return a two-dimensional t-SNE of tokens that does not depend on the number of threads.

    tokens:  (n, D), compared by Euclidean distance
    returns: (n, 2), float32
    The start is the first two principal components with fixed signs, so nothing is random.
    Paper: Fig. E.2. The authors start at random, which gives another layout each time.
    """
    with threadpool_limits(limits=1):  # the order of the gradient's sum depends on the number of threads
        start = _principal_plane(tokens.numpy())
        # Half of scikit-learn's default; the second half only moves existing clusters further apart.
        tsne = TSNE(n_components=2, perplexity=perplexity, init=start, max_iter=500, n_jobs=1)
        return torch.from_numpy(tsne.fit_transform(tokens.numpy()).astype(np.float32))


def _principal_plane(tokens: np.ndarray) -> np.ndarray:
    """Return the first two principal components (n, 2), scaled to 1e-4, the usual start of t-SNE."""
    centred = tokens.astype(np.float64) - tokens.mean(axis=0, dtype=np.float64)
    gram = centred.T @ centred
    directions = np.linalg.eigh(gram)[1][:, ::-1][:, :2]
    directions = directions * np.sign(directions[np.abs(directions).argmax(axis=0), [0, 1]])
    plane = centred @ directions
    spread = plane[:, 0].std()
    return (1e-4 * plane / spread if spread > 0 else plane).astype(np.float32)


ANALYSIS = Analysis(measure)
