"""Refreshes on a real Alluxio: the tree of the master becomes the storage's, with exact counts, and nothing is lost."""

import itertools
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from controllers.api.result import Changes, Exit, Result, Totals
from fluidctl.load import refresh, requests, sync
from fluidctl.load.methods import LIST_STATUS
from fluidctl.load.retry import Rule
from fluidctl.load.session import Session
from tests.load_kit import Steps, make, truth
from tests.objectstore import ObjectStore
from tests.real.alluxio import Alluxio


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses for a storage that recovers; ours does so at once."""
    monkeypatch.setattr(refresh, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(Rule, "delay", lambda *_: 0.1)


def known(master: Alluxio, path: str) -> set[str]:
    """Return what the master has below a path, without a look at the storage; nothing where it knows no such path."""
    session = Session(master.rpc_address, "root", "auto")
    try:
        answers = session.stream(LIST_STATUS, requests.list_status(path.encode(), requests.NEVER, recursive=True))
        return {os.fsdecode(info.path) for answer in answers for info in answer.fileInfos}
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return set()
    finally:
        session.close()


class Case:
    """A dataset that was loaded and counted; ``refresh`` is what its Jobs do."""

    def __init__(self, steps: Steps, path: str) -> None:
        self.steps, self.path, self.run = steps, path, int(time.time() * 1000)
        counted, code = steps.both(path)
        assert code is Exit.COMPLETE, counted
        self.count = counted.totals or Totals()

    def refresh(self, fraction: float = 0.5, directories: Sequence[str] = (), **more: Any) -> tuple[Result, Exit]:
        """Run the load step of a refresh."""
        known = self.count.files + self.count.directories
        options = {"since_ms": self.run, "known_paths": known, "max_removed_fraction": fraction, **more}
        return self.steps.run("load", self.path, refresh=True, directories=tuple(directories), **options)

    def size(self, evidence: str) -> tuple[Result, Exit]:
        """Run the size step after it."""
        return self.steps.run("size", self.path, evidence=evidence)


# --- a directory ------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(alluxio_storage: Path, request: pytest.FixtureRequest) -> Path:
    """Return a directory of this test's own, of 5 folders with 20 files each; its path in Alluxio is its name."""
    made = alluxio_storage / f"refresh-{abs(hash(request.node.name)) % 10**8}"
    make(made, ["top", *(f"d{d}/f{f}" for d in range(5) for f in range(20))])
    return made


@pytest.fixture
def case(alluxio: Alluxio, place: Path, tmp_path: Path) -> Case:
    return Case(Steps(tmp_path / "spill", [alluxio.rpc_address]), f"/{place.name}")


def test_what_was_added_removed_and_changed_is_found_and_counted_exactly(case: Case, place: Path) -> None:
    """Deep and at the top, whole folders, another size, another content of the same size; then nothing is left."""
    make(place, ["d0/new", "d9/s/1", "d9/2", "more"])  # 4 files, 2 folders
    (place / "d0" / "f1").write_bytes(b"longer than before")
    (place / "d1" / "f6").write_bytes(b"y" * (place / "d1" / "f6").stat().st_size)
    os.utime(place / "d1" / "f6", (10**9, 10**9))
    (place / "top").unlink()
    (place / "d1" / "f2").unlink()
    shutil.rmtree(place / "d2")  # 20 files, 1 folder
    result, code = case.refresh(since_ms=0)
    counted, _ = case.size(result.evidence)
    again, _ = case.refresh(since_ms=0)

    assert (code, result.changes, result.reason) == (Exit.COMPLETE, Changes(6, 23, 2), "Refreshed")
    assert (counted.proved, counted.totals, counted.loaded_by_size) == (True, truth(place), 0)
    assert again.changes == Changes()


