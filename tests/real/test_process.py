"""Servers end with whoever started them, and caches hold whole entries only. Nothing here needs Go, Java or Maven."""

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real import cache, jars
from tests.real.process import Process, StartFailed, free_ports

_SH = shutil.which("sh") or "/bin/sh"


def test_child_dies_with_a_killed_parent(tmp_path: Path) -> None:
    """After SIGKILL, which nobody can handle, the kernel ends the children."""
    script = f"""
import time
from collections.abc import Callable
from pathlib import Path
from tests.real.process import Process
print(Process([{_SH!r}, "-c", "echo up; exec sleep 600"], Path({str(tmp_path / "log")!r})).pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    _until(lambda: "up" in (tmp_path / "log").read_text())
    parent.kill()
    parent.communicate()
    _until(lambda: not _alive(child))


def test_stop_ends_a_program_that_ignores_sigterm(tmp_path: Path) -> None:
    """SIGTERM first; after the given time SIGKILL. The program is gone when stop returns."""
    process = Process([_SH, "-c", "trap '' TERM; echo up; while :; do sleep 600; done"], tmp_path / "log")
    process.wait_ready(lambda: "up" in process.tail(), 60)
    process.stop(seconds=0.2)
    assert not process.running()
    assert process.wait(0) == -signal.SIGKILL


def test_stop_wakes_a_frozen_program(tmp_path: Path) -> None:
    """A program under SIGSTOP ends by the SIGTERM of stop, not by SIGKILL."""
    process = Process([_SH, "-c", "echo up; sleep 600"], tmp_path / "log")
    process.wait_ready(lambda: "up" in process.tail(), 60)
    process.signal(signal.SIGSTOP)
    process.stop()
    assert process.wait(0) == -signal.SIGTERM


def test_a_program_that_ends_early_says_why(tmp_path: Path) -> None:
    """The error of a failed start has the name of the program and the end of its log."""
    process = Process([_SH, "-c", "echo no such flag >&2; exit 3"], tmp_path / "server.log")
    with pytest.raises(StartFailed, match="server ended with 3:\nno such flag"):
        process.wait_ready(lambda: False, 10)


def test_free_ports_are_distinct() -> None:
    """A server is given ports of its own."""
    assert len(set(free_ports(50))) == 50


def test_an_interrupted_make_leaves_no_entry(tmp_path: Path) -> None:
    """What was made in part is gone; the next one makes it anew."""
    entry = tmp_path / "cache" / "entry"

    def interrupted(target: Path) -> None:
        target.mkdir()
        (target / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.obtain(entry, interrupted)
    assert [path.name for path in entry.parent.iterdir()] == ["entry.lock"]
    assert cache.obtain(entry, Path.mkdir).is_dir()


def test_what_a_killed_maker_left_is_removed(tmp_path: Path) -> None:
    """By the next maker of the same entry, which holds the lock."""
    (tmp_path / ".entry-1234").mkdir()
    (tmp_path / ".other-1234").mkdir()
    cache.obtain(tmp_path / "entry", Path.mkdir)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other-1234", "entry", "entry.lock"]


def test_of_two_makers_one_makes(tmp_path: Path) -> None:
    """The second waits for the first and takes its entry."""
    made: list[int] = []
    both = threading.Barrier(2)

    def make(target: Path) -> None:
        made.append(1)
        target.touch()

    def obtain() -> None:
        both.wait()
        cache.obtain(tmp_path / "entry", make)

    threads = [threading.Thread(target=obtain) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]


def test_a_jar_that_is_not_the_locked_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed, a missing and an unexpected jar are named; none of them reaches the cache."""
    lock = tmp_path / f"jars-{jars.NEWEST}.lock"
    monkeypatch.setattr(jars, "MAVEN", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(jars, "_download", lambda _, target: _fill(target, {"same": "1", "changed": "2", "new": "3"}))
    _fill(tmp_path / "locked", {"same": "1", "changed": "other", "gone": "4"})
    digests = jars._digests(tmp_path / "locked")
    lock.write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()))
    with pytest.raises(jars.LockMismatch, match=r"changed\.jar, gone\.jar, new\.jar"):
        jars.directory()
    assert not list((tmp_path / "cache" / "fluidctl" / "alluxio").glob("*[!k]"))


def _fill(target: Path, jars: dict[str, str]) -> None:
    target.mkdir()
    for name, content in jars.items():
        (target / f"{name}.jar").write_text(content)


def _alive(pid: int) -> bool:
    """Whether it runs; a zombie, which nobody has waited for yet, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
