"""Directories of a claim, by descriptor. A claim is written by others, too: no link in it is followed, nothing but a
regular file is read, and what is made here can be read by its owner alone."""

import errno
import os
import shutil
import stat
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO, Self

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not keep us waiting for its writer
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Strange(Exception):
    """Where a directory or a regular file should be is a link, a device or the other of the two."""


class Directory:
    """An open directory, a context manager. Names are single parts; methods raise OSError, and Strange as said."""

    def __init__(self, path: str) -> None:
        """Open ``path``, which is ours: a mount."""
        self._fd = os.open(path, _DIRECTORY)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def enter(self, path: str, *, create: bool = False) -> "Directory":
        """Open a directory below this one, "" is this one; with ``create``, make what is missing. Raise Strange."""
        here = Directory.__new__(Directory)
        here._fd = os.dup(self._fd)
        for part in path.split("/") if path else ():
            with here:  # closed when the next one is open
                if create:
                    here.make(part)
                below = Directory.__new__(Directory)
                below._fd = here._open_below(part)
            here = below
        return here

    def make(self, name: str, mode: int = 0o700) -> None:
        """Make a directory that survives a crash; one that is there is as good."""
        try:
            os.mkdir(name, mode, dir_fd=self._fd)
        except FileExistsError:
            return
        self.sync()

    def names(self) -> list[str]:
        """Return the names of what is in it, sorted."""
        return sorted(os.listdir(self._fd))

    def facts(self, name: str) -> os.stat_result | None:
        """Return size, times and so on of what has this name, of a link its own; None where there is nothing."""
        try:
            return os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def has(self, name: str) -> bool:
        """Return whether there is anything of this name, a link that leads nowhere included."""
        return self.facts(name) is not None

    def read(self, name: str) -> BinaryIO:
        """Open a regular file, unbuffered. Raise FileNotFoundError, Strange."""
        try:
            fd = os.open(name, _READ, dir_fd=self._fd)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a socket, or a device without a driver
                raise Strange(f"{name} is a link or a device") from error
            raise
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise Strange(f"{name} is no regular file")
        return os.fdopen(fd, "rb", buffering=0)

    def create(self, name: str) -> BinaryIO:
        """Make a file that was not there, with mode 0600. It is durable after ``seal``."""
        return os.fdopen(os.open(name, _CREATE, 0o600, dir_fd=self._fd), "wb")

    def put(self, name: str, data: bytes) -> None:
        """Write a whole file so that after a crash there is all of it or the one from before."""
        temporary = f".{name}.tmp"
        self.remove(temporary)
        with self.create(temporary) as file:
            file.write(data)
            seal(file)
        self.rename(temporary, name)

    def rename(self, old: str, new: str) -> None:
        """Give a new name that survives a crash."""
        os.rename(old, new, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        self.sync()

    def remove(self, name: str) -> None:
        """Remove what has this name, with all that it holds; a link goes, not what it leads to. Gone is as good."""
        facts = self.facts(name)
        if facts is None:
            return
        with suppress(FileNotFoundError):  # somebody else removed it meanwhile
            if stat.S_ISDIR(facts.st_mode):
                shutil.rmtree(name, dir_fd=self._fd)
            else:
                os.unlink(name, dir_fd=self._fd)
        self.sync()

    def is_at(self, parent: "Directory", name: str) -> bool:
        """Return whether this directory is still the one of that name: nobody has made another in its place."""
        there, here = parent.facts(name), os.fstat(self._fd)
        return there is not None and (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def change_mode(self, mode: int) -> None:
        """Set its own mode."""
        os.fchmod(self._fd, mode)

    def sync(self) -> None:
        """Make its names durable."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a file system that keeps no directories of its own says this
                raise

    def _open_below(self, name: str) -> int:
        try:
            return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=self._fd)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise Strange(f"{name} is a link or a file, not a directory") from error
            raise


def seal(file: BinaryIO) -> None:
    """Make a file durable, and let who reads it next ask the volume, not the memory of this machine."""
    file.flush()
    os.fsync(file.fileno())
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
