"""The whole product on a real API server, a real Job controller and a real Alluxio: what a user does and then sees."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from controllers.api.result import Totals
from controllers.jobs import job_name
from controllers.kube.resources import DATASETS, JOBS, LEASES, PERSISTENTVOLUMECLAIMS, PODS
from tests.load_kit import make, odd_tree, truth
from tests.real.flow import Flow, says
from tests.real.process import Process
from tests.real.stack import SERVICE_ACCOUNT, SYSTEM_NAMESPACE, Stack
from tests.world import Obj, condition

SAMPLES = Path(__file__).parent.parent.parent / "manifests" / "samples"
#: The first test pays for a cold JVM; a busy machine is ten times slower than a quiet one.
SECONDS = 90.0


@pytest.fixture(scope="module")
def running(real_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    """One stage for all tests of this file."""
    with (
        Stack(tmp_path_factory.mktemp("storage"), tmp_path_factory.mktemp("work")) as stack,
        closing(Flow(stack)) as made,
    ):
        yield made


@pytest.fixture
def flow(running: Flow) -> Iterator[Flow]:
    """The stage, with a controller and with an Alluxio that moves, before and after each test."""
    yield running
    running.thaw()


# --- the good way -----------------------------------------------------------------------------------------------------


def test_from_pending_to_ready_with_the_counts_of_os_walk(flow: Flow) -> None:
    """Deep, wide, empty and oddly named entries; phases in order; a bound claim; the cache of a real worker."""
    odd_tree(flow.data / "odd")
    make(flow.data / "odd", [f"flat/{number}" for number in range(2_000)])
    flow.make("odd")

    found = flow.ready("odd", SECONDS)

    status, expected = found["status"], truth(flow.data / "odd")
    assert counted(found) == expected
    assert (status["fileCount"], status["ufsTotalBytes"]) == (expected.files, expected.bytes)
    assert status["size"]["proved"] is True
    assert flow.eyes.phases["odd"] == ["Pending", "LoadingMetadata", "Sizing", "Ready"]
    claim = flow.cluster.get(PERSISTENTVOLUMECLAIMS, "default", "odd")
    assert (claim["status"]["phase"], claim["spec"]["volumeName"]) == ("Bound", f"dataset-{found['metadata']['uid']}")
    assert (status["cache"]["workers"], status["cache"]["capacityBytes"]) == (1, 256 << 20)
    flow.eyes.until(lambda: not any(kind in left for left in flow.children("odd") for kind in ("Job", "Pod")))


def test_the_controller_is_nobody_but_its_service_account(flow: Flow) -> None:
    """The token that it was given is that of manifests/, and the server says so."""
    (kubeconfig,) = (flag for flag in flow.stack.controller_flags() if flag.startswith("--kubeconfig="))
    whoami = flow.kubectl(kubeconfig, "auth", "whoami", "--output=jsonpath={.status.userInfo.username}")
    assert whoami == f"system:serviceaccount:{SYSTEM_NAMESPACE}:{SERVICE_ACCOUNT}"


@pytest.mark.parametrize("bad", ["dangling", "latin"])
def test_what_alluxio_cannot_list_is_named_until_it_is_mended(flow: Flow, bad: str) -> None:
    """Never Ready; status, condition and event name the directory; mended and asked again, it gets Ready."""
    make(flow.data / bad, ["good/1", "broken/1", "broken/2"])
    entry = flow.data / bad / "broken" / ("link" if bad == "dangling" else os.fsdecode(b"caf\xe9"))
    entry.symlink_to("nowhere") if bad == "dangling" else entry.touch()
    flow.make(bad, load={"maxAttempts": 1})

    found = flow.until(bad, "Stalled", "True", "Incomplete", f"/{bad}/broken", SECONDS)

    assert found["status"]["phase"] == "Failed"
    assert found["status"]["load"]["failedDirectories"] == [f"/{bad}/broken"]
    assert "Ready" not in flow.eyes.phases[bad]
    flow.eyes.until(lambda: f"/{bad}/broken" in flow.kubectl("events", f"--for=dataset/{bad}", "--types=Warning"))

    entry.unlink()
    flow.kubectl("annotate", "dataset", bad, "data.fluid.io/retry-requested-at=now")

    assert counted(flow.ready(bad, SECONDS)) == truth(flow.data / bad)


def test_kubectl_tells_the_whole_story(flow: Flow) -> None:
    """explain, apply, get -w, wait, get, describe, events: every word that a person needs is there."""
    make(flow.data / "told", ["a/1", "a/2", "b/3"])
    assert "parallelism" in flow.kubectl("explain", "dataset.spec.load")
    manifest = {"apiVersion": "data.fluid.io/v1alpha1", "kind": "Dataset", "metadata": {"name": "told"}}
    with flow.watching("get", "datasets") as watch:
        for spec in (flow.spec("/told", suspend=True), flow.spec("/told")):
            flow.kubectl("apply", "--filename=-", stdin=json.dumps(manifest | {"spec": spec}))
            watch.wait_ready(lambda: "told " in watch.log.read_text(), 60)  # from here on it misses nothing
        flow.kubectl("wait", "dataset/told", "--for=condition=Ready", "--timeout=90s", seconds=100)
        watch.wait_ready(lambda: "Ready" in phases(watch), 60)
    assert phases(watch)[-3:] == ["LoadingMetadata", "Sizing", "Ready"]
    header, row = flow.kubectl("get", "datasets", "told").splitlines()
    assert header.split() == ["NAME", "PHASE", "FILES", "SIZE", "CACHED", "PROGRESS", "AGE"]
    assert row.split()[:5] == ["told", "Ready", "3", "3.00B", "0.0%"]
    described = flow.kubectl("describe", "dataset", "told")
    for word in (
        "Accepted",
        "MasterReachable",
        "MetadataLoaded",
        "Sized",
        "Available",
        "Loaded",
        "Counted",
        "Published",
    ):
        assert re.search(rf"(Type|Reason): +{word}\n", described), described
    for reason in ("LoadingMetadata", "Sizing", "Ready"):
        assert re.search(rf"Normal +{reason} .* data.fluid.io/fluidctl ", described), described


def phases(watch: Process) -> list[str]:
    """Return the phases that ``kubectl get datasets --watch`` has printed of "told", each once."""
    return list(dict.fromkeys(re.findall(r"^told +([A-Z]\w+)", watch.log.read_text(), re.MULTILINE)))


def test_fluidctl_tells_it_too(flow: Flow, tmp_path: Path) -> None:
    """``fluidctl wait`` and ``fluidctl get`` from a laptop, with nothing but a kubeconfig."""
    make(flow.data / "cli", ["a/1"])
    flow.make("cli")

    waited = fluidctl(flow, "wait", "cli", "--timeout=90s")
    shown = fluidctl(flow, "get", "cli")

    assert waited.splitlines()[-1].split()[1:] == ["Phase", "Ready"] or "Ready=True Ready" in waited, waited
    assert re.search(r"^Phase: +Ready", shown, re.MULTILINE), shown
    assert "cli" in fluidctl(flow, "get")


def fluidctl(flow: Flow, *arguments: str) -> str:
    """Run fluidctl as the administrator and return its stdout."""
    command = [sys.executable, "-m", "fluidctl", *arguments]
    environment = flow.stack.control_plane.environment()
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=100).stdout


def test_the_loader_of_alluxio_itself(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod runs ``alluxio fs loadMetadata``; that proves nothing, says MetadataLoaded, and our count proves it."""
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{flow.stack.alluxio.executable.parent}")
    make(flow.data / "byhand", ["a/1", "a b/2"])
    flow.make("byhand", load={"loader": "AlluxioCLI"})

    flow.until("byhand", "MetadataLoaded", "True", "LoadedUnverified", seconds=SECONDS)

    assert counted(flow.ready("byhand", SECONDS)) == truth(flow.data / "byhand")


