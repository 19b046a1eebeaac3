"""Mirror the results of the study into MLflow: `python -m stages.track`, as often as you like.

A run for each state of the study, below it one for each arm, below that one for each seed. A run is found by
what it shows, so the same results are written once, whether DVC computed or restored them. Tracking never
fails a study: without a server there is one line of warning, and the next run of this command writes what is
missing. What is in MLflow can be deleted; this command makes it again from the results.
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
    """Mirror what MLflow has not seen."""
    run("track", track)


def track() -> str:
    """Mirror the state of the study, and return in a line what was new.

    Raises StudyError if there are no results. Whatever else goes wrong is one line of warning.
    """
    study = load_params(stage="track")
    if not Path("dvc.lock").is_file():
        raise StudyError("dvc.lock: not found, so there are no results yet; run `make study` first")
    try:
        if waiting := outdated():
            more = f" and {len(waiting) - 1} more" if waiting[1:] else ""
            return f"nothing written: {waiting[0]}{more} must run first; run `make study`"
        record = study_record(study)
        with connect() as store:
            store.mirror(record)
    except Exception as error:
        put_off(error)
        return "left for the next `python -m stages.track`"
    pending_file().unlink(missing_ok=True)
    return f"{store.written} new runs; {record.name}" if store.written else "nothing new"


def outdated() -> list[str]:
    """Return the stages whose results are not those of params.yaml and the code; none when DVC runs `track`.

    Raises CalledProcessError if DVC refuses to tell, as while another DVC command works.
    """
    if "DVC_STAGE" in os.environ:  # DVC runs all others before
        return []
    done = subprocess.run(["dvc", "status", "--json"], capture_output=True, text=True, check=True)
    return sorted(set(json.loads(done.stdout)) - {"track"})


if __name__ == "__main__":
    main()
