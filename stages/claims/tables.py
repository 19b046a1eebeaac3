"""The tables that claims are decided from, each read once; and how it is said that one is missing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from stages.study.paths import (
    analysis_table,
    finetune_dir,
    probe_predictions,
    robustness_table,
    segmentation_table,
)
from stages.study.study import Study

NOTHING: Mapping[str, Any] = MappingProxyType({})


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
        """Predictions of a probe: image, labels, truth, predicted, chosen, and what it varies.

        Raises MissingInput if the probe is not of this study or has no such table.
        """
        asked_for = (
            arm in self.params.linear_augmented.arms
            if name == "linear_augmented"
            else getattr(self.params.probes, name, None) is not None
        )
        if not asked_for:  # a table may be left from when it was
            raise MissingInput(f"{name} is not among the probes of this study")
        return self._read(probe_predictions(name, arm), "image", "labels", "truth", "predicted")

    def finetuned(self, arm: str) -> pd.DataFrame:
        """Predictions after fine-tuning: image, labels, truth, predicted.

        Raises MissingInput if there are none.
        """
        return self._read(finetune_dir(arm) / "predictions.csv", "image", "labels", "truth", "predicted")

    def trials(self, arm: str) -> pd.DataFrame:
        """Predictions on corrupted images and stimuli, a row per trial, level, head, label set and image.

        Raises MissingInput if there are none.
        """
        columns = ("trial", "level", "head", "labels", "image", "truth", "rival", "predicted")
        return self._read(robustness_table(arm), *columns)

    def overlaps(self, arm: str) -> pd.DataFrame:
        """Intersections and unions of segmented images: image, way, class, intersection, union.

        Raises MissingInput if there are none.
        """
        columns = ("image", "way", "class", "intersection", "union")
        return self._read(segmentation_table(arm), *columns)

    def grid(
        self, analysis: str, arm: str, *, column: str, axis: str | None, where: Mapping[str, Any] = NOTHING
    ) -> pd.DataFrame:
        """One column of an analysis: a row per image, a column per block and place on the axis.

        axis:  "head", "frequency", or None to average whatever else the table tells apart
        where: column -> its value in the rows to keep; `apart`: how many blocks lie between two compared
        Raises MissingInput if the analysis is not of this study, or its table lacks a column or such rows.
        """
        key = (analysis, arm, column, axis, *sorted(where.items()))
        if key not in self._kept:
            if analysis not in self.params.analyses:  # a table may be left from when it was
                raise MissingInput(f"{analysis} is not among the analyses of this study")
            places = ["block"] if axis is None else ["block", axis]
            path = analysis_table(analysis, arm)
            named = [name for name in where if name != "apart"]
            table = self._read(path, "image", *places, column, *named)
            # The decoder of an arm that has one is none of its encoder's blocks.
            kept = table["part"] == "encoder" if "part" in table else pd.Series(True, index=table.index)
            for name, value in where.items():
                kept &= (table["block"] - table["other_block"] if name == "apart" else table[name]) == value
            if not kept.any():
                raise MissingInput(f"{path} has no {' '.join(str(value) for value in where.values())}")
            table = table[kept]
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
