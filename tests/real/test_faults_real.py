"""Steps against a real Alluxio and a storage that stop, hang and return: exact in the end, or a true word why not."""

import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from controllers.api.command import StepCommand
from controllers.api.result import Exit, Result, Totals
from fluidctl.load import session
from fluidctl.load.channel import Client
from fluidctl.load.errors import StepError
from tests.load_kit import Steps
from tests.real.alluxio import Alluxio
from tests.real.gate import Gate

FOLDERS, FILES = 40, 50
WHOLE = Totals(FOLDERS * FILES, FOLDERS, FOLDERS * FILES * 3)
BUCKET = "faults"
#: Of a load these many listings are some of its folders.
SOME = 12
#: A pod that is told to end is killed after so long.
GRACE_SECONDS = 30.0


@pytest.fixture(scope="module")
def store() -> Iterator[Gate]:
    with Gate() as made:
        made.fill(BUCKET, {"something": 1})
        yield made


@pytest.fixture(scope="module")
def running(real_programs: None, store: Gate) -> Iterator[Alluxio]:
    """Return a master over the store. After each start it is in safe mode for a while."""
    properties = store.properties("s3") | {"alluxio.master.worker.connect.wait.time": "4s"}
    with Alluxio(store.uri("s3", BUCKET), properties=properties) as made:
        yield made


@pytest.fixture
def master(running: Alluxio, store: Gate) -> Iterator[Alluxio]:
    yield running
    store.open()
    running.resume()


@pytest.fixture
def steps(master: Alluxio, tmp_path: Path) -> Steps:
    return Steps(tmp_path / "spill", [master.rpc_address])


@pytest.fixture
def path(store: Gate, request: pytest.FixtureRequest) -> str:
    """Return the path of a tree that nobody has loaded."""
    return fill(store, f"t{abs(hash(request.node.name)) % 10**8}")


def fill(store: Gate, name: str) -> str:
    store.fill(BUCKET, {f"{name}/d{d:02}/f{f:02}": 3 for d in range(FOLDERS) for f in range(FILES)})
    return f"/{name}"


def exact(steps: Steps, path: str) -> None:
    """Load and count: complete, proved, nothing left out."""
    result, code = steps.both(path)
    assert (code, result.proved, result.totals) == (Exit.COMPLETE, True, WHOLE), result.message


@contextmanager
def half_way(
    steps: Steps, store: Gate, step: str, path: str, **changes: int
) -> Iterator["Future[tuple[Result, Exit]]"]:
    """Run a step on a thread, and go on when some folders are listed and it waits for as many others as it ever does.

    A count of what nobody has loaded lists the storage, too.
    """
    store.shut(after=SOME)
    with ThreadPoolExecutor(1, "step") as pool:
        running = pool.submit(steps.run, step, path, **changes)
        try:
            store.reached(steps.command.parallelism)
            yield running
        finally:
            steps.watch.terminate()
            store.open()


