"""The results of a study at a share of its trainings, in the form of its final results."""

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stages.results import schemas
from stages.results.files import MissingResult
from stages.results.study_results import Results
from stages.study.paths import snapshot_table, trajectory_dir

NOT_MEASURED = "not measured at snapshots"


@dataclass(frozen=True)
class ResultsAt(Results):
    """The results of a study whose trained arms have completed a share of their schedules; 1 is the end."""

    share: float = 1.0

    def images_seen(self, arm: str) -> int:
        """Return the images seen by an arm, mean over trainings; 0 for an untrained arm."""
        path, share = trajectory_dir(arm) / "images_seen.csv", self._snapshot_of(arm)
        frame = self._of_arm(arm, path, schemas.IMAGES_SEEN, stage=f"trajectory@{arm}")
        rows = frame[(frame["share"] - share).abs() < 1e-6]
        if rows.empty:
            raise MissingResult(f"{path}: no share {share:g}; `dvc repro trajectory@{arm}` writes it anew")
        return round(rows["images_seen"].mean())

    def _snapshot_of(self, arm: str) -> float:
        """Return the share of an arm's own training that these results measure."""
        return 1.0


@dataclass(frozen=True)
class SnapshotResults(ResultsAt):
    """The results of frozen encoders at one share of their trainings.

    An arm without training is the same at every share. Methods raise the errors of `Results`, and
    MissingResult for results that trajectories do not measure.
    """

    def finetuned(self, arm: str) -> pd.DataFrame:
        """Raise MissingResult: only encoders at the end of training are fine-tuned."""
        raise MissingResult(f"fine-tuning is {NOT_MEASURED}")

    def robustness(self, arm: str) -> pd.DataFrame:
        """Raise MissingResult: only encoders at the end of training see corrupted images."""
        raise MissingResult(f"robustness is {NOT_MEASURED}")

    def segmentation(self, arm: str) -> pd.DataFrame:
        """Raise MissingResult: only encoders at the end of training segment images."""
        raise MissingResult(f"segmentation is {NOT_MEASURED}")

    def _analysis_place(self, analysis: str, arm: str) -> tuple[Path, str]:
        return self._place(arm, "analysis", analysis, among=self.study.trajectory.analyses)

    def _probe_place(self, probe: str, arm: str) -> tuple[Path, str]:
        return self._place(arm, "probe", probe, among=self.study.trajectory.probes)

    def _place(self, arm: str, kind: str, name: str, *, among: Container[str]) -> tuple[Path, str]:
        if name not in among:
            raise MissingResult(f"{name} is {NOT_MEASURED}; see trajectory in params.yaml")
        return snapshot_table(trajectory_dir(arm), self._snapshot_of(arm), kind, name), f"trajectory@{arm}"

    def _snapshot_of(self, arm: str) -> float:
        return 1.0 if self.study.arms[arm].objective in ("random", "imported") else self.share
