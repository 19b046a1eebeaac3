"""A clone without results is told to pull them, from a folder, from S3 and over SSH."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dvc.repo import Repo

from stages.study.errors import StudyError
from stages.tools.repro import stale_stages
from tests.project import run_in

# Two stages, of which one writes a folder and one a file; each notes that it ran.
STAGE = """
import pathlib, sys
out = pathlib.Path(sys.argv[1])
if out.name == "data":
    out.mkdir()
    out, other = out / "train", out / "test"
    other.write_text("test images")
out.write_text(f"{sys.argv[1]} was written")
with pathlib.Path("ran").open("a") as log:
    print(sys.argv[1], file=log)
"""
GRAPH = """
stages:
  prepare: {cmd: python stage.py data, deps: [stage.py], outs: [data]}
  pretrain: {cmd: python stage.py model, deps: [data], outs: [model]}
"""
OFFER = "results in dvc.lock that are missing here: 2; remote storage has {} of them; run `dvc pull` first; "


@pytest.fixture
def folder(tmp_path):
    """The settings of a remote that is a folder."""
    return {"url": f"{tmp_path / 'remote'}"}


@pytest.fixture
def s3(monkeypatch):
    """The settings of a remote in S3, which a server of moto plays."""
    pytest.importorskip("dvc_s3", reason="pip install -e '.[test]'")
    moto = pytest.importorskip("moto.server", reason="pip install -e '.[test]'")
    server = moto.ThreadedMotoServer(port=0)
    boto3 = pytest.importorskip("boto3")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "anything")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}".replace("0.0.0.0", "127.0.0.1")
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="study")
    yield {"url": "s3://study/results", "endpointurl": endpoint}
    server.stop()


@pytest.fixture
def ssh(tmp_path):
    """The settings of a remote over SSH, on a server of this machine."""
    pytest.importorskip("dvc_ssh", reason="pip install -e '.[test]'")
    server = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if server is None:
        pytest.skip("no sshd on this machine")
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{tmp_path / name}"], check=True
        )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {tmp_path / 'host'}\nPidFile none\nStrictModes no\n"
        f"AuthorizedKeysFile {tmp_path / 'user.pub'}\nSubsystem sftp internal-sftp\n"
    )
    words = [server, "-D", "-e", "-f", f"{tmp_path / 'sshd_config'}"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(100):
            if process.poll() is not None:
                pytest.skip(f"sshd does not start: {process.stderr.read().strip()}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        url = f"ssh://{pwd.getpwuid(os.getuid()).pw_name}@127.0.0.1:{port}{tmp_path / 'remote'}"
        yield {"url": url, "keyfile": f"{tmp_path / 'user'}"}
    finally:
        process.kill()
        process.wait()


def study(project: Path, *, settings: dict[str, str] | None, pushed: bool = True) -> Path:
    """Return a Git and DVC project that ran, and that a clone can pull from if there is a remote."""
    project.mkdir()
    assert run_in(project, "git", "init", "-q").returncode == 0
    Repo.init(f"{project}").close()
    remote = "".join(f"    {name} = {value}\n" for name, value in (settings or {}).items())
    core = "[core]\n    analytics = false\n    autostage = false\n"
    if settings:
        core += "    remote = storage\n['remote \"storage\"']\n" + remote
    (project / ".dvc/config").write_text(core)
    (project / ".gitignore").write_text("/data\n/model\n/ran\n")
    (project / "stage.py").write_text(STAGE)
    (project / "dvc.yaml").write_text(GRAPH)
    with contextlib.chdir(project), Repo() as repo:
        repo.reproduce()
        if settings and pushed:
            assert repo.push() == 4  # three files and the list of those in the folder
    for words in (("add", "-A"), ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "study")):
        assert run_in(project, "git", *words).returncode == 0
    return project


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """Make the project, clone it, and go there."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("STUDY_PULL", raising=False)

    def make(**about) -> Path:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        study(tmp_path / "study", **about)
        assert run_in(tmp_path, "git", "clone", "-q", "study", "clone").returncode == 0
        monkeypatch.chdir(tmp_path / "clone")
        return tmp_path / "clone"

    return make


@pytest.mark.parametrize("kind", ["folder", "s3", "ssh"])
def test_a_clone_is_told_to_pull_and_then_runs_nothing(clone, request, kind, monkeypatch):
    project = clone(settings=request.getfixturevalue(kind))
    for _ in range(2):  # the first look has brought the list of the folder
        with pytest.raises(StudyError) as refused:
            stale_stages()
        assert f"{refused.value}".startswith(OFFER.format(2)) and "\n" not in f"{refused.value}"
    monkeypatch.setenv("STUDY_PULL", "no")
    assert stale_stages()[1] == {"prepare", "pretrain"}
    monkeypatch.delenv("STUDY_PULL")
    with Repo() as repo:
        repo.pull()
    assert stale_stages()[1] == set() and not (project / "ran").exists()


def test_a_part_that_was_not_pulled_is_named(clone, folder):
    clone(settings=folder)
    with Repo() as repo:
        repo.pull("model")
    with pytest.raises(
        StudyError, match=r"^results in dvc\.lock that are missing here: 1; remote storage has 1 of them"
    ):
        stale_stages()


@pytest.mark.parametrize("settings", [None, {"url": "/tmp"}])
def test_without_results_elsewhere_the_stages_run(clone, settings, tmp_path):
    empty = settings and {"url": f"{tmp_path / 'empty'}"}
    clone(settings=empty, pushed=False)
    assert stale_stages()[1] == {"prepare", "pretrain"}


def test_a_remote_that_does_not_answer_is_one_line(clone):
    clone(settings={"url": "ssh://nobody@127.0.0.1:1/nowhere"}, pushed=False)
    with pytest.raises(StudyError) as refused:
        stale_stages()
    assert "remote storage does not answer (" in f"{refused.value}"
    assert "run `dvc pull`; to compute them instead, put `STUDY_PULL=no`" in f"{refused.value}"
    assert "\n" not in f"{refused.value}"
