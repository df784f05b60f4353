"""What flat listings prove: where the storage's driver reports errors (s3), and where it answers with nothing (oss)."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from controllers.api.result import Exit
from devcluster.master import AlluxioMaster, Failed
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import methods, requests, vouch
from fluidctl.load.retry import Rule
from tests.load_kit import Answer, Steps, intercept, make, truth


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that only a real master or a real storage needs."""
    monkeypatch.setattr(Rule, "delay", lambda *_: 0.01)


class Mounted:
    """Makes the double a master over another storage, as one was measured.

    ``nothing``: directories whose sync succeeds and finds no object. ``flat``, ``level``: those whose listing, of all
    that is below or of one level, fails so many times.
    """

    def __init__(self, master: AlluxioMaster, driver: bytes) -> None:
        self.master, self._driver = master, driver
        self.nothing: set[bytes] = set()
        self.flat: dict[bytes, int] = {}
        self.level: dict[bytes, int] = {}
        self.unfit = b""  # the exception with which they fail
        intercept(master, methods.GET_MOUNT_TABLE, self._mounts)
        intercept(master, methods.GET_SYNC_PROGRESS, self._progress)

    def _mounts(self, request: Any, answer: Answer) -> pb.GetMountTableResponse:
        point = pb.MountPointInfo(ufsUri=self._driver + b"://bucket/")
        return pb.GetMountTableResponse(mountPoints=[pb.MountEntry(key=b"/", value=point)])

    def _progress(self, request: Any, answer: Answer) -> Any:
        found = answer(request)
        (task,) = found.task
        path = task.taskInfoString.partition(b"AlluxioPath: ")[2].partition(b",")[0]
        failing = self.flat if self.master._groups[request.taskGroupId].deep else self.level
        if path in self.nothing:
            task.taskStatString = b"# of batches=1, # of objects loaded from UFS=0,"
        if task.state == pb.SUCCEEDED and failing.get(path, 0):
            failing[path] -= 1
            task.state, task.exception.exceptionMessage = pb.FAILED, b"LIST failed"
            task.exception.exceptionType = self.unfit
        return found


@pytest.fixture(params=[b"s3", b"oss"])
def storage(master: AlluxioMaster, request: pytest.FixtureRequest) -> Mounted:
    return Mounted(master, request.param)


@pytest.fixture
def oss(master: AlluxioMaster) -> Mounted:
    return Mounted(master, b"oss")


ALWAYS = 1000


def test_failures_of_other_clients_cast_no_doubt_on_what_was_read_whole(
    storage: Mounted, steps: Steps, tree: Path
) -> None:
    """The master's counters are everybody's: here each of our listings comes with a failed look-up of somebody."""

    def noisy(request: Any, answer: Answer) -> Any:
        storage.master.counters["MetadataSyncPathsFail"] += 1
        storage.master.counters["MetadataSyncPrefetchOpsCount"] += 1
        return answer(request)

    make(tree, ["empty/"])
    intercept(storage.master, methods.LIST_STATUS, noisy)
    result, code = steps.both()

    assert (code, result.proved, result.totals) == (Exit.COMPLETE, True, truth(tree))


def test_a_load_that_a_walk_completed_is_read_again_as_a_whole(storage: Mounted, steps: Steps, tree: Path) -> None:
    """One failed listing: the tree is known, but nothing has read all of it without an error."""
    make(tree, ["empty/"])
    storage.flat = {b"/": 1}
    storage.level = {b"/": 1}
    loaded, _ = steps.run("load")
    result, code = steps.run("size", evidence=loaded.evidence)

    assert "LIST failed" in loaded.message
    assert (code, result.proved, result.totals) == (Exit.COMPLETE, True, truth(tree))


def test_a_failure_that_only_the_long_listing_meets_is_no_failure(storage: Mounted, steps: Steps, tree: Path) -> None:
    """Its parts are listed one by one, and together they are the tree."""
    make(tree, ["top"])
    storage.flat = {b"/": ALWAYS, b"/d4": ALWAYS}
    result, code = steps.both()

    assert (code, result.proved, result.totals) == (Exit.COMPLETE, True, truth(tree))


def test_what_fails_has_a_name_and_a_reason_however_deep_it_is(storage: Mounted, steps: Steps) -> None:
    """Nothing else is named."""
    storage.flat = {b"/": ALWAYS, b"/d4": ALWAYS, b"/d4/e1": ALWAYS}
    storage.level = {b"/d4/e1": ALWAYS}
    result, code = steps.both()

    assert (code, result.failed_directories, result.failed_count) == (Exit.INCOMPLETE, ("/d4/e1",), 1)
    assert result.message.endswith("/d4/e1: the sync failed:  LIST failed")


