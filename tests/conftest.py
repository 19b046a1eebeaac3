"""Order of the tests, and what several of them start from."""

import pytest

# Files run side by side, so those that take longest are started first, the study at toy size before all.
LONGEST = (
    "test_study.py",
    "test_slurm.py",
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


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """An MLflow database without runs, made once: it takes seconds."""
    from sqlalchemy import event  # takes a while, and few tests need it
    from sqlalchemy.engine import Engine

    from stages.tracking.store import make_database

    # A test's database need not survive a power cut; waiting for the disk is most of the time otherwise.
    event.listen(Engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    database = tmp_path_factory.getbasetemp() / "mlflow-empty.db"
    if not database.exists():
        make_database(database)
    return database
