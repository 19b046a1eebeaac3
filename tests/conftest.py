"""Order of the tests."""

# Files run side by side, so those that take longest are started first, the study at toy size before all.
LONGEST = (
    "test_study.py",
    "test_track.py",
    "test_report.py",
    "test_summary.py",
    "test_status.py",
    "test_notebooks.py",
    "test_processes.py",
    "test_repro.py",
    "test_bench.py",
)


def pytest_collection_modifyitems(items):
    """Start long files first."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
