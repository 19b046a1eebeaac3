"""Find results in a DVC remote before stages compute them again."""

import os
from typing import Any

from dvc.repo import Repo

from stages.study.errors import StudyError

WAY_OUT = "to compute them instead, put `STUDY_PULL=no` before the command"


def refuse_to_compute_again(repo: Repo, changed: dict[str, Any]) -> None:
    """Refuse to run stages whose results a remote has, as in a clone before its first pull.

    changed: the changes of each stage, from Repo.status
    Without a remote, or with STUDY_PULL=no in the environment, stages may run.
    Raises StudyError with the command that pulls the results.
    """
    lacking, remote = outs_not_in_cache(changed), remote_of(repo)
    if not lacking or remote is None or os.environ.get("STUDY_PULL") == "no":
        return
    outs = f"results in dvc.lock that are missing here: {len(lacking)}"
    pull = "dvc pull" if repo.config["core"].get("remote") else f"dvc pull -r {remote}"
    try:
        objects = repo.status(cloud=True, remote=remote)
    except Exception as error:  # every kind of storage has errors of its own
        reason = f"{error}".partition("\n")[0] or type(error).__name__
        raise StudyError(
            f"{outs}; remote {remote} does not answer ({reason}); fix the remote and run `{pull}`; {WAY_OUT}"
        ) from None
    # DVC calls files "deleted" that the remote has and the cache lacks.
    remote_files = [name for name, state in objects.items() if state == "deleted"]
    available = [
        out for out in lacking if any(f"{name}{os.sep}".startswith(out + os.sep) for name in remote_files)
    ]
    if available:
        raise StudyError(
            f"{outs}; remote {remote} has {len(available)} of them; run `{pull}` first; {WAY_OUT}"
        )


def outs_not_in_cache(changed: dict[str, Any]) -> list[str]:
    """Return the paths of outs that dvc.lock lists and DVC's cache lacks.

    changed: as in `refuse_to_compute_again`
    """
    parts = [part for entry in changed.values() for part in entry if isinstance(part, dict)]
    outs = [pair for part in parts for pair in part.get("changed outs", {}).items()]
    return [out for out, state in outs if state == "not in cache"]


def remote_of(repo: Repo) -> str | None:
    """Return the name of the default remote; without a default, that of the first remote, or None."""
    return repo.config["core"].get("remote") or next(iter(repo.config["remote"]), None)
