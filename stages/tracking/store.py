"""Find the MLflow server and write runs through its client; a run counts only when it is complete."""

import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.study.locks import lock
from stages.study.paths import scratch, write_text, writing
from stages.tracking.records import Record

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Run
    from mlflow.tracking import MlflowClient

KEY = "study.key"  # tag with the digest of the results; a run with this key is complete when FINISHED
PARENT = "mlflow.parentRunId"
# MLflow then opens the experiment under model training, not under language models.
KIND = ("mlflow.experimentKind", "custom_model_development")
PATIENCE = 60  # s to wait for another process that writes
LONGEST_PARAM, LONGEST_TAG, LONGEST_NAME = 6000, 8000, 250  # characters; limits of MLflow


@dataclass(frozen=True)
class Place:
    """A tracking server: its URI and, if it is a local SQLite file, that file."""

    uri: str
    database: Path | None

    @property
    def artifacts(self) -> str | None:
        """Return the folder of artifacts beside a local database; None lets the server choose."""
        return str(self.database.parent / "artifacts") if self.database else None


def place() -> Place:
    """Return the place of the runs: MLFLOW_TRACKING_URI, or mlruns/mlflow.db of the project.

    Under `dvc exp run --temp` and in queue workers, the place is in the project, not in the temporary copy.
    """
    default = f"sqlite:///{Path(os.environ.get('DVC_ROOT', '.')).resolve() / 'mlruns' / 'mlflow.db'}"
    uri = os.environ.get("MLFLOW_TRACKING_URI") or default
    local = uri.startswith("sqlite:///") and not uri.endswith(":memory:")
    return Place(uri, Path(uri.removeprefix("sqlite:///")).resolve() if local else None)


def pending_file() -> Path:
    """Return the file that marks results missing from MLflow, because DVC counts `track` as done."""
    return scratch() / "tracking-pending"


def put_off(error: Exception) -> None:
    """Write one line to stderr and to `pending_file()` about why MLflow is not up to date."""
    reason = f"{place().uri}: {type(error).__name__}: {' '.join(str(error).split())}"[:300]
    reason = re.sub(r"//[^/@\s]+@", "//", reason)  # remove user and password from the URI
    write_text(pending_file(), reason + "\n")
    print(f"track: warning: MLflow is not up to date: {reason}", file=sys.stderr)


@contextmanager
def connect() -> "Iterator[Store]":
    """Open the experiment, and create database and experiment if they are missing.

    A local database is locked for this process. MLFLOW_EXPERIMENT_NAME names the experiment; the default is
    the name of the project. MLflow stores absolute paths of artifacts, so a moved project renames its
    experiment and starts a new one, or continues the one that it had at this path before.
    Raises MLflow's own error if the server cannot be reached.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # by default, MLflow waits for minutes
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    for chatty in ("mlflow.store.db.utils", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    from mlflow.tracking import MlflowClient

    server, name = place(), os.environ.get("MLFLOW_EXPERIMENT_NAME") or "what-do-ssl-vits-learn"
    with _alone(server.database):
        if server.database and not server.database.exists():
            make_database(server.database)
        client = MlflowClient(tracking_uri=server.uri)
        experiment = _found(client, name)
        if experiment and server.artifacts and experiment.artifact_location != server.artifacts:
            aside = _free(client, f"{name} of {experiment.artifact_location}")
            client.rename_experiment(experiment.experiment_id, aside)
            experiment = None
        if experiment is None and server.artifacts:
            experiment = _found(client, f"{name} of {server.artifacts}")
            if experiment and experiment.artifact_location == server.artifacts:
                client.rename_experiment(experiment.experiment_id, name)
            else:
                experiment = None
        if experiment is None:
            identifier = client.create_experiment(name, artifact_location=server.artifacts)
        else:
            identifier = experiment.experiment_id
        client.set_experiment_tag(identifier, *KIND)
        yield Store(client, identifier)


def _found(client: "MlflowClient", name: str) -> "Experiment | None":
    """Return the experiment of this name, restored if it was deleted, or None."""
    experiment = client.get_experiment_by_name(name)
    if experiment and experiment.lifecycle_stage == "deleted":  # by a user, in MLflow's pages
        client.restore_experiment(experiment.experiment_id)
    return experiment


def _free(client: "MlflowClient", name: str) -> str:
    """Return the name, with a number if an experiment has it already."""
    names = (name if number == 1 else f"{name} {number}" for number in count(1))
    return next(free for free in names if client.get_experiment_by_name(free) is None)


@dataclass
class Store:
    """One experiment of one MLflow server."""

    client: "MlflowClient"
    experiment: str
    written: int = 0  # number of new runs

    def mirror(self, record: Record) -> str:
        """Write the missing runs of a record and of its children; return the id of the record's run.

        A run shared by several states of the study is nested below the state mirrored last.
        """
        children = [self.mirror(child) for child in record.children]
        run = self.find(record.key) or self.write(record)
        for child in children:
            if self.client.get_run(child).data.tags.get(PARENT) != run:
                self.client.set_tag(child, PARENT, run)
        return run

    def find(self, key: str) -> str | None:
        """Return the id of the complete run with this key, or None."""
        runs = self._search(f"tags.`{KEY}` = '{key}' and attributes.status = 'FINISHED'")
        return runs[0].info.run_id if runs else None

    def write(self, record: Record) -> str:
        """Write a run, mark it as finished at the end, and delete incomplete copies of it."""
        from mlflow.entities import Metric, Param

        for partial in self._search(f"tags.`{KEY}` = '{record.key}' and attributes.status != 'FINISHED'"):
            self.client.delete_run(partial.info.run_id)
        tags = {_name(tag): _short(value, LONGEST_TAG) for tag, value in record.tags.items()}
        tags |= {KEY: record.key, "mlflow.user": os.environ.get("USER", ""), "mlflow.source.name": "dvc.yaml"}
        run = self.client.create_run(self.experiment, run_name=record.name, tags=tags).info.run_id
        now = int(time.time() * 1000)
        params = [Param(_name(key), _short(value, LONGEST_PARAM)) for key, value in record.params.items()]
        metrics = [Metric(_name(key), float(value), now, step) for key, value, step in record.metrics]
        self.client.log_batch(run, metrics=metrics, params=params)
        for file in record.files:
            self.client.log_artifact(run, str(file), str(file.parent))
        self.client.set_terminated(run, "FINISHED")
        self.written += 1
        return run

    def _search(self, query: str) -> "list[Run]":
        return list(self.client.search_runs([self.experiment], filter_string=query, max_results=100))


@contextmanager
def _alone(database: Path | None) -> Iterator[None]:
    # Without the lock, two processes that look up the same key would both write its run.
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_suffix(".lock").open("w") as file:
        for attempt in range(10 * PATIENCE):
            if lock(file, waits=False):
                break
            if attempt == 10 * PATIENCE - 1:
                raise TimeoutError(f"another process has locked {file.name} for {PATIENCE} s")
            time.sleep(0.1)
        yield


def make_database(database: Path) -> None:
    """Let MLflow create its database; a killed process leaves no partial database."""
    from mlflow.tracking import MlflowClient

    with writing(database) as temporary:
        MlflowClient(tracking_uri=f"sqlite:///{temporary}").search_experiments()


def _name(text: str) -> str:
    return re.sub(r"[^\w\-. :/]", "_", text)[:LONGEST_NAME]


def _short(value: Any, longest: int) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= longest else text[: longest - 1] + "…"


if __name__ == "__main__":  # for `make mlflow`
    print(place().uri)
