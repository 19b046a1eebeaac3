"""One process at a time has a lock, and a file system without locks is named in one line."""

import errno
import fcntl
import os
import threading
import time

import pytest

from stages.encoders.downloads import _alone as download_alone
from stages.study.errors import StudyError
from stages.study.locks import lock
from stages.study.store import Training
from stages.tools.project import only_study
from stages.tracking.store import _alone as database_alone


def test_a_second_lock_fails_until_the_file_is_closed(tmp_path):
    path = tmp_path / "lock"
    with path.open("a") as first, path.open("a") as second:
        assert lock(first, waits=True) and not lock(second, waits=False)
        first.close()
        assert lock(second, waits=False)


def test_a_second_download_waits(tmp_path):
    order = []

    def second():
        with download_alone(tmp_path / "weights"):
            order.append("second")

    thread = threading.Thread(target=second)
    with download_alone(tmp_path / "weights"):
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_every_lock_names_a_file_system_without_locks(number, tmp_path, monkeypatch):
    def refuse(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fcntl, "flock", refuse)
    for alone in (
        Training("a" * 16).alone(),
        only_study(),
        download_alone(tmp_path / "weights"),
        database_alone(tmp_path / "mlflow.db"),
    ):
        with pytest.raises(StudyError, match=rf"cannot be locked \({os.strerror(number)}\); move"), alone:
            pass