def test_directories_and_files_that_took_each_others_names_are_found(case: Case, place: Path) -> None:
    """A task fails for ever at a directory that became a file; only then the counts are not known one by one."""
    (place / "d0" / "f0").unlink()
    make(place, ["d0/f0/1", "d0/f0/2"])
    first, _ = case.refresh(since_ms=0)
    shutil.rmtree(place / "d1")
    make(place, ["d1"])
    shutil.rmtree(place / "d0" / "f0")
    make(place, ["d0/f0"])
    second, code = case.refresh(since_ms=0)
    counted, _ = case.size(second.evidence)

    assert first.changes == Changes(2, 0, 1)
    assert (code, second.changes) == (Exit.COMPLETE, None)
    assert (counted.proved, counted.totals) == (True, truth(place))


def test_a_dataset_that_is_gone_is_suspicious_and_stays_in_the_master(
    case: Case, alluxio: Alluxio, place: Path
) -> None:
    """As a file system that is not mounted; back again, nothing was lost."""
    before = known(alluxio, case.path)
    away = place.with_name(place.name + "-away")
    for empty in (False, True):
        place.rename(away)
        if empty:
            place.mkdir()
        result, code = case.refresh()
        assert (code, code.permanent, known(alluxio, case.path)) == (Exit.SUSPICIOUS_REFRESH, False, before)
        assert "Nothing was removed" in result.message
        if empty:
            place.rmdir()
        away.rename(place)

    assert case.refresh(since_ms=0)[0].changes == Changes()


def test_a_dataset_that_was_emptied_on_purpose_is_so_with_a_persons_word(
    case: Case, alluxio: Alluxio, place: Path
) -> None:
    """Then its directory may be removed, too: which is said as it is, and not as a wrong path."""
    for child in place.iterdir():
        shutil.rmtree(child) if child.is_dir() else child.unlink()
    result, code = case.refresh(fraction=1.0, since_ms=0)
    place.rmdir()
    gone, suspicious = case.refresh(fraction=1.0, since_ms=0)
    still, _ = case.refresh(fraction=1.0, since_ms=0)

    assert (code, result.changes) == (Exit.COMPLETE, Changes(removed=106))
    assert suspicious is Exit.SUSPICIOUS_REFRESH
    assert "is gone from the storage" in gone.message == still.message


def test_more_than_it_may_lose_needs_a_persons_word_in_every_later_run(case: Case, place: Path) -> None:
    """The master has dropped the names already, so that a new run finds nothing more: the last count tells."""
    for name in ("d0", "d1", "d2"):
        shutil.rmtree(place / name)
    for later in (0, 0, 1):
        result, code = case.refresh(since_ms=case.run + later)
        assert code is Exit.SUSPICIOUS_REFRESH
        assert result.message.startswith(f"63 of 106 known files and directories below {case.path} are missing")
    result, code = case.refresh(fraction=0.7, since_ms=case.run + 2)

    assert code is Exit.COMPLETE


def test_a_bad_entry_fails_the_refresh_of_its_folder_and_removes_nothing(
    case: Case, alluxio: Alluxio, place: Path
) -> None:
    """Named, with the reason; mended, a new attempt compares that folder alone, and finds what is gone in it."""
    (place / "d3" / "f1").unlink()
    (place / "d4" / "f1").unlink()
    link = place / "d3" / "dangling"
    link.symlink_to("/nonexistent/target")
    first, code = case.refresh()
    kept = known(alluxio, f"{case.path}/d3")
    link.unlink()
    again, fine = case.refresh(directories=first.failed_directories)

    assert (code, first.failed_directories) == (Exit.INCOMPLETE, (f"{case.path}/d3",))
    assert "d3/dangling" in first.message
    assert len(kept) == 19  # what is there; a walk has looked for each of them
    assert fine is Exit.COMPLETE
    assert case.size(again.evidence)[0].totals == truth(place)


def _churn(place: Path, stop: threading.Event) -> None:
    """Add, remove, rename and replace files and whole directories."""
    for number in itertools.count():
        if stop.is_set():
            return
        old, new = place / f"d{number % 5}", place / f"e{number % 3}"
        make(place, [f"d{number % 5}/n{number}", f"d{number % 5}/s{number}/1"])
        (old / f"f{number % 20}").unlink(missing_ok=True)
        shutil.rmtree(new, ignore_errors=True)
        old.rename(new)


