"""Pods as local processes: what a kubelet would report of them, on the whole embedded cluster."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controllers.kube.client import Cluster
from controllers.kube.resources import JOBS, PODS
from devcluster import DevCluster
from tests.world import evict

Obj = dict[str, Any]
SPACE = "default"
DISRUPTED = [{"type": "DisruptionTarget", "status": "True"}]
IGNORE: Obj = {"podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": DISRUPTED}]}}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    with DevCluster(None, [], tmp_path_factory.mktemp("node")) as cluster:
        yield cluster


@pytest.fixture
def api(running: DevCluster) -> Cluster:
    return running.cluster


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Return a name for the Job of this test alone."""
    return f"job-{abs(hash(request.node.name)) % 10**8}"


def start(api: Cluster, name: str, script: str, container: Obj | None = None, grace: int = 5, **spec: Any) -> None:
    made: Obj = {"name": "main", "image": "any", "command": ["sh", "-c", script], **(container or {})}
    pod: Obj = {"restartPolicy": "Never", "terminationGracePeriodSeconds": grace, "containers": [made]}
    pod["volumes"] = [{"name": mount["name"], "emptyDir": {}} for mount in made.get("volumeMounts", ())]
    api.create(
        JOBS, SPACE, {"metadata": {"name": name}, "spec": {"backoffLimit": 0, **spec, "template": {"spec": pod}}}
    )


