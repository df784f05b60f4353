"""The load step of a refresh, and the check of a restarted master, against the double of a master."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from controllers.api.result import Changes, Exit, Result
from devcluster.master import AlluxioMaster
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import methods, refresh
from fluidctl.load.ledger import Entry, balance, seen
from fluidctl.load.main import main
from fluidctl.load.retry import Rule
from tests.load_kit import Answer, Steps, intercept, make, truth

KNOWN = 66  # 6 folders with 10 files each


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that only a real storage needs."""
    monkeypatch.setattr(refresh, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("fluidctl.load.empties.GAUGE_SECONDS", 0.0)
    monkeypatch.setattr(Rule, "delay", lambda *_: 0.01)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    make(root, [f"data/d{d}/f{f}" for d in range(6) for f in range(10)])
    return root / "data"


@pytest.fixture
def master(tree: Path) -> Iterator[AlluxioMaster]:
    with AlluxioMaster(tree.parent) as made:
        yield made


@pytest.fixture
def steps(master: AlluxioMaster, tmp_path: Path) -> Steps:
    made = Steps.at(master, tmp_path)
    assert made.both("/data")[1] is Exit.COMPLETE
    return made


def _refresh(steps: Steps, fraction: float = 0.5, **more: Any) -> tuple[Result, Exit]:
    options = {"known_paths": KNOWN, "max_removed_fraction": fraction, "since_ms": int(time.time() * 1000)}
    return steps.run("load", "/data", refresh=True, **options | more)


# --- what changed -----------------------------------------------------------------------------------------------------


def test_what_was_added_removed_and_changed_is_counted_exactly(steps: Steps, tree: Path) -> None:
    """And shown with the number of entries that are known, as the count after it does."""
    make(tree, ["new/1", "new/2", "d0/more"])
    (tree / "d1" / "f1").write_bytes(b"longer than it was")
    shutil.rmtree(tree / "d2")
    result, code = _refresh(steps)
    counted, _ = steps.run("size", "/data", evidence=result.evidence)

    assert (code, result.reason, result.changes) == (Exit.COMPLETE, "Refreshed", Changes(4, 11, 1))
    assert result.message == "The master knows /data: 4 added, 11 removed, 1 changed."
    assert (counted.proved, counted.totals, counted.loaded_by_size) == (True, truth(tree), 0)
    assert steps.watch.total == KNOWN
    assert _refresh(steps)[0].changes == Changes()


def test_an_older_master_finds_the_same_but_cannot_count_it(steps: Steps, master: AlluxioMaster, tree: Path) -> None:
    """One recursive listing that compares; only the difference of two counts is known."""
    master.behaviour.asynchronous = False
    make(tree, ["new/1"])
    shutil.rmtree(tree / "d2")
    result, code = _refresh(steps)

    assert (code, result.changes, result.method) == (Exit.COMPLETE, None, "ListStatus")
    assert steps.run("size", "/data", evidence=result.evidence)[0].totals == truth(tree)


def test_a_later_attempt_of_a_run_compares_nothing_again_and_tells_all_that_changed(
    steps: Steps, master: AlluxioMaster, tree: Path
) -> None:
    """Its master remembers; a new run, or a master that was restarted, compares everything."""
    master.behaviour.failing[b"/data/d5"] = grpc.StatusCode.UNAVAILABLE
    shutil.rmtree(tree / "d2")
    run = int(time.time() * 1000)
    # 1.0: no probe, whose additions only its own attempt knows
    first, code = _refresh(steps, 1.0, since_ms=run)
    master.behaviour.failing.clear()
    begun = len(master._groups)
    second, fine = _refresh(steps, 1.0, since_ms=run)
    again = [task.path for task in master._groups[begun:] if b".fluidctl" not in task.path]
    third, _ = _refresh(steps, 1.0, since_ms=run + 1)

    assert (code, first.failed_directories) == (Exit.INCOMPLETE, ("/data/d5",))
    assert (fine, second.changes) == (Exit.COMPLETE, Changes(removed=11))
    assert again == [b"/data/d5"]
    assert third.changes == Changes()
    master.restart()
    assert _refresh(steps, 1.0, since_ms=run)[0].changes is None


def test_only_the_directories_that_it_is_told_are_compared(steps: Steps, master: AlluxioMaster, tree: Path) -> None:
    """Those that an attempt named; removals in them are found."""
    (tree / "d1" / "f1").unlink()
    (tree / "d2" / "f1").unlink()
    result, code = _refresh(steps, directories=("/data/d1",))

    assert (code, result.changes) == (Exit.COMPLETE, Changes(removed=1))
    assert _refresh(steps)[0].changes == Changes(removed=1)


# --- what must not be lost --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_storage_that_shows_nothing_is_suspicious_and_nothing_is_removed(
    steps: Steps, master: AlluxioMaster, tree: Path, asynchronous: bool
) -> None:
    """A file system that is not mounted looks like this; with a person's word it is believed."""
    master.behaviour.asynchronous = asynchronous
    master.counters["MetadataSyncPrefetchPaths"] += 1  # a real master has it from its start
    before, away = master.metrics()["Master.TotalPaths"], tree.with_name("away")
    tree.rename(away)
    tree.mkdir()
    result, code = _refresh(steps)

    assert (code, code.permanent) == (Exit.SUSPICIOUS_REFRESH, False)
    assert "spec.load.maxRemovedFraction" in result.message
    assert master.metrics()["Master.TotalPaths"] == before
    assert _refresh(steps, 1.0)[1] is Exit.COMPLETE
    assert master.metrics()["Master.TotalPaths"] == before - KNOWN