# --- the master -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["load", "size"])
def test_a_master_killed_in_mid_step_costs_only_time(
    steps: Steps, master: Alluxio, store: Gate, path: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step waits until it is back and out of safe mode, authenticates again, and calls nothing empty or failed."""
    safe_mode = threading.Event()
    opened = Client._open

    def spy(client: Client, address: str) -> object:
        try:
            return opened(client, address)
        except Exception as error:
            if "safe mode" in str(error):
                safe_mode.set()
            raise

    monkeypatch.setattr(Client, "_open", spy)
    steps.settings = replace(steps.settings, connect_seconds=120.0)
    with half_way(steps, store, step, path) as under_way:
        master.kill()
        store.open()
        master.restart()
        result, code = under_way.result()
    assert (code, safe_mode.is_set()) == (Exit.COMPLETE, True), result.message
    if step == "load":
        result, code = steps.run("size", path, evidence=result.evidence)
    assert (code, result.proved, result.totals) == (Exit.COMPLETE, True, WHOLE), result.message


@pytest.mark.parametrize("step", ["load", "size"])
def test_a_master_that_hangs_for_some_seconds_costs_only_time(
    steps: Steps, master: Alluxio, store: Gate, path: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes back when calls have timed out, a new connection was tried in vain, and listings were left waiting."""
    monkeypatch.setattr(session, "CALL_SECONDS", 1.0)
    steps.settings = replace(steps.settings, connect_seconds=120.0)
    with half_way(steps, store, step, path) as under_way:
        noticed = shown(steps) if step == "size" else refused(steps, monkeypatch)
        master.pause()
        store.open()
        assert noticed.wait(60)
        master.resume()
        result, code = under_way.result()
    assert code is Exit.COMPLETE, result.message
    if step == "load":
        result, code = steps.run("size", path, evidence=result.evidence)
    assert (code, result.proved, result.totals) == (Exit.COMPLETE, True, WHOLE), result.message


def refused(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Return what is set when the master did not answer a new connection."""
    seen, diagnose = threading.Event(), Client._diagnose

    def spy(client: Client, address: str, made: session.Session | None, error: grpc.RpcError) -> StepError:
        seen.set()
        return diagnose(client, address, made, error)

    monkeypatch.setattr(Client, "_diagnose", spy)
    return seen


def shown(steps: Steps) -> threading.Event:
    """Return what is set when the step shows its progress the next time, which it does every five seconds."""
    seen = threading.Event()
    steps.watch._emit = lambda progress: seen.set()
    return seen


@pytest.mark.parametrize(("step", "ends"), [("load", Exit.UNREACHABLE), ("size", Exit.NO_PROGRESS)])
def test_a_master_that_hangs_for_good_ends_the_step(
    steps: Steps, master: Alluxio, store: Gate, path: str, step: str, ends: Exit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call has a deadline; of a listing the step sees that nothing moves. Afterwards the next one is exact."""
    monkeypatch.setattr(session, "CALL_SECONDS", 1.0)
    steps.settings = replace(steps.settings, connect_seconds=2.0)
    with half_way(steps, store, step, path, no_progress_seconds=8) as under_way:
        master.pause()
        store.open()
        result, code = under_way.result(timeout=120)
    master.resume()
    steps.settings = replace(steps.settings, connect_seconds=120.0)

    assert code is ends, result.message
    exact(steps, path)


@pytest.mark.parametrize("step", ["load", "size"])
def test_a_step_that_is_told_to_end_does_so_while_the_master_hangs(
    steps: Steps, master: Alluxio, store: Gate, path: str, step: str, tmp_path: Path
) -> None:
    """Well within the time that a pod has; its result says so. When the master goes on, the next one is exact."""
    store.shut(after=SOME)
    with process(master, path, step, tmp_path) as running:
        store.reached()
        master.pause()
        running.terminate()
        code = running.wait(GRACE_SECONDS)
    result = Result.from_json((tmp_path / "result").read_text())
    master.resume()
    store.open()

    assert (code, result.reason) == (Exit.TERMINATED, "Terminated")
    exact(steps, path)


# --- the step itself --------------------------------------------------------------------------------------------------


def test_a_load_killed_anywhere_is_finished_by_the_next_one(
    steps: Steps, master: Alluxio, store: Gate, tmp_path: Path
) -> None:
    """SIGKILL and SIGTERM in turn, after so many listings as a seeded draw says: exact, and proved, each time."""
    rng = random.Random(5)
    for number, way in enumerate((signal.SIGKILL, signal.SIGTERM) * 3):
        path = fill(store, f"killed-{number}")
        store.shut(after=rng.randrange(FOLDERS))
        with process(master, path, "load", tmp_path) as running:
            store.reached()
            running.send_signal(way)
            code = running.wait(GRACE_SECONDS)
        store.open()

        assert code == (-way if way is signal.SIGKILL else Exit.TERMINATED)
        exact(steps, path)


@contextmanager
def process(master: Alluxio, path: str, step: str, directory: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a step as a Job does; kill what is left of it."""
    command = StepCommand(step, (master.rpc_address,), path, result_path=str(directory / "result"))
    command = replace(command, spill_path=str(directory / "spill"))
    with subprocess.Popen([sys.executable, "-m", "fluidctl", *command.argv()], stdout=subprocess.DEVNULL) as running:
        try:
            yield running
        finally:
            running.kill()


# --- the storage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "after"), [("load", 0), ("load", SOME), ("size", SOME)])
def test_a_storage_that_hangs_ends_the_step_which_says_where_to_look(
    steps: Steps, store: Gate, path: str, step: str, after: int
) -> None:
    """From the first look at the dataset on, or in the middle: nothing moves. When it is back, the next is exact."""
    store.shut(after)
    result, code = steps.run(step, path, no_progress_seconds=3)
    store.open()

    assert (code, result.reason) == (Exit.NO_PROGRESS, "NoProgress"), result.message
    assert "storage" in result.message
    exact(steps, path)