def until(true: Callable[[], Any], seconds: float = 40.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not come true in time"
        threading.Event().wait(0.02)
    return found


def pods(api: Cluster, job: str) -> list[Obj]:
    return api.list_page(PODS, SPACE, f"job-name={job}")[0]


def ended(api: Cluster, job: str) -> Obj:
    """Return the terminated state of the only pod's container."""
    return dict(until(lambda: next((s for pod in pods(api, job) if (s := state(pod, "terminated"))), None)))


def state(pod: Obj, kind: str) -> Obj:
    return dict(pod.get("status", {}).get("containerStatuses", [{"state": {}}])[0]["state"].get(kind) or {})


def started(api: Cluster, job: str, running: DevCluster) -> Obj:
    """Return the pod once its process has said that it is ready."""
    return dict(until(lambda: next((pod for pod in pods(api, job) if says(api, pod, "ready")), None)))


def says(api: Cluster, pod: Obj, text: str) -> bool:
    if pod.get("status", {}).get("phase", "Pending") == "Pending":
        return False
    return text in api.pod_log(SPACE, pod["metadata"]["name"])


def reason(api: Cluster, job: str, kind: str) -> str:
    found = until(
        lambda: [c for c in api.get(JOBS, SPACE, job).get("status", {}).get("conditions", ()) if c["type"] == kind]
    )
    return str(found[0]["reason"])


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended but that nobody has waited for (Z) does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_success_is_reported_with_its_message(api: Cluster, name: str) -> None:
    start(api, name, "printf good > /dev/termination-log")
    assert reason(api, name, "Complete") == "CompletionsReached"
    found = ended(api, name)

    assert (found["exitCode"], found["reason"], found["message"]) == (0, "Completed", "good")


def test_an_exit_code_fails_the_job(api: Cluster, name: str) -> None:
    start(api, name, "exit 42")
    assert reason(api, name, "Failed") == "BackoffLimitExceeded"

    assert (ended(api, name)["exitCode"], ended(api, name)["reason"]) == (42, "Error")


def test_a_signal_is_128_and_its_number(api: Cluster, name: str) -> None:
    start(api, name, "kill -9 $$$$")

    assert ended(api, name)["exitCode"] == 137


def test_a_command_that_does_not_exist_fails_the_pod(api: Cluster, name: str) -> None:
    start(api, name, "", {"command": ["/no/such/program"]})

    assert (ended(api, name)["exitCode"], ended(api, name)["reason"]) == (127, "Error")


def test_a_termination_message_has_at_most_4096_bytes(api: Cluster, name: str) -> None:
    start(api, name, "head -c 5000 /dev/zero | tr '\\0' x > /dev/termination-log")

    assert ended(api, name)["message"] == "x" * 4096


def test_environment_and_mounts_reach_the_process(api: Cluster, name: str) -> None:
    mount = {"env": [{"name": "WHO", "value": "me"}], "volumeMounts": [{"name": "spool", "mountPath": "/var/spool/x"}]}
    start(api, name, "touch /var/spool/x/$WHO && ls /var/spool/x > /dev/termination-log", mount)

    assert ended(api, name)["message"] == "me\n"


def test_fluidctl_is_this_python(api: Cluster, name: str) -> None:
    start(api, name, "", {"command": ["fluidctl", "version"]})
    assert ended(api, name)["exitCode"] == 0

    assert api.pod_log(SPACE, pods(api, name)[0]["metadata"]["name"]).strip()


def test_logs_have_their_tail_their_limit_and_both_streams(api: Cluster, name: str) -> None:
    start(api, name, "for i in 1 2 3 4; do echo line $i; done; echo error >&2")
    ended(api, name)
    pod = pods(api, name)[0]["metadata"]["name"]

    assert api.pod_log(SPACE, pod, tail_lines=2) == "line 4\nerror\n"
    assert api.pod_log(SPACE, pod, tail_lines=2, limit_bytes=6) == "line 4"


def test_a_deleted_pod_gets_sigterm_and_its_last_words_are_kept(api: Cluster, name: str, running: DevCluster) -> None:
    start(api, name, "trap 'printf bye > /dev/termination-log; exit 7' TERM; echo ready; while :; do sleep 0.05; done")
    pod = started(api, name, running)
    _, version, _ = api.list_page(PODS, SPACE)
    api.delete(PODS, SPACE, pod["metadata"]["name"])
    seen = []
    for event in api.watch(PODS, SPACE, f"job-name={name}", version):
        seen.append(event["object"])
        if event["type"] == "DELETED":
            break

    last = state(seen[-1], "terminated")
    assert (last["exitCode"], last["message"], seen[-1]["status"]["phase"]) == (7, "bye", "Failed")
    assert reason(api, name, "Failed") == "BackoffLimitExceeded"


def test_a_pod_that_ignores_sigterm_is_killed_after_its_grace(api: Cluster, name: str, running: DevCluster) -> None:
    start(api, name, "trap '' TERM; echo $$$$ ready; while :; do sleep 0.05; done", grace=1)
    pod = started(api, name, running)
    pid = int(api.pod_log(SPACE, pod["metadata"]["name"]).split()[0])
    begin = time.monotonic()
    api.delete(JOBS, SPACE, name)
    until(lambda: not pods(api, name))

    assert time.monotonic() - begin > 0.9
    assert not is_alive(pid)


def test_a_suspended_job_loses_its_pod_and_gets_a_new_one_when_resumed(
    api: Cluster, name: str, running: DevCluster
) -> None:
    start(api, name, "echo ready; sleep 60")
    first = started(api, name, running)["metadata"]["uid"]
    api.merge_patch(JOBS, SPACE, name, {"spec": {"suspend": True}})
    until(lambda: not pods(api, name))
    api.merge_patch(JOBS, SPACE, name, {"spec": {"suspend": False}})
    second = started(api, name, running)["metadata"]["uid"]
    api.delete(JOBS, SPACE, name)

    assert first != second
    until(lambda: not pods(api, name))


def test_an_evicted_pod_is_replaced_and_costs_the_job_nothing(api: Cluster, name: str, running: DevCluster) -> None:
    start(api, name, "echo ready; sleep 60", **IGNORE)
    first = started(api, name, running)
    evict(api, first)
    second = until(lambda: [pod for pod in pods(api, name) if pod["metadata"]["uid"] != first["metadata"]["uid"]])

    assert len(second) == 1
    assert not api.get(JOBS, SPACE, name)["status"].get("failed")
    api.delete(JOBS, SPACE, name)


def test_a_missing_image_keeps_the_pod_pending_with_its_reason_until_it_is_deleted(api: Cluster, name: str) -> None:
    start(api, name, "true", {"image": "missing/it"})
    pod = until(lambda: next((pod for pod in pods(api, name) if state(pod, "waiting")), None))
    assert (pod["status"]["phase"], state(pod, "waiting")["reason"]) == ("Pending", "ImagePullBackOff")
    api.delete(JOBS, SPACE, name)

    until(lambda: not pods(api, name))


def test_a_pod_that_wants_another_node_stays_unbound(api: Cluster, name: str) -> None:
    pod = {"nodeSelector": {"no": "such"}, "containers": [{"name": "a", "image": "b", "command": ["true"]}]}
    api.create(PODS, SPACE, {"metadata": {"name": name}, "spec": pod})
    start(api, f"{name}-later", "true")
    ended(api, f"{name}-later")

    assert "nodeName" not in api.get(PODS, SPACE, name)["spec"]
    api.delete(PODS, SPACE, name)


def test_children_left_behind_by_a_process_go_with_it(api: Cluster, name: str) -> None:
    start(api, name, "sleep 60 & printf $! > /dev/termination-log")

    pid = int(ended(api, name)["message"])
    until(lambda: not is_alive(pid))


def test_nothing_that_was_started_outlives_the_cluster(tmp_path: Path) -> None:
    with DevCluster(None, [], tmp_path) as cluster:
        script = "trap '' TERM; echo $$$$ ready; while :; do sleep 0.05; done"
        start(cluster.cluster, "sleeper", script, grace=3600)
        pod = started(cluster.cluster, "sleeper", cluster)
        pid = int(cluster.cluster.pod_log(SPACE, pod["metadata"]["name"]).split()[0])
        assert is_alive(pid)

    assert not is_alive(pid)
