"""The pure parts of the load benchmark: what a tree holds, what bounds a load, how runs become a table."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench import load, load_figures, load_report, machine
from bench.load_figures import Case, Measured, Tree, rows
from bench.results import Results
from controllers.api.result import Totals
from tests.objectstore.trees import tree as keys_of

WIDE, CHAIN, TINY = Tree("wide", (7, 1003)), Tree("chain", (9, 3)), Tree("tiny", (3, 4, 5))
CASE = Case("wide", "s3", 0.05)
RUN = Measured(
    CASE, "ours", 0, scale=1.0, load=8.0, size=2.0, master_cpu=6.0, client_cpu=1.0, lists=8, most_in_flight=7
)


@pytest.mark.parametrize("tree", [WIDE, CHAIN, TINY, Tree("flat", (1, 2500)), WIDE.scaled(0.5), Tree("long", (2, 9))])
def test_the_truth_about_a_tree_is_that_of_the_keys_in_the_store(tree: Tree) -> None:
    """Files, folders above them, bytes; and its top folders."""
    bucket, keys = keys_of(tree.spec)
    found = list(keys)
    parts = [name.split("/")[:-1] for name, _ in found]
    folders = {tuple(part[: level + 1]) for part in parts for level in range(len(part))}

    assert bucket == tree.name
    assert tree.totals == Totals(len(found), len(folders), sum(size for _, size in found))
    assert tree.top_folders == len({folder[0] for folder in folders})


def test_a_smaller_tree_has_the_same_shape() -> None:
    """Fewer folders, as many files in each; a flat one has fewer files, and nothing becomes empty."""
    assert [tree.scaled(0.01).sizes for tree in load.TREES] == [
        (1, 1000),
        (10, 100),
        (2, 100, 5),
        (3, 3),
        (2, 10_000),
    ]
    assert WIDE.scaled(0.0001).sizes == (2, 1003)


@pytest.mark.parametrize(
    ("tree", "driver", "flights"),
    [
        (Tree("flat", (1, 9000)), "s3", 1),
        (Tree("chain", (300, 3)), "s3", 1),
        (Tree("few", (7, 9)), "s3", 7),
        (Tree("big", (100, 9)), "s3", 16),
        (Tree("wide", (1000, 100)), "s3", 1),
        (Tree("classes", (1000, 1300)), "s3", 16),
        (Tree("files", (9000,)), "s3", 1),
        (Tree("big", (100, 9)), "oss", 1),
    ],
)
def test_as_many_listings_are_usable_at_once_as_the_loader_starts_tasks(tree: Tree, driver: str, flights: int) -> None:
    """One flat listing gives its pages one after the other."""
    assert load_figures.parallelism(tree, driver) == flights


def test_the_floor_is_the_greater_of_what_the_storage_and_the_processors_need() -> None:
    """8 LISTs of 7,021 keys, 7 at once; the least master CPU of any method, on two cores."""
    slow, cheap = replace(RUN, case=replace(CASE, latency=10.0)), replace(RUN, method="cli", master_cpu=4.0)
    floors = {row.case.latency: row.floor for row in rows([slow, RUN, cheap], {"wide": WIDE}, 2, ["ours", "cli"])}

    assert load_figures.least_lists(WIDE) == 8
    assert floors == {10.0: pytest.approx(8 / 7 * 10.0), 0.05: 2.0}


def test_runs_become_medians_ranges_and_ratios_to_ours() -> None:
    """Three of ours, one of theirs that was wrong, one of theirs that failed."""
    runs = [replace(RUN, run=number, load=seconds) for number, seconds in enumerate((8.0, 30.0, 6.0))]
    theirs = replace(RUN, method="cli", load=18.0, wrong="du says 7 bytes of 8", lists=80)
    failed = replace(RUN, method="cli", run=1, error="du did not end within 9 s")
    ours, cli = rows([*runs, theirs, failed], {"wide": WIDE}, 2, ["ours", "cli", "never run"])

    assert (len(ours.runs), ours.middle("seconds"), ours.spread) == (3, 10.0, (8.0, 32.0))
    assert (cli.middle("seconds"), cli.yardstick) == (20.0, 10.0)
    assert (ours.remark, cli.remark) == ("right", "du says 7 bytes of 8; du did not end within 9 s")
    times = load_figures.times_table([ours, cli], {"ours": "O", "cli": "C"}).splitlines()
    assert (
        times[2] == "| wide, s3, 50 ms | O | 3 | **10.0 s** | 8.0 - 32.0 | 8.0 | 2.0 | 1.00 x | 3.0 s | 30 % | right |"
    )
    assert "| 2.00 x | 3.0 s | 15 % | du says" in times[3]
    work = load_figures.work_table([ours, cli], {"ours": "O", "cli": "C"}, {"wide": 6000}).splitlines()
    assert work[3] == "| wide, s3, 50 ms | C | 80 | 10.0 x | 0 | 7 | 6.0 | 1.00 ms | 1.0 | 0.0 |"


def test_a_method_that_never_ended_is_a_row_without_figures() -> None:
    """It is neither left out nor in any median."""
    (row,) = rows([replace(RUN, error="no end")], {"wide": WIDE}, 2, ["ours"])

    table = load_figures.times_table([row], {"ours": "O"})
    assert table.splitlines()[2] == "| wide, s3, 50 ms | O | 0 | - | - | - | - | - | - | - | no end |"
    assert len(load_figures.work_table([row], {"ours": "O"}, {"wide": 1}).splitlines()) == 2


def test_methods_alternate() -> None:
    """The first run of all, then the second of all: a slow moment of the machine hits every method."""
    other = replace(CASE, latency=0.0)
    plan = [load.Planned(CASE, "a", 2), load.Planned(CASE, "b", 2), load.Planned(other, "a", 1)]

    assert list(load.rounds(plan)) == [
        (CASE, "a", 0),
        (CASE, "b", 0),
        (other, "a", 0),
        (CASE, "a", 1),
        (CASE, "b", 1),
    ]


def test_every_planned_run_is_of_a_tree_and_a_method_that_exist() -> None:
    """Both plans, no run twice, and all that has a name in the report."""
    for plan in (load.default_plan(3), load.full_plan(3)):
        keys = list(load.rounds(plan))
        assert len(set(keys)) == len(keys)
        assert {case.tree for case, _, _ in keys} == {tree.name for tree in load.TREES}
        assert {method for _, method, _ in keys} <= load_report.NAMES.keys()
    assert {method for _, method, _ in load.rounds(load.full_plan(1))} == {load.OURS, *load.BASELINES}
    assert load_report.NAMES.keys() == {load.OURS, *load.BASELINES}


def test_what_the_command_line_prints_is_read() -> None:
    """Between warnings; nothing of it is taken for a total that is none."""
    said = "WARN slow\nFile Size     In Alluxio       Path\n309           0 (0%)           /\n"
    count = "File Count    Folder Count     Folder Size    \n6             3                309            \n"

    assert (load.du_bytes(said), load.du_bytes("Time elapsed 12\n")) == (309, -1)
    assert (load.count_totals(count), load.count_totals(said)) == (Totals(6, 3, 309), None)


def test_an_interrupted_benchmark_goes_on_with_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of another scale, and those without figures, are not taken over."""
    monkeypatch.setattr(machine, "busy_share", lambda: 0.25)
    first = Results(tmp_path / "load.jsonl", 1.0, Measured)
    first.read()
    assert first.begin() == set()
    for run in (RUN, replace(RUN, run=1, error="no end"), replace(RUN, run=2, scale=0.5)):
        first.add(run)
    again = Results(tmp_path / "load.jsonl", 1.0, Measured)
    again.read()

    assert again.begin() == {RUN.key}
    assert (again.measured, len(again.machines)) == ([RUN], 2)
    lines = [json.loads(line) for line in (tmp_path / "load.jsonl").read_text().splitlines()]
    assert [line.get("busy", line.get("run")) for line in lines] == [0.25, 0.25, 0]


def test_the_report_warns_where_others_kept_the_machine_busy() -> None:
    """Before, or during any run."""
    table = rows([RUN], {"wide": WIDE}, 2, list(load_report.NAMES))
    for foreign, busy, warned in ((0.0, 0.02, False), (0.3, 0.02, True), (0.0, 0.5, True)):
        results = Results(Path("unused"), 1.0, Measured)
        results.machines.append({"machine": "A machine.", "busy": busy})
        results.measured.append(replace(RUN, foreign=foreign))
        text = load_report.markdown(table, results, {"wide": WIDE})
        assert ("Not a quiet machine" in text) is warned
        assert "wide (7,021 files, 7 directories)" in text


def test_others_are_charged_with_what_is_not_ours() -> None:
    """Half of what was busy, of all cores."""
    begin, end = machine.Moment(100.0, 50.0, 5.0), machine.Moment(110.0, 50.0 + 8.0, 5.0 + 4.0)

    assert end.foreign_since(begin) == pytest.approx(4.0 / (10.0 * machine.CORES))
    assert machine.cpu_seconds(2**30) == machine.memory(2**30, "VmHWM") == 0
