"""The pure parts of the memory benchmark."""

from dataclasses import replace

import pytest

from bench import memory
from bench.load_figures import Tree
from bench.memory_figures import MIB, Peaks, peaks_table, slope, slopes_table

FEW, MANY = Tree("few", (10, 100)), Tree("many", (30, 100))
RUN = Peaks("few", 0, scale=1.0, load=40 * MIB, size=60 * MIB, master=900 * MIB, load_seconds=3.2, size_seconds=1.4)
MORE = replace(RUN, tree="many", size=60 * MIB + 4000)


def test_a_slope_is_what_one_more_costs_between_two_trees() -> None:
    """By files and by directories; of medians, without runs that failed; none where an end is missing."""
    runs = [RUN, MORE, replace(MORE, run=1, size=60 * MIB + 8000), replace(MORE, run=2, error="no end")]

    assert slope(runs, FEW, MANY, "size", "files") == pytest.approx(3.0)
    assert slope(runs, FEW, MANY, "size", "directories") == pytest.approx(300.0)
    assert slope(runs, FEW, MANY, "load", "files") == 0.0
    assert slope([RUN], FEW, MANY, "size", "files") is None
    assert slope(runs, FEW, FEW, "size", "files") is None
    lines = slopes_table(runs, {"files": [FEW, MANY]}).splitlines()
    assert lines[2:] == [
        "| 1,000 to 3,000 files | load | +0.0 bytes each |",
        "| 1,000 to 3,000 files | size | +3.0 bytes each |",
    ]


def test_every_tree_that_was_measured_is_a_row_with_what_is_wrong() -> None:
    """One that was not is none, one that failed has no figures."""
    runs = [replace(RUN, wrong="counted 7"), replace(MORE, error="no end")]
    lines = peaks_table(runs, {tree.name: tree for tree in (FEW, MANY, Tree("never", (2, 2)))}).splitlines()

    assert lines[2:] == [
        "| few | 1,000 | 10 | 1 | **40 MiB** | **60 MiB** | 3 s | 1 s | 900 MiB | counted 7 |",
        "| many | - | - | - | - | - | - | - | - | no end |",
    ]


def test_the_trees_are_those_whose_figures_are_asked_for() -> None:
    """100,000 and 2 million files; 200,000 directories in one."""
    assert [tree.totals.files for tree in memory.FILES] == [100_000, 500_000, 2_000_000]
    assert memory.DIRECTORIES[-1].totals.directories == memory.DIRECTORIES[-1].top_folders == 200_000
    assert Peaks.from_json(RUN.to_json()) == RUN
