"""Power is lost at every change that writing makes to the disk: no part stays, and nothing finished goes."""

import itertools
import shutil
import tempfile
from pathlib import Path

import pytest

from stages.study.paths import write_text, writing
from stages.study.store import Training, collect, is_whole, seal
from stages.training.checkpoints import Checkpoints
from tests.campaign.power_loss import PowerLoss, losing_power

NAME = "a" * 16


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project, which is the working directory."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return project


def power_losses(project, act, *, before=lambda: None):
    """Yield what each power loss during an act leaves behind, and whether the act had ended.

    before: makes the files that are on the disk already
    """
    for at in itertools.count(1):
        for path in project.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        before()
        left = Path(tempfile.mkdtemp(dir=project.parent))
        ended = False
        try:
            with losing_power(project, left, at=at):
                act()
                ended = True
        except PowerLoss:
            pass
        yield left / "names", ended
        yield left / "synced", ended
        if ended:
            assert at > 1
            return


def files(folder):
    """Return the content of each file, by path; without files that are being written."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".part" not in f"{path}"
    }


def test_a_new_file_in_new_folders_is_whole_or_absent_and_stays_once_written(project):
    for disk, ended in power_losses(project, lambda: write_text(project / "a/b/file", "new")):
        assert files(disk) in ([{"a/b/file": b"new"}] if ended else [{"a/b/file": b"new"}, {}])


def test_a_file_is_the_old_one_or_the_new_one(project):
    def act():
        write_text(project / "file", "new")

    for disk, ended in power_losses(project, act, before=lambda: (project / "file").write_text("old")):
        assert files(disk) in ([{"file": b"new"}] if ended else [{"file": b"new"}, {"file": b"old"}])


def write_folder(text):
    with writing(Path("out")) as folder:
        (folder / "deep/er").mkdir(parents=True)
        (folder / "deep/er/one").write_text(text)
        (folder / "two").write_text(text)


def test_a_folder_is_the_old_one_or_the_new_one_or_absent_and_never_a_part_of_one(project):
    old, new = ({name: text for name in ("out/deep/er/one", "out/two")} for text in (b"old", b"new"))

    def before():
        for name, text in old.items():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_bytes(text)

    for disk, ended in power_losses(project, lambda: write_folder("new"), before=before):
        assert files(disk) in ([new] if ended else [old, new, {}])
    for disk, ended in power_losses(project, lambda: write_folder("new")):
        assert files(disk) in ([new] if ended else [new, {}])


def save(epoch):
    Checkpoints("pretrain cl seed 0", Training(NAME).directory).save(epoch, {"epoch": epoch})


def latest(disk, monkeypatch):
    with monkeypatch.context() as patch:
        patch.chdir(disk)
        state = Checkpoints("pretrain cl seed 0", Training(NAME).directory).latest()
        return state["epoch"] if state else 0


def test_no_epoch_is_lost_once_it_is_saved(project, monkeypatch, capsys):
    def act():
        with Training(NAME).alone():
            for epoch in (1, 2, 3):
                save(epoch)
                saved.append(epoch)

    saved = []
    for disk, ended in power_losses(project, act, before=saved.clear):
        assert (saved or [0])[-1] <= latest(disk, monkeypatch) <= 3
        assert not ended or saved == [1, 2, 3]
    assert "aside" not in capsys.readouterr().out


def keep():
    def write(folder):
        (folder / "snapshots/0.5").mkdir(parents=True)
        for name in ("encoder.safetensors", "snapshots/0.5/encoder.json"):
            (folder / name).write_text("w")

    Training(NAME).keep(write, seed=0)


def test_a_training_is_in_the_store_or_its_checkpoint_is(project, monkeypatch):
    for disk, ended in power_losses(project, keep, before=lambda: save(4)):
        with monkeypatch.context() as patch:
            patch.chdir(disk)
            assert Training(NAME).ended() or (not ended and latest(disk, monkeypatch) == 4)


def test_collecting_and_adopting_never_leave_a_part_of_an_encoder(project, monkeypatch):
    def before():
        keep()
        collect({0: Training(NAME), 1: Training(NAME)}, Path("models/cl"))

    def act():
        collect({0: Training(NAME)}, Path("models/cl"))

    for disk, ended in power_losses(project, act, before=before):
        with monkeypatch.context() as patch:
            patch.chdir(disk)
            folders = {path.name for path in Path("models/cl").glob("[0-9]*")}
            assert folders in ([{"0"}] if ended else [{"0"}, {"0", "1"}, set()])
            assert all(is_whole(Path("models/cl") / name, NAME) for name in folders)
            assert Training(NAME).ended()
    for disk, ended in power_losses(
        project, lambda: Training("b" * 16).adopt(Path("from")), before=elsewhere
    ):
        with monkeypatch.context() as patch:
            patch.chdir(disk)
            adopted = Training("b" * 16)
            assert adopted.ended() or not (ended or adopted.result.exists())


def elsewhere():
    Path("from").mkdir()
    Path("from/weights").write_text("an encoder")
    seal(Path("from"), "b" * 16)


def test_the_model_of_the_disk_drops_what_was_not_synced(project):
    def act():
        (project / "file").write_text("new")
        (project / "file").rename(project / "other")

    left = [files(disk) for disk, _ in power_losses(project, act, before=lambda: (project / "file").touch())]
    assert left[-2:] == [{"other": b""}, {"file": b""}]
