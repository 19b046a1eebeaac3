"""Every result of a study, each file read once, checked, and cut to the seeds of the study."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from stages.results import schemas
from stages.results.files import MissingResult, read_metrics, read_table, require_numbers
from stages.results.other_claims import joined_claims
from stages.results.schemas import Schema
from stages.study.errors import StudyError
from stages.study.params import label_of, seeds_of
from stages.study.paths import (
    COMPARISON,
    DATA,
    analysis_table,
    finetune_dir,
    finetune_metrics,
    gradients_table,
    model_dir,
    probe_metrics,
    probe_predictions,
    robustness_table,
    segmentation_metrics,
    segmentation_table,
)
from stages.study.study import Study

FINE_TUNED = "fine-tuned"
AUGMENTED = "linear, augmented"  # of the arms that are probed so
CLAIMS = Path("results/claims.json")
SPECIFICATIONS = Path("results/specifications.csv")
TRAJECTORIES = Path("results/trajectories.csv")
MANIFEST = DATA / "manifest.json"


@dataclass(frozen=True)
class Results:
    """The results of a study under one root; a file that nobody asks for is not read.

    Every table of an arm has the rows of its seeds, in the order of params.yaml, and a column `seed`. All
    methods raise MissingResult if a result is not there and StudyError if it is damaged, in one line with the
    file
    and the stage that writes it.
    """

    study: Study
    root: Path = Path()
    _read: dict[Path, pd.DataFrame] = field(default_factory=dict, repr=False, compare=False)

    @property
    def arms(self) -> list[str]:
        """Names of the arms, in the order of params.yaml."""
        return list(self.study.arms)

    def label(self, arm: str) -> str:
        """What figures and tables call an arm."""
        return label_of(self.study, arm)

    def seeds(self, arm: str) -> list[int]:
        """Seeds of the trainings of an arm."""
        return seeds_of(self.study, arm)

    def analysis(self, analysis: str, arm: str, *, measures: Sequence[str] = ()) -> pd.DataFrame:
        """Table of an analysis of an arm, with the columns of its schema and the numbers `measures`."""
        path, stage = self._analysis_place(analysis, arm)
        frame = self._of_arm(arm, path, schemas.ANALYSES.get(analysis, schemas.SEED), stage=stage)
        require_numbers(frame, measures, path=path, stage=stage)
        if frame.empty:
            raise StudyError(f"{path}: no rows; `dvc repro {stage}` writes it anew")
        return frame

    def probe(self, probe: str, arm: str) -> pd.DataFrame:
        """Predictions of a probe for every held-out image, with what it varies (pooling, block, share)."""
        schema = schemas.LAYERWISE if probe == "layerwise" else schemas.PREDICTIONS
        path, stage = self._probe_place(probe, arm)
        return self._of_arm(arm, path, schema, stage=stage)

    def finetuned(self, arm: str) -> pd.DataFrame:
        """Predictions after fine-tuning for every held-out image and label set."""
        return self._of_seeds(
            arm,
            lambda seed: finetune_dir(arm, seed) / "predictions.csv",
            schemas.PREDICTIONS,
            stage=f"finetune@{arm}",
        )

    def robustness(self, arm: str) -> pd.DataFrame:
        """Predictions on corrupted images and on stimuli."""
        return self._of_arm(arm, robustness_table(arm), schemas.ROBUSTNESS, stage=f"robustness@{arm}")

    def segmentation(self, arm: str) -> pd.DataFrame:
        """Intersections and unions by image, way and class; no rows if the data set has no object masks."""
        path = segmentation_table(arm)
        return self._of_arm(arm, path, schemas.SEGMENTATION, stage=f"segment@{arm}", may_be_empty=True)

    def history(self, arm: str) -> pd.DataFrame:
        """Loss of every epoch of pre-training, with the parts of the loss; no rows for an untrained arm."""
        return self._of_seeds(
            arm,
            lambda seed: model_dir(arm, seed) / "history.csv",
            schemas.HISTORY,
            stage=f"pretrain@{arm}",
            may_be_empty=True,
        )

    def finetune_history(self, arm: str) -> pd.DataFrame:
        """Loss of every epoch of fine-tuning, with what else was logged."""
        return self._of_seeds(
            arm,
            lambda seed: finetune_dir(arm, seed) / "history.csv",
            schemas.HISTORY,
            stage=f"finetune@{arm}",
            may_be_empty=True,
        )

    def trainings(self, arm: str) -> list[dict[str, Any]]:
        """What each training of an arm says of itself: device, precision, versions; of those that say it."""
        records = [model_dir(arm, seed) / "training.json" for seed in self.seeds(arm)]
        there = [path for path in records if (self.root / path).is_file()]
        return [read_metrics(path, stage=f"pretrain@{arm}", root=self.root) for path in there]

    def gradients(self, arm: str) -> pd.DataFrame:
        """Agreement of the two losses by epoch and block; no rows for an arm with one loss."""
        having = [seed for seed in self.seeds(arm) if (self.root / gradients_table(arm, seed)).is_file()]
        if not having:
            return pd.DataFrame(columns=list(schemas.GRADIENTS))
        return self._of_seeds(
            arm, lambda seed: gradients_table(arm, seed), schemas.GRADIENTS, stage=f"pretrain@{arm}"
        )

    def comparison(self) -> pd.DataFrame:
        """CKA of the blocks of all arms: seed, arm, block, other_arm, other_block, cka."""
        return self._table(COMPARISON, schemas.COMPARISON, stage="compare")

    def specifications(self) -> pd.DataFrame:
        """Every claim decided under every combination of its choices."""
        return self._table(SPECIFICATIONS, schemas.SPECIFICATIONS, stage="decide")

    def metrics(self, evaluation: str, arm: str) -> dict[str, Any]:
        """Metrics of a probe, of AUGMENTED or of FINE_TUNED: means over seeds, and `seeds` with each."""
        if evaluation == FINE_TUNED:
            path, stage = finetune_metrics(arm), f"finetune@{arm}"
        else:
            probe = "linear_augmented" if evaluation == AUGMENTED else evaluation
            path, stage = probe_metrics(probe, arm), probe_stage(probe, arm)
        return read_metrics(path, stage=stage, root=self.root)

    def segmentation_metrics(self, arm: str) -> dict[str, Any]:
        """Metrics of segmentation: mIoU by way, or `why` there is none; and `seeds` with each."""
        return read_metrics(segmentation_metrics(arm), stage=f"segment@{arm}", root=self.root)

    def by_seed(self, metrics: dict[str, Any], arm: str, *, where: str) -> list[dict[str, Any]]:
        """The metrics of each training of an arm, in the order of its seeds.

        where: what the metrics are of, for the error
        Raises StudyError if a seed is not there.
        """
        each = metrics.get("seeds") or {}
        lacking = [seed for seed in self.seeds(arm) if str(seed) not in each]
        if lacking:
            raise MissingResult(f"{where} of arm {arm}: no seed {lacking[0]}; `dvc repro` writes it anew")
        return [each[str(seed)] for seed in self.seeds(arm)]

    def manifest(self) -> dict[str, Any]:
        """What the data of the study are."""
        return read_metrics(MANIFEST, stage="prepare", root=self.root)

    def claims(self) -> dict[str, Any]:
        """What was decided about each claim of the paper, its words and its numbers put together.

        Returns: {"claims": one mapping per claim, in the paper's order, "rules": how they were decided,
            "gates": what must hold for claims to be decided, and whether it does}
        """
        content = read_metrics(CLAIMS, stage="decide", root=self.root)
        return {
            "claims": joined_claims(content, where=f"{CLAIMS}, which `dvc repro decide` writes"),
            "rules": content.get("rules", {}),
            "gates": content.get("gates", []),
        }

    def _analysis_place(self, analysis: str, arm: str) -> tuple[Path, str]:
        """The table of an analysis of an arm, and the stage that writes it."""
        return analysis_table(analysis, arm), f"analyze@{arm}-{analysis}"

    def _probe_place(self, probe: str, arm: str) -> tuple[Path, str]:
        """The predictions of a probe of an arm, and the stage that writes them."""
        return probe_predictions(probe, arm), probe_stage(probe, arm)

    def _of_arm(
        self, arm: str, path: Path, schema: Schema, *, stage: str, may_be_empty: bool = False
    ) -> pd.DataFrame:
        if (cut := self._read.get(path)) is not None:
            return cut
        frame = read_table(path, schema, stage=stage, root=self.root)
        if frame.empty and may_be_empty:
            return frame
        parts = {seed: frame[frame["seed"] == seed] for seed in self.seeds(arm)}
        for seed, part in parts.items():
            if part.empty:
                raise MissingResult(f"{path}: no rows of seed {seed}; `dvc repro {stage}` writes it anew")
        self._read[path] = pd.concat(parts.values(), ignore_index=True)
        return self._read[path]

    def _of_seeds(
        self,
        arm: str,
        path_of: Callable[[int], Path],
        schema: Schema,
        *,
        stage: str,
        may_be_empty: bool = False,
    ) -> pd.DataFrame:
        parts = []
        for seed in self.seeds(arm):
            part = self._table(path_of(seed), schema, stage=stage)
            if part.empty and not may_be_empty:
                raise StudyError(f"{path_of(seed)}: no rows; `dvc repro {stage}` writes it anew")
            parts.append(part)
        filled = [part for part in parts if len(part)]
        return pd.concat(filled, ignore_index=True) if filled else parts[0]

    def _table(self, path: Path, schema: Schema, *, stage: str) -> pd.DataFrame:
        if path not in self._read:
            self._read[path] = read_table(path, schema, stage=stage, root=self.root)
        return self._read[path]


def probe_stage(probe: str, arm: str) -> str:
    """Address of the stage that runs a probe on an arm."""
    return f"linear_augmented@{arm}" if probe == "linear_augmented" else f"probe@{arm}-{probe}"
