"""Measure the memory of a load and of a count: what a million files more cost, what a hundred thousand directories.

``make bench-memory`` writes memory.md, memory.svg and memory.jsonl (a line for each run) into docs/benchmarks. Each run
has a freshly formatted Alluxio over the object store of the tests, which answers at once. The peak of a process is what
the kernel calls VmHWM, looked at every 20 ms.
"""

import argparse
import signal
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench import machine
from bench.load_figures import Tree
from bench.memory_figures import MIB, STEPS, Peaks, middle, peaks_table, slopes_table
from bench.results import Results, add_options
from bench.rig import Store, ours_cpu, step
from tests.real.alluxio import Alluxio

if TYPE_CHECKING:  # the extra "bench" has it
    from matplotlib.axes import Axes

OUTPUT = Path(__file__).parent.parent / "docs" / "benchmarks"
FILES = (
    Tree("files-100k", (10, 10_000)),
    Tree("files-500k", (50, 10_000)),
    Tree("files-2m", (200, 10_000)),
)
DIRECTORIES = (
    Tree("dirs-20k", (20_000, 1)),
    Tree("dirs-60k", (60_000, 1)),
    Tree("dirs-200k", (200_000, 1)),
)
LONG = Tree("long-200k", (20, 10_000))  # names of files with 200 more characters
_LIMIT_SECONDS = 900.0
_JOB_LIMIT_MIB = 256  # controllers.config, job_memory

_TEXT = """# Memory of a load and of a count

Written by `make bench-memory`; the raw figures are in `memory.jsonl`, `make bench-memory ARGS=--render` writes this
page anew.

{machines}

![Peak memory by files and by directories](memory.svg)

## Peaks

{peaks}

## What one more costs

{slopes}

A resident size varies by some MiB from run to run, so a growth of a few bytes each way is none; the first steps fill
what is bounded. What bounds it:

- **Files** are added up and forgotten. A master sends 10,000 entries in one message; 16 listings are under way, but
  two are read at once (`READERS` in `fluidctl/load/session.py`), a part at a time. So the peak of a count is that of
  two messages, however many files there are and whatever `spec.load.parallelism` is: compare `files-100k`, `files-2m`
  and `long-200k`, whose names are 200 characters longer.
- **Directories** wait for their turn: 50,000 names in memory at most, the others in files on the Job's emptyDir
  (`fluidctl/load/frontier.py`), about 1,000 names each. `dirs-*` have all their directories in one.
- A load reads the listings of the top levels only, and keeps at most 50,000 folders of them (`fluidctl/load/shape.py`).

A Job's limit is {limit} MiB by default.

## How it was measured

- `fluidctl load`, then `fluidctl size` with the load's evidence, as plain processes with the arguments that the
  controller gives them. Alluxio 2.9.6, heap 10 GB; "master" is the peak of its whole process.
- `files-*` and `long-*`: directories of 10,000 files. `dirs-*`: that many directories of one file each, all in the
  root. Scale {scale}.
- "totals": "right" means that the count gave the files, directories and bytes of the tree, and proved them.
"""


def measure(tree: Tree, blank: Peaks) -> Peaks:
    """Load and count one tree on a new store and a new master."""
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fluidctl-bench-")))
        store = stack.enter_context(Store([tree.spec], work / "store.log"))
        uri, properties = store.uri("s3", tree.name), store.properties("s3")
        alluxio = stack.enter_context(Alluxio(uri, properties=properties, heap="10g"))
        pids = (alluxio.master_pid, store.pid)
        begin = machine.Moment.now(ours_cpu(pids))
        load, loaded = step(alluxio, work, "load", _LIMIT_SECONDS)
        size, counted = step(alluxio, work, "size", _LIMIT_SECONDS, loaded.evidence)
        wrong = "" if counted.totals == tree.totals else f"counted {counted.totals} of {tree.totals}"
        return replace(
            blank,
            load=load.peak,
            size=size.peak,
            master=machine.memory(alluxio.master_pid, "VmHWM"),
            load_seconds=load.seconds,
            size_seconds=size.seconds,
            cpu=load.cpu + size.cpu,
            foreign=machine.Moment.now(ours_cpu(pids)).foreign_since(begin),
            wrong=wrong or ("" if counted.proved else f"not proved: {counted.message}"),
        )


def run_all(trees: Iterable[Tree], runs: int, results: Results[Peaks], scale: float, minutes: float) -> None:
    """Measure what is not yet measured; begin nothing after ``minutes``."""
    done, commit, named = results.begin(), machine.commit(), {tree.name: tree for tree in trees}
    keys = [(name, run) for run in range(runs) for name in named if (name, run) not in done]
    todo = [Peaks(*key, scale=scale, commit=commit) for key in keys]
    results.run(todo, lambda blank: measure(named[blank.tree], blank), said, minutes)


def said(made: Peaks) -> str:
    """Return the peaks for who looks on."""
    return " ".join(f"{name} {getattr(made, name) / MIB:.0f} MiB" for name in STEPS)


def report(output: Path, results: Results[Peaks], groups: Mapping[str, Sequence[Tree]], others: Sequence[Tree]) -> None:
    """Write memory.md and memory.svg."""
    trees = {tree.name: tree for tree in (*(tree for trees in groups.values() for tree in trees), *others)}
    text = _TEXT.format(
        machines=results.machine_lines(),
        peaks=peaks_table(results.measured, trees),
        slopes=slopes_table(results.measured, groups),
        limit=_JOB_LIMIT_MIB,
        scale=", ".join(sorted({f"{run.scale:g}" for run in results.measured})),
    )
    (output / "memory.md").write_text(text)
    plot(results.measured, groups, output / "memory.svg")


def plot(runs: Sequence[Peaks], groups: Mapping[str, Sequence[Tree]], path: Path) -> None:
    """Draw the peaks over files and over directories."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "fluidctl"  # the same figures, the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(groups), figsize=(10, 3.8), sharey=True, layout="constrained")
    for place, (counts, trees) in zip(axes, groups.items(), strict=True):
        _lines(place, runs, counts, trees)
    axes[0].set_ylabel("peak resident memory, MiB")
    axes[0].legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _lines(axes: "Axes", runs: Sequence[Peaks], counts: str, trees: Sequence[Tree]) -> None:
    for name, colour in zip(STEPS, ("#c9803d", "#1b6ca8"), strict=True):
        points = [(getattr(tree.totals, counts), middle(runs, tree.name, name)) for tree in trees]
        found = [(count, peak / MIB) for count, peak in points if peak is not None]
        axes.plot([count for count, _ in found], [peak for _, peak in found], marker="o", color=colour, label=name)
    axes.axhline(_JOB_LIMIT_MIB, color="black", linestyle=":", label="limit of a Job")
    axes.set_xlabel(counts)
    axes.set_ylim(bottom=0)


def main() -> None:
    """Run, and write the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1)
    add_options(parser, 20, OUTPUT)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    files, directories = ([tree.scaled(options.scale) for tree in trees] for trees in (FILES, DIRECTORIES))
    others = [LONG.scaled(options.scale)]
    results = Results.of("memory", options, Peaks)
    if not options.render:
        run_all([*files, *directories, *others], options.runs, results, options.scale, options.minutes)
    report(options.output, results, {"files": files, "directories": directories}, others)


if __name__ == "__main__":
    main()