def test_the_search_for_what_fails_ends_where_too_much_does(
    storage: Mounted, steps: Steps, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or where there are too many folders to look into each."""
    monkeypatch.setattr(vouch, "NAMED", 2)
    paths = [b"/", *(b"/d%d" % d for d in range(6)), *(b"/d%d/e%d" % (d, e) for d in range(6) for e in range(4))]
    storage.flat = dict.fromkeys(paths, ALWAYS)
    storage.level = dict.fromkeys(paths[7:], ALWAYS)
    result, code = steps.both()
    assert (code, result.failed_count) == (Exit.INCOMPLETE, 24)

    monkeypatch.setattr(vouch, "FEW", 5)
    result, code = steps.both()
    assert (code, result.failed_directories) == (Exit.INCOMPLETE, ("/",))


def test_keys_that_do_not_fit_into_a_tree_are_not_taken_for_complete(storage: Mounted, steps: Steps) -> None:
    """Beside a key "d4/x" others below "d4/x/": every flat listing fails, while each level shows a file and is well."""
    storage.unfit = b"alluxio.exception.InvalidPathException"
    storage.flat = {b"/": ALWAYS, b"/d4": ALWAYS}
    storage.level = {b"/": 1}
    result, code = steps.both()

    assert (code, result.failed_count, result.proved) == (Exit.INCOMPLETE, 1, False)
    assert "InvalidPathException" in result.message


# --- only where errors look like nothing ------------------------------------------------------------------------------


def test_one_flat_listing_whose_objects_are_the_count_is_a_proof(oss: Mounted, steps: Steps, tree: Path) -> None:
    """Also with empty directories, which nothing else could prove."""
    make(tree, ["empty/"])
    result, code = steps.both()

    assert (code, result.proved, result.totals) == (Exit.COMPLETE, True, truth(tree))
    assert len(oss.master._groups) == 1


def test_an_empty_answer_of_such_a_storage_is_not_believed(oss: Mounted, steps: Steps, tree: Path) -> None:
    """Nor one whose marker is found, which is asked for by its name: but as a part of a longer listing it is."""
    make(tree, ["marked/"])
    link = tree / "d4" / "e0" / "link"
    oss.flat, oss.nothing = {b"/": ALWAYS, b"/d4": ALWAYS}, {b"/d4/e0"}
    link.symlink_to("/nonexistent/target")
    result, code = steps.both()

    assert (code, result.failed_directories) == (Exit.INCOMPLETE, ("/d4/e0", "/marked"))
    oss.nothing.clear()
    oss.flat.clear()
    link.unlink()
    healed, fine = steps.both()
    assert (fine, healed.proved, healed.totals) == (Exit.COMPLETE, True, truth(tree))


def test_an_empty_dataset_on_such_a_storage_is_in_doubt(oss: Mounted, steps: Steps, tree: Path) -> None:
    """One object, its own marker: a refused listing looks the same."""
    make(tree, ["marked/"])
    result, code = steps.both("/marked")

    assert (code, result.proved) == (Exit.COMPLETE, False)
    assert "nothing is in it" in result.message


def test_what_such_a_storage_made_the_master_forget_is_missed_by_the_count(
    oss: Mounted, steps: Steps, tree: Path
) -> None:
    """A sync of a failing directory succeeds and removes it; its loaded parent then does not show it."""
    forgotten, lost = b"/d4/e0", oss.master._inodes

    def forget(request: Any, answer: Answer) -> Any:
        lost.get(b"/d4", {}).pop(b"e0", None)
        return answer(request)

    loaded, _ = steps.run("load")
    intercept(oss.master, methods.LIST_STATUS, forget)
    result, code = steps.run("size", evidence=loaded.evidence)

    assert (code, result.proved, forgotten in lost) == (Exit.COMPLETE, False, True)
    assert "the master knows others" in result.message


def test_an_older_master_over_such_a_storage_proves_no_empty_directory(oss: Mounted, steps: Steps, tree: Path) -> None:
    """It is counted, and said to be unproved."""
    oss.master.behaviour.asynchronous = False
    assert steps.both()[0].proved
    make(tree, ["empty/"])
    oss.master.format()
    result, code = steps.both()

    assert (code, result.reason, result.proved) == (Exit.COMPLETE, "CountedUnproved", False)


# --- looking the dataset up -------------------------------------------------------------------------------------------


def test_a_path_that_somebody_missed_before_is_looked_for_in_the_storage(
    storage: Mounted, steps: Steps, tree: Path
) -> None:
    """A master remembers what it did not find, and answers so for ever; only a forced look asks again."""

    def remembered(request: Any, answer: Answer) -> Any:
        if request.options.loadMetadataType == requests.ONCE:
            return answer(requests.get_status(b"/never"))
        return answer(request)

    intercept(storage.master, methods.GET_STATUS, remembered)
    result, code = steps.both("/d4")

    assert (code, result.proved, result.totals) == (Exit.COMPLETE, True, truth(tree / "d4"))


@pytest.mark.parametrize(("driver", "code"), [(b"s3", Exit.PATH_NOT_FOUND), (b"oss", Exit.INCOMPLETE)])
def test_a_missing_path_is_final_only_where_a_failing_storage_says_something_else(
    master: AlluxioMaster, steps: Steps, driver: bytes, code: Exit
) -> None:
    """Else it is asked again: a new attempt may find it."""
    Mounted(master, driver)
    result, found = steps.run("load", "/nowhere")

    assert (found, code.permanent) == (code, driver == b"s3")
    assert "/nowhere does not exist" in result.message


def test_a_storage_that_fails_under_the_datasets_own_path_is_no_bug(storage: Mounted, steps: Steps) -> None:
    """Retried, with what the storage said."""

    def failing(request: Any, answer: Answer) -> Any:
        raise Failed(grpc.StatusCode.INTERNAL, "InternalError:x")

    intercept(storage.master, methods.GET_STATUS, failing)
    result, code = steps.run("load", "/d4")

    assert (code, result.message) == (Exit.INCOMPLETE, "/d4 cannot be looked up: INTERNAL InternalError:x")


def test_a_retry_of_the_whole_dataset_loads_it_as_the_first_attempt_does(storage: Mounted, steps: Steps) -> None:
    """By tasks: to walk all of it would cost four requests a directory."""
    result, code = steps.run("load", directories=("/",))

    assert (code, result.method) == (Exit.COMPLETE, "SyncMetadata")