def test_a_tree_that_changes_under_every_step_is_counted_of_the_moment_and_exactly_when_it_is_quiet(
    case: Case, place: Path
) -> None:
    """Loaded, counted and refreshed while a thread changes it: complete or incomplete, with a reason; never a crash."""
    stop = threading.Event()
    thread = threading.Thread(target=_churn, args=(place, stop))
    thread.start()
    try:
        for _ in range(3):
            ends = [case.steps.run("load", case.path), case.refresh(fraction=1.0), case.steps.run("size", case.path)]
            for result, code in ends:
                assert code in (Exit.COMPLETE, Exit.INCOMPLETE), result
                assert result.message
    finally:
        stop.set()
        thread.join()
    refreshed, code = case.refresh(fraction=1.0, since_ms=0)
    counted, _ = case.size(refreshed.evidence)

    assert code is Exit.COMPLETE, refreshed
    assert (counted.proved, counted.totals, counted.loaded_by_size) == (True, truth(place), 0), counted


# --- object stores ----------------------------------------------------------------------------------------------------

BUCKET = "bucket"
#: A storage that is given up soon.
PATIENCE = {
    "alluxio.underfs.listing.length": "10",
    "alluxio.underfs.oss.retry.max": "1",
    "alluxio.underfs.s3.max.error.retry": "1",
}


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with ObjectStore() as made:
        yield made


@pytest.fixture(autouse=True)
def healed(store: ObjectStore) -> Iterator[None]:
    yield
    store.heal()


def _master(store: ObjectStore, driver: Any) -> Alluxio:
    store.fill(BUCKET, {"first": 1})
    return Alluxio(store.uri(driver, BUCKET), properties=store.properties(driver) | PATIENCE)


@pytest.fixture(scope="module")
def s3(real_programs: None, store: ObjectStore) -> Iterator[Alluxio]:
    with _master(store, "s3") as master:
        yield master


@pytest.fixture(scope="module")
def oss(real_programs: None, store: ObjectStore) -> Iterator[Alluxio]:
    with _master(store, "oss") as master:
        yield master


def _case(store: ObjectStore, master: Alluxio, name: str, tmp_path: Path) -> Case:
    store.fill(BUCKET, {f"{name}/d{d}/f{f}": 10 for d in range(5) for f in range(20)})
    return Case(Steps(tmp_path / "spill", [master.rpc_address]), f"/{name}")


def _change(store: ObjectStore, name: str) -> Changes:
    """Remove a folder of 20 files and 2 more, add 2 files in a new folder, let one grow by a byte."""
    store.remove(BUCKET, [f"{name}/d1/f{f}" for f in range(20)] + [f"{name}/d0/f0", f"{name}/d0/f1"])
    store.fill(BUCKET, {f"{name}/e/1": 1, f"{name}/e/2": 2, f"{name}/d2/f0": 11})
    return Changes(3, 23, 1)


