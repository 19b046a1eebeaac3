"""What a remote has of the results of dvc.lock that this copy of the project lacks."""

import os
from typing import Any

from dvc.repo import Repo

from stages.study.errors import StudyError

WAY_OUT = "`STUDY_PULL=no` in front of the command computes them anew"


def refuse_to_compute_again(repo: Repo, changed: dict[str, Any]) -> None:
    """Refuse to run stages whose results wait in a remote, as in a clone before its first pull.

    changed: what changed of each stage, from Repo.status
    Nothing is refused without a remote, or with STUDY_PULL=no in the environment.
    Raises StudyError with the command that brings the results.
    """
    lacking, remote = outs_not_in_cache(changed), remote_of(repo)
    if not lacking or remote is None or os.environ.get("STUDY_PULL") == "no":
        return
    outs = f"{len(lacking)} of the outs in dvc.lock"
    pull = "dvc pull" if repo.config["core"].get("remote") else f"dvc pull -r {remote}"
    try:
        objects = repo.status(cloud=True, remote=remote)
    except Exception as error:  # every kind of storage has errors of its own
        reason = f"{error}".partition("\n")[0] or type(error).__name__
        raise StudyError(
            f"{outs} are not here, and remote {remote} cannot be asked for them ({reason}); "
            f"mend that and run `{pull}`; {WAY_OUT}"
        ) from None
    there = [name for name, word in objects.items() if word == "deleted"]  # from the cache, says DVC
    waiting = [out for out in lacking if any(f"{name}{os.sep}".startswith(out + os.sep) for name in there)]
    if waiting:
        raise StudyError(
            f"{outs} are not here, and remote {remote} has {len(waiting)}: run `{pull}` first; {WAY_OUT}"
        )


def outs_not_in_cache(changed: dict[str, Any]) -> list[str]:
    """Return the outs that dvc.lock lists and DVC's cache lacks, as paths.

    changed: as in `refuse_to_compute_again`
    """
    parts = [part for entry in changed.values() for part in entry if isinstance(part, dict)]
    outs = [pair for part in parts for pair in part.get("changed outs", {}).items()]
    return [out for out, word in outs if word == "not in cache"]


def remote_of(repo: Repo) -> str | None:
    """Return the name of the default remote, of the first one without a default, or None."""
    return repo.config["core"].get("remote") or next(iter(repo.config["remote"]), None)
