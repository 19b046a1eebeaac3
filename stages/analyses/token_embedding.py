"""Whether tokens lie by image: a plane of the tokens of a few images, and silhouettes of all."""

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
    """Silhouettes of the last block's patch tokens by image and by class, and their t-SNE for a few images.

    traces: image indices (B,) and what passes through the encoder
    split:  its first label set tells the classes
    yields: tables of one long layout, one value a row, with the columns
        measure  silhouette_image, silhouette_class (of the tokens, by cosine distance, among all images);
                 plane_image, plane_class (of their places in the plane, among the images shown); x, y
        image    its index
        class    its label
        block    the last, counted from 1
        index    the patch from 1, of x and y; 0 elsewhere: silhouettes are means over the patches of an image
        value
    Shown are the first `images_per_class` images of each of the first `classes` classes, in the order of
    `traces`. Silhouettes among one image or one class are not defined and left out.
    Raises StudyError if a setting is missing or no whole number from 1, or `perplexity` does not fit.
    The last block's tokens of all images are in memory at once.
    Paper: Fig. E.2.
    """
    classes, per_class, perplexity = (
        settings.whole_number(name, of="token_embedding")
        for name in ("classes", "images_per_class", "perplexity")
    )
    indices, kept, block = [], [], 0
    for images, trace in traces:
        indices.append(images)
        kept.append(trace.tokens[-1][:, trace.num_prefix_tokens :].float().cpu())
        block = len(trace.tokens) - 1
    image, tokens = torch.cat(indices), torch.cat(kept)
    label = torch.from_numpy(next(iter(split.labels.values()))[image.numpy()])

    def rows(measure: str, value: Tensor, of: Tensor, patch: Tensor | int = 0) -> pd.DataFrame:
        columns = {"image": image[of].numpy(), "class": label[of].numpy(), "block": block}
        index = patch.numpy() if isinstance(patch, Tensor) else patch
        return pd.DataFrame({"measure": measure, **columns, "index": index, "value": value.numpy()})

    everyone = torch.arange(len(image))
    for name, groups in (("image", everyone), ("class", label)):
        if len(groups.unique()) > 1:
            yield rows(f"silhouette_{name}", cosine_silhouette(tokens, groups).mean(dim=1), everyone)

    shown = first_of_each(label, groups=classes, each=per_class)
    count, patches = len(shown), tokens.shape[1]
    if perplexity >= count * patches:
        raise StudyError(
            f"params.yaml: analyses.token_embedding.perplexity is {perplexity}: it must be less than the "
            f"{count * patches} tokens of {count} images; lower it or show more images"
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
    """Silhouette of every token by cosine distance: (b - a) / max(a, b).

    a: mean distance to the other tokens of its group; b: to the tokens of the nearest other group
    tokens:  (B, N, D)
    groups:  (B,) integers, what each image belongs to; itself, or its class
    returns: (B, N), float64 in [-1, 1]; 1 where groups are points far apart, 0 where tokens are alike or a
             token is alone in its group
    The mean cosine distance to a group is 1 minus the product with its mean unit token, so that all images
    can be compared at the cost of one matrix product.
    Raises ValueError if there is but one group.
    Source: Rousseeuw 1987.
    """
    names, group = groups.unique(return_inverse=True)
    if len(names) < 2:
        raise ValueError("a silhouette needs two groups or more")
    unit = torch.nn.functional.normalize(tokens.double(), dim=-1)  # a token of length 0 stays 0
    patches, width = unit.shape[1:]
    sizes = torch.bincount(group).double() * patches
    sums = unit.new_zeros(len(names), width).index_add_(0, group, unit.sum(dim=1))
    distance = 1 - unit @ (sums / sizes[:, None]).T  # (B, N, groups)
    own = group[:, None, None].expand(-1, patches, 1)
    size = sizes[group][:, None]
    to_itself = 1 - unit.square().sum(dim=-1)  # in the mean of its own group, and not to be
    within = (size * distance.gather(-1, own)[..., 0] - to_itself) / (size - 1).clamp(min=1)
    nearest = distance.scatter(-1, own, torch.inf).amin(dim=-1)
    within, nearest = within.clamp(min=0), nearest.clamp(min=0)
    larger = torch.maximum(within, nearest)
    # Tokens that differ by no more than rounding are alike.
    defined = (larger > 1e-12) & (size > 1)
    return torch.where(defined, (nearest - within) / larger.clamp(min=1e-12), 0.0)


def first_of_each(label: Tensor, *, groups: int, each: int) -> Tensor:
    """The places of the first `each` of each of the first `groups` labels, label by label.

    label:   (n,)
    returns: at most groups · each places; fewer where there are not as many
    """
    return torch.cat([(label == name).nonzero()[:each, 0] for name in label.unique()[:groups]])


def embed(tokens: Tensor, *, perplexity: float) -> Tensor:
    """The t-SNE of tokens in a plane, the same whatever the number of threads.

    tokens:  (n, D), compared by Euclidean distance
    returns: (n, 2), float32
    It starts from the first two principal components, whose signs are fixed, and so draws nothing.
    Paper: Fig. E.2; the authors start at random, which places the groups differently each time.
    """
    with threadpool_limits(limits=1):  # the gradient is summed in an order that depends on the threads
        start = _principal_plane(tokens.numpy())
        # Half of scikit-learn's iterations: the second half moves clusters apart that are there already.
        tsne = TSNE(n_components=2, perplexity=perplexity, init=start, max_iter=500, n_jobs=1)
        return torch.from_numpy(tsne.fit_transform(tokens.numpy()).astype(np.float32))


def _principal_plane(tokens: np.ndarray) -> np.ndarray:
    """The first two principal components, scaled to a spread of 1e-4 as t-SNE wants to start; (n, 2)."""
    centred = tokens.astype(np.float64) - tokens.mean(axis=0, dtype=np.float64)
    gram = centred.T @ centred
    directions = np.linalg.eigh(gram)[1][:, ::-1][:, :2]
    directions = directions * np.sign(directions[np.abs(directions).argmax(axis=0), [0, 1]])
    plane = centred @ directions
    spread = plane[:, 0].std()
    return (1e-4 * plane / spread if spread > 0 else plane).astype(np.float32)


ANALYSIS = Analysis(measure)
