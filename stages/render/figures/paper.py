"""The numbers of the paper, for comparison with those of a study.

Park et al., "What Do Self-Supervised Vision Transformers Learn?", ICLR 2023, arXiv 2305.00729. The numbers
were read from the authors' poster (github.com/xxxnell/cl-vs-mim-storage @c57856c) and notebooks
(github.com/naver-ai/cl-vs-mim @eafe516): VECTOR and PIXELS say how.
"""

from dataclasses import dataclass

VECTOR = "vector coordinates"
PIXELS = "read from pixels"
SETTING = "ViT-B/16, ImageNet-1K"
UNIFORM_DISTANCE = 116.49  # px: uniform attention over 14×14 patches of 16 px
LAYERWISE = (  # description of the three curves
    "MoCo v3, SimMIM and MAE of the paper (Fig. 10, 1,000 classes); compare trends, not absolute values."
)
HIGHEST_FREQUENCY = "6/7 π"  # the last bin of 14×14 patches


@dataclass(frozen=True)
class PaperCurve:
    """One curve of the paper against depth, with its source."""

    method: str
    figure: str
    depth: tuple[float, ...]
    values: tuple[float, ...]
    read: str

    @property
    def described(self) -> str:
        """Return the curve and its source in words."""
        return f"{self.method} of the paper ({self.figure}; {self.read})"


@dataclass(frozen=True)
class PaperPoint:
    """Linear-probing and fine-tuning accuracy of one method of the paper, in per cent."""

    method: str
    linear: float
    finetuned: float
    last_block: float | None = None  # linear probing of the last block by one recipe for all, Fig. 10


def distance() -> PaperCurve:
    """Return the attention distance of MoCo v3 in px; the SimMIM curve is not published in numbers.

    Paper: Fig. 3; the authors' notebook on Imagenette, read from pixels, ±0.3 px.
    """
    values = (110.5, 89.3, 73.2, 69.6, 72.9, 81.5, 88.3, 79.7, 95.8, 101.2, 109.8, 113.6)
    return PaperCurve("MoCo v3", "Fig. 3", _blocks(), values, f"{PIXELS}, ±0.3 px")


def mutual_information() -> PaperCurve:
    """Return the normalised mutual information of MoCo v3; the SimMIM curve is not published in numbers.

    Paper: Fig. 4; the authors' notebook on Imagenette, read from pixels, ±0.003.
    """
    values = (0.063, 0.123, 0.322, 0.296, 0.239, 0.181, 0.146, 0.172, 0.094, 0.079, 0.030, 0.010)
    return PaperCurve("MoCo v3", "Fig. 4", _blocks(), values, f"{PIXELS}, ±0.003")


def log_amplitude() -> tuple[PaperCurve, PaperCurve]:
    """Return the relative log amplitude of MoCo v3 and SimMIM at 6/7 π, after the embedding and each block.

    Paper: Fig. 8; exact vector coordinates.
    """
    depth = tuple(block / 12 for block in range(13))
    moco = (-2.90, -3.18, -3.14, -3.07, -2.95, -2.81, -2.67, -2.55, -2.46, -2.40, -2.39, -2.40, -2.51)
    simmim = (-2.00, -2.05, -2.25, -2.18, -2.13, -2.12, -2.09, -2.06, -2.04, -2.06, -2.13, -2.12, -2.31)
    return (
        PaperCurve("MoCo v3", "Fig. 8", depth, moco, VECTOR),
        PaperCurve("SimMIM", "Fig. 8", depth, simmim, VECTOR),
    )


def with_decoder() -> tuple[PaperCurve, PaperCurve]:
    """Return the relative log amplitude of MAE at 6/7 π, in its encoder and its decoder.

    Depth is in blocks; the blocks of the decoder follow those of the encoder.
    Paper: Fig. 11; read from pixels, ±0.03.
    """
    encoder = (-3.07, -2.10, -2.28, -2.38, -2.34, -2.35, -2.31, -2.32, -2.27, -2.24, -2.18, -2.15, -2.52)
    decoder = (-3.45, -3.20, -3.07, -3.01, -3.02, -3.16, -3.23, -3.30, -3.19)
    read = f"{PIXELS}, ±0.03"
    return (
        PaperCurve("MAE", "Fig. 11", tuple(float(block) for block in range(13)), encoder, read),
        PaperCurve(
            "decoder of MAE", "Fig. 11", tuple(float(12 + block) for block in range(9)), decoder, read
        ),
    )


