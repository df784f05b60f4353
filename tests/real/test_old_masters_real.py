"""Masters without asynchronous sync, 2.9.3 and 2.9.0: loaded by one recursive request, and not believed blindly.

Over S3 only 2.9.3, and over OSS none of them: Maven Central has no such drivers of these versions.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.unknown_fields import UnknownFieldSet

from controllers.api.result import Exit, Totals
from fluidctl.load import requests, retry
from fluidctl.load.channel import Client
from fluidctl.load.methods import GET_STATUS
from fluidctl.load.session import Session
from tests.load_kit import Steps, make, odd_tree, truth
from tests.objectstore import Fault, ObjectStore
from tests.real import jars
from tests.real.alluxio import Alluxio, mere_users_java

# Fewer than the directories of every tree here: beyond it these masters evict, which could recurse (Alluxio #18641).
_SYNC_PATHS = {"alluxio.master.ufs.path.cache.capacity": "20"}


@pytest.fixture(scope="module", params=jars.OLDER)
def master(
    request: pytest.FixtureRequest, older_programs: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Alluxio]:
    """Return a master over a local directory, of which it may not read everything."""
    storage = tmp_path_factory.mktemp("storage")
    with pytest.MonkeyPatch.context() as patch:
        mere_users_java(tmp_path_factory.mktemp("bin"), patch)
        with Alluxio(storage, properties=_SYNC_PATHS, version=request.param) as running:
            yield running


@pytest.fixture
def place(master: Alluxio, request: pytest.FixtureRequest) -> Path:
    """Return a directory of this test's own; its path in Alluxio is its name."""
    made = Path(master.storage) / f"load-{abs(hash(request.node.name)) % 10**8}"
    made.mkdir()
    return made


@pytest.fixture
def steps(master: Alluxio, tmp_path: Path) -> Steps:
    return Steps(tmp_path / "spill", [master.rpc_address])


def test_it_is_loaded_by_one_request_counted_exactly_and_proved(master: Alluxio, steps: Steps, place: Path) -> None:
    """Odd names, deep, wide and empty directories; nothing is left to the count, and nothing has a time to live."""
    odd_tree(place)
    for name in ("odd/100%", "in/100%/file"):  # see test_load_real
        (place / name).unlink()
    (place / "in" / "100%").rmdir()
    result, code = steps.both(f"/{place.name}")

    assert (code, result.proved, result.totals, result.loaded_by_size) == (Exit.COMPLETE, True, truth(place), 0)
    assert result.method == "ListStatus"
    session = Session(master.rpc_address, "root", "auto")
    unknown = UnknownFieldSet(
        session.call(GET_STATUS, requests.get_status(f"/{place.name}/wide/1/f".encode())).fileInfo
    )
    stored = {unknown[n].field_number: unknown[n].data for n in range(len(unknown))}
    assert stored[15] == 2**64 - 1  # ttl -1
    session.close()


def test_directories_that_it_answers_as_empty_are_named_and_never_proved(steps: Steps, place: Path) -> None:
    """A dangling link, a name that is not UTF-8, a directory that the master may not read: status OK, no entries."""
    make(place, ["link/1", "link/2", "bytes/1", "other/1", "empty/", "top"])
    os.symlink("/nonexistent/target", place / "link" / "dangling")
    Path(os.fsdecode(os.fsencode(place / "bytes") + b"/\xff\xfe")).touch()
    bad, code = steps.both(f"/{place.name}")
    assert (code, bad.proved) == (Exit.INCOMPLETE, False)
    assert bad.failed_directories == (f"/{place.name}/bytes", f"/{place.name}/link")

    make(place, ["later/locked/1", "later/locked/2"])
    (place / "later" / "locked").chmod(0)
    locked, code = steps.both(f"/{place.name}/later")
    again, _ = steps.both(f"/{place.name}/later")
    (place / "later" / "locked").chmod(0o755)
    assert (code, locked.failed_directories) == (Exit.INCOMPLETE, (f"/{place.name}/later/locked",))
    assert (again.reason, again.proved, again.totals) == ("CountedUnproved", False, Totals(0, 1, 0))


