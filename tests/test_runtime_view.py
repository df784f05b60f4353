"""What a Dataset sees of its AlluxioRuntime, and what a person reads of pods that are not ready."""

from dataclasses import replace
from typing import Any

import pytest

from controllers.api.dataset import status_dict
from controllers.runtime import children, decide
from controllers.runtime.pods import JOURNAL_LOST_EXIT
from controllers.runtime.properties import MASTER, WORKER
from controllers.runtime.view import CRASHED, RuntimeView, engine_version, image_of, view
from tests.runtime_kit import DATASET_UID, UID, carried_out, pod, running, seen

RUNTIME: dict[str, Any] = {"metadata": {"name": "imagenet", "uid": UID}, "spec": {}}
IMAGE = "alluxio/alluxio:2.9.6"


def looked(*pods: dict[str, Any], replicas: int = 1, **status: Any) -> RuntimeView:
    masters = children.stateful_set(seen(), MASTER, replicas)
    masters["metadata"]["generation"] = 2
    return view(RUNTIME, {**masters, "status": {"observedGeneration": 2, **status}}, pods, IMAGE)


def container(role: str, *, init: bool = False, **state: Any) -> dict[str, Any]:
    part = "initContainerStatuses" if init else "containerStatuses"
    return pod(
        role, ready=False, **{part: [{"name": "format" if init else role, "image": IMAGE, "ready": False, **state}]}
    )


def ended(code: int, reason: str = "Error") -> dict[str, Any]:
    gone = {"terminated": {"exitCode": code, "reason": reason}}
    waits = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}
    return {"lastState": gone, "state": waits, "restartCount": 4}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


def unscheduled(message: str) -> dict[str, Any]:
    conditions = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]
    return {"phase": "Pending", "conditions": conditions}


NO_NODE = "0/3 nodes are available: 3 Insufficient memory."
NO_CLAIM = "pod has unbound immediate PersistentVolumeClaims"


@pytest.mark.parametrize(
    ("found", "reason", "words"),
    [
        (pod(MASTER, ready=False, **unscheduled(NO_NODE)), "MasterUnschedulable", NO_NODE),
        (pod(MASTER, ready=False, **unscheduled(NO_CLAIM)), "JournalUnbound", "--journal-storage-class"),
        (container(MASTER, **ended(137, "OOMKilled")), "MasterOOMKilled", "spec.master.resources.limits.memory"),
        (container(MASTER, **ended(3)), "MasterOutOfHeap", "-Xmx in spec.master.jvmOptions"),
        (container(MASTER, **ended(255)), "MasterCrashLooping", "exit code 255 and was restarted 4 times: see"),
        (container(MASTER, init=True, **ended(1)), "MasterInitFailed", "-c format --previous"),
        (container(MASTER, init=True, **ended(JOURNAL_LOST_EXIT)), "JournalLost", "it was lost"),
        (container(MASTER, **waiting("ImagePullBackOff", "no such tag")), "MasterImagePull", "no such tag"),
        (container(MASTER, **waiting("CreateContainerConfigError", "no Secret")), "MasterConfigMissing", "no Secret"),
        (container(MASTER, **waiting("ContainerCreating")), "MasterStarting", "is starting"),
        (container(MASTER, state={"running": {}}), "MasterStarting", "runs and does not answer yet"),
        (pod(MASTER, ready=False, phase="Failed", reason="Evicted", message="no disk"), "MasterEvicted", "no disk"),
    ],
)  # fmt: skip
def test_a_master_that_is_not_ready_says_why_and_what_to_do(found: dict[str, Any], reason: str, words: str) -> None:
    seen_ = looked(found)
    assert not seen_.master_ready
    assert seen_.reason == reason
    assert words in seen_.message


def test_a_worker_has_reasons_of_its_own_and_stops_no_master() -> None:
    for status in (unscheduled(NO_NODE), {"containerStatuses": [{"name": "worker", **ended(137, "OOMKilled")}]}):
        seen_ = looked(pod(MASTER), pod(WORKER, ready=False, **status))
        assert seen_.master_ready
        assert seen_.reason in ("WorkerUnschedulable", "WorkerOOMKilled")
        assert seen_.reason not in CRASHED


