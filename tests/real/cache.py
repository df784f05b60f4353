"""The user's cache directory: what is slow to build or to download is done once for every checkout and every run."""

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def directory() -> Path:
    """Return our folder in the user's cache directory (XDG Base Directory Specification)."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "fluidctl"


def obtain(entry: Path, make: Callable[[Path], None]) -> Path:
    """Return ``entry``, made first by ``make(temporary path)`` if it does not exist.

    An entry is complete or absent: it appears by one rename. Of several processes one makes it, the others wait for it.
    """
    if not entry.exists():
        entry.parent.mkdir(parents=True, exist_ok=True)
        with _lock(entry.with_name(entry.name + ".lock")):
            if not entry.exists():
                _make(entry, make)
    return entry


def say(text: str) -> None:
    """Tell a person why it takes minutes; stderr, so that a program's own output stays clean."""
    print(f"# {text}", file=sys.stderr, flush=True)


def _make(entry: Path, make: Callable[[Path], None]) -> None:
    for abandoned in entry.parent.glob(f".{entry.name}-*"):  # by a maker that was killed: we hold the lock
        shutil.rmtree(abandoned, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=entry.parent))
    try:
        make(scratch / entry.name)
        (scratch / entry.name).rename(entry)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the kernel lets go of it when the process dies
        yield
