"""Load and count as a whole, against the double of a master over real directories."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from controllers.api.command import Mount, StepCommand
from controllers.api.result import Exit, Progress, Result
from devcluster.master import AlluxioMaster
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import empties, methods, sync
from fluidctl.load.main import main
from fluidctl.load.retry import Rule
from tests.load_kit import Answer, Steps, intercept, make, odd_tree, truth


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that only a real master or a real storage needs."""
    monkeypatch.setattr(empties, "GAUGE_SECONDS", 0.0)
    monkeypatch.setattr(sync, "QUIET_SECONDS", 0.3)
    monkeypatch.setattr("fluidctl.load.load.QUIET_SECONDS", 0.3)
    monkeypatch.setattr(Rule, "delay", lambda *_: 0.01)


# --- what is there ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [True, False])
def test_totals_are_those_of_the_storage_whatever_the_names(tmp_path: Path, asynchronous: bool) -> None:
    """Odd names, deep, wide and empty directories; by tasks and, on an older master, by a recursive listing."""
    root = tmp_path / "tree"
    odd_tree(root)
    with AlluxioMaster(root, asynchronous=asynchronous) as master:
        result, code = Steps.at(master, tmp_path).both()

    assert (code, result.reason, result.proved) == (Exit.COMPLETE, "Counted", True)
    assert result.totals == truth(root)
    assert result.method == ("SyncMetadata" if asynchronous else "ListStatus")


def test_a_dataset_below_the_root_is_counted_alone(steps: Steps, tree: Path) -> None:
    """Its own root is not counted."""
    result, _ = steps.both("/d1")

    assert result.totals == truth(tree / "d1")


def test_an_empty_dataset_is_a_valid_one(tmp_path: Path) -> None:
    """Zero files, and proved."""
    with AlluxioMaster(tmp_path / "nothing") as master:
        (tmp_path / "nothing").mkdir()
        result, code = Steps.at(master, tmp_path).both()

    assert (code, result.proved) == (Exit.COMPLETE, True)
    assert result.totals == truth(tmp_path / "nothing")


def test_a_count_without_a_load_loads_and_says_so(
    steps: Steps, master: AlluxioMaster, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The master's counter of created files tells how many; a second count loads none."""
    metrics = master.metrics  # the double has no such counter
    monkeypatch.setattr(
        master, "metrics", lambda: (now := metrics()) | {"Master.FilesCreated": now["Master.TotalPaths"]}
    )
    first, second = steps.run("size")[0], steps.run("size")[0]

    assert (first.proved, second.proved) == (True, True)
    assert first.totals == second.totals == truth(tree)
    assert (first.loaded_by_size, second.loaded_by_size) == (truth(tree).files, 0)


# --- what is not as described -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/nope", Exit.PATH_NOT_FOUND),
        ("/d1/e1/f1", Exit.NOT_A_DIRECTORY),
        ("relative", Exit.INVALID_PATH),
        ("/a%", Exit.INVALID_PATH),
    ],
)
@pytest.mark.parametrize("step", ["load", "size"])
def test_a_wrong_path_is_a_permanent_error_that_says_which(steps: Steps, step: str, path: str, code: Exit) -> None:
    """Both steps look before they begin."""
    result, found = steps.run(step, path)

    assert found is code
    assert found.permanent
    assert path.strip("%") in result.message


def test_a_missing_mount_is_named_with_what_the_master_has(steps: Steps, tree: Path) -> None:
    """And one that is there in another spelling is no error."""
    result, code = steps.run("load", mounts=(Mount("/data", "s3://b"),))
    fine = steps.run("load", mounts=(Mount("/", f"file://{tree}/"),))

    assert (code, fine[1]) == (Exit.MOUNT_MISSING, Exit.COMPLETE)
    assert f"It has: / on local://{tree}." in result.message