def test_what_it_knows_survives_its_restart(master: Alluxio, steps: Steps, place: Path) -> None:
    """The same cluster id as before: the load's evidence still proves the count."""
    make(place, [f"{n}/f" for n in range(30)])
    loaded, _ = steps.run("load", f"/{place.name}")
    master.restart()
    counted, code = steps.run("size", f"/{place.name}", evidence=loaded.evidence)

    assert (code, counted.proved, counted.totals, counted.loaded_by_size) == (Exit.COMPLETE, True, truth(place), 0)
    assert loaded.master is not None
    assert counted.master is not None
    assert len(loaded.master.cluster_id) == 36  # a UUID of its own, not our way out for masters that have none
    assert loaded.master.cluster_id == counted.master.cluster_id
    assert loaded.master.start_time_ms < counted.master.start_time_ms


def test_over_s3_failures_that_it_hides_are_found_and_healed_they_are_loaded(
    older_programs: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its recursive listing leaves out what fails, status OK: the count names it, of whatever kind the failure is."""
    monkeypatch.setattr(retry.Rule, "delay", lambda *_: 0.01)
    monkeypatch.setattr(retry, "STORAGE_BUSY", retry.Rule(retry.Do.WAIT, tries=2))
    failing: tuple[Fault, ...] = (403, 404, 503, "reset")
    keys = {f"set/{folder}/{n}": n for folder in ("fine", *failing) for n in range(20)}
    with ObjectStore() as store:
        store.fill("bucket", keys | {"set/marked/": 0})
        for how in failing:
            store.fail("bucket", f"set/{how}/", how)
        with Alluxio(store.uri("s3", "bucket"), properties=store.properties("s3"), version="2.9.3") as master:
            steps = Steps(tmp_path / "spill", [master.rpc_address])
            loaded, code = steps.run("load", "/set")
            assert (code, loaded.method) == (Exit.COMPLETE, "ListStatus")
            bad, code = steps.run("size", "/set", evidence=loaded.evidence)
            assert (code, bad.failed_directories) == (Exit.INCOMPLETE, tuple(f"/set/{how}" for how in failing))
            assert bad.totals == Totals(20, 6, 190)

            store.heal()
            whole, code = steps.both("/set", directories=bad.failed_directories)
            assert (code, whole.proved, whole.totals) == (Exit.COMPLETE, True, Totals(100, 6, 950))
            store.reset_counts()
            assert steps.both("/set")[0].proved
            assert store.counts.lists == 0


def test_over_oss_by_an_older_masters_requests_an_empty_directory_is_doubted(
    real_programs: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked of 2.9.6: a first page that fails is answered "OK, empty", a later one by an error; others are proved."""
    monkeypatch.setattr(Client, "has_sync", lambda _: False)
    monkeypatch.setattr(retry.Rule, "delay", lambda *_: 0.01)
    with ObjectStore() as store:
        for name in ("fine", "first", "later"):
            store.fill("bucket", {f"{name}/{folder}/{n}": 1 for folder in "ab" for n in range(1100)})
        store.fail("bucket", "first/a/", 403)
        store.fail("bucket", "later/a/", 403, page=2)
        with Alluxio(store.uri("oss", "bucket"), properties=store.properties("oss")) as master:
            steps = Steps(tmp_path / "spill", [master.rpc_address])
            fine, first, later = (steps.both(f"/{name}")[0] for name in ("fine", "first", "later"))

    assert (fine.reason, fine.proved, fine.totals) == ("Counted", True, Totals(2200, 2, 2200))
    assert (first.reason, first.proved, first.totals) == ("CountedUnproved", False, Totals(1100, 2, 1100))
    assert (later.reason, later.failed_directories) == ("Incomplete", ("/later/a",))
