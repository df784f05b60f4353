"""How a real Alluxio 2.9.6 lists an object store for us: how often, how much at once, what a killed client leaves."""

import itertools
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from controllers.api.result import Exit, Totals
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import retry, shape, sync
from fluidctl.load.methods import GET_SYNC_PROGRESS
from fluidctl.load.session import Session
from tests.load_kit import Steps
from tests.objectstore import Fault
from tests.objectstore.trees import tree
from tests.real.alluxio import Alluxio
from tests.real.gate import Gate

_SECONDS = 120.0


@pytest.fixture(scope="module")
def store() -> Iterator[Gate]:
    with Gate() as made:
        made.fill("bucket", {"something": 1})
        yield made


@pytest.fixture(scope="module")
def master(real_programs: None, store: Gate) -> Iterator[Alluxio]:
    with Alluxio(store.uri("s3", "bucket"), properties=store.properties("s3")) as made:
        yield made


@pytest.fixture
def steps(master: Alluxio, store: Gate, tmp_path: Path) -> Iterator[Steps]:
    yield Steps(tmp_path / "spill", [master.rpc_address])
    store.open()
    store.heal()


def _fill(store: Gate, name: str, sizes: str) -> Totals:
    """Put a tree into the folder ``name``; return what it holds."""
    keys = {f"{name}/{key}": size for key, size in tree(sizes)[1]}
    store.fill("bucket", keys)
    folders = {key[:at] for key in keys for at in range(len(name) + 1, len(key)) if key[at] == "/"}
    return Totals(len(keys), len(folders), sum(keys.values()))


@pytest.mark.parametrize(
    ("sizes", "listings", "least", "in_flight"),
    [
        pytest.param("flat=3500", 4, 4, 1, id="flat"),
        pytest.param("tree=4x1200", 1 + 4 * 2, 5, 4, id="few big folders: a task each"),
        pytest.param("tree=40x20", 1 + 40, 1, 4, id="few small ones: a task each, without asking"),
        pytest.param("tree=250x10", 1 + 8 + 3, 3, 4, id="many small ones: eight tried, then one for all"),
        pytest.param("classes=30x600", 1 + 30, 18, 4, id="many big ones: eight tried, then a task each"),
        pytest.param("tree=1x1x10x300", 3 + 10, 3, 4, id="below single folders"),
        pytest.param("chain=40x2", 3 + 1, 1, 1, id="a chain: three levels, then one for all"),
    ],
)
def test_a_tree_costs_as_many_listings_as_its_shape_needs(
    store: Gate, steps: Steps, monkeypatch: pytest.MonkeyPatch, sizes: str, listings: int, least: int, in_flight: int
) -> None:
    """Tasks as parallelism allows (4), one request each; the count after it makes none. ``least``: keys / 1000."""
    if sizes.startswith("classes"):
        monkeypatch.setattr(shape, "FEW", 20)
    name = sizes.replace("=", "-")
    totals = _fill(store, name, sizes)
    assert least <= listings
    store.reset_counts()
    loaded, code = steps.run("load", f"/{name}")
    listed = store.counts
    counted, _ = steps.run("size", f"/{name}", evidence=loaded.evidence)

    assert (code, loaded.message) == (Exit.COMPLETE, f"The master knows /{name}.")
    assert (counted.proved, counted.totals, counted.loaded_by_size) == (True, totals, 0)
    look = 1  # at the path, which the master does not know yet
    assert listed.lists == look + listings
    assert listed.most_in_flight <= in_flight
    assert store.counts.lists == listed.lists


@contextmanager
def _standing(master: Alluxio, store: Gate, name: str, directory: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a load as a Job does, of 5 pages by one task, and go on when it waits for the third."""
    _fill(store, name, "flat=5000")
    steps = Steps(directory, [master.rpc_address])
    command = replace(steps.command, path=f"/{name}", parallelism=1, result_path=str(directory / "result"))
    store.reset_counts()
    store.shut(after=1 + 2)  # the look at the path, two pages
    command_line = [sys.executable, "-m", "fluidctl", *command.argv()]
    with subprocess.Popen(command_line, stdout=subprocess.DEVNULL) as running:
        try:
            store.reached()
            yield running
        finally:
            running.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, Exit.TERMINATED)])
def test_the_task_of_a_client_that_ends_is_joined_and_nothing_is_listed_twice(
    master: Alluxio, store: Gate, steps: Steps, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Killed or told to end: it goes on in the master. The next attempt asks for the same path and is given it."""
    name = f"joined-{number.name}"
    with _standing(master, store, name, tmp_path) as client:
        client.send_signal(number)
        assert client.wait(_SECONDS) == code
    before = _tasks(master, f"/{name}")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(steps.both, f"/{name}", parallelism=1)
        while len(_tasks(master, f"/{name}")) == len(before) and not running.done():
            pass
        store.open()
        result, ended = running.result(_SECONDS)

    assert [task.state for task in before] == [pb.RUNNING]
    assert {task.id for task in _tasks(master, f"/{name}")} == {before[0].id}
    assert (ended, result.proved, result.totals) == (Exit.COMPLETE, True, Totals(5000, 0, 2497500))
    assert store.counts.lists == 1 + 5


def test_a_task_that_never_begins_is_cancelled_and_its_folder_walked_which_tells_why(
    master: Alluxio, store: Gate, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HEAD of a folder is refused for ever: RUNNING without a batch. The others are loaded; mended, all is exact."""
    monkeypatch.setattr(sync, "QUIET_SECONDS", 3.0)
    monkeypatch.setattr("fluidctl.load.load.QUIET_SECONDS", 3.0)
    monkeypatch.setattr(retry.Rule, "delay", lambda *_: 0.01)
    monkeypatch.setattr(retry, "STORAGE_BUSY", retry.Rule(retry.Do.WAIT, tries=2))
    totals = _fill(store, "stuck", "tree=6x20")
    failing: dict[int, Fault] = {1: 403, 3: 500, 5: 503}
    for number, how in failing.items():
        store.fail("bucket", f"stuck/d{number:06}", how, kinds=["HEAD"])
    bad, code = steps.run("load", "/stuck")

    assert (code, bad.failed_count) == (Exit.INCOMPLETE, 3), bad.message
    assert bad.failed_directories == tuple(f"/stuck/d{number:06}" for number in failing)
    assert "PERMISSION_DENIED 403" in bad.message
    assert not [task for task in _tasks(master, "/stuck") if task.state == pb.RUNNING]
    store.heal()
    whole, code = steps.both("/stuck")
    assert (code, whole.proved, whole.totals) == (Exit.COMPLETE, True, totals)


def _tasks(master: Alluxio, path: str) -> Sequence[pb.SyncMetadataTask]:
    """Return the task of every time that somebody asked for this path or one below, in this life of the master."""
    found = list[pb.SyncMetadataTask]()
    with closing(Session(master.rpc_address, "root", "auto")) as session:
        for group in itertools.count():
            try:
                answer = session.call(GET_SYNC_PROGRESS, pb.GetSyncProgressRequest(taskGroupId=group))
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
                break
            found += [task for task in answer.task if path.encode() in task.taskInfoString]
    return found
