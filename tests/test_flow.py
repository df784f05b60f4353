"""The whole flow over real HTTP, threads and processes: what a user does, and what the Dataset then says."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from controllers import admission, turns
from controllers.config import ControllerConfig
from controllers.informers import CrdsMissingError
from controllers.jobs import job_name
from controllers.kube.resources import (
    DATASETS,
    JOBS,
    NAMESPACES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
)
from controllers.manager import Controller
from devcluster import DevCluster
from tests.world import CRDS, Obj, World, condition, evict, found_by_walk, tree


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A cluster, an Alluxio with thirty files, and a controller."""
    with World(tree(tmp_path / "data"), tmp_path / "work") as made:
        yield made


class Slow(World):
    """Its Alluxio loads nothing until ``go`` is set, so that there is a middle on any machine."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.go, master = threading.Event(), self.dev.master
        assert master is not None
        load = master._load

        def held(*args: Any, **how: Any) -> None:
            self.go.wait()
            load(*args, **how)

        master._load = held  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        self.go.set()
        super().__exit__()


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Slow]:
    """The same, but loading takes until the test lets it go on."""
    with Slow(tree(tmp_path / "data"), tmp_path / "work") as made:
        yield made


def loading(world: World, name: str = "one") -> Obj:
    """Wait until the container of the load runs, and return its pod."""
    world.until(name, "MetadataLoaded", "False", "Loading")

    def running() -> list[Obj]:  # the watch of the pods may lie behind that of the Datasets
        return [found for found in world.eyes.all(PODS) if found["status"].get("phase") == "Running"]

    (pod,) = world.eyes.until(running)
    return dict(pod)


def loads_seen(world: World) -> set[str]:
    """Return name and uid of each Job of a load that there was."""
    return {line for line in world.eyes.jobs_seen.copy() if "-load-" in line}


def released(job: Obj, prefix: str) -> bool:
    return job["metadata"]["name"].startswith(prefix) and not job["spec"].get("suspend")


# --- the good way -----------------------------------------------------------------------------------------------------


def test_a_dataset_becomes_ready_with_the_counts_that_find_gives_and_a_bound_volume(world: World) -> None:
    """Pending to Ready; files, directories and bytes are exact; PVC bound; nothing is left running."""
    world.apply()

    status = world.ready()["status"]

    files, directories, size = found_by_walk(world.data)
    assert (status["fileCount"], status["ufsTotalBytes"]) == (files, size)
    assert (status["size"]["files"], status["size"]["directories"]) == (files, directories)
    assert status["size"]["proved"] is True
    assert world.eyes.phases["one"][-1] == "Ready"
    claim = world.cluster.get(PERSISTENTVOLUMECLAIMS, "default", "one")
    assert claim["status"]["phase"] == "Bound"
    assert claim["spec"]["volumeName"] == status["volume"]["persistentVolume"]
    world.eyes.until(lambda: not world.eyes.all(JOBS) and not world.eyes.all(PODS))


def test_deleting_a_ready_dataset_takes_volume_and_claim_with_it(world: World) -> None:
    """Nothing of it is left, and the data is still there."""
    world.apply()
    world.ready()

    world.cluster.delete(DATASETS, "default", "one")

    world.gone()
    assert found_by_walk(world.data)[0] == 30


def test_an_empty_dataset_is_ready_with_zero_files(tmp_path: Path) -> None:
    """0 files is a result, not a failure."""
    with World(tree(tmp_path / "data", files=0), tmp_path / "work") as world:
        world.apply()

        status = world.ready()["status"]

        assert (status["fileCount"], status["ufsTotalBytes"], status["fileNum"]) == (0, 0, "0")


def test_ten_datasets_over_ten_paths_are_all_ready(world: World) -> None:
    """Four at a time at one master; nobody is forgotten."""
    for index in range(3):
        world.apply(f"part-{index}", world.spec(f"/d{index:03}"))

    for index in range(3):
        assert world.ready(f"part-{index}")["status"]["fileCount"] == 10


def test_two_datasets_on_one_path_load_one_after_the_other(slow: Slow) -> None:
    """The second says for whom it waits, and is Ready in the end."""
    slow.apply("one")
    loading(slow)
    slow.apply("two")

    slow.until("two", "Ready", "False", "WaitingForTurn", "default/one is at work on /, which overlaps /")
    slow.go.set()
    slow.ready("one")
    slow.ready("two")


# --- what a person can get wrong --------------------------------------------------------------------------------------


def _at(world: World, **alluxio: Any) -> Obj:
    spec = world.spec()
    return {**spec, "mounts": [], "alluxio": {**spec["alluxio"], **alluxio}}


def test_a_mount_point_that_is_no_uri_is_refused_in_words(world: World) -> None:
    """Accepted=False; nothing is started."""
    world.apply(spec=world.spec(mounts=[{"mountPoint": "bucket/imagenet", "path": "/"}]))

    found = world.until("one", "Accepted", "False", "InvalidSpec")

    assert "is not the URI of a directory: write it as s3://bucket/directory" in condition(found, "Accepted")["message"]
    assert condition(found, "Stalled")["status"] == "True"
    assert not world.eyes.all(JOBS)


def test_two_mounts_on_one_path_are_refused(world: World) -> None:
    """The message names both."""
    mounts = [{"mountPoint": "s3://a/b", "path": "/x"}, {"mountPoint": "s3://a/c", "path": "/x/"}]
    world.apply(spec=world.spec(mounts=mounts))

    found = world.until("one", "Accepted", "False", "InvalidSpec")

    assert "give one of them another path" in condition(found, "Accepted")["message"]


def test_a_dataset_without_an_alluxio_says_what_is_missing(world: World) -> None:
    """No spec.alluxio and no runtime."""
    world.apply(spec={"mounts": [{"mountPoint": "s3://a/b", "path": "/"}]})

    found = world.until("one", "Accepted", "False", "RuntimeMissing")

    assert "spec.alluxio.masters" in condition(found, "Accepted")["message"]


def test_a_spec_that_was_mended_goes_on_by_itself(world: World) -> None:
    """Nobody has to delete anything."""
    world.apply(spec=world.spec(mounts=[{"mountPoint": "bucket/imagenet", "path": "/"}]))
    world.until("one", "Accepted", "False")

    world.cluster.merge_patch(DATASETS, "default", "one", {"spec": {"mounts": world.spec()["mounts"]}})

    world.ready()


def test_an_unreachable_master_is_waited_for_and_burns_no_attempt(tmp_path: Path) -> None:
    """MasterReachable=False says who does not answer; when it comes, the dataset gets Ready."""
    with World(tree(tmp_path / "data"), tmp_path / "work") as world:
        assert world.dev.master is not None
        world.dev.master.stop()
        world.apply()

        found = world.until("one", "MasterReachable", "False", "Unreachable")
        world.until("one", "Ready", "False", "MasterUnreachable")

        assert world.dev.masters[0] in condition(found, "MasterReachable")["message"]
        assert not world.eyes.all(JOBS)


def test_a_port_that_speaks_http_is_named(world: World) -> None:
    """The web port instead of the RPC port: permanent, and the message says which port to use."""
    assert world.dev.master is not None
    world.apply(spec=_at(world, masters=[f"127.0.0.1:{world.dev.web_port}"]))

    found = world.until("one", "Stalled", "True")

    assert found["status"]["phase"] == "Failed"
    assert found["status"]["load"]["lastReason"] == "NotGrpc"
    assert "19998" in condition(found, "Ready")["message"]


def test_a_master_of_another_major_version_is_refused_by_name(tmp_path: Path) -> None:
    """Alluxio 3 has another protocol."""
    with World(tree(tmp_path / "data"), tmp_path / "work", version="310") as world:
        world.apply()

        found = world.until("one", "Stalled", "True")

        assert found["status"]["load"]["lastReason"] == "UnsupportedMaster"
        assert "310" in condition(found, "Ready")["message"]


def test_a_mount_that_the_master_does_not_have_is_named(world: World) -> None:
    """Permanent: we mount nothing in an Alluxio of somebody else."""
    world.apply(spec=world.spec(mounts=[{"mountPoint": "s3://other/bucket", "path": "/"}]))

    found = world.until("one", "Stalled", "True")

    assert found["status"]["load"]["lastReason"] == "MountMissing"
    assert "s3://other/bucket" in condition(found, "Ready")["message"]


@pytest.mark.parametrize(
    ("path", "reason"), [("/nowhere", "PathNotFound"), ("/d000/f00000", "NotADirectory")], ids=["missing", "a file"]
)
def test_a_path_that_is_no_directory_fails_for_good(world: World, path: str, reason: str) -> None:
    """One attempt, no retries: the same input would fail again."""
    world.apply(spec=_at(world, datasetPath=path))

    found = world.until("one", "Stalled", "True")

    assert found["status"]["phase"] == "Failed"
    assert found["status"]["load"]["lastReason"] == reason
    assert found["status"]["load"]["failures"] == 1
    assert path in condition(found, "Ready")["message"]


def test_a_directory_that_may_not_be_read_is_never_ready(tmp_path: Path) -> None:
    """The storage says no for one directory: it is named."""
    with World(tree(tmp_path / "data"), tmp_path / "work", asynchronous=False) as world:
        assert world.dev.master is not None
        world.dev.master.behaviour.failing[b"/d001"] = grpc.StatusCode.PERMISSION_DENIED
        world.apply(spec=world.spec(load={"maxAttempts": 1}))

        found = world.until("one", "Stalled", "True")

        assert found["status"]["phase"] == "Failed"
        assert "/d001" in condition(found, "Ready")["message"]


def test_a_directory_that_alluxio_shows_as_empty_is_never_ready(tmp_path: Path) -> None:
    """One dangling link makes a real master answer "empty", status OK: Incomplete names the directory."""
    with World(tree(tmp_path / "data"), tmp_path / "work") as world:
        assert world.dev.master is not None
        (world.data / "d001" / "link").symlink_to("/nonexistent/target")
        world.apply(spec=world.spec(load={"maxAttempts": 1}))

        found = world.until("one", "Stalled", "True")

        assert found["status"]["load"]["lastReason"] == "Incomplete"
        assert "/d001" in found["status"]["load"]["failedDirectories"]


def test_a_dataset_of_fluid_is_read_and_what_is_not_served_is_named(world: World) -> None:
    """Accepted=True, reason UnservedFields."""
    world.apply(spec=world.spec(placement="Shared", tolerations=[{"operator": "Exists"}]))

    found = world.ready()

    assert condition(found, "Accepted")["reason"] == "UnservedFields"
    assert "spec.placement" in condition(found, "Accepted")["message"]


# --- what happens in the middle ---------------------------------------------------------------------------------------


def test_inputs_that_change_in_mid_load_begin_a_new_run(slow: Slow) -> None:
    """The old Job goes; the counts are those of the last spec."""
    slow.apply(spec=_at(slow))
    loading(slow)

    slow.cluster.merge_patch(DATASETS, "default", "one", {"spec": {"alluxio": {"datasetPath": "/d001"}}})
    slow.eyes.until(lambda: 2 in slow.eyes.runs["one"])
    slow.go.set()

    status = slow.until("one", "Ready", "True")["status"]
    assert (status["run"]["number"], status["run"]["reason"]) == (2, "InputsChanged")
    assert status["fileCount"] == 10


def test_back_and_forth_is_three_runs(world: World) -> None:
    """A->B->A: what was loaded before counts for nothing but speed. The volume of another path is said, not shown."""
    world.apply(spec=_at(world, datasetPath="/d000") | {"volume": {"enabled": False}})
    world.ready()
    for number, path in ((2, "/d001"), (3, "/d000")):
        world.cluster.merge_patch(DATASETS, "default", "one", {"spec": {"alluxio": {"datasetPath": path}}})
        world.eyes.until(partial(lambda wanted: wanted in world.eyes.runs["one"], number))
        assert world.ready()["status"]["run"]["number"] == number


def test_an_edit_that_is_no_input_costs_no_run(slow: Slow) -> None:
    """Parallelism changes: the Job goes on, the generation is observed."""
    slow.apply()
    loading(slow)

    slow.cluster.merge_patch(DATASETS, "default", "one", {"spec": {"load": {"parallelism": 3}}})
    slow.eyes.until(lambda: [one for one in slow.eyes.all(DATASETS) if one["status"]["observedGeneration"] == 2])
    slow.go.set()

    found = slow.ready()
    assert found["status"]["run"]["number"] == 1
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"] == 2
    assert len({line.split()[0] for line in slow.eyes.jobs_seen}) == 2


def test_a_dataset_deleted_in_mid_load_leaves_nothing(slow: Slow) -> None:
    """Job and pod are ended first."""
    slow.apply()
    loading(slow)

    slow.cluster.delete(DATASETS, "default", "one")

    slow.gone()


def test_a_job_deleted_by_hand_is_made_again_and_costs_no_attempt(slow: Slow) -> None:
    """Same name, another uid; Ready in the end, no failure counted."""
    slow.apply()
    loading(slow)
    (job,) = slow.eyes.all(JOBS)

    slow.cluster.delete(JOBS, "default", job["metadata"]["name"])
    loads = slow.eyes.until(lambda: len(found := loads_seen(slow)) == 2 and found)
    slow.go.set()

    status = slow.ready()["status"]
    assert len({line.split()[0] for line in loads}) == 1
    assert loads_seen(slow) == loads
    assert status["load"].get("failures", 0) == 0


def test_an_evicted_pod_costs_no_attempt(slow: Slow) -> None:
    """The Job makes a new pod; it is one Job all the time."""
    slow.apply()
    pod = loading(slow)

    evict(slow.cluster, pod)
    slow.eyes.until(lambda: pod["metadata"]["uid"] not in [found["metadata"]["uid"] for found in slow.eyes.all(PODS)])
    slow.go.set()

    status = slow.ready()["status"]
    assert status["load"].get("failures", 0) == 0
    assert len(loads_seen(slow)) == 1


def test_a_killed_container_is_an_attempt_and_the_next_one_succeeds(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL, as for out of memory: attempt 2 follows after the back-off."""
    monkeypatch.setattr("controllers.dataset.attempts.RETRY_BASE", 1.0)
    slow.apply()
    pod = loading(slow)

    kill(slow, pod, signal.SIGKILL)

    def failed() -> Obj:
        return next((load for one in slow.eyes.all(DATASETS) if (load := one["status"]["load"]).get("failures")), {})

    assert slow.eyes.until(failed)["lastReason"] == "Signal9"
    slow.go.set()
    status = slow.ready()["status"]
    assert status["load"]["attempt"] == 2


