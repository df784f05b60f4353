"""The figures of the memory benchmark: peaks, slopes, tables. Pure."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.load_figures import Tree, table
from bench.results import Record

MIB = 2**20
STEPS = ("load", "size")


@dataclass(frozen=True)
class Peaks(Record):
    """One run: the most resident memory of the two steps and of the master, in bytes; seconds of wall and CPU."""

    tree: str
    run: int
    load: int = 0
    size: int = 0
    master: int = 0
    load_seconds: float = 0.0
    size_seconds: float = 0.0
    cpu: float = 0.0

    @property
    def key(self) -> tuple[str, int]:
        """Return what it is the run of."""
        return self.tree, self.run


def middle(runs: Sequence[Peaks], tree: str, what: str) -> float | None:
    """Return the median of a figure for a tree, None where there is none."""
    numbers = [getattr(run, what) for run in runs if run.tree == tree and not run.error]
    return float(statistics.median(numbers)) if numbers else None


def slope(runs: Sequence[Peaks], few: Tree, many: Tree, step: str, counts: str) -> float | None:
    """Return by how many bytes the peak of ``step`` grows with each of ``counts`` ("files", "directories").

    None where one of the trees was not measured, or where a small scale made both the same.
    """
    first, last = (middle(runs, tree.name, step) for tree in (few, many))
    more: int = getattr(many.totals, counts) - getattr(few.totals, counts)
    if first is None or last is None or not more:
        return None
    return (last - first) / more


def peaks_table(runs: Sequence[Peaks], trees: Mapping[str, Tree]) -> str:
    """Return the peaks of every tree that was measured."""
    lines = []
    for name, tree in trees.items():
        mine = [run for run in runs if run.tree == name]
        remark = "; ".join(sorted({run.wrong or run.error for run in mine} - {""})) or "right"
        if not mine or all(run.error for run in mine):
            lines += [[name, *["-"] * 8, remark]] if mine else []
            continue
        total = tree.totals
        cells = [name, f"{total.files:,}", f"{total.directories:,}", str(sum(not run.error for run in mine))]
        cells += [f"**{(middle(mine, name, step) or 0) / MIB:.0f} MiB**" for step in STEPS]
        cells += [f"{middle(mine, name, f'{step}_seconds'):.0f} s" for step in STEPS]
        cells += [f"{(middle(mine, name, 'master') or 0) / MIB:,.0f} MiB", remark]
        lines.append(cells)
    head = [
        "tree",
        "files",
        "directories",
        "runs",
        "load, peak",
        "size, peak",
        "load",
        "size",
        "master, peak",
        "totals",
    ]
    return table(head, lines)


def slopes_table(runs: Sequence[Peaks], groups: Mapping[str, Sequence[Tree]]) -> str:
    """Return what one file, or one directory, more costs."""
    lines = []
    for counts, trees in groups.items():
        for few, many in pairwise(trees):
            span = " to ".join(f"{getattr(tree.totals, counts):,}" for tree in (few, many))
            for step in STEPS:
                found = slope(runs, few, many, step, counts)
                lines.append([f"{span} {counts}", step, "-" if found is None else f"{found:+.1f} bytes each"])
    return table(["from", "step", "growth"], lines)
