"""The tables that claims are decided from, each read once; and how it is said that one is missing."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from stages.study.paths import analysis_table, finetune_dir, probe_predictions
from stages.study.schema import Study


class MissingInput(Exception):
    """This study has nothing to decide a claim from; the message says what is missing."""


class OtherArm(MissingInput):
    """This arm is none that the claim speaks of; another of the same method may be."""


@dataclass
class Tables:
    """The results of a study under one root."""

    root: Path
    params: Study
    _kept: dict[Any, pd.DataFrame] = field(default_factory=dict, repr=False)

    def probe(self, name: str, arm: str) -> pd.DataFrame:
        """Predictions of a probe: image, labels, pooling, truth, predicted, chosen.

        Raises MissingInput if the probe is not of this study or has no such table.
        """
        if getattr(self.params.probes, name, None) is None:  # a table may be left from when it was
            raise MissingInput(f"{name} is not among the probes of this study")
        return self._read(probe_predictions(name, arm), "image", "labels", "pooling", "truth", "predicted")

    def finetuned(self, arm: str) -> pd.DataFrame:
        """Predictions after fine-tuning: image, labels, truth, predicted.

        Raises MissingInput if there are none.
        """
        return self._read(finetune_dir(arm) / "predictions.csv", "image", "labels", "truth", "predicted")

    def grid(self, analysis: str, arm: str, *, column: str, axis: str | None) -> pd.DataFrame:
        """One column of an analysis: a row per image, a column per block and place on the axis.

        axis: "head", "frequency", or None to average whatever else the table tells apart
        Raises MissingInput if the analysis is not of this study, or its table lacks a column.
        """
        key = (analysis, arm, column, axis)
        if key not in self._kept:
            if analysis not in self.params.analyses:  # a table may be left from when it was
                raise MissingInput(f"{analysis} is not among the analyses of this study")
            places = ["block"] if axis is None else ["block", axis]
            table = self._read(analysis_table(analysis, arm), "image", *places, column)
            self._kept[key] = (
                table.groupby(["image", *places])[column].mean().unstack(places).sort_index(axis=1)
            )
        return self._kept[key]

    def label_sets(self, arm: str) -> list[str]:
        """Names of the label sets that an arm was evaluated on, in file order; none if it was not."""
        for read in (self.finetuned, lambda arm: self.probe("linear", arm)):
            try:
                return [str(name) for name in read(arm)["labels"].unique()]
            except MissingInput:
                continue
        return []

    def _read(self, path: Path, *columns: str) -> pd.DataFrame:
        if path not in self._kept:
            if not (self.root / path).exists():
                raise MissingInput(f"{path} is not in this study")
            self._kept[path] = pd.read_csv(self.root / path)
        lacking = [column for column in columns if column not in self._kept[path]]
        if lacking:
            raise MissingInput(f"{path} has no column {', '.join(lacking)}")
        return self._kept[path]