def kill(world: World, pod: Obj, number: int) -> None:
    """Send a signal to the process of a pod, as the kernel would."""
    world.dev.node._pods[pod["metadata"]["uid"]].signal(number)


def test_a_pod_that_never_starts_is_an_attempt_with_the_reason_of_kubernetes(tmp_path: Path) -> None:
    """ImagePullBackOff is shown at once, and after startingDeadlineSeconds it counts."""
    config = ControllerConfig(job_image="missing/image:1")
    with World(tree(tmp_path / "data"), tmp_path / "work", config) as world:
        world.apply(spec=world.spec(load={"startingDeadlineSeconds": 10, "maxAttempts": 1}))

        starting = world.until("one", "MetadataLoaded", "False", "PodStarting")
        failed = world.until("one", "Stalled", "True", "PodNotStarted")

        assert "ImagePullBackOff" in condition(failed, "Ready")["message"] + condition(starting, "Ready")["message"]
        assert failed["status"]["phase"] == "Failed"


def test_a_job_of_that_name_of_somebody_else_is_said_and_left_alone(world: World) -> None:
    """JobConflict; when it is gone the dataset goes on."""
    made = world.apply(spec=world.spec(suspend=True))
    world.until("one", "Ready", "False", "Suspended")
    name = job_name("one", made["metadata"]["uid"], "load", 1, 1)
    template = {
        "spec": {"restartPolicy": "Never", "containers": [{"name": "x", "image": "x", "command": ["sleep", "60"]}]}
    }
    foreign = {"metadata": {"name": name, "namespace": "default"}, "spec": {"suspend": True, "template": template}}
    uid = world.cluster.create(JOBS, "default", foreign)["metadata"]["uid"]

    world.cluster.merge_patch(DATASETS, "default", "one", {"spec": {"suspend": False}})

    found = world.until("one", "Ready", "False", "JobConflict")
    assert name in condition(found, "Ready")["message"]
    assert world.cluster.get(JOBS, "default", name)["metadata"]["uid"] == uid


