"""What claims are decided from: the results of one training of an arm, as a claim asks for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import pandas as pd

from stages.results.files import MissingResult
from stages.results.study_results import Results
from stages.study.paths import analysis_table
from stages.study.study import Study

NOTHING: Mapping[str, Any] = MappingProxyType({})


class OtherArm(MissingResult):
    """The claim does not apply to this arm; another arm of the same method may fit."""


@dataclass(frozen=True)
class Tables:
    """The results of one seed of every arm; `of` gives those of another seed."""

    results: Results
    seed: int = 0
    _parts: dict[Any, pd.DataFrame] = field(default_factory=dict, repr=False, compare=False)

    @property
    def params(self) -> Study:
        """The study whose results these are."""
        return self.results.study

    def of(self, seed: int) -> "Tables":
        """The same results of another seed."""
        return replace(self, seed=seed)

    def probe(self, name: str, arm: str) -> pd.DataFrame:
        """Predictions of a probe: image, labels, truth, predicted, chosen, and what it varies.

        Raises MissingResult if the probe is not of this study or has no such table.
        """
        asked_for = (
            arm in self.params.linear_augmented.arms
            if name == "linear_augmented"
            else getattr(self.params.probes, name, None) is not None
        )
        if not asked_for:  # a table may be left from when it was
            raise MissingResult(f"{name} is not among the probes of this study")
        return self._of_seed(self.results.probe(name, arm), "probe", name, arm)

    def finetuned(self, arm: str) -> pd.DataFrame:
        """Predictions after fine-tuning: image, labels, truth, predicted.

        Raises MissingResult if there are none.
        """
        return self._of_seed(self.results.finetuned(arm), "finetuned", arm)

    def trials(self, arm: str) -> pd.DataFrame:
        """Predictions on corrupted images and stimuli, a row per trial, level, head, label set and image.

        Raises MissingResult if there are none.
        """
        return self._of_seed(self.results.robustness(arm), "trials", arm)

    def overlaps(self, arm: str) -> pd.DataFrame:
        """Intersections and unions of segmented images: image, way, class, intersection, union.

        Raises MissingResult if there are none.
        """
        return self._of_seed(self.results.segmentation(arm), "overlaps", arm)

    def grid(
        self, analysis: str, arm: str, *, column: str, axis: str | None, where: Mapping[str, Any] = NOTHING
    ) -> pd.DataFrame:
        """One column of an analysis: a row per image, a column per block and place on the axis.

        axis:  "head", "frequency", or None to average whatever else the table tells apart
        where: column -> its value in the rows to keep; `apart`: how many blocks lie between two compared
        Raises MissingResult if the analysis is not of this study, or its table lacks a column or such rows.
        """
        key = ("grid", analysis, arm, self.seed, column, axis, *sorted(where.items()))
        if key not in self._parts:
            if analysis not in self.params.analyses:  # a table may be left from when it was
                raise MissingResult(f"{analysis} is not among the analyses of this study")
            places = ["block"] if axis is None else ["block", axis]
            whole = self.results.analysis(analysis, arm, measures=[column])
            table = self._of_seed(whole, "analysis", analysis, arm)
            # The decoder of an arm that has one is none of its encoder's blocks.
            chosen = table["part"] == "encoder" if "part" in table else pd.Series(True, index=table.index)
            for name, value in where.items():
                chosen &= (table["block"] - table["other_block"] if name == "apart" else table[name]) == value
            if not chosen.any():
                path = analysis_table(analysis, arm)
                raise MissingResult(f"{path} has no {' '.join(str(value) for value in where.values())}")
            self._parts[key] = (
                table[chosen].groupby(["image", *places])[column].mean().unstack(places).sort_index(axis=1)
            )
        return self._parts[key]

    def label_sets(self, arm: str) -> list[str]:
        """Names of the label sets that an arm was evaluated on, in file order; none if it was not."""
        for read in (self.results.finetuned, lambda arm: self.results.probe("linear", arm)):
            try:
                return [str(name) for name in read(arm)["labels"].unique()]
            except MissingResult:
                continue
        return []

    def _of_seed(self, whole: pd.DataFrame, *names: str) -> pd.DataFrame:
        key = (*names, self.seed)
        if key not in self._parts:
            self._parts[key] = whole[whole["seed"] == self.seed]
        return self._parts[key]
