"""Where MLflow is, and writing its runs so that none counts before it is whole."""

import fcntl
import json
import logging
import os
import re
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.study.paths import scratch, write_text, writing

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Run
    from mlflow.tracking import MlflowClient

KEY = "study.key"  # tag: what the run is made from; a run is whole when it has the key and is FINISHED
MEMBER = "study.in"  # tag of a stage's run: the states of the study that it belongs to
PARENT = "mlflow.parentRunId"
ABANDONED = 3600  # s: an unfinished run this old was left by a process that died
PATIENCE = 60  # s to wait for another process that writes
LONGEST_PARAM, LONGEST_TAG, LONGEST_NAME, LONGEST_DIGEST = 6000, 8000, 250, 36  # what MLflow stores


@dataclass(frozen=True)
class Place:
    """A tracking server: its URI and, if it is a local SQLite file, that file."""

    uri: str
    database: Path | None
    ours: bool  # the default place, not one that MLFLOW_TRACKING_URI names

    @property
    def artifacts(self) -> str | None:
        """The folder of the artifacts, beside a local database; None leaves it to the server."""
        return str(self.database.parent / "artifacts") if self.database else None


@dataclass(frozen=True)
class Images:
    """A data set as MLflow lists it; what it counts is its profile."""

    name: str
    digest: str
    source: str
    profile: dict[str, Any]


