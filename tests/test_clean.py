"""`make clean` takes what the project made, and nothing else."""

import os
import shutil
import subprocess

from tests.project import ROOT

MADE = (
    "trainings/0123456789abcdef/encoder.safetensors",
    "failed/summary.ipynb",
    "timings.jsonl",
)
STAYING = (
    "mine/photo.png",
    "downloads/cifar-10.tar",
    "uploads/study.tar",
    "tracking-pending",
    "figures/nmi.svg",
    "pretrain-notes/0123456789abcdef",
    "my-0123456789abcdef/weights.pth",
    "notes.txt",
)


def test_clean_takes_what_the_project_made(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("scratch/trainings", *(f"scratch/{name}" for name in (*MADE, *STAYING)), "data/mine/a.png"):
        path = tmp_path / name
        if path.suffix or "/0123" in name or path.name == "tracking-pending":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("content")
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    for _ in range(2):  # also where there is nothing to take
        done = subprocess.run(["make", "clean"], cwd=tmp_path, env=alone, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
        assert files == {"Makefile", "data/mine/a.png", *(f"scratch/{name}" for name in STAYING)}
