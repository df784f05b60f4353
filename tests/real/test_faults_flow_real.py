"""The whole product while masters and storages fail: whose dataset waits, what a person reads, what comes back.

Two masters: the stack's over a directory, and a second one over an object store, which is the one that fails.
"""

import shutil
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from controllers.api.result import Totals
from controllers.jobs import DATASET
from controllers.kube.resources import DATASETS, PERSISTENTVOLUMECLAIMS, PODS
from tests.load_kit import make, truth
from tests.real.alluxio import Alluxio
from tests.real.flow import Flow
from tests.real.gate import Gate
from tests.real.stack import Stack
from tests.world import Obj, condition

BUCKET, FOLDERS, FILES, BYTES = "flow", 20, 20, 5
WHOLE = Totals(FOLDERS * FILES, FOLDERS, FOLDERS * FILES * BYTES)
SECONDS = 90.0
#: The storage of this dataset hangs from the beginning, for as long as the step has patience.
STUCK, PATIENCE = "stuck", 30


class Second:
    """The flow as it concerns the second master, whose storage has a gate."""

    def __init__(self, flow: Flow, alluxio: Alluxio, store: Gate) -> None:
        self.flow, self.alluxio, self.store = flow, alluxio, store

    def make(self, name: str, path: str = "", **changes: Any) -> Obj:
        """Create a Dataset over ``path`` of the store, by default its name, with a tree there."""
        path = path or f"/{name}"
        self.fill(path)
        alluxio = {"masters": [self.alluxio.rpc_address], "webPort": self.alluxio.web_port, "datasetPath": path}
        return self.flow.apply(name, self.flow.spec(alluxio=alluxio, **changes))

    def fill(self, path: str) -> None:
        """Put a tree there."""
        self.store.fill(BUCKET, {f"{path[1:]}/d{d}/f{f}": BYTES for d in range(FOLDERS) for f in range(FILES)})

    def running(self, *names: str) -> None:
        """Wait until a pod of each of these datasets runs, all at the same time."""

        def seen() -> bool:
            pods = [pod for pod in self.flow.eyes.all(PODS) if pod.get("status", {}).get("phase") == "Running"]
            return set(names) <= {pod["metadata"]["labels"].get(DATASET) for pod in pods}

        self.flow.eyes.until(seen, SECONDS, lambda: [self.flow.children(name) for name in names])


@pytest.fixture(scope="module")
def second(real_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Second]:
    """The stage of this file. The dataset whose storage hangs begins at once: it takes its time."""
    with (
        Gate() as store,
        Stack(tmp_path_factory.mktemp("storage"), tmp_path_factory.mktemp("work")) as stack,
        closing(Flow(stack)) as flow,
    ):
        store.fill(BUCKET, {"something": 1})
        store.slow = 2.0 * PATIENCE
        store.fail(BUCKET, STUCK, "slow")
        with Alluxio(store.uri("s3", BUCKET), properties=store.properties("s3")) as alluxio:
            made = Second(flow, alluxio, store)
            made.make(STUCK, load={"noProgressSeconds": PATIENCE})
            yield made


@pytest.fixture
def flow(second: Second) -> Flow:
    return second.flow


def counted(found: Obj) -> Totals:
    size = found["status"]["size"]
    return Totals(*(size.get(name, 0) for name in ("files", "directories", "bytes")))


# --- two datasets on one master ---------------------------------------------------------------------------------------


def test_two_datasets_on_one_master_load_at_once(second: Second, flow: Flow) -> None:
    """Both pods run while the storage lets neither of them go on; then both are exact."""
    second.store.shut(after=3)
    second.make("left")
    second.make("right")
    second.running("left", "right")
    second.store.open()

    assert [counted(flow.ready(name, SECONDS)) for name in ("left", "right")] == [WHOLE, WHOLE]


def test_on_overlapping_paths_one_waits_and_says_for_whom(second: Second, flow: Flow) -> None:
    """The parent is at work; who is below it says so, and goes when it has ended. Both are exact."""
    second.fill("/outer/d7")
    second.store.shut()
    second.make("outer")
    second.running("outer")
    second.make("inner", "/outer/d7")
    flow.until("inner", "Ready", "False", "WaitingForTurn", "default/outer is at work on /outer", SECONDS)
    assert not [child for child in flow.children("inner") if child.startswith("Pod ")]
    second.store.open()

    assert counted(flow.ready("outer", SECONDS)) == Totals(2 * WHOLE.files, 2 * WHOLE.directories, 2 * WHOLE.bytes)
    inside = Totals(WHOLE.files + FILES, WHOLE.directories, WHOLE.bytes + FILES * BYTES)
    assert counted(flow.ready("inner", SECONDS)) == inside


# --- a storage and a master that fail ---------------------------------------------------------------------------------


def test_a_storage_that_hangs_costs_an_attempt_and_says_where_to_look(second: Second, flow: Flow) -> None:
    """Nothing moves for as long as the spec allows: NoProgress. When the storage answers again, it gets Ready."""
    found = flow.until(STUCK, "MetadataLoaded", "False", "NoProgress", "storage", SECONDS)

    assert found["status"]["load"]["failures"] == 1
    told = ("events", f"--for=dataset/{STUCK}", "--types=Warning")
    flow.eyes.until(lambda: "NoProgress" in flow.kubectl(*told), SECONDS)
    second.store.heal()
    assert counted(flow.ready(STUCK, 2 * SECONDS)) == WHOLE


