"""Child processes that never outlive us: ended in order on the normal way out, by the kernel when we are killed."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# Run in a fresh interpreter that becomes the program: code between fork and exec is not safe beside threads.
# 1 is PR_SET_PDEATHSIG of prctl(2), which survives execve; the parent may have died just before it took effect.
_LAUNCHER = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""
_STOP_SECONDS = 5.0


class StartFailed(Exception):
    """A program ended, or was not ready in time; the message has the end of its log."""


class Process:
    """One program, its log file and its end.

    It runs in a session of its own: Ctrl-C in a terminal reaches us alone, so that we can stop things in their order.
    Start it from a thread that lives as long as it shall: Linux watches the thread, not the process.
    """

    def __init__(self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> None:
        """Start ``command`` (its first element is an absolute path), stdout and stderr appended to ``log``."""
        self.log = log
        arguments = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *map(str, command)]
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Return the process id of the program."""
        return self._child.pid

    def running(self) -> bool:
        """Return whether the program has not ended yet."""
        return self._child.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program and what it started, unless it has ended."""
        if self.running():
            os.killpg(self.pid, number)

    def wait_ready(self, ready: Callable[[], bool], seconds: float) -> None:
        """Return once ``ready()`` is true; asked every 50 ms. Raise StartFailed if the program ends or is late."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running():
                raise StartFailed(f"{self.log.stem} ended with {self._child.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise StartFailed(f"{self.log.stem} not ready after {seconds:.0f} s:\n{self.tail()}")
            time.sleep(0.05)

    def stop(self, seconds: float = _STOP_SECONDS) -> None:
        """End the program: SIGTERM, SIGKILL after ``seconds``. Return when it is gone."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)  # a paused one could not hear it
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the program by SIGKILL. Return when it is gone."""
        self.signal(signal.SIGKILL)
        self._child.wait()

    def wait(self, seconds: float) -> int:
        """Return the exit code (negative: the signal). Raise subprocess.TimeoutExpired."""
        return self._child.wait(seconds)

    def tail(self, lines: int = 15) -> str:
        """Return the end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def run(command: Sequence[str | Path], environment: Mapping[str, str], seconds: float, stdin: str | None = None) -> str:
    """Run a program to its end and return its stdout.

    Raises:
        subprocess.CalledProcessError: it ended with another code than 0; a note has what it said.
        subprocess.TimeoutExpired: it did not end, and was killed.
    """
    try:
        return subprocess.run(
            command, input=stdin, env=environment, timeout=seconds, check=True, capture_output=True, text=True
        ).stdout
    except subprocess.CalledProcessError as error:
        error.add_note(f"{error.stdout}{error.stderr}")
        raise


def free_ports(count: int) -> list[int]:
    """Return ports on which nobody listens on the loopback address.

    Below 32768, where Linux takes the ports of outgoing connections from: one of those may take the port meanwhile.
    """
    ports: list[int] = []
    for port in random.sample(range(15_000, 32_000), 2_000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise StartFailed("no free ports")