@pytest.mark.parametrize("driver", ["s3", "oss"])
def test_an_object_store_is_compared_by_few_requests_and_by_none_again(
    driver: str, store: ObjectStore, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """One more request than pages; a second attempt of a run, as after a lost result, leaves its mark and probes."""
    case = _case(store, request.getfixturevalue(driver), f"few-{driver}", tmp_path)
    changes = _change(store, f"few-{driver}")
    store.reset_counts()
    first, code = case.refresh(fraction=0.5)
    listed = store.counts.lists
    second, _ = case.refresh(fraction=0.5)
    relisted = store.counts.lists - listed
    counted, _ = case.size(second.evidence)

    assert (code, first.changes) == (Exit.COMPLETE, changes)
    assert second.changes == (changes if driver == "s3" else None)  # what the first probe added is not known
    assert relisted <= 4 < 11 <= listed
    assert (counted.proved, counted.totals) == (True, Totals(80, 5, 784))


@pytest.mark.parametrize("how", [403])
def test_a_folder_that_s3_refuses_is_named_keeps_its_files_and_is_compared_later(
    how: Any, store: ObjectStore, s3: Alluxio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task fails or stands still, the walk in its place says where; the next attempt finds what is gone in it."""
    monkeypatch.setattr(sync, "QUIET_SECONDS", 2.0)
    monkeypatch.setattr("fluidctl.load.load.QUIET_SECONDS", 2.0)
    name = f"refused-{how}"
    case = _case(store, s3, name, tmp_path)
    before = known(s3, f"/{name}/d2")
    store.remove(BUCKET, [f"{name}/d2/f0", f"{name}/d3/f0"])
    store.fail(BUCKET, f"{name}/d2/", how)
    first, code = case.refresh()
    kept = known(s3, f"/{name}/d2")
    store.heal()
    again, fine = case.refresh(directories=first.failed_directories)

    assert (code, first.failed_directories) == (Exit.INCOMPLETE, (f"/{name}/d2",)), first
    assert kept == before
    assert fine is Exit.COMPLETE
    counted, _ = case.size(again.evidence)
    assert (counted.proved, counted.totals) == (True, Totals(98, 5, 980))


def _fail_after_probe(store: ObjectStore, prefix: str, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let the storage answer the probe of each comparison, and refuse the first ``times`` comparisons themselves."""
    probe, left = refresh.Refresh._probe, [times]

    def probed(self: refresh.Refresh) -> str:
        store.heal()
        doubt = probe(self)
        if left[0]:
            left[0] -= 1
            store.fail(BUCKET, prefix, 403)
        return doubt

    monkeypatch.setattr(refresh.Refresh, "_probe", probed)


@pytest.mark.parametrize("how", [403, "reset"])
def test_a_failing_oss_removes_nothing(how: Any, store: ObjectStore, oss: Alluxio, tmp_path: Path) -> None:
    """Its driver answers most of it with "OK, empty", which a task would take for removed files."""
    name = f"failing-{how}"
    case = _case(store, oss, name, tmp_path)
    before = known(oss, f"/{name}")
    store.fail(BUCKET, f"{name}/", how)
    result, code = case.refresh(fraction=1.0)
    after = known(oss, f"/{name}")
    store.heal()

    assert code is (Exit.INCOMPLETE if how == "reset" else Exit.SUSPICIOUS_REFRESH), result
    assert after == before
    assert case.refresh(since_ms=0)[0].changes == Changes()


def test_an_oss_that_fails_in_the_middle_is_compared_again_until_nothing_is_missing(
    store: ObjectStore, oss: Alluxio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first page fails after the probe: the whole tree is dropped, and is back after a good listing."""
    case = _case(store, oss, "middle", tmp_path)
    _change(store, "middle")
    _fail_after_probe(store, "middle/", monkeypatch, times=2)
    result, code = case.refresh()
    counted, _ = case.size(result.evidence)

    assert (code, counted.proved, counted.totals) == (Exit.COMPLETE, True, Totals(80, 5, 784))
    assert result.changes is None  # what came back hides what was added


def test_an_oss_that_keeps_failing_in_the_middle_is_suspicious_until_it_is_mended(
    store: ObjectStore, oss: Alluxio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names are gone from the master then; a later attempt of the same run brings them back, and says so."""
    case = _case(store, oss, "kept", tmp_path)
    with monkeypatch.context() as patch:
        _fail_after_probe(store, "kept/", patch, times=3)
        result, code = case.refresh()
    store.heal()
    lost = known(oss, "/kept")
    again, fine = case.refresh()
    third, _ = case.refresh()

    assert (code, lost) == (Exit.SUSPICIOUS_REFRESH, set())
    assert third.reason == "Refreshed"
    assert "/kept is gone from the storage" in result.message
    assert fine is Exit.COMPLETE
    assert case.size(again.evidence)[0].totals == case.count
