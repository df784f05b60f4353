"""Measure how long a namespace takes to be loaded and counted: ours against Alluxio's own command line.

``make bench-load`` writes load.md, load.svg and load.jsonl (a line for each run) into docs/benchmarks; the machine
should do nothing else. Each run has a freshly formatted, freshly started Alluxio, its JVM cold, over the store of
the tests. Methods and cases alternate: first every one once, then again. An interrupted run goes on with ``--resume``.
"""

import argparse
import re
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench import machine
from bench.load_figures import Case, Measured, Tree
from bench.load_report import report
from bench.results import Results, add_options
from bench.rig import Ran, Store, ours_cpu, step, timed, total_paths
from controllers.api.result import Totals
from tests.real.alluxio import Alluxio

OUTPUT = Path(__file__).parent.parent / "docs" / "benchmarks"
TREES = (
    Tree("flat", (1, 100_000)),
    Tree("wide", (1000, 100)),
    Tree("tiny", (100, 100, 5)),
    Tree("chain", (300, 3)),
    Tree("big", (100, 10_000)),
)
OURS, CLI, COUNT, TUNED, TUNED_COUNT = "ours", "cli", "cli+count", "cli tuned", "cli+count tuned"
#: Method -> what the command line does after loadMetadata -R, and with which properties of the master.
_POOLS = ("concurrency.level", "executor.pool.size", "ufs.prefetch.pool.size")
_FLUID = {f"alluxio.master.metadata.sync.{name}": "128" for name in _POOLS}
BASELINES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    CLI: (("du",), {}),
    COUNT: (("du", "count"), {}),
    TUNED: (("du",), _FLUID),
    TUNED_COUNT: (("du", "count"), _FLUID),
}
_COMMANDS = {"du": ("du", "-s", "/"), "count": ("count", "/")}


@dataclass(frozen=True)
class Planned:
    """So many runs of a method on a case."""

    case: Case
    method: str
    runs: int


def default_plan(runs: int) -> Iterator[Planned]:
    """Yield what tells most, about half an hour on two cores."""
    for tree in ("wide", "flat", "tiny", "chain", "big"):
        for method in (OURS, CLI):
            yield Planned(Case(tree, "s3", 0.05), method, 1 if tree == "big" else runs)
    for tree in ("wide", "tiny"):
        yield from (Planned(Case(tree, "s3", 0.05), method, 1) for method in (COUNT, TUNED))
    for tree, latency in (("wide", 0.0), ("wide", 0.15), ("flat", 0.0), ("flat", 0.15)):
        yield from (Planned(Case(tree, "s3", latency), method, 1) for method in (OURS, CLI))
    yield from (Planned(Case("wide", "oss", 0.05), method, 1) for method in (OURS, CLI))


def full_plan(runs: int) -> Iterator[Planned]:
    """Yield everything, some hours."""
    for tree in TREES:
        for latency in (0.05, 0.0, 0.15):
            yield from (Planned(Case(tree.name, "s3", latency), method, runs) for method in (OURS, *BASELINES))
        yield from (Planned(Case(tree.name, "oss", 0.05), method, runs) for method in (OURS, CLI))


def rounds(plan: Iterable[Planned]) -> Iterator[tuple[Case, str, int]]:
    """Yield case, method and number of every run: the first of all, then the second of all, ..."""
    planned = list(plan)
    for run in range(max((entry.runs for entry in planned), default=0)):
        yield from ((entry.case, entry.method, run) for entry in planned if run < entry.runs)


def measure(store: Store, tree: Tree, blank: Measured) -> Measured:
    """Let one method load one tree on a new master; ``blank`` says which."""
    driver, method, truth = blank.case.driver, blank.method, tree.totals
    extra = BASELINES[method][1] if method in BASELINES else {}
    limit = 180 + truth.files / 1000 * (1 + 2 * blank.case.latency)
    store.ask(f"latency?seconds={blank.case.latency}")
    alluxio = Alluxio(store.uri(driver, tree.name), properties=store.properties(driver) | extra, heap="8g")
    with tempfile.TemporaryDirectory(prefix="fluidctl-bench-") as scratch, alluxio:
        work, pids = Path(scratch), (alluxio.master_pid, store.pid)
        store.ask("reset")
        begin, used = machine.Moment.now(ours_cpu(pids)), [machine.cpu_seconds(pid) for pid in pids]
        load, size, wrong = (_ours if method == OURS else _theirs)(alluxio, work, method, truth, limit)
        master, storage = (machine.cpu_seconds(pid) - before for pid, before in zip(pids, used, strict=True))
        counts = store.ask("counts")
        return replace(
            blank,
            lists=counts["lists"],
            heads=counts["heads"],
            most_in_flight=counts["most_in_flight"],
            load=load.seconds,
            size=size.seconds,
            master_cpu=master,
            client_cpu=load.cpu + size.cpu,
            store_cpu=storage,
            foreign=machine.Moment.now(ours_cpu(pids)).foreign_since(begin),
            wrong=wrong or _unknown(alluxio, truth),
            start=_start(alluxio, work, method),
        )


