"""What an analysis is: a module of this folder with one `ANALYSIS = Analysis(...)`."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import pandas as pd
from torch import Tensor

from stages.analyses.settings import AnalysisSettings
from stages.data.arrays import Split
from stages.encoders.vit import DeepTrace


class Measure(Protocol):
    """Measure what passes through an encoder."""

    def __call__(
        self,
        traces: Iterable[tuple[Tensor, DeepTrace]],
        *,
        settings: AnalysisSettings,
        patch_size: int,
        split: Split,
    ) -> Iterable[pd.DataFrame]:
        """Tables of the same columns, written one after the other; the first column is `image`, where one is.

        traces:     image indices (B,) and what passes through, batch by batch; read once, and not kept
        patch_size: px; split: the held-out images, if they are to be shown or have masks
        """


class Analysis(NamedTuple):
    """A measure, and what it needs of a trace."""

    measure: Measure
    reads_attention: bool = False  # else tracing leaves it out, which is faster and takes less memory
