"""The figures of the load benchmark: trees and their totals, floors, medians, tables. Pure."""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from bench.results import Record
from controllers.api.result import Totals
from fluidctl.load import shape

KEYS_A_LIST = 1000
_IN_FLIGHT = 16  # spec.load.parallelism, if nothing else is said


@dataclass(frozen=True)
class Tree:
    """A shape of tests.objectstore.trees: folders of folders of files, or a chain of folders with files in each."""

    name: str
    sizes: tuple[int, ...]

    @property
    def spec(self) -> str:
        """Return what ``--tree`` of the object store takes."""
        return f"{self.name}={'x'.join(map(str, self.sizes))}"

    @property
    def totals(self) -> Totals:
        """Return what is in it; file n of a folder has n modulo 1,000 bytes."""
        *folders, files = self.sizes
        leaves = math.prod(folders)
        directories = sum(math.prod(folders[: level + 1]) for level in range(len(folders)))
        return Totals(leaves * files, directories, leaves * sum(number % 1000 for number in range(files)))

    @property
    def top_folders(self) -> int:
        """Return how many folders lie directly below its root."""
        return 1 if self.name == "chain" else self.sizes[0] if len(self.sizes) > 1 else 0

    def scaled(self, scale: float) -> "Tree":
        """Return the same shape with about ``scale`` times the files."""
        first = next((at for at, size in enumerate(self.sizes) if size > 1), 0)
        smaller = max(2, round(self.sizes[first] * scale))
        return Tree(self.name, (*self.sizes[:first], smaller, *self.sizes[first + 1 :]))


def parallelism(tree: Tree, driver: str) -> int:
    """Return how many flat listings may be under way, as the loader cuts a tree of this shape."""
    folders = tree.top_folders
    if driver != "s3" or not folders:
        return 1
    each = folders <= shape.FEW or shape.pays(folders, folders, tree.totals.files / folders, _IN_FLIGHT)
    return min(_IN_FLIGHT, folders) if each else 1


def least_lists(tree: Tree) -> int:
    """Return how many listings show all keys, at least."""
    return math.ceil(tree.totals.files / KEYS_A_LIST)


def listing_floor(tree: Tree, driver: str, latency: float) -> float:
    """Return the seconds for which the storage alone keeps a flat listing waiting."""
    return least_lists(tree) / parallelism(tree, driver) * latency


@dataclass(frozen=True)
class Case:
    """What is loaded: a tree on a storage of so many seconds per request."""

    tree: str
    driver: str
    latency: float


