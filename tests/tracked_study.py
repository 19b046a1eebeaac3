"""A study that ran, in miniature: the project's own graph, with outs and dvc.lock made up."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from stages.tracking.lockfile import UNMIRRORED

PROJECT = Path(__file__).parent.parent


def make_study(root: Path, *, arms: tuple[str, ...] = ("cl",), k: int = 20) -> None:
    """Write params.yaml, dvc.yaml, dvc.lock and all outs of the mirrored folders, as after `dvc repro`."""
    shutil.copy(PROJECT / "dvc.yaml", root)
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["arms"] = {name: params["arms"][name] for name in arms}
    # Two of each kind stand for all.
    params["probes"] = {name: params["probes"][name] for name in ("knn", "linear")}
    params["analyses"] = {name: params["analyses"][name] for name in ("attention", "fourier")}
    params["probes"]["knn"]["k"] = k
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    repro(root, params)


def repro(root: Path, params: dict[str, Any]) -> None:
    """Give each stage of dvc.yaml outs and an entry in dvc.lock; entries of removed arms stay, as in DVC."""
    lock = root / "dvc.lock"
    entries = yaml.safe_load(lock.read_text())["stages"] if lock.exists() else {}
    for stage, template in yaml.safe_load((root / "dvc.yaml").read_text())["stages"].items():
        if stage in UNMIRRORED:
            continue
        for suffix, chosen in choices(template, params):
            text = json.dumps(template.get("do", template))
            for name, value in chosen.items():
                text = text.replace(f"${{{name}}}", value)
            entry = json.loads(text)
            seen = {path: at(params, path) for path in entry.get("params", [])}
            outs = [*entry.get("outs", []), *(next(iter(metric)) for metric in entry.get("metrics", []))]
            made = [make_out(root, path, seen) for path in outs]
            deps = [{"path": path} for path in entry.get("deps", [])]
            ran_with = {"cmd": entry["cmd"], "deps": deps, "params": {"params.yaml": seen}}
            entries[stage + suffix] = ran_with | {"outs": made}
    lock.write_text(yaml.safe_dump({"schema": "2.0", "stages": entries}))


def choices(template: dict[str, Any], params: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """What follows the name of each stage made from a template, and the values of its variables."""
    if "foreach" in template:
        arms = params["arms"].items()
        return [(f"@{arm}", {"key": arm, "item.objective": spec["objective"]}) for arm, spec in arms]
    if "matrix" not in template:
        return [("", {})]
    found: list[dict[str, str]] = [{}]
    for axis, of in template["matrix"].items():
        names = at(params, of.removeprefix("${").removesuffix("}"))
        found = [chosen | {f"item.{axis}": name} for chosen in found for name in names]
    return [("@" + "-".join(chosen.values()), chosen) for chosen in found]


def make_out(root: Path, path: str, seen: dict[str, Any]) -> dict[str, Any]:
    """Write what a stage would, a function of its parameters, and give its entry in dvc.lock."""
    out = root / path
    out.parent.mkdir(parents=True, exist_ok=True)
    value = 0.01 * seen.get("probes.knn", {}).get("k", 50)
    if path.endswith("claims.json"):
        claim = {"effect": 0.25, "p_adjusted": 0.01, "verdict": "supported", "specifications": {"agree": 0.5}}
        entry = {
            "name": "frequency",
            "statement": "MIM > CL",
            "choices": [{"name": "images", "options": ["all"]}],
        }
        content = json.dumps({"claims": {"frequency": claim}, "entries": [entry], "rules": {"by": "Holm"}})
    elif path.endswith("specifications.csv"):
        content = "claim,specification,blocks,effect,verdict\n"
        content += "frequency,1,,0.25,supported\nfrequency,2,all,0,undecided\n"
    elif path.startswith("results/segmentation") and path.endswith(".json"):
        ways = {"linear": {"miou": 0.25, "low": 0.2, "high": 0.3}}
        content = json.dumps({"ways": ways, "classes": ["none", "a"], "protocol": "p"})
    elif path.startswith("results/segmentation"):
        content = "image,way,class,intersection,union\n0,linear,1,5,20\n"
    elif path.endswith(".json"):
        shape = {"accuracy": value, "low": value - 0.1, "pooling": "mean", "by_pooling": {"mean": value}}
        content = json.dumps({"labels": {"shape": shape}, "protocol": "p" * 7000})
    elif "/attention/" in path and path.endswith(".csv"):
        content = "image,block,head,distance,nmi\n0,1,1,8,0\n1,1,1,10,0\n0,2,1,4,0\n1,2,1,5,0\n"
    elif path == "results/comparison.csv":
        content = "arm,block,other_arm,other_block,cka\ncl,0,cl,0,1\n"
    elif path.startswith("results/robustness"):
        content = "trial,level,head,labels,image,truth,rival,predicted\nclean,0,linear,shape,0,1,-1,1\n"
    elif path.startswith("results/probe"):
        content = "image,labels,truth,predicted\n0,shape,1,1\n"
    elif path.endswith(".csv"):
        content = "image,block,frequency,log_amplitude\n0,0,0.5,-9\n0,0,1,-2\n1,0,1,-4\n"
    elif path.endswith(".html"):
        content = "<html>report</html>"
    else:
        out.mkdir(exist_ok=True)
        (out / "history.csv").write_text("epoch,loss,lr\n0,2.5,0.1\n1,1.5,0.05\n")
        (out / "figure.png").write_bytes(b"PNG")
        if path == "data/prepared":
            about = {
                "source": "path/to/images",
                "splits": {"train": {"images": 8}},
                "labels": {"shape": ["a"]},
            }
            (out / "manifest.json").write_text(json.dumps(about | {"digest": "d1g35t"}))
        if path.startswith("models"):
            (out / "encoder.json").write_text(json.dumps({"vit": {"width": 48, "depth": 2}}))
        sizes = [file.stat().st_size for file in out.iterdir()]
        md5 = hashlib.md5(path.encode()).hexdigest() + ".dir"
        return {"path": path, "md5": md5, "size": sum(sizes), "nfiles": len(sizes)}
    out.write_text(content)
    return {"path": path, "md5": hashlib.md5(content.encode()).hexdigest(), "size": len(content)}


def at(params: Any, path: str) -> Any:
    """The value at a dotted path."""
    for part in path.split("."):
        params = params[part]
    return params
