"""The contract of an analysis: a module of this folder that defines `ANALYSIS = Analysis(...)`."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import pandas as pd
from torch import Tensor

from stages.analyses.settings import AnalysisSettings
from stages.data.arrays import Split
from stages.encoders.vit import DeepTrace


class Measure(Protocol):
    """Measure the traces of images through an encoder."""

    def __call__(
        self,
        traces: Iterable[tuple[Tensor, DeepTrace]],
        *,
        settings: AnalysisSettings,
        patch_size: int,
        split: Split,
    ) -> Iterable[pd.DataFrame]:
        """Yield tables with the same columns; values of single images have a first column `image`.

        traces:     image indices (B,) and traces, batch by batch; they can be read once
        patch_size: px
        split:      the held-out images with their labels and masks
        """


class Analysis(NamedTuple):
    """A measure and its requirements."""

    measure: Measure
    reads_attention: bool = False  # False: traces lack attention, which saves time and memory