@dataclass(frozen=True)
class Measured(Record):
    """One run: seconds of wall and of CPU, requests of the master to the storage.

    ``start`` is one command that does nothing, of the method's client.
    """

    case: Case
    method: str
    run: int
    load: float = 0.0
    size: float = 0.0
    start: float = 0.0
    master_cpu: float = 0.0
    client_cpu: float = 0.0
    store_cpu: float = 0.0
    lists: int = 0
    heads: int = 0
    most_in_flight: int = 0

    @property
    def seconds(self) -> float:
        """Return the whole: load, then size."""
        return self.load + self.size

    @property
    def key(self) -> tuple[Case, str, int]:
        """Return what it is the measurement of."""
        return self.case, self.method, self.run

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read it."""
        data = json.loads(line)
        return cls(**{**data, "case": Case(**data["case"])})


@dataclass(frozen=True)
class Row:
    """The runs of one method on one case, the floor below all of its methods, and the seconds of the first method."""

    case: Case
    method: str
    runs: Sequence[Measured]
    floor: float
    least_lists: int
    yardstick: float = 0.0
    errors: Sequence[str] = field(default_factory=tuple)

    def middle(self, name: str) -> float:
        """Return the median of a figure."""
        return float(statistics.median(getattr(run, name) for run in self.runs))

    @property
    def spread(self) -> tuple[float, float]:
        """Return the least and the most seconds."""
        seconds = [run.seconds for run in self.runs]
        return min(seconds), max(seconds)

    @property
    def remark(self) -> str:
        """Say what is wrong with its totals or with its runs."""
        wrong = sorted({run.wrong for run in self.runs if run.wrong})
        return "; ".join([*wrong, *self.errors]) or "right"


def rows(measured: Iterable[Measured], trees: dict[str, Tree], cores: int, methods: Sequence[str]) -> list[Row]:
    """Group measurements; ``methods`` gives the order, and its first one is what the others are compared with."""
    found = list(measured)
    made = []
    for case in dict.fromkeys(run.case for run in found):
        good = [run for run in found if run.case == case and not run.error]
        floor = max(_floors(case, trees[case.tree], good, cores)) if good else 0.0
        ours = [run.seconds for run in good if run.method == methods[0]]
        for method in methods:
            errors = tuple(run.error for run in found if (run.case, run.method) == (case, method) and run.error)
            runs = [run for run in good if run.method == method]
            if runs or errors:
                yardstick = statistics.median(ours) if ours else 0.0
                made.append(Row(case, method, runs, floor, least_lists(trees[case.tree]), yardstick, errors))
    return made


def _floors(case: Case, tree: Tree, runs: Sequence[Measured], cores: int) -> tuple[float, float]:
    """Return two bounds that may overlap in time: the storage's, and the least work of the master on all cores."""
    return listing_floor(tree, case.driver, case.latency), min(run.master_cpu for run in runs) / cores


def times_table(found: Iterable[Row], names: dict[str, str]) -> str:
    """Return how long each method took."""
    head = ("storage", "method", "runs", "load + size", "range", "load", "size", "against ours")
    lines = []
    for row in found:
        cells = [describe(row.case), names[row.method], str(len(row.runs))]
        if row.runs:
            whole, (least, most) = row.middle("seconds"), row.spread
            cells += [f"**{whole:.1f} s**", f"{least:.1f} - {most:.1f}"]
            cells += [f"{row.middle('load'):.1f}", f"{row.middle('size'):.1f}"]
            cells.append(f"{whole / row.yardstick:.2f} x" if row.yardstick else "-")
            cells += [f"{row.floor:.1f} s", f"{100 * row.floor / whole:.0f} %"]
        else:
            cells += ["-"] * 7
        lines.append([*cells, row.remark])
    return table([*head, "floor", "of the floor", "totals"], lines)


def work_table(found: Iterable[Row], names: dict[str, str], files: dict[str, int]) -> str:
    """Return what each method asked of the storage and of processors."""
    head = ("storage", "method", "LISTs", "over the least", "HEADs", "most in flight")
    lines = []
    for row in found:
        if row.runs:
            lists, cpu = row.middle("lists"), row.middle("master_cpu")
            cells = [describe(row.case), names[row.method], f"{lists:,.0f}", f"{lists / row.least_lists:.1f} x"]
            cells += [f"{row.middle('heads'):,.0f}", str(max(run.most_in_flight for run in row.runs))]
            cells += [f"{cpu:.1f}", f"{1000 * cpu / files[row.case.tree]:.2f} ms", f"{row.middle('client_cpu'):.1f}"]
            lines.append([*cells, f"{row.middle('store_cpu'):.1f}"])
    return table([*head, "CPU s: master", "a file", "clients", "storage"], lines)


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *lines))


def starts(measured: Iterable[Measured], ours: str) -> tuple[float, float]:
    """Return the medians of what an empty command of the others and of ours takes; 0 where there is none."""
    found = [run for run in measured if not run.error]
    theirs = [run.start for run in found if run.method != ours]
    own = [run.start for run in found if run.method == ours]
    return (statistics.median(theirs) if theirs else 0.0), (statistics.median(own) if own else 0.0)


def describe(case: Case) -> str:
    """Return the name of a case for a table."""
    return f"{case.tree}, {case.driver}, {1000 * case.latency:.0f} ms"