@pytest.mark.parametrize("denied", ["/", "/d2/e1"])
def test_a_refused_directory_is_named_and_a_refused_dataset_is_permanent(
    steps: Steps, master: AlluxioMaster, denied: str
) -> None:
    """The load itself finds it: the task fails, the walk in its place says where."""
    master.behaviour.failing[denied.encode()] = grpc.StatusCode.PERMISSION_DENIED
    result, code = steps.run("load")

    assert code is (Exit.PERMISSION_DENIED if denied == "/" else Exit.INCOMPLETE)
    assert denied in result.message
    assert result.failed_directories == (() if denied == "/" else (denied,))


# --- what is missing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_directory_that_hides_its_entries_never_counts_as_complete(
    steps: Steps, master: AlluxioMaster, asynchronous: bool, tree: Path
) -> None:
    """One dangling link: the master answers "empty", status OK. It is named among true empties."""
    os.symlink("/nonexistent/target", tree / "d3" / "e2" / "link")
    make(tree, ["empty1/", "empty2/", "d0/empty3/"])
    master.behaviour.asynchronous = asynchronous
    result, code = steps.both()

    assert (code, result.proved) == (Exit.INCOMPLETE, False)
    assert (result.failed_directories, result.failed_count) == (("/d3/e2",), 1)
    assert result.totals is not None
    assert result.totals.files == truth(tree).files - 6


def test_a_directory_that_heals_is_counted_and_proved(steps: Steps, master: AlluxioMaster, tree: Path) -> None:
    """Between the first look and the forced one: counted again, once each."""
    link = tree / "d3" / "e2" / "link"
    link.symlink_to("/nonexistent/target")
    loaded, _ = steps.run("load")
    link.unlink()
    result, code = steps.run("size", evidence=loaded.evidence)

    assert (code, result.proved, result.totals) == (Exit.COMPLETE, True, truth(tree))


def test_a_new_attempt_loads_only_the_directories_that_it_is_told(
    steps: Steps, master: AlluxioMaster, tree: Path
) -> None:
    """By forced listings of them, which repair what a ONCE would believe."""
    master.behaviour.failing[b"/d2/e1"] = grpc.StatusCode.UNAVAILABLE
    first, code = steps.run("load")
    before = master.counters["MetadataSyncPrefetchOpsCount"]
    master.behaviour.failing.clear()
    again, fine = steps.run("load", directories=first.failed_directories)

    assert (code, fine) == (Exit.INCOMPLETE, Exit.COMPLETE)
    assert master.counters["MetadataSyncPrefetchOpsCount"] == before + 1
    assert steps.run("size", evidence=again.evidence)[0].totals == truth(tree)


def test_a_directory_that_vanished_between_two_attempts_is_none_that_failed(steps: Steps, tree: Path) -> None:
    """Else every further attempt, which is told its name, would fail."""
    steps.run("load")
    shutil.rmtree(tree / "d2")
    again, code = steps.run("load", directories=("/d2/e1", "/d2/e9", "/d9"))

    assert code is Exit.COMPLETE
    assert steps.run("load", "/d9")[1] is Exit.PATH_NOT_FOUND


def test_failures_that_the_master_counted_are_looked_into_before_they_are_believed(
    steps: Steps, master: AlluxioMaster
) -> None:
    """Somebody's look-up of a missing path moves the same counter: the listings are repeated, and quiet."""
    master.behaviour.asynchronous = False
    loaded, _ = steps.run("load")
    master.counters["MetadataSyncPathsFail"] += 3
    before = master.counters["MetadataSyncPrefetchOpsCount"]
    result, _ = steps.run("size", evidence=loaded.evidence)

    assert result.proved
    assert master.counters["MetadataSyncPrefetchOpsCount"] > before


def test_unreadable_directories_are_convicted_by_the_cache_of_absent_paths(
    steps: Steps, master: AlluxioMaster, tree: Path
) -> None:
    """The first forced listing adds them to it; in a later attempt they stay a doubt, which is not a proof."""
    make(tree, ["locked/"])

    def unreadable(request: Any, answer: Answer) -> Any:
        if request.path == b"/locked" and request.options.loadMetadataType == pb.ALWAYS:
            master.counters["AbsentCacheSize"] = 1
        return answer(request)

    intercept(master, methods.LIST_STATUS, unreadable)
    first, code = steps.both()
    second, _ = steps.both()

    assert (code, first.failed_directories) == (Exit.INCOMPLETE, ("/locked",))
    assert (second.reason, second.proved) == ("CountedUnproved", False)
    assert "/locked" in second.message


