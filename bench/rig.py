"""What the benchmarks of loading run, all as processes: the object store of the tests, steps, commands."""

import json
import resource
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, get_args

from bench.machine import cpu_seconds, memory
from controllers.api.command import StepCommand
from controllers.api.result import Result
from tests.objectstore import Driver, ObjectStore
from tests.real.alluxio import Alluxio
from tests.real.process import Process

_FILL_SECONDS = 300.0
_LOOK_SECONDS = 0.02


class Failed(Exception):
    """A command failed, or did not end in time; the message is for the report."""


@dataclass(frozen=True)
class Ran:
    """One command that ended well: wall and CPU seconds, the most memory it had in bytes, what it said."""

    seconds: float
    cpu: float
    peak: int
    said: str


def timed(command: Sequence[str | Path], log: Path, limit: float) -> Ran:
    """Run a command to its end; raise Failed where it ends badly or not within ``limit`` seconds."""
    before, begin, peak = _children_seconds(), time.monotonic(), 0
    process = Process(command, log)
    name = " ".join(map(str, [Path(command[0]).name, *command[1:4]]))
    while True:
        try:
            code = process.wait(_LOOK_SECONDS)
            break
        except subprocess.TimeoutExpired:
            peak = max(peak, memory(process.pid, "VmHWM"))
            if time.monotonic() - begin > limit:
                process.kill()
                raise Failed(f"{name} did not end within {limit:.0f} s") from None
    seconds = time.monotonic() - begin
    if code:
        raise Failed(f"{name} ended with {code}: {process.tail(3)}")
    return Ran(seconds, _children_seconds() - before, peak, log.read_text(errors="replace"))


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Store(Process):
    """The object store as a process: one bucket for each tree (see tests.objectstore.trees), one latency for all."""

    def __init__(self, trees: Iterable[str], log: Path) -> None:
        """Fill it; return when it serves."""
        super().__init__([sys.executable, "-m", "tests.objectstore", *(f"--tree={tree}" for tree in trees)], log)
        self.wait_ready(lambda: log.read_text().endswith("\n"), _FILL_SECONDS)
        self.url: str = json.loads(log.read_text().splitlines()[0])["url"]

        with ObjectStore() as same:  # how it is reached depends on nothing but the address
            same.url = self.url
            self._properties: dict[str, dict[str, str]] = {name: same.properties(name) for name in get_args(Driver)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def properties(self, driver: str) -> dict[str, str]:
        """Return what Alluxio needs to reach it."""
        return self._properties[driver]

    def uri(self, driver: str, bucket: str) -> str:
        """Return how Alluxio calls a bucket."""
        return f"{driver}://{bucket}/"

    def ask(self, what: str) -> dict[str, int]:
        """Do ``what`` ("counts", "reset", "latency?seconds=0.05") and return the counters."""
        with urllib.request.urlopen(f"{self.url}/-/{what}", timeout=30) as answer:
            counts: dict[str, int] = json.load(answer)
            return counts


def step(
    alluxio: Alluxio, work: Path, name: str, limit: float, evidence: str = "", path: str = "/"
) -> tuple[Ran, Result]:
    """Run ``fluidctl load`` or ``fluidctl size`` as a Job would."""
    (work / "result").unlink(missing_ok=True)
    command = StepCommand(name, (alluxio.rpc_address,), path, result_path=str(work / "result"), evidence=evidence)
    command = replace(command, spill_path=str(work / "spill"))
    ran = timed([sys.executable, "-m", "fluidctl", *command.argv()], work / f"{name}.log", limit)
    return ran, Result.from_json((work / "result").read_text())


def total_paths(alluxio: Alluxio, expected: int, seconds: float = 10.0) -> int:
    """Return how many paths the master says it has; its gauge lags, so wait a while for what is ``expected``."""
    deadline = time.monotonic() + seconds
    url = f"http://{alluxio.host}:{alluxio.web_port}/metrics/json/"
    while True:
        with urllib.request.urlopen(url, timeout=30) as answer:
            gauges: Mapping[str, Any] = json.load(answer)["gauges"]
        seen = int(gauges["Master.TotalPaths"]["value"])
        if seen == expected or time.monotonic() > deadline:
            return seen
        time.sleep(0.2)


def ours_cpu(processes: Iterable[int]) -> float:
    """Return the CPU seconds of this process, of its children that have ended, and of these that run."""
    return time.process_time() + _children_seconds() + sum(map(cpu_seconds, processes))
