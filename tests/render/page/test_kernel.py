"""Notebooks run in the Python of the study, even if another kernel is installed."""

import json
import os
import sys

from jupyter_client.kernelspec import KernelSpecManager

from stages.render.page.notebook_run import this_python_as_kernel


def test_a_kernel_python3_of_another_python_is_ignored(tmp_path, monkeypatch):
    other = tmp_path / "other/kernels/python3"
    other.mkdir(parents=True)
    (other / "kernel.json").write_text(json.dumps({"argv": ["/nowhere/python"], "display_name": "x"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "other"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "other"))
    assert KernelSpecManager().get_kernel_spec("python3").argv == ["/nowhere/python"]
    with this_python_as_kernel(tmp_path / "mine"):
        assert KernelSpecManager().get_kernel_spec("python3").argv[0] == sys.executable
    assert os.environ["JUPYTER_PATH"] == str(tmp_path / "other")
    monkeypatch.delenv("JUPYTER_PATH")
    with this_python_as_kernel(tmp_path / "again"):
        assert KernelSpecManager().get_kernel_spec("python3").argv[0] == sys.executable
    assert "JUPYTER_PATH" not in os.environ
