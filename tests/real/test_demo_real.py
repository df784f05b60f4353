"""``make demo-real`` as a person starts it: exact, or with a reason; whatever ends it, it leaves nothing behind."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.load_kit import odd_tree, truth

_COMMAND = [sys.executable, "-m", "tests.real.demo"]


@pytest.fixture
def temporary(real_programs: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory that the demo takes for its temporary files, empty."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    return directory


def test_once_counts_what_the_directory_holds(temporary: Path, tmp_path: Path) -> None:
    """Exit code 0; the Ready Dataset as one line of JSON, with the files, directories and bytes of the directory."""
    odd_tree(tmp_path / "my data")
    command = [*_COMMAND, "--once", "--data", str(tmp_path / "my data")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    assert (done.returncode, done.stderr) == (0, "")
    status = json.loads(done.stdout.splitlines()[-1])["status"]
    expected = truth(tmp_path / "my data")
    size = status["size"]
    assert (status["phase"], size["files"], size["directories"], size["bytes"]) == (
        "Ready",
        expected.files,
        expected.directories,
        expected.bytes,
    )
    assert _left(temporary) == []


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_stays_until_it_is_told_to_end(temporary: Path, end: signal.Signals) -> None:
    """An empty dataset gets Ready too; what the demo then suggests works; Ctrl-C or SIGTERM ends everything."""
    with started() as running:
        said = until(running, "Ctrl-C")
        tried = "\n".join(line for line in said if re.match(r"  (export KUBECONFIG=|\S*kubectl get datasets)", line))
        table = subprocess.run(["sh", "-c", tried], capture_output=True, text=True, timeout=120).stdout
        running.send_signal(end)
        assert running.wait(120) == 0
    assert re.search(r"^demo +Ready +0 ", table, re.M), (tried, table)
    assert _left(temporary) == []


def test_killed_it_leaves_no_process(temporary: Path) -> None:
    """SIGKILL: the kernel ends the servers with it, and the controller, whose Lease is lost, ends by itself."""
    with started() as running:
        until(running, "Ctrl-C")
        assert len(_processes(temporary)) >= 6
        running.kill()
    deadline = time.monotonic() + 120
    while left := _processes(temporary):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def started() -> subprocess.Popen[str]:
    """Start the demo of an empty directory."""
    return subprocess.Popen([*_COMMAND, "--files=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def until(running: subprocess.Popen[str], word: str) -> list[str]:
    """Return the lines up to the first that begins with ``word``."""
    assert running.stdout is not None
    lines: list[str] = []
    for line in running.stdout:
        lines.append(line.rstrip())
        if line.startswith(word):
            return lines
    pytest.fail("\n".join(lines))


def _left(temporary: Path) -> list[str]:
    return [*(path.name for path in temporary.iterdir()), *_processes(temporary)]


def _processes(temporary: Path) -> list[str]:
    """Return the command lines that name the directory: every process of the demo has some path there."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(os.fsencode(temporary) in word for word in words):
            found.append(shlex.join(map(os.fsdecode, words)))
    return found