def test_a_master_that_hangs_changes_no_phase_and_no_other_dataset(second: Second, flow: Flow) -> None:
    """Unreachable is what it says, Ready is what it was; a dataset of another master becomes Ready meanwhile."""
    make(flow.data / "moving", ["a/1", "b/2"])
    second.make("steady")
    before = flow.ready("steady", SECONDS)
    second.alluxio.pause()
    try:
        flow.make("moving")
        assert counted(flow.ready("moving", SECONDS)) == truth(flow.data / "moving")
        found = flow.until("steady", "MasterReachable", "False", seconds=SECONDS)
        assert (found["status"]["phase"], condition(found, "Available")["status"]) == ("Ready", "True")
    finally:
        second.alluxio.resume()

    after = flow.ready("steady", SECONDS)
    assert after["status"]["run"] == before["status"]["run"]


@pytest.fixture(scope="module")
def bereft(second: Second) -> str:
    """Return the name of a dataset whose master was killed for good in mid-load. Ask for it after what needs it."""
    second.store.shut(after=6)
    second.make("bereft")
    second.running("bereft")
    second.store.reached()
    second.alluxio.kill()
    second.store.open()
    return "bereft"


def test_a_dead_master_is_nobody_elses_trouble(bereft: str, flow: Flow) -> None:
    """A dataset of another master becomes Ready meanwhile."""
    make(flow.data / "beside", ["a/1", "b/2"])
    flow.make("beside")

    assert counted(flow.ready("beside", SECONDS)) == truth(flow.data / "beside")
    flow.until(bereft, "MasterReachable", "False", "Unreachable", seconds=SECONDS)


# --- after Ready ------------------------------------------------------------------------------------------------------


def test_a_master_that_only_restarts_after_ready_costs_no_load(flow: Flow) -> None:
    """Its cluster id is asked for by a Job that lists nothing; run, counts and claim are what they were."""
    make(flow.data / "kept", ["a/1", "b/2"])
    flow.make("kept")
    before = flow.ready("kept", SECONDS)["status"]
    claim = uid(flow, "kept")
    flow.stack.alluxio.kill()
    flow.until("kept", "Ready", "False", "MasterUnreachable", seconds=SECONDS)
    flow.stack.alluxio.restart()

    start = flow.stack.alluxio.info()["startTimeMs"]
    flow.eyes.until(lambda: part(flow, "kept", "master").get("startTimeMs") == start, SECONDS, lambda: flow.get("kept"))
    after = flow.ready("kept", SECONDS)["status"]
    assert (after["run"], after["fileCount"], uid(flow, "kept")) == (before["run"], before["fileCount"], claim)
    assert flow.eyes.phases["kept"] == ["Pending", "LoadingMetadata", "Sizing", "Ready"]


def test_a_journal_formatted_after_ready_is_noticed_and_the_data_loaded_again(flow: Flow) -> None:
    """A new run with that reason; the claim, which pods may hold, is the same one."""
    make(flow.data / "lost", ["a/1", "b/2"])
    flow.make("lost")
    before = flow.ready("lost", SECONDS)["status"]
    claim = uid(flow, "lost")
    alluxio = flow.stack.alluxio
    alluxio.kill()
    shutil.rmtree(alluxio.directory / "journal")
    shutil.copytree(alluxio._formatted_journal(), alluxio.directory / "journal")
    alluxio.restart()

    flow.eyes.until(lambda: part(flow, "lost", "run").get("number", 0) > before["run"]["number"], SECONDS)
    after = flow.ready("lost", SECONDS)
    assert after["status"]["run"]["reason"] == "MasterReset"
    assert after["status"]["master"]["clusterId"] != before["master"]["clusterId"]
    assert (counted(after), uid(flow, "lost")) == (truth(flow.data / "lost"), claim)


def uid(flow: Flow, name: str) -> str:
    """Return the uid of a dataset's claim."""
    found: str = flow.cluster.get(PERSISTENTVOLUMECLAIMS, "default", name)["metadata"]["uid"]
    return found


def part(flow: Flow, name: str, what: str) -> Obj:
    """Return a part of a dataset's status as it was seen last; what is waited for afterwards is not seen before it."""
    (found,) = (each for each in flow.eyes.all(DATASETS) if each["metadata"]["name"] == name)
    return dict(found.get("status", {}).get(what, {}))


# --- the end of what began above --------------------------------------------------------------------------------------


def test_a_load_whose_master_is_gone_for_good_charges_no_attempt(bereft: str, flow: Flow) -> None:
    """Its Job ends as Unreachable; no other one is started before the master answers."""
    flow.eyes.until(lambda: part(flow, bereft, "load").get("attempt", 1) > 1, SECONDS, lambda: flow.get(bereft))

    load = part(flow, bereft, "load")
    assert (load["attempt"], load["lastReason"], load.get("failures", 0)) == (2, "Unreachable", 0)
    assert flow.eyes.phases[bereft][-1] == "LoadingMetadata"
