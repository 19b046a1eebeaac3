"""The numbers and the words of a result, named alike in every arm, as MLflow shows them."""

from pathlib import Path
from typing import Any

from stages.results.summary import blocks_of, history_of, metrics_of
from stages.tracking.lockfile import flat

NOT_HEADLINE = ("low", "high", "images", "chance", "learning_rate", "by_", "p_adjusted")
# Of a claim; the rest stands in its table.
DECIDED = ("effect", "low", "high", "p_adjusted", "d_z", "agree", "verdict")
Measure = tuple[str, float, int]  # name, value, step
Told = tuple[list[Measure], dict[str, Any]]  # what a result says: numbers, and words by their names


def measures(path: Path) -> Told:
    """The numbers and the words of one out: metrics, the curve of a training, the blocks of an analysis.

    Numbers are means over seeds.
    """
    if path.suffix == ".json":
        values = flat(named(metrics_of(path)))
        values = {name.removeprefix("labels.").removeprefix("claims."): v for name, v in values.items()}
        if path.name == "claims.json":
            values = {name: v for name, v in values.items() if name.rpartition(".")[2] in DECIDED}
        words = {name: value for name, value in values.items() if isinstance(value, str | bool)}
        return [(n, v, 0) for n, v in values.items() if isinstance(v, int | float) and n not in words], words
    table = blocks_of(path) if path.suffix == ".csv" else history_of(path)
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