def test_a_claim_of_that_name_of_somebody_else_is_said_and_left_alone(world: World) -> None:
    """ClaimConflict: loaded and counted, but never Ready, and the claim is as it was."""
    spec = {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "x"}
    body = {"metadata": {"name": "one", "namespace": "default"}, "spec": spec}
    before = world.cluster.create(PERSISTENTVOLUMECLAIMS, "default", body)

    world.apply()

    found = world.until("one", "Available", "False", "ClaimConflict")
    assert "one exists that is not ours" in condition(found, "Available")["message"]
    assert condition(found, "Ready")["status"] == "False"
    assert not world.eyes.all(PERSISTENTVOLUMES)  # Kubernetes would bind ours to that claim
    after = world.cluster.get(PERSISTENTVOLUMECLAIMS, "default", "one")
    assert (after["metadata"]["uid"], after["spec"]) == (before["metadata"]["uid"], before["spec"])
    world.cluster.delete(DATASETS, "default", "one")
    world.eyes.until(lambda: not world.eyes.all(DATASETS) and not world.eyes.all(PERSISTENTVOLUMES))
    assert world.cluster.get(PERSISTENTVOLUMECLAIMS, "default", "one")["metadata"]["uid"] == before["metadata"]["uid"]


def test_a_volume_whose_dataset_was_torn_away_is_swept(world: World) -> None:
    """Somebody removed the finalizer by hand while no controller ran: the next one deletes volume and claim."""
    world.apply()
    world.ready()
    world.stop_controller()
    world.cluster.merge_patch(DATASETS, "default", "one", {"metadata": {"finalizers": []}})
    world.cluster.delete(DATASETS, "default", "one")

    world.start_controller()

    world.gone()


