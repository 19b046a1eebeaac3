"""That a process keeps its memory from step to step."""

import platform
import subprocess
import sys

import pytest

from tests.project import ROOT

PROGRAM = """
import resource, torch
from stages.training.devices import keep_memory

def step():
    parts = [torch.ones(2**20) for _ in range(20)]  # 4 MiB each

def faults():
    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), keep_memory(), faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_a_step_takes_the_memory_of_the_one_before():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    before, obeyed, after = done.stdout.split()
    assert obeyed == "True" and int(after) < int(before) / 10
