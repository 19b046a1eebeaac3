"""Every value of params.yaml replaced by values that it should not have: `python -m tests.hostile.fuzz`.

The whole campaign takes minutes; `test_params.py` runs a share of it.
"""

import datetime
import math
import os
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from stages import check
from stages.study import lookup, params, places
from stages.study.documents import read_yaml
from stages.study.errors import StudyError
from stages.tools.preset import merge
from tests.project import ROOT

Key = tuple[str | int, ...]

LOOP: list[Any] = []
LOOP.append(LOOP)
RING: dict[str, Any] = {}
RING["ring"] = RING
SHARED: list[Any] = ["x"] * 10
for _ in range(9):
    SHARED = [SHARED] * 10  # a billion values, in a few lines of YAML with aliases

ODD: dict[str, Any] = {
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "minus zero": -0.0,
    "negative": -1,
    "one": 1,
    "half": 0.5,
    "one and a half": 1.5,
    "whole float": 3.0,
    "2**31": 2**31,
    "2**63": 2**63,
    "10**30": 10**30,
    "-10**30": -(10**30),
    "10**5000": 10**5000,
    "1e308": 1e308,
    "1e30": 1e30,
    "subnormal": 5e-324,
    "nan": math.nan,
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "empty": "",
    "space": " ",
    "newline": "a\nb",
    "zero byte": "a\0b",
    "word": "word",
    "number": "3",
    "long number": "9" * 400,
    "exponent": "1e-3",
    "yes": "yes",
    "word nan": "nan",
    "long": "x" * 5000,
    "Chinese": "数据",
    "emoji": "\U0001f600",
    "right to left": "\u202egnp.exe",
    "half of a pair": "\ud800",
    "escape": "\x1b[31mred",
    "root": "/",
    "parent": "../..",
    "home of nobody": "~nobody/x",
    "drive": "C:\\x",
    "script": "<script>alert(1)</script>",
    "shell": "$(touch owned); `id`",
    "format": "{0.__class__} %s %n ${key}",
    "list": [],
    "list of null": [None],
    "list of one": [1],
    "list of a word": ["a"],
    "nested list": [[1]],
    "list of nan": [math.nan],
    "twice": [1, 1],
    "long list": list(range(1, 300)),
    "map": {},
    "map of null": {"a": None},
    "key null": {None: 1},
    "key 1": {1: 2},
    "key pair": {(1, 2): 3},
    "key newline": {"a\nb": 1},
    "key empty": {"": 1},
    "deep map": {"a": {"b": {"c": {"d": 1}}}},
    "date": datetime.date(2026, 1, 1),
    "bytes": b"\xff\xfe",
    "set": {1, 2},
    "list in itself": LOOP,
    "map in itself": RING,
    "a billion": SHARED,
    "address": "https://host/file",
    "broken address": "http://[::1",
    "file address": "file:///etc/passwd",
    "hub": "hf-hub:../..",
    "named data": "torch/cifar10",
}


class Outcome(NamedTuple):
    """What one odd value did."""

    key: str
    odd: str  # a name in ODD
    line: str  # the error; empty: accepted
    problem: str  # what is wrong with this outcome; empty: nothing


def full_study(folder: Path) -> dict[str, Any]:
    """The default study with every optional setting. folder: has images and the file w.pth"""
    values = read_yaml(ROOT / "params.yaml")
    objective = {"contrastive": {"temperature": 0.2}, "masked": {"mask_ratio": 0.5}}
    latent = {"crop_scale_min": 0.3, "momentum": 0.9, "target_blocks": 2, "target_scale": 0.15, "beta": 1.0}
    latent |= {"normalize": "image", "predictor_width": 32, "predictor_depth": 2, "predictor_heads": 2}
    arm = {
        "objective": "layered", "cl_weight": 0.2, "mim_block": 2, "seeds": [0, 1], "stop_epoch": 2,
        "epochs": 3, "batch_size": 8, "lr": 1e-3, "lr_scaling_batch": 256, "min_lr": 0.0, "beta2": 0.9,
        "schedule": "cosine", "milestone": 0.5, "weight_decay": 0.1, "weight_decay_end": 0.2,
        "decay_all": True, "warmup_epochs": 0.5, "clip_grad": 3.0, "drop_path": 0.1, "precision": "32-true",
        "width": 64, "depth": 2, "heads": 2, "position": "sincos", "layer_scale": 0.1,
        "objectives": objective,
    }  # fmt: skip
    arms = {
        "full": arm,
        "ratio": {"objective": "hybrid", "gradient_ratio": 1.0},
        "theirs": {"objective": "imported", "weights": f"{folder}/w.pth", "format": "mae", "heads": 3},
        **{name: {"objective": name} for name in ("autoencoder", "dino", "latent", "supervised")},
    }
    images = f"{folder}"
    changes = {
        "objectives": {"latent": latent},
        "probes": {"class_mean": {"unit_length": False}},
        "analyses": {"token_norms": {"images": 250}},
        "data": {
            "source": images, "test_source": images, "root": images, "value_range": [0.0, 1.0],
            "max_train_images": 50, "max_test_images": 50,
            "masks": {"source": images, "test_source": images, "object": [1], "ignored": [2], "turned": True},
        },
        "robustness": {"stimuli": {"own": {"source": images, "classes": {"a": "b", "c": "d"}}}},
        "report": {"compare_with": {"Other": "https://host/claims.json"}},
        "runtime": {"jobs": 1, "micro_batch": 4, "threads": 1, "slurm": {"cap": 1}},
        "pretrain": {"lr_scaling_batch": 256, "weight_decay_end": 0.1},
        "vit": {"layer_scale": 0.1},
        "linear_augmented": {"arms": ["cl"]},
        "arms": arms,
    }  # fmt: skip
    merge(values, changes)
    values["arms"]["theirs"]["sha256"] = "a" * 64
    return values