@pytest.mark.parametrize("init", [True, False])
def test_a_container_that_runs_again_after_it_failed_is_still_in_trouble_until_it_is_ready(init: bool) -> None:
    """Else a person would see trouble and none by turns."""
    again = container(MASTER, init=init, **(ended(1) | {"state": {"running": {}}}))
    assert looked(again).reason == ("MasterInitFailed" if init else "MasterCrashLooping")
    over = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    done = container(MASTER, init=True, **(ended(1) | {"state": over, "ready": True}))
    assert looked(done).reason == "MasterStarting"


def test_a_trouble_goes_before_a_pod_that_is_only_starting() -> None:
    sick = pod(WORKER, 1, ready=False, **unscheduled(NO_NODE))
    assert looked(pod(MASTER), pod(WORKER, 0, ready=False), sick).reason == "WorkerUnschedulable"


def test_a_master_is_gone_only_once_none_can_come() -> None:
    assert view(RUNTIME, None, (), IMAGE).master_gone
    assert view(None, None, (), IMAGE).master_gone
    assert looked(replicas=0).master_gone
    assert not looked(replicas=1).master_gone
    assert not looked(pod(MASTER), replicas=0).master_gone
    assert not looked(replicas=0, observedGeneration=1).master_gone, "its controller has not acted yet"
    stopping = pod(MASTER)
    stopping["metadata"]["deletionTimestamp"] = "2026-11-24T00:00:00Z"
    assert not looked(stopping, replicas=0).master_gone
    assert not looked(stopping).master_ready


def test_a_master_of_an_older_template_does_not_count_as_ready() -> None:
    old = pod(MASTER)
    old["metadata"]["labels"]["controller-revision-hash"] = "imagenet-master-1"
    assert not looked(old, updateRevision="imagenet-master-2").master_ready
    assert looked(old, updateRevision="imagenet-master-1").master_ready
    assert not looked(old, updateRevision="imagenet-master-1", observedGeneration=1).master_ready


def test_a_runtime_that_goes_or_is_anothers_is_none() -> None:
    going = {**RUNTIME, "metadata": {**RUNTIME["metadata"], "deletionTimestamp": "2026-11-24T00:00:00Z"}}
    owned = {**RUNTIME, "metadata": {**RUNTIME["metadata"], "ownerReferences": [{"kind": "Dataset", "uid": "before"}]}}
    masters, pods = children.stateful_set(seen(), MASTER, 1), (pod(MASTER),)
    assert not view(going, masters, pods, IMAGE).exists
    assert not view(owned, masters, pods, IMAGE, dataset_uid=DATASET_UID).exists
    assert view(owned, masters, pods, IMAGE, dataset_uid="before").exists


def test_what_only_the_runtime_knows_is_seen_by_its_dataset_too() -> None:
    """A quota, or a spec that cannot be served, is in no pod: there is none."""
    state = carried_out(seen(), decide(seen()))
    status = decide(replace(state, refused_master="FailedCreate: exceeded quota: few")).status
    assert status is not None
    told = {**RUNTIME, "status": status_dict(status)}
    found = view(told, state.masters, (), IMAGE)
    assert (found.reason, found.master_ready) == ("MasterPodRefused", False)
    assert "exceeded quota: few" in found.message
    assert view(told, running(state).masters, running(state).pods, IMAGE).reason == ""


def test_all_is_well_says_nothing() -> None:
    state = running(carried_out(seen(), decide(seen())))
    found = view(RUNTIME, state.masters, state.pods, IMAGE)
    assert found == RuntimeView(exists=True, uid=UID, engine_version="2.9.6", master_ready=True)


@pytest.mark.parametrize(
    ("wanted", "image", "version"),
    [
        ({}, "reg:5000/alluxio@sha256:ab", ""),
        ({"imageTag": "2.8.1"}, "alluxio/alluxio:2.8.1", "2.8.1"),
        ({"image": "reg:5000/a"}, "reg:5000/a", ""),
        ({"image": "reg:5000/a", "imageTag": "release-2.9.0-ab12"}, "reg:5000/a:release-2.9.0-ab12", "2.9.0"),
        ({"image": "a:2.9.3", "imageTag": "x"}, "a:2.9.3", "2.9.3"),
    ],
)  # fmt: skip
def test_the_image_is_the_runtimes_or_the_controllers(wanted: dict[str, str], image: str, version: str) -> None:
    default = "reg:5000/alluxio@sha256:ab" if not wanted else "alluxio/alluxio:2.9.6"
    assert image_of({"metadata": {}, "spec": {"alluxioVersion": wanted}}, default) == image
    assert engine_version(image) == version
