"""A study that ran, in miniature: params.yaml of the project, with results and dvc.lock made up."""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).parent.parent
CURVE = "seed,epoch,loss,lr\n{0},1,2.5,0.1\n{0},2,1.5,0.05\n"


def make_study(root: Path, *, arms: tuple[str, ...] = ("cl",), knn: float = 0.2) -> None:
    """Write params.yaml, dvc.yaml, dvc.lock and what `track` reads, for two seeds of each arm.

    knn: accuracy of the nearest-neighbour probe, by which states of the study differ
    """
    shutil.copy(PROJECT / "dvc.yaml", root)
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["probes"] = {name: params["probes"][name] for name in ("knn", "linear")}
    params |= {"arms": {name: params["arms"][name] for name in arms}, "labels": {}, "seeds": [0, 7]}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "dvc.lock").write_text(yaml.safe_dump({"stages": {"pretrain@cl": {"cmd": "x"}, "track": {}}}))
    write(root / "data/prepared/manifest.json", {"arrays": {"train/images": "d1g35t"}})
    verdicts = {"frequency": {"verdict": "supported"}, "shape": {"verdict": "undecided"}}
    entries = [{"name": name} for name in verdicts]
    write(root / "results/claims.json", {"claims": verdicts, "entries": entries})
    (root / "results/specifications.csv").write_text("claim,verdict\nfrequency,supported\n")
    for path, text in (
        ("reports/index.html", "<html>report</html>"),
        ("reports/plots/nmi.csv", "block,nmi\n"),
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    for arm in arms:
        for name, value in (("probe/knn", knn), ("probe/linear", 0.5), ("finetune", 0.75)):
            write(root / f"results/{name}/{arm}.json", over_seeds("labels", "accuracy", value))
        write(root / f"results/segmentation/{arm}.json", over_seeds("ways", "miou", 0.25))
        for seed in (0, 7):
            for folder in (root / f"models/{arm}/{seed}", root / f"results/finetune/{arm}/{seed}"):
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "history.csv").write_text(CURVE.format(seed))
            seal = {"files": {}, "seed": seed, "device": "cpu", "precision": "32-true", "torch": "2.0"}
            write(root / f"models/{arm}/{seed}/training.json", seal)
            write(root / f"models/{arm}/{seed}/encoder.json", {"vit": {"width": 48}})


def over_seeds(kind: str, measure: str, value: float) -> dict[str, Any]:
    """Return metrics as a stage writes them: the mean, its interval, and the seeds 0.01 below and above."""

    def block(mean: float) -> dict[str, float]:
        return {measure: mean, "low": mean - 0.1, "high": mean + 0.1}

    of_seed = {f"{seed}": {kind: {"shape": block(v)}} for seed, v in ((0, value - 0.01), (7, value + 0.01))}
    shape = block(value) | {"by_pooling": {"mean": {measure: 0.9}}}
    return {kind: {"shape": shape}, "protocol": "p", "seeds": of_seed}


def write(path: Path, value: Any) -> None:
    """Write JSON into a folder that may not exist yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