def presets(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every preset over the default study. folder: stands for the paths that a user sets"""
    for path in sorted((ROOT / "stages/presets").glob("*.yaml")):
        values = read_yaml(ROOT / "params.yaml")
        merge(values, read_yaml(path))
        for name in ("source", "test_source"):
            if f"{values['data'][name]}".startswith("path/to"):
                values["data"][name] = f"{folder}"
        for arm in values["arms"].values():
            if "drive.google.com" in arm.get("weights", ""):
                arm["weights"] = f"{folder}/w.pth"
        yield path.stem, values


def keys_of(values: Any, at: Key = ()) -> Iterator[Key]:
    """The key of every value, of sections too."""
    yield at
    items = (
        values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    )
    for name, value in items:
        yield from keys_of(value, (*at, name))


def replaced(values: Any, key: Key, new: Any) -> Any:
    """A copy of the values with one replaced."""
    if not key:
        return new
    copy = values.copy()
    copy[key[0]] = replaced(values[key[0]], key[1:], new)
    return copy


class Fuzz:
    """Runs the stage `check` in this process on values instead of a file."""

    def __init__(self, patch: Any) -> None:
        """patch: pytest's monkeypatch"""
        self.values: Any = None
        graph = read_yaml(ROOT / "dvc.yaml")

        def read(path: Path) -> Any:
            return self.values if Path(path).name == "params.yaml" else graph

        patch.setattr(params, "read_yaml", read)
        patch.setattr(places, "read_yaml", read)
        patch.setattr(lookup, "plugins", lru_cache(lookup.plugins))
        outs = places.outs_of(ROOT / "dvc.yaml")
        patch.setattr(places, "outs_of", lambda _: outs)
        conflict = lru_cache(lambda path, root: real(path, outs=outs, root=root))
        real = places.conflict
        patch.setattr(places, "conflict", lambda path, outs, root: conflict(path, root))

    def outcome(self, values: Any, key: Key, odd: str) -> Outcome:
        """What `check` says about a study with one odd value."""
        self.values = replaced(values, key, ODD[odd])
        dotted = ".".join(f"{part}" for part in key)
        try:
            check.check()
        except StudyError as error:
            line = f"{error}"
            leaf = next((f"{part}" for part in reversed(key) if isinstance(part, str)), "params.yaml")
            problem = ""
            if len(line.splitlines()) != 1 or not all(letter.isprintable() for letter in line):
                problem = "not one printable line"
            elif len(line) > 700:
                problem = f"a line of {len(line)} characters"
            elif leaf not in line:
                problem = "the key is not named"
            return Outcome(dotted, odd, line, problem)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            problem = f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}"
            return Outcome(dotted, odd, f"{error}"[:200], problem)
        return Outcome(dotted, odd, "", "")


def workplace(folder: Path) -> Path:
    """Make a folder that looks like the project to `check`, with images and a file of weights beside it."""
    from tests.data.pictures import class_files, write_folder

    write_folder(folder / "images", class_files())
    (folder / "images/w.pth").write_bytes(b"weights")
    (folder / "project").mkdir()
    for name in ("stages", "dvc.yaml", "notebooks"):
        (folder / "project" / name).symlink_to(ROOT / name)
    return folder / "project"


def main() -> None:
    """Run the whole campaign and print its figures and every problem."""
    import pytest

    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        os.chdir(workplace(folder))
        os.environ.pop("DVC_ROOT", None)
        fuzz = Fuzz(patch)
        counts: Counter[str] = Counter()
        done: set[tuple[Key, str]] = set()
        for study, values in [("full", full_study(folder / "images")), *presets(folder / "images")]:
            for key in keys_of(values):
                content = values
                for part in key:
                    content = content[part]
                if (key, repr(content)) in done:
                    continue
                done.add((key, repr(content)))
                counts["keys"] += 1
                for odd in ODD:
                    outcome = fuzz.outcome(values, key, odd)
                    counts["accepted" if not (outcome.line or outcome.problem) else "refused"] += 1
                    if outcome.problem:
                        counts["problems"] += 1
                        print("PROBLEM", study, *outcome, flush=True)
                    elif not outcome.line:
                        print("ACCEPTED", study, outcome.key, odd, sep=" | ", flush=True)
        print(dict(counts), len(ODD), "odd values", flush=True)


if __name__ == "__main__":
    sys.exit(main())
