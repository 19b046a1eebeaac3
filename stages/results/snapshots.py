"""The results of a study at a share of its trainings, read like those of its end."""

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
class SnapshotResults(Results):
    """What was measured of frozen encoders at one share of their trainings; 1 is the end.

    An arm that is not trained here is the same at every share. Raises as Results does; what a trajectory does
    not measure is a MissingResult.
    """

    share: float = 1.0

    def images_seen(self, arm: str) -> int:
        """Images that an arm had seen at this share, mean over its trainings; 0 if it is not trained here."""
        path = trajectory_dir(arm) / "images_seen.csv"
        frame = self._of_arm(arm, path, schemas.IMAGES_SEEN, stage=f"trajectory@{arm}")
        rows = frame[(frame["share"] - self._share_of(arm)).abs() < 1e-6]
        if rows.empty:
            raise MissingResult(
                f"{path}: no share {self.share:g}; `dvc repro trajectory@{arm}` writes it anew"
            )
        return round(rows["images_seen"].mean())

    def finetuned(self, arm: str) -> pd.DataFrame:
        """Nothing: an encoder is fine-tuned at its end alone."""
        raise MissingResult(f"fine-tuning is {NOT_MEASURED}")

    def robustness(self, arm: str) -> pd.DataFrame:
        """Nothing: corrupted images are shown to the trained encoder alone."""
        raise MissingResult(f"robustness is {NOT_MEASURED}")

    def segmentation(self, arm: str) -> pd.DataFrame:
        """Nothing: images are segmented with the trained encoder alone."""
        raise MissingResult(f"segmentation is {NOT_MEASURED}")

    def _analysis_place(self, analysis: str, arm: str) -> tuple[Path, str]:
        return self._place(arm, "analysis", analysis, among=self.study.trajectory.analyses)

    def _probe_place(self, probe: str, arm: str) -> tuple[Path, str]:
        return self._place(arm, "probe", probe, among=("linear",))

    def _place(self, arm: str, kind: str, name: str, *, among: Container[str]) -> tuple[Path, str]:
        if name not in among:
            raise MissingResult(f"{name} is {NOT_MEASURED}; trajectory in params.yaml names what is")
        return snapshot_table(trajectory_dir(arm), self._share_of(arm), kind, name), f"trajectory@{arm}"

    def _share_of(self, arm: str) -> float:
        return 1.0 if self.study.arms[arm].objective in ("random", "imported") else self.share