# --- what a person can get wrong --------------------------------------------------------------------------------------


def test_wrong_input_is_said_in_the_words_of_the_real_master(flow: Flow) -> None:
    """Missing path, a file, the web port, a mount that it has not: each fails at once and for good, and says why."""
    make(flow.data / "wrong", ["file"])
    alluxio = flow.stack.alluxio
    web = {"masters": [f"127.0.0.1:{alluxio.web_port}"], "datasetPath": "/wrong"}
    mounts = [{"mountPoint": "s3://other/bucket", "path": "/"}]
    flow.apply("nowhere", flow.spec("/no where"))
    flow.apply("a-file", flow.spec("/wrong/file"))
    flow.apply("web-port", {"mounts": [], "alluxio": web})
    flow.apply("no-mount", flow.spec("/wrong", mounts=mounts))

    for name, reason, words in (
        ("nowhere", "PathNotFound", "/no where"),
        ("a-file", "NotADirectory", "/wrong/file"),
        ("web-port", "NotGrpc", "19998"),
        ("no-mount", "MountMissing", "s3://other/bucket"),
    ):
        status = flow.until(name, "Stalled", "True", reason, words, SECONDS)["status"]
        assert (status["phase"], status["load"]["failures"]) == ("Failed", 1), name


def test_a_dataset_of_fluid_is_read_and_says_what_is_not_served(flow: Flow) -> None:
    """Its sample applies as it is, with its runtime and without; the fields that are not served are named."""
    (sample, runtime) = yaml.safe_load_all((SAMPLES / "fluid.yaml").read_text())
    flow.kubectl("apply", "--filename=-", stdin=yaml.safe_dump(sample))
    flow.until("mirror", "Accepted", "False", "RuntimeMissing", "spec.alluxio.masters", SECONDS)
    flow.kubectl("apply", "--filename=-", stdin=yaml.safe_dump(runtime))
    flow.until("mirror", "Accepted", "True", "UnservedFields", "spec.dataRestoreLocation.nodeName", SECONDS)

    sample["metadata"]["name"] = "mirrored"
    del sample["spec"]["dataRestoreLocation"]
    sample["spec"] |= flow.spec("/mirror") | {"mounts": sample["spec"]["mounts"]}
    flow.kubectl("apply", "--filename=-", stdin=yaml.safe_dump(sample))
    found = flow.until("mirrored", "Accepted", "True", "UnservedFields", "spec.placement", SECONDS)
    flow.until("mirrored", "Stalled", "True", "MountMissing", "https://mirror.example.org/apache/spark", SECONDS)

    assert "spec.tolerations" in condition(found, "Accepted")["message"]
    flow.cluster.delete(DATASETS, "default", "mirror")
    flow.gone("mirror")


