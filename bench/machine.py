"""The machine under a benchmark: what it is, what processes used of it, how busy others kept it. Linux only."""

import os
import platform
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

CORES = os.cpu_count() or 1
_TICKS = os.sysconf("SC_CLK_TCK")
_BUSY_FIELDS = (0, 1, 2, 5, 6, 7)  # of /proc/stat: user, nice, system, irq, softirq, steal


def describe() -> str:
    """Return one line: date, commit, cores, memory, load average, versions; no host name."""
    processors = (line.split(":")[1].strip() for line in read("/proc/cpuinfo").splitlines() if "model name" in line)
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    hardware = f"{CORES} cores ({next(processors, '?')}), {memory_gib:.0f} GiB, load average {os.getloadavg()[1]:.1f}"
    software = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{datetime.now(UTC):%Y-%m-%d}, commit {commit()}; {hardware}; {software}."


def commit() -> str:
    """Return the short name of the commit, with "-dirty" where files differ from it."""
    git = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    return subprocess.run(git, check=True, capture_output=True, text=True, cwd=Path(__file__).parent).stdout.strip()


def memory(pid: int, what: str) -> int:
    """Return ``what`` ("VmRSS", "VmHWM": the most it was) of a process in bytes, 0 where it has just ended."""
    lines = (line.split() for line in read(f"/proc/{pid}/status").splitlines())
    return next((int(words[1]) * 1024 for words in lines if words[0] == f"{what}:"), 0)


def cpu_seconds(pid: int) -> float:
    """Return the user and system time that a process has used so far, 0 where it has ended."""
    fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def read(path: str | Path) -> str:
    """Return the text of a file of /proc, "" where its process has ended."""
    try:
        return Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@dataclass(frozen=True)
class Moment:
    """What the whole machine, and some of its processes, had used of the processors at a time; all in seconds."""

    time: float
    busy: float
    ours: float

    @classmethod
    def now(cls, ours: float) -> "Moment":
        """Take it; ``ours`` is the CPU time of the processes that a benchmark started."""
        ticks = read("/proc/stat").split("\n", 1)[0].split()[1:]
        return cls(time.monotonic(), sum(int(ticks[field]) for field in _BUSY_FIELDS) / _TICKS, ours)

    def foreign_since(self, begin: "Moment") -> float:
        """Return the share of all cores that others used since ``begin``, at least 0."""
        span = (self.time - begin.time) * CORES
        return max(0.0, (self.busy - begin.busy) - (self.ours - begin.ours)) / span if span else 0.0


def busy_share(seconds: float = 5.0) -> float:
    """Watch the machine while nothing of ours runs; return the share of its cores that is in use."""
    begin = Moment.now(time.process_time())
    time.sleep(seconds)
    return Moment.now(time.process_time()).foreign_since(begin)


def warning(before: float, during: Iterable[float], limit: float = 0.1) -> str:
    """Return a line for the report where others used more than ``limit`` of the machine, else ""."""
    most = max(during, default=0.0)
    if max(before, most) <= limit:
        return ""
    return (
        f"**Not a quiet machine:** others used {100 * before:.0f} % of its cores before the first run and up to "
        f"{100 * most:.0f} % during one. Take the times as upper bounds."
    )
