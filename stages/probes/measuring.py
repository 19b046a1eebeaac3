"""One probe on the features of some images, for every label set of the data."""

from typing import Any

import numpy as np
import pandas as pd
import torch

from stages.data.arrays import open_split, read_manifest
from stages.probes.accuracy import evaluated
from stages.probes.contract import Features, Probe
from stages.study.seeds import generator


def probe_features(
    probe: Probe, settings: Any, name: str, *, train: Features, test: Features, seed: int
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return metrics and predictions of a probe on the features of some images.

    train, test: features (n, ...) of the kind that the probe reads, and `image`, their indices in the split
    """
    device = train["image"].device
    train_images, test_images = (features.pop("image").cpu().numpy() for features in (train, test))
    train_labels, test_labels = open_split("train").labels, open_split("test").labels
    metrics: dict[str, Any] = {}
    tables = []
    for labels, names in read_manifest().labels.items():
        predictions, choice, details = probe.fit_predict(
            train,
            torch.from_numpy(train_labels[labels][train_images]).to(device),
            test,
            classes=len(names),
            settings=settings,
            generator=generator(seed, "probe", name, labels),
        )
        numbers, table = evaluated(
            {key: predicted.cpu().numpy() for key, predicted in predictions.items()},
            choice,
            test_labels[labels][test_images],
            classes=len(names),
            labels=labels,
            varies=probe.varies,
        )
        metrics[labels] = numbers | details
        tables.append(table.assign(image=np.tile(test_images, len(predictions))))
    return {"labels": metrics}, pd.concat(tables)
