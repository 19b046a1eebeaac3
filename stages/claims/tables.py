"""The tables that claims are decided from, one seed at a time."""

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


@dataclass(frozen=True)
class Tables:
    """The results of one seed of every arm; `of` returns those of another seed."""

    results: Results
    seed: int = 0
    _parts: dict[Any, pd.DataFrame] = field(default_factory=dict, repr=False, compare=False)

    @property
    def params(self) -> Study:
        """Return the study of these results."""
        return self.results.study

    def of(self, seed: int) -> "Tables":
        """Return the tables of another seed."""
        return replace(self, seed=seed)

    def probe(self, name: str, arm: str) -> pd.DataFrame:
        """Return the predictions of a probe: image, labels, truth, predicted, chosen and its variants.

        Raises MissingResult if the study does not have this probe or its table.
        """
        in_study = (
            arm in self.params.linear_augmented.arms
            if name == "linear_augmented"
            else getattr(self.params.probes, name, None) is not None
        )
        if not in_study:  # an earlier study may have left a table
            raise MissingResult(f"{name} is not among the probes of this study")
        return self._of_seed(self.results.probe(name, arm), "probe", name, arm)

    def finetuned(self, arm: str) -> pd.DataFrame:
        """Return the predictions after fine-tuning: image, labels, truth, predicted.

        Raises MissingResult if the table does not exist.
        """
        return self._of_seed(self.results.finetuned(arm), "finetuned", arm)

    def trials(self, arm: str) -> pd.DataFrame:
        """Return predictions on corrupted images and stimuli: a row per trial, level, head, label set, image.

        Raises MissingResult if the table does not exist.
        """
        return self._of_seed(self.results.robustness(arm), "trials", arm)

    def overlaps(self, arm: str) -> pd.DataFrame:
        """Return the overlaps of segmented images: image, way, class, intersection, union.

        Raises MissingResult if the table does not exist.
        """
        return self._of_seed(self.results.segmentation(arm), "overlaps", arm)

    def grid(
        self, analysis: str, arm: str, *, column: str, axis: str | None, where: Mapping[str, Any] = NOTHING
    ) -> pd.DataFrame:
        """Return one column of an analysis: a row per image, a column per block and place on the axis.

        axis:  "head" or "frequency"; None averages over all other columns
        where: column -> value of the rows to keep; `apart` is the distance between two compared blocks
        Raises MissingResult if the study does not have this analysis, or its table lacks the column or rows.
        """
        key = ("grid", analysis, arm, self.seed, column, axis, *sorted(where.items()))
        if key not in self._parts:
            if analysis not in self.params.analyses:  # an earlier study may have left a table
                raise MissingResult(f"{analysis} is not among the analyses of this study")
            places = ["block"] if axis is None else ["block", axis]
            whole = self.results.analysis(analysis, arm, measures=[column])
            table = self._of_seed(whole, "analysis", analysis, arm)
            # Blocks of a decoder are not blocks of the encoder.
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
        """Return the label sets on which an arm was evaluated, in file order; empty without a table."""
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
