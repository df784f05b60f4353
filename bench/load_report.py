"""The report of the load benchmark: Markdown and a plot."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import machine
from bench.load_figures import Measured, Row, Tree, rows, starts, times_table, work_table
from bench.results import Results

if TYPE_CHECKING:  # the extra "bench" has it
    from matplotlib.axes import Axes

#: Method -> how the report calls it. The first one is what the others are compared with.
NAMES = {
    "ours": "`fluidctl load`, `fluidctl size`",
    "cli": "`loadMetadata -R`, `du -s`",
    "cli+count": "`loadMetadata -R`, `du -s`, `count`",
    "cli tuned": "`loadMetadata -R`, `du -s`; pools of 128",
    "cli+count tuned": "`loadMetadata -R`, `du -s`, `count`; pools of 128",
}
_PLOTTED = {"ours": ("fluidctl", "#1b6ca8"), "cli": ("loadMetadata -R + du -s", "#c9803d")}

_TEXT = """# Load and count

From an empty master to exact totals, against the command line that the source design names. Written by
`make bench-load`; the raw figures are in `load.jsonl`, `make bench-load ARGS=--render` writes this page anew.

{machines}

![Seconds of load and count, by tree and by latency](load.svg)

## Time

{times}

## Work

{work}

## How it was measured

- Trees: {trees}. Scale {scale}.
- Storage: the object store of the tests (`tests/objectstore`) as a process on the same machine, each request as slow
  as the table says. Each run has a freshly formatted, freshly started Alluxio 2.9.6 with a heap of 8 GB, its JVM cold,
  also on the same machine: storage, master and client share its cores. The runs of all methods alternate.
- Ours is the argv of the two Jobs as plain processes, the load's evidence handed on; it contains two starts of Python
  ({own_start:.1f} s each). Theirs contains a start of Java for each command ({their_start:.1f} s each, by
  `alluxio fs masterInfo`). Starting a pod is in neither.
- "Pools of 128": Fluid's tuning, the three `alluxio.master.metadata.sync` pools (`concurrency.level`,
  `executor.pool.size`, `ufs.prefetch.pool.size`).
- "totals": "right" means that the run gave the files, directories and bytes of the tree: ours by its count, and proved;
  theirs by the bytes of `du`, by `count` where it ran, and both by the master's own number of paths, looked at after
  the clock had stopped.
- Floor: the greater of two bounds, which may overlap in time. The storage's: keys / 1,000 x latency / flat listings
  that may be under way as the loader cuts the tree (`fluidctl/load/shape.py`): 16 for tiny and big on s3, else 1. The
  processors': the least CPU time that the master needed for this tree by any method, on all cores. "of the floor" is
  the share of it that was reached.
- "over the least": LISTs over keys / 1,000. CPU times are from `/proc`, of the time measured alone.
- Medians of so many runs as the table says, one run where it says 1; range is the least and the most. Single runs vary
  by 20 %.
"""


def report(output: Path, results: Results[Measured], trees: dict[str, Tree]) -> None:
    """Write load.md and load.svg."""
    table = rows(results.measured, trees, machine.CORES, list(NAMES))
    (output / "load.md").write_text(markdown(table, results, trees))
    plot(table, output / "load.svg")


def markdown(table: Sequence[Row], results: Results[Measured], trees: dict[str, Tree]) -> str:
    """Return the report."""
    their_start, own_start = starts(results.measured, "ours")
    totals = {name: tree.totals for name, tree in trees.items()}
    shapes = [f"{name} ({total.files:,} files, {total.directories:,} directories)" for name, total in totals.items()]
    return _TEXT.format(
        machines=results.machine_lines(),
        times=times_table(table, NAMES),
        work=work_table(table, NAMES, {name: total.files for name, total in totals.items()}),
        trees=", ".join(shapes),
        scale=", ".join(sorted({f"{run.scale:g}" for run in results.measured})),
        own_start=own_start,
        their_start=their_start,
    )


def plot(table: Sequence[Row], path: Path) -> None:
    """Draw the trees at 50 ms, and the wide and flat ones over the latency."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "fluidctl"  # the same figures, the same file
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), width_ratios=(3, 2), layout="constrained")
    chosen = [row for row in table if row.runs and row.method in _PLOTTED and row.case.driver == "s3"]
    _bars(left, [row for row in chosen if row.case.latency == 0.05])
    _lines(right, [row for row in chosen if row.case.tree in ("wide", "flat")])
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _bars(axes: "Axes", table: Sequence[Row]) -> None:
    trees = list(dict.fromkeys(row.case.tree for row in table))
    for number, (method, (label, colour)) in enumerate(_PLOTTED.items()):
        mine = [row for row in table if row.method == method]
        places = [trees.index(row.case.tree) + 0.4 * number - 0.2 for row in mine]
        middles = [row.middle("seconds") for row in mine]
        down = [middle - row.spread[0] for middle, row in zip(middles, mine, strict=True)]
        up = [row.spread[1] - middle for middle, row in zip(middles, mine, strict=True)]
        axes.bar(places, middles, 0.38, color=colour, label=label, yerr=[down, up], capsize=3)
    floors = {row.case.tree: row.floor for row in table}
    middle = [trees.index(tree) for tree in floors]
    axes.hlines(
        list(floors.values()), [at - 0.42 for at in middle], [at + 0.42 for at in middle], "black", label="floor"
    )
    axes.set_xticks(range(len(trees)), trees)
    axes.set_title("50 ms per request")
    axes.set_ylabel("load + size, seconds")
    axes.legend(frameon=False)


def _lines(axes: "Axes", table: Sequence[Row]) -> None:
    for method, (label, colour) in _PLOTTED.items():
        for tree, style in (("wide", "-"), ("flat", "--")):
            mine = [row for row in table if (row.method, row.case.tree) == (method, tree)]
            mine.sort(key=lambda row: row.case.latency)
            places, seconds = [1000 * row.case.latency for row in mine], [row.middle("seconds") for row in mine]
            axes.plot(places, seconds, style, marker="o", color=colour, label=f"{tree}, {label}")
    axes.set_xlabel("milliseconds per request")
    axes.set_ylim(0, 1.4 * axes.get_ylim()[1])  # room for the legend
    axes.legend(frameon=False, fontsize="small")
