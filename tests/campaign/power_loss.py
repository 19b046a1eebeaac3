"""A model of a disk that loses power: whatever a program did not sync is gone.

A file has the content of its last fsync, and a folder the names of its last fsync. File systems may keep
more, such as all names and none of the content; `Disk.after_power_loss` gives both extremes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHANGES = ("fsync", "mkdir", "remove", "rename", "replace", "rmdir", "unlink")


class PowerLoss(BaseException):
    """The power is gone; whatever the program does on its way out no longer counts."""


class Disk:
    """What a power loss would leave of a folder; everything in it counts as synced at first.

    root: the folder; its files must not be written to by other processes
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.contents: dict[int, bytes] = {}  # by inode
        self.names: dict[int, dict[str, tuple[int, bool]]] = {}  # of folders: inode and kind of each name
        self.held: dict[int, int] = {}  # open files, so that no inode is used for another file
        for path in [root, *root.rglob("*")]:
            if not path.is_symlink():
                self._sync(path)

    def synced(self, descriptor: int) -> None:
        """Take note of a call of fsync."""
        self._sync(Path(os.readlink(f"/proc/self/fd/{descriptor}")))

    def after_power_loss(self, target: Path, *, names_survive: bool) -> Path:
        """Write the folder as a power loss would leave it.

        target:        where to write it
        names_survive: all names in folders are on the disk, content only if it was synced
        """
        if names_survive:
            self._copy_names(self.root, target)
        else:
            self._copy_synced(self.root.stat().st_ino, target)
        return target

    def _sync(self, path: Path) -> None:
        number = path.stat().st_ino
        if number not in self.held:
            self.held[number] = os.open(path, os.O_RDONLY)
        if path.is_dir():
            self.names[number] = {entry.name: (entry.inode(), entry.is_dir()) for entry in os.scandir(path)}
        else:
            self.contents[number] = path.read_bytes()

    def _copy_names(self, source: Path, target: Path) -> None:
        target.mkdir(parents=True)
        for path in source.iterdir():
            if path.is_dir():
                self._copy_names(path, target / path.name)
            else:
                (target / path.name).write_bytes(self.contents.get(path.stat().st_ino, b""))

    def _copy_synced(self, folder: int, target: Path) -> None:
        target.mkdir(parents=True)
        for name, (number, is_folder) in self.names.get(folder, {}).items():
            if is_folder:
                self._copy_synced(number, target / name)
            else:
                (target / name).write_bytes(self.contents.get(number, b""))

    def close(self) -> None:
        """Let go of the files."""
        for descriptor in self.held.values():
            os.close(descriptor)


@contextmanager
def losing_power(root: Path, target: Path, *, at: int) -> Iterator[None]:
    """Raise PowerLoss before the given change of the file system, from 1, if the block makes as many.

    root:   the folder that loses what is not synced
    target: gets `names` and `synced`, see `Disk.after_power_loss`
    """
    disk, changes = Disk(root), 0
    real = {name: getattr(os, name) for name in CHANGES}

    def instead(name: str) -> Any:
        def change(*args: Any, **kwargs: Any) -> Any:
            nonlocal changes
            changes += 1
            if changes == at:
                save()
                raise PowerLoss
            result = real[name](*args, **kwargs)
            if name == "fsync":
                disk.synced(args[0])
            return result

        return change

    def save() -> None:
        restore()
        disk.after_power_loss(target / "names", names_survive=True)
        disk.after_power_loss(target / "synced", names_survive=False)

    def restore() -> None:
        for name in CHANGES:
            setattr(os, name, real[name])

    for name in CHANGES:
        setattr(os, name, instead(name))
    try:
        yield
        if changes < at:
            save()
    finally:
        restore()
        disk.close()
