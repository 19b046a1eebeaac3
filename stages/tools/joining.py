"""Join the settings and the result tables of several studies that differ in arms and seeds alone."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML

from stages.results.metrics import over_seeds
from stages.results.study_results import MANIFEST
from stages.study.errors import StudyError
from stages.study.params import seeds_of, validate

PARAMS = "params.yaml"
OWN = ("seeds", "labels", "runtime", "arms")  # settings in which joined studies may differ
PLACES = ("source", "test_source", "root")  # where images lie; the manifest tells whether they are the same


def joined_params(texts: Mapping[str, bytes]) -> str:
    """Return the params.yaml of several studies, which differ at most in arms, seeds and labels.

    texts: name of the study -> its params.yaml
    Raises StudyError naming the first other setting in which they differ, or what is wrong with the result.
    """
    names = list(texts)
    values = {name: YAML(typ="safe").load(text) for name, text in texts.items()}
    studies = {name: validate(study, where=name) for name, study in values.items()}
    if len(names) == 1:
        return texts[names[0]].decode()
    arms: dict[str, dict[str, Any]] = {}
    labels: dict[str, str] = {}
    seeds: dict[str, set[int]] = {}
    augmented: set[str] = set().union(*(study["linear_augmented"]["arms"] for study in values.values()))
    for name, study in values.items():
        if difference := first_difference(common(values[names[0]]), common(study)):
            raise StudyError(f"{name}: {difference} differs from {names[0]}; only arms and seeds may differ")
        for arm, settings in study["arms"].items():
            own = {key: value for key, value in settings.items() if key != "seeds"}
            if arms.setdefault(arm, own) != own:
                raise StudyError(f"{name}: arms.{arm} differs from {names[0]}")
            if arm in augmented and arm not in study["linear_augmented"]["arms"]:
                raise StudyError(f"{name}: linear_augmented.arms lacks {arm}; another file has it")
            if own["objective"] != "imported":  # one encoder, without a seed
                seeds.setdefault(arm, set()).update(seeds_of(studies[name], arm))
        labels = (study.get("labels") or {}) | labels
    every = sorted(set().union(*seeds.values())) or studies[names[0]].seeds
    yaml = YAML()  # keeps the comments
    params = yaml.load(texts[names[0]])
    params["labels"], params["seeds"] = labels, every
    params["linear_augmented"]["arms"] = [arm for arm in arms if arm in augmented]
    for arm, own in arms.items():
        several = sorted(seeds.get(arm, every))
        params["arms"][arm] = own | ({} if several == every else {"seeds": several})
    text = io.StringIO()
    yaml.dump(params, text)
    validate(YAML(typ="safe").load(text.getvalue()), where=f"{PARAMS} of {' and '.join(names)}")
    return text.getvalue()


def common(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that joined studies must share."""
    shared = {key: value for key, value in params.items() if key not in OWN}
    for section, own in (("data", PLACES), ("linear_augmented", ("arms",))):
        shared[section] = {key: value for key, value in params[section].items() if key not in own}
    return shared


def first_difference(one: Any, other: Any, path: str = "") -> str:
    """Return the path of the first setting in which two mappings differ; empty if there is none."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = dict.fromkeys([*one, *other])
        differences = (first_difference(one.get(key), other.get(key), f"{path}{key}.") for key in keys)
        return next(filter(None, differences), "")
    return "" if one == other else path.rstrip(".")


def joined(path: str, holders: Mapping[str, bytes]) -> bytes:
    """Return one file of all studies that have it: the rows, or the metrics, of all trainings.

    holders: name of the study -> content of the file
    Raises StudyError if two studies have the same training, or differ in images, columns or protocol.
    """
    contents = list(holders.values())
    if all(content == contents[0] for content in contents):
        return contents[0]
    if path == MANIFEST.as_posix():
        # A source has any address, which the names of unreadable files may contain.
        manifests = [json.loads(text) | {"source": None, "unreadable": None} for text in contents]
        if any(manifest != manifests[0] for manifest in manifests):
            raise StudyError(f"{', '.join(holders)}: not the same images")
        return contents[0]
    if path.endswith(".json"):
        whole = joined_metrics([json.loads(text) for text in contents], where=path)
        return (json.dumps(whole, indent=2, sort_keys=True) + "\n").encode()
    tables = [text.decode().partition("\n") for text in contents]
    if len({header for header, _, _ in tables}) > 1:
        raise StudyError(f"{path}: the files have different columns; pack them with the same code")
    refuse_shared([trainings_in(text) for text in contents], where=path)
    return (tables[0][0] + "\n" + "".join(rows for _, _, rows in tables)).encode()


def joined_metrics(parts: Sequence[dict[str, Any]], *, where: str) -> dict[str, Any]:
    """Return the metrics of all seeds of an arm with their means, and what the parts share.

    Raises StudyError if two parts have the same seed, or differ in a protocol: each part may have chosen
    another pooling.
    """
    seeds = [part.get("seeds") or {} for part in parts]
    if not any(seeds):  # a file of one training
        raise StudyError(f"{where}: the files have different results of the same training; leave one out")
    refuse_shared([set(each) for each in seeds], where=where)
    every = {int(seed): of_seed for each in seeds for seed, of_seed in each.items()}
    whole = over_seeds(dict(sorted(every.items())))
    for key, value in parts[0].items():
        others = [part.get(key) for part in parts]
        if key == "by_pooling":
            whole[key] = {
                pooling: joined_metrics([other[pooling] for other in others if other], where=where)
                for pooling in value
            }
        elif key not in whole:
            if any(other != value for other in others):
                raise StudyError(f"{where}: the files differ in {key}: {'; '.join(map(str, others))}")
            whole[key] = value
    return whole


def trainings_in(table: bytes) -> set[tuple[str, ...]]:
    """Return the seeds in a table, with the arms if it has a column of them; empty if it has no rows."""
    rows = csv.DictReader(io.StringIO(table.decode(), newline=""))
    keys = [name for name in ("seed", "arm", "other_arm") if name in (rows.fieldnames or ())]
    return {tuple(row[key] for key in keys) for row in rows}


def refuse_shared(trainings: Sequence[set[Any]], *, where: str) -> None:
    """Raise StudyError unless every part has trainings, and no two share one."""
    if not all(trainings):
        raise StudyError(f"{where}: a file has no results there; pack finished studies")
    if len(set().union(*trainings)) < sum(map(len, trainings)):
        raise StudyError(f"{where}: the files have results of the same training; join other arms or seeds")