def test_a_pod_that_never_starts_gives_its_place_to_a_dataset_that_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one place at this Alluxio: the first has no node to run on, and the second gets Ready all the same."""
    for module in (admission, turns):
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 1.0)
    with World(tree(tmp_path / "data"), tmp_path / "work", ControllerConfig(loads_per_master=1)) as world:
        nowhere = {"podTemplate": {"nodeSelector": {"disk": "none"}}}
        world.apply("stuck", world.spec("/d000", load=nowhere))
        world.eyes.until(lambda: [pod for pod in world.eyes.all(PODS) if pod["status"].get("phase") == "Pending"])
        world.apply("two", world.spec("/d001"))
        world.eyes.until(lambda: [job for job in world.eyes.all(JOBS) if released(job, "two-")])
        monkeypatch.setattr(turns, "PATIENCE_SECONDS", 5.0)  # its own pod may need more than a second to start

        world.ready("two")

        stuck = world.get("stuck")
        assert stuck is not None
        assert stuck["status"]["load"].get("failures", 0) == 0
        assert condition(stuck, "Ready")["status"] == "False"


# --- the controller ---------------------------------------------------------------------------------------------------


def test_a_controller_that_comes_back_in_mid_load_finds_its_job(slow: Slow) -> None:
    """One Job of each step in all, whoever was watching."""
    slow.apply()
    loading(slow)

    slow.stop_controller()
    slow.start_controller()
    slow.go.set()

    slow.ready()
    assert len(slow.eyes.jobs_seen) == 2


def test_of_two_controllers_one_acts_and_the_other_takes_over(slow: Slow) -> None:
    """The Lease is given up at the end, so the other one need not wait for it to run out."""
    second = slow.start_controller()
    slow.apply()
    loading(slow)

    first = slow._controllers.pop(0)
    first.stop()
    slow.go.set()

    slow.ready()
    assert not second.failed
    assert len(slow.eyes.jobs_seen) == 2


@pytest.mark.parametrize(
    ("known", "unknown"),
    [(0, "Dataset, AlluxioRuntime, DataBackup, ScheduledDataBackup"), (2, "DataBackup, ScheduledDataBackup")],
)
def test_without_crds_the_controller_says_so_and_does_not_start(tmp_path: Path, known: int, unknown: str) -> None:
    """One clear line; of a release that knew fewer kinds, too, while the one before goes on."""
    crds = [crd for crd in CRDS if crd["spec"]["names"]["kind"] in ("Dataset", "AlluxioRuntime")]
    with ExitStack() as stack:
        dev = stack.enter_context(DevCluster(None, crds[:known], tmp_path))
        config = ControllerConfig(kubeconfig=str(dev.kubeconfig), metrics_bind="", health_bind="")
        controller = Controller(config, threading.Event())
        stack.callback(controller.stop)
        with pytest.raises(CrdsMissingError, match=f"does not know {unknown}: install the CRDs first"):
            controller.start()


def test_objects_of_another_namespace_with_forged_labels_change_nothing(slow: Slow) -> None:
    """A tenant elsewhere labels a pod and a Job as a Dataset's own: they are not counted as its children."""
    made = slow.apply()
    loading(slow)
    labels = {"app.kubernetes.io/managed-by": "fluidctl", "data.fluid.io/dataset-uid": made["metadata"]["uid"]}
    pod = {"spec": {"nodeSelector": {"never": "here"}, "containers": [{"name": "step", "image": "x"}]}}
    meta = {"name": "forged", "namespace": "elsewhere", "labels": labels}
    slow.cluster.create(NAMESPACES, "", {"metadata": {"name": "elsewhere"}})
    slow.cluster.create(PODS, "elsewhere", {"metadata": meta, **pod})
    slow.go.set()

    slow.ready()
    slow.cluster.delete(DATASETS, "default", "one")

    slow.eyes.until(lambda: not slow.eyes.all(DATASETS))
    assert [found["metadata"]["namespace"] for found in slow.eyes.all(PODS)] == ["elsewhere"]