# --- what happens in the middle ---------------------------------------------------------------------------------------


def over(flow: Flow, pod: Obj) -> None:
    """Wait until a pod is gone: it can no more end well."""
    flow.eyes.until(lambda: pod["metadata"]["uid"] not in [p["metadata"]["uid"] for p in flow.eyes.all(PODS)], SECONDS)


def test_a_job_deleted_by_hand_is_made_again(flow: Flow) -> None:
    """Same name, another uid, no failure counted; exact in the end."""
    pod = flow.half_way("jobless")
    job = pod["metadata"]["labels"]["job-name"]

    flow.kubectl("delete", "job", job, "--wait=false")
    over(flow, pod)
    flow.thaw()

    check(flow, "jobless", loads=2)
    assert {line.split()[0] for line in jobs(flow, "jobless", "load")} == {job}


def test_a_pod_deleted_by_hand_costs_no_attempt(flow: Flow) -> None:
    """``kubectl delete pod`` in mid-load."""
    pod = flow.half_way("podless")

    flow.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
    over(flow, pod)
    flow.thaw()

    check(flow, "podless", loads=2)


def test_a_dataset_deleted_in_mid_load_leaves_nothing(flow: Flow) -> None:
    """No Job, no pod, no volume, no claim, no finalizer, even while Alluxio stands still."""
    flow.half_way("short-lived")

    flow.kubectl("delete", "dataset", "short-lived", "--timeout=60s", seconds=70)

    flow.gone("short-lived")


def test_a_namespace_deleted_in_mid_load_is_gone(flow: Flow) -> None:
    """Nothing of ours blocks it, not even while Alluxio stands still."""
    flow.kubectl("create", "namespace", "team")
    flow.half_way("of-a-team", "team")

    flow.kubectl("delete", "namespace", "team", "--timeout=90s", seconds=100)

    flow.gone("of-a-team")


def test_jobs_and_claims_of_others_are_left_alone(flow: Flow) -> None:
    """Each is named; both are as they were, also after the Dataset is gone."""
    make(flow.data / "foreign", ["file"])
    made = flow.make("foreign", suspend=True)
    name = job_name("foreign", made["metadata"]["uid"], "load", 1, 1)
    job = flow.cluster.create(JOBS, "default", foreign_job(name))
    claim_spec = {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "1Gi"}}}
    claim_body = {"metadata": {"name": "foreign", "namespace": "default"}, "spec": claim_spec}
    claim = flow.cluster.create(PERSISTENTVOLUMECLAIMS, "default", claim_body)

    flow.cluster.merge_patch(DATASETS, "default", "foreign", {"spec": {"suspend": False}})
    flow.until("foreign", "Ready", "False", "JobConflict", name, SECONDS)
    assert flow.cluster.get(JOBS, "default", name)["metadata"]["uid"] == job["metadata"]["uid"]
    flow.cluster.delete(JOBS, "default", name)
    flow.until("foreign", "Available", "False", "ClaimConflict", seconds=SECONDS)
    assert not any("Volume" in left for left in flow.children("foreign"))  # it would be bound to that claim
    flow.cluster.delete(DATASETS, "default", "foreign")
    flow.gone("foreign")

    left = flow.cluster.get(PERSISTENTVOLUMECLAIMS, "default", "foreign")
    assert left["metadata"]["uid"] == claim["metadata"]["uid"]
    assert (left["status"]["phase"], left["metadata"].get("deletionTimestamp")) == ("Pending", None)