@dataclass(frozen=True)
class Record:
    """What one run of MLflow is to show; metrics are (name, value, step), files are (file, folder there)."""

    key: str
    name: str
    params: dict[str, Any] = field(default_factory=dict)
    metrics: list[tuple[str, float, int]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    files: list[tuple[Path, str | None]] = field(default_factory=list)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    images: Images | None = None
    seconds: float = 0.0
    finished: float = field(default_factory=time.time)


def place() -> Place:
    """Where the runs go: MLFLOW_TRACKING_URI, else mlruns/mlflow.db of the project.

    Under `dvc exp run --temp` and in queue workers that is the project's, not the temporary copy's.
    """
    named = os.environ.get("MLFLOW_TRACKING_URI")
    uri = named or f"sqlite:///{Path(os.environ.get('DVC_ROOT', '.')).resolve() / 'mlruns' / 'mlflow.db'}"
    local = uri.startswith("sqlite:///") and not uri.endswith(":memory:")
    return Place(uri, Path(uri.removeprefix("sqlite:///")).resolve() if local else None, ours=not named)


def pending_file() -> Path:
    """What says that MLflow has yet to see the newest results: DVC, which took `track` for done, cannot."""
    return scratch() / "tracking-pending"


def put_off(error: Exception) -> None:
    """Say in one line why MLflow is not up to date, there and in pending_file()."""
    reason = f"{place().uri}: {type(error).__name__}: {' '.join(str(error).split())}"[:300]
    reason = re.sub(r"//[^/@\s]+@", "//", reason)  # a user and password in the URI
    write_text(pending_file(), reason + "\n")
    print(f"track: warning: MLflow is not up to date: {reason}", file=sys.stderr)


@contextmanager
def connect() -> "Iterator[Store]":
    """Open the experiment, making database and experiment if need be; a local one for this process alone.

    The experiment's name is MLFLOW_EXPERIMENT_NAME or the project's.
    Raises what MLflow raises if the server cannot be reached.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # MLflow waits for minutes otherwise
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    for chatty in ("mlflow.store.db.utils", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    from mlflow.tracking import MlflowClient

    where, name = place(), os.environ.get("MLFLOW_EXPERIMENT_NAME") or "what-do-ssl-vits-learn"
    with _alone(where.database):
        if where.database and not where.database.exists():
            make_database(where.database)
        client = MlflowClient(tracking_uri=where.uri)
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            yield Store(client, client.create_experiment(name, artifact_location=where.artifacts))
            return
        if experiment.lifecycle_stage == "deleted":  # by hand, in MLflow's pages; its runs are made again
            client.restore_experiment(experiment.experiment_id)
        if where.ours and experiment.artifact_location != where.artifacts:
            _follow(where, experiment.artifact_location)
        yield Store(client, experiment.experiment_id)


@dataclass(frozen=True)
class Store:
    """One experiment of one MLflow server."""

    client: "MlflowClient"
    experiment: str

    def find(self, key: str) -> "Run | None":
        """The finished run that was made from this key, or None."""
        found = self._search(f"tags.`{KEY}` = '{key}' and attributes.status = 'FINISHED'", at_most=1)
        return found[0] if found else None

    def sweep(self, keys: Iterable[str]) -> None:
        """Delete the unfinished runs with these keys, and others that no living process can be writing."""
        redone = set(keys)
        for run in self._search(f"tags.`{KEY}` LIKE '%' and attributes.status != 'FINISHED'", at_most=1000):
            since = float(run.data.tags.get("study.written", 0))
            if run.data.tags[KEY] in redone or since < time.time() - ABANDONED:
                self.client.delete_run(run.info.run_id)

    def start(self, record: Record) -> str:
        """Write a whole run, leave it RUNNING so that it does not count yet, and return its id."""
        from mlflow.entities import Metric, Param

        now, began = int(record.finished * 1000), int((record.finished - record.seconds) * 1000)
        tags = {KEY: record.key, "study.written": f"{time.time():.0f}"} | record.tags
        run = self.client.create_run(
            self.experiment,
            start_time=began,
            run_name=record.name,
            tags={_name(tag): _short(value, LONGEST_TAG) for tag, value in tags.items()},
        ).info.run_id
        params = [Param(_name(key), _short(value, LONGEST_PARAM)) for key, value in record.params.items()]
        metrics = [Metric(_name(key), float(value), now, step) for key, value, step in record.metrics]
        self.client.log_batch(run, metrics=metrics, params=params)
        if record.images:
            self.client.log_inputs(run, [_input(record.images)])
        for file, folder in record.files:
            self.client.log_artifact(run, str(file), folder)
        for table, rows in record.tables.items():
            columns = dict.fromkeys(column for row in rows for column in row)
            self.client.log_table(run, {c: [row.get(c) for row in rows] for c in columns}, table)
        return run

    def finish(self, run: str, record: Record) -> None:
        """Make a started run count."""
        self.client.set_terminated(run, "FINISHED", end_time=int(record.finished * 1000))

    def adopt(self, members: Mapping[str, Mapping[str, str]], *, parent: str, state: str) -> None:
        """Note that runs belong to a state of the study; nest under its run those that have no parent.

        members: tags of each run, by its id
        """
        from mlflow.entities import RunTag

        lives = {elder: self._counts(elder) for elder in {tags.get(PARENT, "") for tags in members.values()}}
        for run, tags in members.items():
            states = [*tags.get(MEMBER, "").split(), state]
            new = [RunTag(MEMBER, " ".join(dict.fromkeys(states))[-LONGEST_TAG:])]
            if not lives[tags.get(PARENT, "")]:
                new.append(RunTag(PARENT, parent))
            self.client.log_batch(run, tags=new)

    def _counts(self, run: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            info = self.client.get_run(run).info if run else None
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        return info is not None and info.status == "FINISHED" and info.lifecycle_stage == "active"

    def _search(self, query: str, *, at_most: int) -> "list[Run]":
        return list(self.client.search_runs([self.experiment], filter_string=query, max_results=at_most))


@contextmanager
def _alone(database: Path | None) -> Iterator[None]:
    # Two processes that look up the same key would both write its run.
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_suffix(".lock").open("w") as lock:
        for attempt in range(10 * PATIENCE):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt == 10 * PATIENCE - 1:
                    raise TimeoutError(f"another process has held {lock.name} for {PATIENCE} s") from None
                time.sleep(0.1)
        yield


def make_database(database: Path) -> None:
    """Write an empty MLflow database, whole or not at all."""
    # MLflow makes its tables in 50 steps: on disk that takes 8 s, and a process killed meanwhile leaves a
    # database that never opens again. So they are made in memory.
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    made = SqlAlchemyStore("sqlite://", str(database.parent / "artifacts"))
    tables: Any = made.engine.raw_connection().driver_connection
    with writing(database) as temporary, closing(sqlite3.connect(temporary)) as file:
        tables.backup(file)


def _follow(where: Place, old: str) -> None:
    # MLflow keeps artifact paths absolute (mlflow#3144), so a project that was moved would lose its figures.
    assert where.database
    with closing(sqlite3.connect(where.database)) as database, database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            database.execute(
                f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1) "
                f"WHERE {column} = :old OR substr({column}, 1, length(:old) + 1) = :old || '/'",
                {"new": where.artifacts, "old": old},
            )


def _input(images: Images) -> "DatasetInput":
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source, profile = json.dumps({"uri": images.source}), json.dumps(images.profile)
    data = Dataset(images.name, images.digest[:LONGEST_DIGEST], "local", source, profile=profile)
    return DatasetInput(data, [InputTag("mlflow.data.context", "train and test")])


def _name(text: str) -> str:
    return re.sub(r"[^\w\-. :/]", "_", text)[:LONGEST_NAME]


def _short(value: Any, longest: int) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= longest else text[: longest - 1] + "…"


if __name__ == "__main__":  # for `make mlflow`
    print(place().uri)
