"""The numbers and the words of a result, named alike in every arm, as MLflow shows them."""

from pathlib import Path
from typing import Any

from stages.study.paths import read_json
from stages.tracking.lockfile import flat

AXES = ["image", "block", "head", "frequency"]  # columns of an analysis that say where, not what
NOT_HEADLINE = ("low", "high", "images", "chance", "learning_rate", "by_", "p_adjusted")
# Of a claim; the rest stands in its table.
DECIDED = ("effect", "low", "high", "p_adjusted", "d_z", "agree", "verdict")
Measure = tuple[str, float, int]  # name, value, step
Told = tuple[list[Measure], dict[str, Any]]  # what a result says: numbers, and words by their names


def measures(path: Path) -> Told:
    """The numbers and the words of one out: metrics, the curve of a training, the blocks of an analysis."""
    if path.suffix == ".json":
        found = flat(named(read_json(path)))
        found = {name.removeprefix("labels.").removeprefix("claims."): v for name, v in found.items()}
        if path.name == "claims.json":
            found = {name: v for name, v in found.items() if name.rpartition(".")[2] in DECIDED}
        words = {name: value for name, value in found.items() if isinstance(value, str | bool)}
        return [(n, v, 0) for n, v in found.items() if isinstance(v, int | float) and n not in words], words
    import pandas as pd

    table = pd.DataFrame()
    columns = set(pd.read_csv(path, nrows=0)) if path.suffix == ".csv" else set()
    if (path / "history.csv").is_file():
        table = pd.read_csv(path / "history.csv").set_index("epoch")
    elif "block" in columns and not columns & {"predicted", "other_arm"}:
        # The accuracies of a probe are in its JSON; pairs of arms are no course of one.
        table = pd.read_csv(path)
        if "measure" in table:  # several measures, one value a row; 0: not one of a series
            table = table[table[[name for name in ("index", "row") if name in table]].eq(0).all(axis=1)]
            if "other_block" in table:  # of two blocks the neighbours only
                table = table[table["block"] - table["other_block"] <= 1]
            parts = [name for name in ("measure", "level", "place", "variant") if name in table]
            table = table.groupby(["block", *parts])["value"].mean().unstack(parts)
            table.columns = [".".join(name) if parts[1:] else name for name in table]
        if "part" in table:  # of an encoder and its decoder
            table = table[table["part"] == "encoder"]
        if "frequency" in table:
            table = table[table["frequency"] == table["frequency"].max()]
        table = table.groupby("block").mean(numeric_only=True).drop(columns=AXES, errors="ignore")
    table = table.select_dtypes("number")
    return [
        (str(name), float(v), int(step)) for name in table for step, v in table[name].dropna().items()
    ], {}


def named(value: Any) -> Any:
    """The same with mappings for lists, by `name` or index; a long list of numbers is left to its file."""
    if isinstance(value, list):
        pairs = [(str(v.get("name", i)) if isinstance(v, dict) else str(i), v) for i, v in enumerate(value)]
        value = dict(pairs) if len(value) <= 16 or isinstance(value[0], dict) else {}
    return {name: named(item) for name, item in value.items()} if isinstance(value, dict) else value


def is_headline(name: str) -> bool:
    """Whether a metric belongs beside those of all other arms."""
    return not any(part.startswith(NOT_HEADLINE) for part in name.split("."))
