"""Mirror the results of the study into MLflow: `python -m stages.track`. It is safe to repeat.

Each state of the study is a run, with nested runs for its arms and, below them, seeds. Equal results are
written once, whether DVC computed or restored them. Tracking never fails a study: without a server, the
command prints a one-line warning, and its next run writes the missing results. Runs deleted in MLflow are
written again.
"""

import json
import os
import subprocess
from pathlib import Path

from stages.study.command import run
from stages.study.errors import StudyError
from stages.study.params import load_params
from stages.tracking.records import study_record
from stages.tracking.store import connect, pending_file, put_off


def main() -> None:
    """Mirror new results into MLflow."""
    run("track", track)


def track() -> str:
    """Mirror the state of the study, and return one line about new runs.

    Raises StudyError if the study has no results. Any other problem becomes a one-line warning.
    """
    study = load_params(stage="track")
    if not Path("dvc.lock").is_file():
        raise StudyError("dvc.lock: not found, so the study has no results yet; run `make study` first")
    try:
        if stale := outdated():
            more = f" and {len(stale) - 1} more" if stale[1:] else ""
            return f"nothing written: {stale[0]}{more} must run first; run `make study`"
        record = study_record(study)
        with connect() as store:
            store.mirror(record)
    except Exception as error:
        put_off(error)
        return "nothing written; run `python -m stages.track` again later"
    pending_file().unlink(missing_ok=True)
    return f"{store.written} new runs; {record.name}" if store.written else "nothing new"


def outdated() -> list[str]:
    """Return the stages whose results are out of date; an empty list if DVC itself runs `track`.

    Raises CalledProcessError if `dvc status` fails, for example while another DVC command runs.
    """
    if "DVC_STAGE" in os.environ:  # DVC has run all other stages before
        return []
    done = subprocess.run(["dvc", "status", "--json"], capture_output=True, text=True, check=True)
    return sorted(set(json.loads(done.stdout)) - {"track"})


if __name__ == "__main__":
    main()
