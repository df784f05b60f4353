"""Measure what a kill costs: of the load's process at random moments, of process or master at half of the files.

``make bench-resume`` writes docs/benchmarks/resume.md, in some minutes; the machine should do nothing else. The storage
is the object store of the tests, a process of its own, s3 with 50 ms for each request.
"""

import argparse
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import machine
from bench.rig import Failed, Store, ours_cpu, step, total_paths
from controllers.api.command import StepCommand
from controllers.api.result import Totals
from tests.objectstore.trees import tree
from tests.real.alluxio import Alluxio
from tests.real.process import Process

OUTPUT = Path(__file__).parent.parent / "docs" / "benchmarks" / "resume.md"
LATENCY = 0.05
FOLDERS, FILES = 100, 50  # of each of the trees that are loaded one after the other on one master
WARM, WHOLE = 2, 5  # loads that are not killed: first the ones that only warm the master's JVM
LIMIT = 300.0
_KINDS = ("not killed", "process killed", "master killed")


@dataclass(frozen=True)
class Attempt:
    """A load that ended well, the count after it, and the listings that the storage was asked for in all attempts."""

    load: float
    size: float
    lists: int
    heads: int

    @property
    def seconds(self) -> float:
        """Return the time from the start of the attempt to the end of the count."""
        return self.load + self.size


class Rig:
    """A master over one bucket of a store."""

    def __init__(self, store: Store, alluxio: Alluxio, work: Path) -> None:
        self.store, self.alluxio, self.work = store, alluxio, work

    def start(self, path: str) -> Process:
        """Start the load step as a Job does."""
        result, spill = str(self.work / "result"), str(self.work / "spill")
        command = StepCommand("load", (self.alluxio.rpc_address,), path, result_path=result, spill_path=spill)
        return Process([sys.executable, "-m", "fluidctl", *command.argv()], self.work / "killed.log")

    def finish(self, path: str, truth: Totals) -> Attempt:
        """Load and count; raise Failed where the count is not exact and proved."""
        load, loaded = step(self.alluxio, self.work, "load", LIMIT, path=path)
        return self.count(path, truth, load.seconds, loaded.evidence)

    def count(self, path: str, truth: Totals, load: float, evidence: str) -> Attempt:
        """Count; raise Failed where the count is not exact and proved."""
        counts = self.store.ask("counts")
        size, counted = step(self.alluxio, self.work, "size", LIMIT, evidence, path)
        if counted.totals != truth or not counted.proved:
            raise Failed(f"{counted.totals} of {truth}, {counted.message}")
        return Attempt(load, size.seconds, counts["lists"], counts["heads"])


def at_random(store: Store, kills: int, seed: int, work: Path) -> tuple[list[Attempt], list[Attempt]]:
    """Return loads of equal trees: those left alone, and those that finished what a kill had left."""
    truth, rng = Totals(*_totals(f"many={FOLDERS}x{FILES}")), random.Random(seed)
    alone, after = list[Attempt](), list[Attempt]()
    with Alluxio(store.uri("s3", "many"), properties=store.properties("s3"), heap="4g") as alluxio:
        rig = Rig(store, alluxio, work)
        for number in range(WARM + WHOLE + kills):
            path = f"/d{number:06}"
            store.ask("reset")
            if number >= WARM + WHOLE:
                kill(rig.start(path), rng.uniform(0.05, 0.95) * _middle(one.load for one in alone))
                after.append(rig.finish(path, truth))
            elif (made := rig.finish(path, truth)) and number >= WARM:
                alone.append(made)
    return alone, after