def foreign_job(name: str) -> Obj:
    """A Job of somebody else that does nothing."""
    container = {"name": "x", "image": "x", "command": ["true"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"suspend": True, "template": template}}


# --- the master -------------------------------------------------------------------------------------------------------


def test_a_master_killed_in_mid_load_costs_only_time(flow: Flow) -> None:
    """SIGKILL and restart on its journal: exact in the end."""
    flow.half_way("survivor")

    flow.stack.alluxio.kill()
    flow.stack.alluxio.restart()

    check(flow, "survivor")


def test_a_master_that_is_not_there_yet_is_waited_for(flow: Flow) -> None:
    """Refused connections start no Job and burn no attempt; when it comes, the dataset gets Ready."""
    make(flow.data / "early", ["file"])
    make(flow.data / "before", ["file"])
    flow.make("before")
    flow.ready("before", SECONDS)
    flow.stack.alluxio.kill()
    try:
        flow.until("before", "Ready", "False", "MasterUnreachable", seconds=SECONDS)
        flow.make("early")
        flow.until("early", "Ready", "False", "MasterUnreachable", flow.stack.alluxio.rpc_address, SECONDS)
        flow.until("early", "MasterReachable", "False", "Unreachable", seconds=SECONDS)
        assert not flow.children("early")
    finally:
        flow.stack.alluxio.restart()

    check(flow, "early")
    flow.ready("before", SECONDS)


# --- the controller ---------------------------------------------------------------------------------------------------


def test_a_controller_killed_in_mid_load_is_succeeded_by_one_that_finds_its_job(flow: Flow) -> None:
    """SIGKILL: nothing is released; the next one leads when the Lease has run out. One Job of each step, one uid."""
    flow.half_way("orphan")

    flow.controllers.pop().kill()
    flow.controllers.append(flow.controller())
    says(flow.controllers[-1], "leading")
    flow.thaw()

    check(flow, "orphan")


def test_the_leader_hands_over_when_it_is_told_to_end(flow: Flow) -> None:
    """SIGTERM gives the Lease up, so that the one that stands by need not wait for its end."""
    second = flow.controller()
    flow.half_way("relay")

    first = flow.controllers.pop()
    flow.controllers.append(second)
    first.stop(40)
    says(second, "leading", 10)  # the Lease alone would take 15 s
    flow.thaw()

    check(flow, "relay")


def test_a_controller_on_a_laptop_stands_by_and_says_who_leads(flow: Flow) -> None:
    """As the administrator, beside the leader of the cluster: it names the holder of the Lease and does nothing."""
    lease = flow.cluster.get(LEASES, SYSTEM_NAMESPACE, "fluidctl")

    laptop = flow.controller(f"--kubeconfig={flow.stack.control_plane.kubeconfig}")
    says(laptop, lease["spec"]["holderIdentity"])

    assert "leading" not in laptop.log.read_text()
    laptop.stop()


def test_the_rights_of_manifests_sufficed(flow: Flow) -> None:
    """After all of this the API server has denied the service account nothing, and no controller met a bug."""
    denied = [
        entry
        for entry in flow.stack.control_plane.audit()
        if SERVICE_ACCOUNT in entry["user"]["username"]
        and entry["annotations"]["authorization.k8s.io/decision"] == "forbid"
    ]
    assert not denied
    logs = [log.read_text() for log in flow.stack.work.glob("controller-*.log")]
    assert not [line for log in logs for line in log.splitlines() if "forbidden: User" in line or "Traceback" in line]


def jobs(flow: Flow, name: str, step: str) -> list[str]:
    """Return name and uid of every Job that a step of this Dataset ever had."""
    return [line for line in flow.eyes.jobs_seen.copy() if re.match(rf"{name}-[0-9a-f]{{5}}-{step}-", line)]


def check(flow: Flow, name: str, loads: int = 1) -> None:
    """Wait for Ready; the counts are exact, so many load Jobs were made, one count, and no failure was charged."""
    found = flow.ready(name, SECONDS)
    assert counted(found) == truth(flow.data / name)
    assert (len(jobs(flow, name, "load")), len(jobs(flow, name, "size"))) == (loads, 1)
    assert found["status"]["load"].get("failures", 0) == 0


def counted(found: Obj) -> Totals:
    """Return what the status says."""
    size = found["status"]["size"]
    return Totals(*(size.get(name, 0) for name in ("files", "directories", "bytes")))  # a status leaves zeros out