# --- masters that change or stand still -------------------------------------------------------------------------------


def test_a_restart_between_load_and_count_loses_nothing(steps: Steps, master: AlluxioMaster, tree: Path) -> None:
    """Same cluster id, no fewer paths: the journal kept the tree, the evidence kept the counters."""
    loaded, _ = steps.run("load")
    master.restart()
    result, code = steps.run("size", evidence=loaded.evidence)

    assert (code, result.proved, result.totals) == (Exit.COMPLETE, True, truth(tree))


@pytest.mark.parametrize("how", ["format", "fewer"])
def test_a_master_that_lost_its_tree_is_noticed(
    steps: Steps, master: AlluxioMaster, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its cluster id, or after a restart by fewer paths than the load saw."""
    loaded, _ = steps.run("load")
    if how == "format":
        master.format()
    else:
        metrics = master.metrics
        monkeypatch.setattr(master, "metrics", lambda: metrics() | {"Master.TotalPaths": 1})
        master.restart()
    result, code = steps.run("size", evidence=loaded.evidence)

    assert code is Exit.MASTER_CHANGED
    assert not code.permanent
    assert "lost its metadata" in result.message


@pytest.mark.parametrize("step", ["load", "size"])
def test_a_restart_in_the_middle_of_a_step_is_survived(
    steps: Steps, master: AlluxioMaster, tree: Path, step: str
) -> None:
    """The step finds the master again, authenticates again, and its counts are exact."""
    restart = threading.Thread(target=master.restart)

    def broken(request: Any, answer: Answer) -> Any:
        if restart.ident is None and (step == "load" or request.path == b"/d3"):
            restart.start()
            restart.join()  # the connection ends meanwhile
        return answer(request)

    intercept(master, methods.GET_SYNC_PROGRESS if step == "load" else methods.LIST_STATUS, broken)
    result, code = steps.run(step)
    restart.join()
    assert code is Exit.COMPLETE
    if step == "load":
        assert master.counters["MetadataSyncPrefetchOpsCount"] == 0  # loaded by tasks again, not by a walk
        result, code = steps.run("size", evidence=result.evidence)

    assert (code, result.proved, result.totals) == (Exit.COMPLETE, True, truth(tree))


@pytest.mark.parametrize("step", ["load", "size"])
def test_a_master_that_goes_for_good_in_mid_step_is_unreachable(steps: Steps, master: AlluxioMaster, step: str) -> None:
    """No attempt is charged for that, whatever was under way."""
    stop, gone = threading.Thread(target=master.stop), list[float]()
    steps.clock = lambda: time.monotonic() - gone[0] if gone else 0.0  # what comes before may take its time

    def broken(request: Any, answer: Answer) -> Any:
        if stop.ident is None and (step == "size" or master._groups):
            stop.start()
            stop.join()  # the connection ends meanwhile
            gone.append(time.monotonic())
        return answer(request)

    intercept(master, methods.GET_SYNC_PROGRESS if step == "load" else methods.LIST_STATUS, broken)
    steps.settings = replace(steps.settings, connect_seconds=2.0)
    result, code = steps.run(step, no_progress_seconds=1)  # to look for a master is not to stand still

    assert code is Exit.UNREACHABLE, result.message


def test_a_task_that_stands_still_is_helped_by_a_walk(
    steps: Steps, master: AlluxioMaster, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost wake-up in the master: any new file wakes it."""
    load, woken = master._load, threading.Event()

    def stuck(path: bytes, task: Any = None, **how: Any) -> None:
        if task and task.objects > 3:
            woken.wait(50)
        load(path, task, **how)
        if not task:
            woken.set()

    monkeypatch.setattr(master, "_load", stuck)
    result, code = steps.both()

    assert (code, result.totals, result.proved) == (Exit.COMPLETE, truth(tree), True)
    assert all(task.state != pb.RUNNING for task in master._groups)


def test_a_task_that_never_begins_is_cancelled_and_walked(steps: Steps, master: AlluxioMaster, tree: Path) -> None:
    """On s3, a task whose path could not be looked up runs for ever with 0 batches; the walk reports or loads."""
    cancelled = []

    def mounts(request: Any, answer: Answer) -> pb.GetMountTableResponse:
        point = pb.MountPointInfo(ufsUri=b"s3a://bucket/", ufsType="s3")
        return pb.GetMountTableResponse(mountPoints=[pb.MountEntry(key=b"/", value=point)])

    def progress(request: Any, answer: Answer) -> Any:
        found = answer(request)
        if b"AlluxioPath: /d1," in found.task[0].taskInfoString:
            return pb.GetSyncProgressResponse(task=[pb.SyncMetadataTask(state=pb.RUNNING)])
        return found

    def cancel(request: Any, answer: Answer) -> Any:
        cancelled.append(request.taskGroupId)
        return answer(request)

    intercept(master, methods.GET_MOUNT_TABLE, mounts)
    intercept(master, methods.GET_SYNC_PROGRESS, progress)
    intercept(master, methods.CANCEL_SYNC_METADATA, cancel)
    result, code = steps.both()

    assert (code, result.totals, result.proved) == (Exit.COMPLETE, truth(tree), True)
    assert len(cancelled) == 1


def test_a_listing_that_stands_still_is_helped_by_a_walk(steps: Steps, master: AlluxioMaster, tree: Path) -> None:
    """The same lost wake-up, on a master without tasks."""
    master.behaviour.asynchronous, woken = False, threading.Event()

    def stuck(request: Any, answer: Answer) -> Any:
        if request.options.recursive:
            woken.wait(50)
        elif request.path == b"/d5":
            woken.set()
        return answer(request)

    intercept(master, methods.LIST_STATUS, stuck)
    result, code = steps.both()

    assert (code, result.totals, result.proved) == (Exit.COMPLETE, truth(tree), True)


def test_a_step_without_progress_ends(steps: Steps, master: AlluxioMaster) -> None:
    """Retryable: the next attempt may find a storage that answers."""
    master.behaviour.files_per_second = 0.01
    result, code = steps.run("load", no_progress_seconds=1)

    assert (code, code.permanent) == (Exit.NO_PROGRESS, False)


@pytest.mark.parametrize("step", ["load", "size"])
def test_a_call_that_is_not_answered_ends_a_step_that_stands_still(
    steps: Steps, master: AlluxioMaster, step: str
) -> None:
    """As where the storage hangs at the first look at the dataset: the call may last 300 s, and is then repeated."""
    ended = threading.Event()

    def hanging(request: Any, answer: Answer) -> Any:
        ended.wait(50)
        return answer(request)

    intercept(master, methods.GET_STATUS, hanging)
    result, code = steps.run(step, no_progress_seconds=1)
    ended.set()

    assert code is Exit.NO_PROGRESS
    assert "storage" in result.message


@pytest.mark.parametrize(("step", "asynchronous"), [("load", True), ("load", False), ("size", True)])
def test_a_request_to_stop_ends_a_step_at_once(
    steps: Steps, master: AlluxioMaster, step: str, asynchronous: bool
) -> None:
    """Also in the middle of a listing. No task is cancelled: the next attempt joins it."""
    master.behaviour.files_per_second, master.behaviour.asynchronous = 0.01, asynchronous

    def stopping(request: Any, answer: Answer) -> Any:
        steps.watch.terminate()
        return answer(request)

    tasks = step == "load" and asynchronous
    intercept(master, methods.GET_SYNC_PROGRESS if tasks else methods.LIST_STATUS, stopping)
    result, code = steps.run(step)

    assert code is Exit.TERMINATED
    assert result.seconds < 40  # the listing goes on for an hour
    assert [task.state for task in master._groups] == [pb.RUNNING] * tasks


def test_a_listing_that_a_load_needs_hangs_and_the_step_ends_when_it_is_told_to(
    steps: Steps, master: AlluxioMaster
) -> None:
    """It has no deadline, as none has; the step's own thread does not wait for it."""
    ended, answered = threading.Event(), list[bool]()

    def hanging(request: Any, answer: Answer) -> Any:
        steps.watch.terminate()
        answered.append(ended.wait(50))
        return answer(request)

    intercept(master, methods.LIST_STATUS, hanging)
    result, code = steps.run("load")

    assert (code, answered) == (Exit.TERMINATED, [])
    ended.set()


def test_a_new_attempt_joins_the_task_of_a_killed_one(
    steps: Steps, master: AlluxioMaster, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same path while it runs gives the same task, so nothing is listed twice."""
    load, there = master._load, threading.Event()

    def waiting(*args: Any, **how: Any) -> None:
        there.wait(50)  # it runs until the new attempt is there
        load(*args, **how)

    monkeypatch.setattr(master, "_load", waiting)
    master._submit(pb.SyncMetadataRequest(path=b"/"))

    def join(request: Any, answer: Answer) -> Any:
        joined = answer(request)
        there.set()
        return joined

    intercept(master, methods.SYNC_METADATA_ASYNC, join)
    result, code = steps.both()

    assert (code, result.totals) == (Exit.COMPLETE, truth(tree))
    assert len({task.id for task in master._groups if task.path == b"/"}) == 1


# --- the process ------------------------------------------------------------------------------------------------------


def _command(master: AlluxioMaster, tmp_path: Path, step: str = "load") -> StepCommand:
    result, spill = str(tmp_path / "result"), str(tmp_path / "spill")
    return StepCommand(step, (f"127.0.0.1:{master.port}",), "/", result_path=result, spill_path=spill)


def test_the_argv_of_the_contract_gives_progress_lines_and_a_result(
    master: AlluxioMaster, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """First progress at once, last line and termination message the result."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    code = main(_command(master, tmp_path).argv())
    lines = capsys.readouterr().out.splitlines()

    assert code == Exit.COMPLETE
    assert Progress.from_json(lines[0]).step == "load"
    assert Result.from_json(lines[-1]).reason == "Loaded"
    assert (tmp_path / "result").read_text() == lines[-1]


_GOOD = ["--master=h:1", "--path=/"]


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["load"],
        ["load", "--path=/"],
        ["load", "--master=h", "--path=/"],
        ["copy", *_GOOD],
        ["load", *_GOOD, "--x"],
        ["load", *_GOOD, "--mount=nope"],
        ["load", *_GOOD, "--parallelism=0"],
    ],
)
def test_an_argv_that_is_not_understood_ends_with_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Controller and image do not fit together: permanent, and said."""
    assert main(argv) == Exit.USAGE
    assert "fluidctl" in capsys.readouterr().err


def test_evidence_that_cannot_be_read_ends_with_usage(steps: Steps) -> None:
    """It is ours, so it is not guessed at."""
    assert steps.run("size", evidence="{}")[1] is Exit.USAGE


def test_an_unknown_error_is_logged_with_its_traceback_and_internal(
    steps: Steps, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug of ours is retried, and can be found."""
    monkeypatch.setattr("fluidctl.load.main.Step", lambda *_: 1 / 0)
    result, code = steps.run("load")

    assert (code, result.reason) == (Exit.INTERNAL, "Internal")
    assert "ZeroDivisionError" in caplog.text


def test_a_signal_ends_the_process_with_its_result_and_one_sentence(master: AlluxioMaster, tmp_path: Path) -> None:
    """As Kubernetes ends a pod."""
    master.behaviour.files_per_second = 0.01
    code = "import sys; from fluidctl.load.main import main; sys.exit(main(sys.argv[1:]))"
    argv = [sys.executable, "-c", code, *_command(master, tmp_path).argv()]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        Progress.from_json(process.stdout.readline())
        process.terminate()
        _, said = process.communicate(timeout=50)

    assert process.returncode == Exit.TERMINATED
    assert Result.from_json((tmp_path / "result").read_text()).reason == "Terminated"
    assert said.splitlines()[-1].startswith("fluidctl load: The step was told to stop")
    assert "Traceback" not in said
