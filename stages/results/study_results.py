"""All results of a study. Each file is read once, checked, and limited to the seeds of the study."""

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
AUGMENTED = "linear, augmented"  # only for the arms in linear_augmented.arms
CLAIMS = Path("results/claims.json")
SPECIFICATIONS = Path("results/specifications.csv")
TRAJECTORIES = Path("results/trajectories.csv")
MANIFEST = DATA / "manifest.json"


@dataclass(frozen=True)
class Results:
    """The results of a study below one root folder, read when they are needed.

    Every table of an arm has a column `seed` and the rows of the arm's seeds, in the order of params.yaml.
    All methods raise MissingResult if a result is missing, and StudyError if it is damaged. The error names
    the file and the stage that writes it.
    """

    study: Study
    root: Path = Path()
    _read: dict[Path, pd.DataFrame] = field(default_factory=dict, repr=False, compare=False)

    @property
    def arms(self) -> list[str]:
        """Return the names of the arms, in the order of params.yaml."""
        return list(self.study.arms)

    def label(self, arm: str) -> str:
        """Return the label of an arm in figures and tables."""
        return label_of(self.study, arm)

    def seeds(self, arm: str) -> list[int]:
        """Return the seeds of the trainings of an arm."""
        return seeds_of(self.study, arm)

    def analysis(self, analysis: str, arm: str, *, measures: Sequence[str] = ()) -> pd.DataFrame:
        """Return the table of an analysis; checks the columns of its schema and the numbers `measures`."""
        path, stage = self._analysis_place(analysis, arm)
        frame = self._of_arm(arm, path, schemas.ANALYSES.get(analysis, schemas.SEED), stage=stage)
        require_numbers(frame, measures, path=path, stage=stage)
        if frame.empty:
            raise StudyError(f"{path}: no rows; `dvc repro {stage}` writes it anew")
        return frame

    def probe(self, probe: str, arm: str) -> pd.DataFrame:
        """Return a probe's predictions for every held-out image and variant (pooling, block, share)."""
        schema = schemas.LAYERWISE if probe == "layerwise" else schemas.PREDICTIONS
        path, stage = self._probe_place(probe, arm)
        return self._of_arm(arm, path, schema, stage=stage)

    def finetuned(self, arm: str) -> pd.DataFrame:
        """Return the predictions after fine-tuning for every held-out image and label set."""
        return self._of_seeds(
            arm,
            lambda seed: finetune_dir(arm, seed) / "predictions.csv",
            schemas.PREDICTIONS,
            stage=f"finetune@{arm}",
        )

    def robustness(self, arm: str) -> pd.DataFrame:
        """Return the predictions on corrupted images and on stimuli."""
        return self._of_arm(arm, robustness_table(arm), schemas.ROBUSTNESS, stage=f"robustness@{arm}")

    def segmentation(self, arm: str) -> pd.DataFrame:
        """Return intersections and unions by image, way and class; empty for data without object masks."""
        path = segmentation_table(arm)
        return self._of_arm(arm, path, schemas.SEGMENTATION, stage=f"segment@{arm}", may_be_empty=True)

    def history(self, arm: str) -> pd.DataFrame:
        """Return the loss and its parts for every epoch of pre-training; empty for an untrained arm."""
        return self._of_seeds(
            arm,
            lambda seed: model_dir(arm, seed) / "history.csv",
            schemas.HISTORY,
            stage=f"pretrain@{arm}",
            may_be_empty=True,
        )

    def finetune_history(self, arm: str) -> pd.DataFrame:
        """Return the loss and the other logged values for every epoch of fine-tuning."""
        return self._of_seeds(
            arm,
            lambda seed: finetune_dir(arm, seed) / "history.csv",
            schemas.HISTORY,
            stage=f"finetune@{arm}",
            may_be_empty=True,
        )

    def trainings(self, arm: str) -> list[dict[str, Any]]:
        """Return device, precision and versions of every training of an arm that has a record of them."""
        records = [model_dir(arm, seed) / "training.json" for seed in self.seeds(arm)]
        existing = [path for path in records if (self.root / path).is_file()]
        return [read_metrics(path, stage=f"pretrain@{arm}", root=self.root) for path in existing]

    def gradients(self, arm: str) -> pd.DataFrame:
        """Return the gradients of the two losses by epoch and block; empty for an arm with one loss."""
        tables = [gradients_table(arm, seed) for seed in self.seeds(arm)]
        if not any((self.root / table).is_file() for table in tables):
            return pd.DataFrame(columns=list(schemas.GRADIENTS))
        return self._of_seeds(
            arm, lambda seed: gradients_table(arm, seed), schemas.GRADIENTS, stage=f"pretrain@{arm}"
        )

    def comparison(self) -> pd.DataFrame:
        """Return the CKA of the blocks of all arms: seed, arm, block, other_arm, other_block, cka."""
        return self._table(COMPARISON, schemas.COMPARISON, stage="compare")

    def specifications(self) -> pd.DataFrame:
        """Return the specification curves: every claim under every combination of its choices."""
        return self._table(SPECIFICATIONS, schemas.SPECIFICATIONS, stage="decide")

    def metrics(self, evaluation: str, arm: str) -> dict[str, Any]:
        """Return the metrics of a probe, AUGMENTED or FINE_TUNED: means over seeds, each under `seeds`."""
        if evaluation == FINE_TUNED:
            path, stage = finetune_metrics(arm), f"finetune@{arm}"
        else:
            probe = "linear_augmented" if evaluation == AUGMENTED else evaluation
            path, stage = probe_metrics(probe, arm), probe_stage(probe, arm)
        return read_metrics(path, stage=stage, root=self.root)

    def segmentation_metrics(self, arm: str) -> dict[str, Any]:
        """Return the metrics of segmentation: mIoU by way, or the reason `why` there is none."""
        return read_metrics(segmentation_metrics(arm), stage=f"segment@{arm}", root=self.root)

    def by_seed(self, metrics: dict[str, Any], arm: str, *, where: str) -> list[dict[str, Any]]:
        """Return the metrics of each training of an arm, in the order of its seeds.

        where: name of the evaluation, for error messages
        Raises MissingResult if a seed is missing.
        """
        each = metrics.get("seeds") or {}
        missing = [seed for seed in self.seeds(arm) if str(seed) not in each]
        if missing:
            raise MissingResult(f"{where} of arm {arm}: no seed {missing[0]}; `dvc repro` writes it anew")
        return [each[str(seed)] for seed in self.seeds(arm)]

    def manifest(self) -> dict[str, Any]:
        """Return the manifest of the data."""
        return read_metrics(MANIFEST, stage="prepare", root=self.root)

    def claims(self) -> dict[str, Any]:
        """Return the verdicts.

        Returns: {"claims": one mapping per claim with words and numbers, in the order of the paper,
            "rules": how claims are decided, "gates": the conditions for decisions, with their status}
        """
        content = read_metrics(CLAIMS, stage="decide", root=self.root)
        return {
            "claims": joined_claims(content, where=f"{CLAIMS}, which `dvc repro decide` writes"),
            "rules": content.get("rules", {}),
            "gates": content.get("gates", []),
        }

    def _analysis_place(self, analysis: str, arm: str) -> tuple[Path, str]:
        """Return the table of an analysis of an arm, and the stage that writes it."""
        return analysis_table(analysis, arm), f"analyze@{arm}-{analysis}"

    def _probe_place(self, probe: str, arm: str) -> tuple[Path, str]:
        """Return the predictions of a probe of an arm, and the stage that writes them."""
        return probe_predictions(probe, arm), probe_stage(probe, arm)

    def _of_arm(
        self, arm: str, path: Path, schema: Schema, *, stage: str, may_be_empty: bool = False
    ) -> pd.DataFrame:
        if (table := self._read.get(path)) is not None:
            return table
        frame = read_table(path, schema, stage=stage, root=self.root)
        if frame.empty and may_be_empty:
            self._read[path] = frame
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
    """Return the address of the stage that runs a probe on an arm."""
    return f"linear_augmented@{arm}" if probe == "linear_augmented" else f"probe@{arm}-{probe}"