def kill(process: Process, seconds: float) -> None:
    """Kill a process by SIGKILL after so long, unless it has ended."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()


def at_half(store: Store, bucket: str, kind: str, work: Path) -> Attempt:
    """Load and count a whole bucket on a new master, where something is killed when it knows half of the files."""
    truth = Totals(*_totals(bucket))
    name = bucket.partition("=")[0]
    with Alluxio(store.uri("s3", name), properties=store.properties("s3"), heap="4g") as alluxio:
        rig = Rig(store, alluxio, work)
        store.ask("reset")
        if kind == "not killed":
            return rig.finish("/", truth)
        running = rig.start("/")
        while total_paths(alluxio, -1, 0.0) < (truth.files + truth.directories) / 2:
            if not running.running():
                raise Failed(f"not half-way: {running.tail(3)}")
        if kind == "process killed":
            running.kill()
            return rig.finish("/", truth)
        begin = time.monotonic()
        alluxio.kill()
        alluxio.restart()
        if code := running.wait(LIMIT):
            raise Failed(f"the load ended with {code}: {running.tail(3)}")
        return rig.count("/", truth, time.monotonic() - begin, "")


def report(alone: list[Attempt], after: list[Attempt], half: dict[str, list[Attempt]], notes: str) -> str:
    """Return the figures as Markdown."""
    rows = [_row("whole load, not killed", alone), _row("next attempt after the kill", after)]
    bucket = [_row(kind, attempts) for kind, attempts in half.items()]
    return _TEXT.format(
        machine=machine.describe(),
        notes=notes,
        kills=len(after),
        folders=FOLDERS,
        files=FOLDERS * FILES,
        share=f"{_middle(one.load for one in after) / _middle(one.load for one in alone):.2f}",
        random="\n".join(rows),
        half="\n".join(bucket),
    )


def _row(name: str, attempts: list[Attempt]) -> str:
    loads = [one.load for one in attempts]
    cells = [
        name,
        str(len(attempts)),
        f"{_middle(loads):.2f} s",
        f"{min(loads):.2f} to {max(loads):.2f} s",
        f"{_middle(one.size for one in attempts):.2f} s",
        f"{_middle(one.seconds for one in attempts):.2f} s",
        f"{_middle(one.lists for one in attempts):.0f}",
        f"{_middle(one.heads for one in attempts):.0f}",
    ]
    return f"| {' | '.join(cells)} |"


_HEAD = """| | runs | load | least to most | count | both | LISTs | HEADs |
|---|---|---|---|---|---|---|---|"""
_TEXT = f"""# What a kill costs

{{machine}}
Written by `make bench-resume`: a real Alluxio 2.9.6 over the object store of the tests (s3, 50 ms a request), all on
one machine. Medians; steps are processes as in a Job, so each time has the start of Python in it. Every count was exact
and proved. LISTs and HEADs are those of all attempts up to the count: a master's task goes on when its client dies.
{{notes}}
## The load killed at {{kills}} random moments

{{files:,}} files in {{folders}} folders, each time a tree that nobody has loaded, on one warm master. The moments are
drawn (seeded) between 5 and 95 % of a whole load. A task for each folder needs {{folders}} LISTs for the files.

{_HEAD}
{{random}}

The next attempt takes {{share}} of a whole load.

## Killed at half of the files

On a master that has just been started, each time; half is what its gauge says, which lags by up to 2 s. "Both" is the
time to the end of the count: after the kill of the process from the start of the next attempt, whose back-off in a
cluster (10 s after a first failure) is not in it; after the kill of the master from the kill, its own start included,
while the process waits and goes on.

{_HEAD}
{{half}}
"""


def _totals(spec: str) -> tuple[int, int, int]:
    """Return files, directories and bytes of a tree of the store."""
    files = directories = size = 0
    seen = set[str]()
    for key, length in tree(spec)[1]:
        files, size = files + 1, size + length
        folder = key.rpartition("/")[0]
        while folder and folder not in seen:
            seen.add(folder)
            folder = folder.rpartition("/")[0]
    directories = len(seen)
    return files, directories, size


def _middle(numbers: Iterable[float]) -> float:
    return statistics.median(numbers)


def main() -> None:
    """Run, and write the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.resume", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--half", default="half=500x100", metavar="NAME=AxB", help="the tree that is half loaded")
    parser.add_argument("--runs", type=int, default=2, help="of each kind of kill at half of the files")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    before = machine.busy_share()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fluidctl-bench-")))
        many = f"many={WARM + WHOLE + options.kills}x{FOLDERS}x{FILES}"
        store = stack.enter_context(Store([many, options.half], work / "store.log"))
        store.ask(f"latency?seconds={LATENCY}")
        begin = machine.Moment.now(ours_cpu([store.pid]))
        alone, after = at_random(store, options.kills, options.seed, work)
        half = {kind: [at_half(store, options.half, kind, work) for _ in range(options.runs)] for kind in _KINDS}
        foreign = machine.Moment.now(ours_cpu([store.pid])).foreign_since(begin)
    notes = machine.warning(before, [foreign])
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(report(alone, after, half, f"\n{notes}\n" if notes else ""))


if __name__ == "__main__":
    main()