def _ours(alluxio: Alluxio, work: Path, method: str, truth: Totals, limit: float) -> tuple[Ran, Ran, str]:
    """Run the two steps as the controller does, the load's evidence handed on."""
    load, loaded = step(alluxio, work, "load", limit)
    size, counted = step(alluxio, work, "size", limit, loaded.evidence)
    wrong = "" if counted.totals == truth else f"counted {counted.totals} of {truth}"
    return load, size, wrong or ("" if counted.proved else f"not proved: {counted.message}")


def _theirs(alluxio: Alluxio, work: Path, method: str, truth: Totals, limit: float) -> tuple[Ran, Ran, str]:
    """Run the command line of the source design."""
    load = timed([alluxio.executable, "fs", "loadMetadata", "-R", "/"], work / "load.log", limit)
    ran = []
    for name in BASELINES[method][0]:
        ran.append(timed([alluxio.executable, "fs", *_COMMANDS[name]], work / f"{name}.log", limit))
    size = Ran(sum(one.seconds for one in ran), sum(one.cpu for one in ran), max(one.peak for one in ran), ran[0].said)
    wrong = "" if (total := du_bytes(size.said)) == truth.bytes else f"du says {total:,} bytes of {truth.bytes:,}"
    if len(ran) > 1 and (found := count_totals(ran[1].said)) != truth:
        wrong = f"{wrong} count says {found} of {truth}".strip()
    return load, size, wrong


def _unknown(alluxio: Alluxio, truth: Totals) -> str:
    """Say what the master's own number of paths shows to be wrong."""
    known = truth.files + truth.directories + 1
    seen = total_paths(alluxio, known)
    return "" if seen == known else f"the master has {seen:,} paths of {known:,}"


def du_bytes(said: str) -> int:
    """Return the bytes that ``du -s /`` printed, -1 if none."""
    found = re.search(r"^(\d+)\s+\d+ \(\d+%\)\s+/\s*$", said, re.M)
    return int(found.group(1)) if found else -1


def count_totals(said: str) -> Totals | None:
    """Return what ``count /`` printed."""
    found = re.search(r"^(\d+)\s+(\d+)\s+(\d+)\s*$", said, re.M)
    return Totals(*map(int, found.groups())) if found else None


def _start(alluxio: Alluxio, work: Path, method: str) -> float:
    """Return the seconds of a command that does next to nothing: what starting the client costs each time."""
    nothing = [sys.executable, "-m", "fluidctl", "load", "--help"]
    return timed(nothing if method == OURS else [alluxio.executable, "fs", "masterInfo"], work / "start", 60).seconds


def run_all(
    plan: Iterable[Planned], trees: dict[str, Tree], results: Results[Measured], scale: float, minutes: float
) -> None:
    """Measure what is planned and not yet measured; begin nothing after ``minutes``."""
    done, commit = results.begin(), machine.commit()
    todo = [Measured(*key, scale=scale, commit=commit) for key in rounds(plan) if key not in done]
    with tempfile.TemporaryDirectory(prefix="fluidctl-bench-") as scratch:
        wanted = [trees[name] for name in dict.fromkeys(blank.case.tree for blank in todo)]
        with Store([tree.spec for tree in wanted], Path(scratch, "store.log")) as store:
            results.run(
                todo,
                lambda blank: measure(store, trees[blank.case.tree], blank),
                lambda made: f"{made.seconds:.1f} s",
                minutes,
            )


def main() -> None:
    """Run, and write the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="of the cases that are compared most closely")
    parser.add_argument("--full", action="store_true", help="every tree, latency and method; some hours")
    parser.add_argument("--only", type=re.compile, default="", metavar="REGEX", help='of "TREE DRIVER MS METHOD"')
    add_options(parser, 35, OUTPUT)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    trees = {tree.name: tree.scaled(options.scale) for tree in TREES}
    results = Results.of("load", options, Measured)
    if not options.render:
        plan = full_plan(options.runs) if options.full else default_plan(options.runs)
        chosen = [entry for entry in plan if re.search(options.only, label(entry))]
        run_all(chosen, trees, results, options.scale, 1e9 if options.full else options.minutes)
    report(options.output, results, trees)


def label(entry: Planned) -> str:
    """Return what --only is compared with."""
    return f"{entry.case.tree} {entry.case.driver} {1000 * entry.case.latency:.0f} {entry.method}"


if __name__ == "__main__":
    main()