def test_more_than_may_be_removed_stays_suspicious_in_later_runs(steps: Steps, tree: Path) -> None:
    """The master has forgotten the names by then; the last count has not."""
    for name in ("d0", "d1", "d2", "d3"):
        shutil.rmtree(tree / name)
    for _ in range(2):
        result, code = _refresh(steps)
        assert code is Exit.SUSPICIOUS_REFRESH
        assert result.message.startswith("44 of 66 known files and directories below /data are missing")

    assert _refresh(steps, 0.7)[1] is Exit.COMPLETE


def test_what_comes_back_when_it_is_compared_again_was_never_away(
    steps: Steps, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A storage that failed for a moment; what was added cannot be told from what came back."""
    away = tree.with_name("away")

    def pause(self: refresh.Refresh) -> str:
        if away.exists():
            shutil.rmtree(tree)
            away.rename(tree)
        else:
            tree.rename(away)
            make(tree, ["d0/f0"])
        return ""

    monkeypatch.setattr(refresh.Refresh, "_probe", pause)
    result, code = _refresh(steps)

    assert (code, result.changes) == (Exit.COMPLETE, None)
    assert steps.run("size", "/data", evidence=result.evidence)[0].totals == truth(tree)


def test_a_dataset_that_is_gone_is_never_a_wrong_path(steps: Steps, tree: Path) -> None:
    """Also with a person's word, and in the attempt after the one that lost it: path-not-found is permanent."""
    shutil.rmtree(tree)
    for _ in range(2):
        result, code = _refresh(steps, 1.0)
        assert code is Exit.SUSPICIOUS_REFRESH
        assert "/data is gone from the storage" in result.message


def test_a_storage_that_hides_errors_needs_tasks(steps: Steps, master: AlluxioMaster) -> None:
    """Refused before anything is compared: a listing would take an error for removed files."""

    def mounts(request: Any, answer: Answer) -> pb.GetMountTableResponse:
        point = pb.MountPointInfo(ufsUri=b"oss://bucket/", ufsType="oss")
        return pb.GetMountTableResponse(mountPoints=[pb.MountEntry(key=b"/", value=point)])

    intercept(master, methods.GET_MOUNT_TABLE, mounts)
    assert _refresh(steps)[1] is Exit.COMPLETE
    master.behaviour.asynchronous = False
    result, code = _refresh(steps)

    assert code is Exit.UNSUPPORTED_MASTER
    assert "2.9.4" in result.message


# --- the account of tasks ---------------------------------------------------------------------------------------------


def test_a_task_is_read_as_2_9_6_prints_it() -> None:
    """Whatever its path looks like; what is no task of a path is left out."""
    path = b"/a, Descendant Type: ONE, Id: 1"
    task = pb.SyncMetadataTask(
        id=7,
        state=pb.SUCCEEDED,
        taskInfoString=b"TaskInfo{UFS path: /x, AlluxioPath: " + path + b", Descendant Type: ALL, "
        b"Directory Load Type: SINGLE_LISTING, Id: 7}",
        taskStatString=b"TaskStats{Success op count={[NOOP:4464][CREATE:7][DELETE:103][RECREATE:3][UPDATE:1]}, "
        b"# of batches=5, # of objects loaded from UFS=4475, Failed load requests={[NOOP:9]}}",
    )

    expected = Entry(7, path, deep=True, succeeded=True, objects=4475, seen=4475, changes=Changes(7, 103, 4))
    assert Entry.of(task) == expected
    assert Entry.of(pb.SyncMetadataTask(id=7)) is None


def _entry(number: int, path: bytes, added: int = 0, removed: int = 0, **more: Any) -> Entry:
    return Entry(number, path, changes=Changes(added, removed), succeeded=True, **more)


def test_only_a_comparison_that_was_made_because_too_much_was_missing_brings_back() -> None:
    """Else what one task removed and another one added are two things."""
    mark = Entry(2, b"/a/.fluidctl-refresh-1")
    first, second = _entry(1, b"/a", removed=60), _entry(3, b"/a", added=70)

    assert balance([first, mark, second], 50).changes == Changes(10, 0)
    assert balance([first, mark, second], 50).restored == 60
    assert balance([first, mark, second], 60).changes == Changes(70, 60)
    assert balance([first, second], 50).changes == Changes(70, 60)


def test_entries_are_counted_once_however_the_tree_was_cut() -> None:
    """A task of one level counts the folders in it, and each of theirs counts itself too."""
    level = _entry(1, b"/a", seen=1 + 2 + 3)  # itself, two folders, three files
    parts = [_entry(2, b"/a/x", seen=11, deep=True), _entry(3, b"/a/y", seen=21, deep=True)]

    assert seen([level, *parts]) == 5 + 10 + 20
    assert seen([level, *parts, _entry(4, b"/a", seen=36, deep=True)]) == 35


# --- a restarted master -----------------------------------------------------------------------------------------------


def test_a_master_that_was_only_restarted_is_the_same_and_nothing_is_counted(
    steps: Steps, master: AlluxioMaster
) -> None:
    """A format is another cluster."""
    cluster = master.cluster_id
    master.restart()
    same, code = steps.run("size", "/data", known_cluster=cluster)
    listed = master.counters["MetadataSyncPrefetchOpsCount"]
    master.format()
    lost, changed = steps.run("size", "/data", known_cluster=cluster)

    assert (code, same.reason, same.totals, listed) == (Exit.COMPLETE, "SameCluster", None, 0)
    assert same.master is not None
    assert same.master.cluster_id == cluster
    assert (changed, lost.reason) == (Exit.MASTER_CHANGED, "MasterChanged")


@pytest.mark.parametrize(
    "option", ["--since-ms=-1", "--known-paths=x", "--max-removed-fraction=1.1", "--max-removed-fraction=nan"]
)
def test_numbers_that_make_no_sense_are_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Controller and image do not fit together."""
    assert main(["load", "--master=h:1", "--path=/", "--refresh", option]) == Exit.USAGE
    assert option.partition("=")[0] in capsys.readouterr().err


def test_the_argv_of_a_refresh_is_understood(steps: Steps, tree: Path, tmp_path: Path) -> None:
    """As the controller writes it."""
    make(tree, ["new"])
    command = steps.command
    argv = [*command.argv()[:-2], "--path=/data", "--refresh", "--since-ms=0", f"--known-paths={KNOWN}"]
    argv += ["--max-removed-fraction=0.1", f"--result-path={tmp_path / 'result'}", f"--spill-path={os.devnull}x"]

    assert main(argv) == Exit.COMPLETE
    assert Result.from_json((tmp_path / "result").read_text()).changes == Changes(1, 0, 0)
