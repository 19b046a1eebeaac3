"""The report imports little."""

import subprocess
import sys

from tests.render.synthetic import ROOT


def test_rendering_needs_no_torch() -> None:
    """Every notebook starts a process that imports this room; torch would dominate its time."""
    paths = sorted((ROOT / "stages/render").rglob("[a-z]*.py"))
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    code = (
        f"import sys, {', '.join(modules)}; sys.exit(int('torch' in sys.modules or 'scipy' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