def layerwise() -> tuple[PaperCurve, PaperCurve, PaperCurve]:
    """Return the linear-probe accuracy of every block in per cent, for MoCo v3, SimMIM and MAE.

    Paper: Fig. 10; exact vector coordinates.
    """
    moco = (5.1, 10.2, 17.4, 28.4, 40.0, 47.7, 54.6, 58.6, 62.2, 66.2, 69.4, 71.7)
    simmim = (14.9, 25.9, 35.5, 43.2, 48.6, 53.6, 56.7, 56.8, 56.0, 52.9, 48.3, 45.3)
    mae = (13.6, 21.5, 27.2, 32.3, 37.7, 43.6, 51.6, 58.4, 62.8, 64.6, 64.9, 64.1)
    return (
        PaperCurve("MoCo v3", "Fig. 10", _blocks(), moco, VECTOR),
        PaperCurve("SimMIM", "Fig. 10", _blocks(), simmim, VECTOR),
        PaperCurve("MAE", "Fig. 10", _blocks(), mae, VECTOR),
    )


def methods() -> tuple[PaperPoint, ...]:
    """Return linear-probe and fine-tuning accuracies of five published ViT-B, each with its authors' recipe.

    The linear probe of SimMIM reads block 8, its best block. Fig. 10 has the last blocks of SimMIM, MAE and
    MoCo v3, probed with one recipe on the mean patch token (inferred).
    Paper: Fig. 1 left, Fig. 10; exact vector coordinates.
    """
    last = {curve.method: curve.values[-1] for curve in layerwise()}
    return (
        PaperPoint("SimMIM", 56.7, 83.8, last["SimMIM"]),
        PaperPoint("BEiT", 56.7, 83.2),
        PaperPoint("MAE", 68.0, 83.6, last["MAE"]),
        PaperPoint("MoCo v3", 76.7, 83.2, last["MoCo v3"]),
        PaperPoint("DINO", 78.2, 82.8),
    )


def hybrid_sweep() -> dict[float, PaperPoint]:
    """Return the hybrid for each CL weight λ of (1 − λ) MIM + λ CL, trained by the authors.

    Not comparable with `methods()`: shorter pre-training (100 epochs, inferred) and another probe recipe.
    Paper: Fig. 12 left; read from pixels, ±0.1 points in linear probing, ±0.01 in fine-tuning.
    """
    return {
        0.0: PaperPoint("λ = 0 (SimMIM)", 18.2, 81.90),
        0.2: PaperPoint("λ = 0.2", 61.6, 82.29),
        0.4: PaperPoint("λ = 0.4", 62.3, 81.95),
        0.6: PaperPoint("λ = 0.6", 61.9, 81.62),
        1.0: PaperPoint("λ = 1 (MoCo v3)", 58.1, 81.34),
    }


def size_sweep() -> dict[str, dict[float, float]]:
    """Return the fine-tuning accuracy (%) of ViT-Ti, S and B, trained by the authors, by million parameters.

    Paper: Fig. 1 middle, the points marked †; exact vector coordinates.
    """
    return {
        "MoCo v3": {5.8: 68.91, 22.2: 78.70, 86.0: 81.19},
        "SimMIM": {5.8: 64.58, 22.2: 77.64, 86.0: 81.77},
    }


def trade_offs() -> dict[str, tuple[PaperPoint, ...]]:
    """Return both sets of linear-probe and fine-tuning accuracies, by the title of their panel."""
    return {
        "Paper, Figs. 1 and 10": methods(),
        "Paper, Fig. 12: hybrid, λ": tuple(hybrid_sweep().values()),
    }


def _blocks() -> tuple[float, ...]:
    return tuple(block / 12 for block in range(1, 13))
