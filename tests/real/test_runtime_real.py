"""An AlluxioRuntime on the real control plane, with a real Alluxio in its pods: scaling, edits, trouble, deletion."""

from collections.abc import Iterator
from typing import Any

import pytest

from controllers.api.conditions import ACCEPTED, READY
from controllers.kube.errors import NotFound
from controllers.kube.resources import ALLUXIORUNTIMES, DATASETS, PERSISTENTVOLUMECLAIMS, PODS, STATEFULSETS
from tests.real.managed import Managed
from tests.world import Obj, condition

NAME, MASTER, WORKER = "alone", "alone-master-0", "alone-worker-0"
FEW = {"d/a": 1, "d/b": 2, "c": 3}


@pytest.fixture(scope="module")
def stage(real_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    with Managed(tmp_path_factory.mktemp("stage")) as made:
        made.store.fill("one", FEW)
        made.start_controller()
        yield made


def runtime(stage: Managed, name: str = NAME, **spec: Any) -> None:
    """Create an AlluxioRuntime, and the Dataset of its name over one bucket."""
    tiers = {"levels": [{"mediumtype": "SSD", "path": "/cache", "quota": "64Mi"}]}
    given = {"replicas": 1, "tieredstore": tiers, "jvmOptions": ["-Xmx300m"], **spec}
    stage.cluster.create(ALLUXIORUNTIMES, "default", {"metadata": {"name": name}, "spec": given})
    stage.apply(name, {"mounts": [stage.mount("one", "/one")]})


def edit(stage: Managed, spec: Obj) -> None:
    stage.cluster.merge_patch(ALLUXIORUNTIMES, "default", NAME, {"spec": spec})


def uid(stage: Managed, pod: str) -> str:
    found = stage.seen(PODS, pod, is_ready)
    return str(found["metadata"]["uid"])


def is_ready(pod: Obj) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def has(kind: str, reason: str) -> Any:
    return lambda obj: condition(obj, kind).get("reason") == reason


def test_workers_and_properties_are_edited_and_all_goes_with_the_dataset(stage: Managed) -> None:
    """One story, because a master takes seconds to start: each step begins where the one before has ended."""
    runtime(stage)
    ready = stage.seen(ALLUXIORUNTIMES, NAME, has(READY, "Ready"), 120)
    assert (ready["status"]["masterPhase"], ready["status"]["workerPhase"]) == ("Ready", "Ready")
    assert ready["status"]["setupDuration"].endswith("s")
    stage.ready(NAME, 120)
    before = {pod: uid(stage, pod) for pod in (MASTER, WORKER)}

    edit(stage, {"replicas": 2})
    stage.seen(ALLUXIORUNTIMES, NAME, lambda obj: obj["status"].get("workerNumberReady") == 2, 120)
    assert {pod: uid(stage, pod) for pod in (MASTER, WORKER)} == before

    edit(stage, {"replicas": 1, "master": {"properties": {"alluxio.master.update.check.enabled": "false"}}})
    stage.seen(PODS, MASTER, lambda pod: pod["metadata"]["uid"] != before[MASTER] and is_ready(pod), 120)
    assert uid(stage, WORKER) == before[WORKER]
    assert stage.listing(NAME) == {f"/one/{key}": size for key, size in FEW.items()}, "the journal kept it"

    stage.cluster.delete(ALLUXIORUNTIMES, "default", NAME)
    stage.seen(ALLUXIORUNTIMES, NAME, has(READY, "WaitingForDatasetDeletion"))
    assert uid(stage, WORKER) == before[WORKER]
    stage.cluster.delete(DATASETS, "default", NAME)
    stage.eyes.until(lambda: gone(stage), 120, lambda: stage.told(NAME))


def gone(stage: Managed) -> bool:
    """Whether nothing is left, the claim of the journal included."""
    names = [
        o["metadata"]["name"] for kind in (ALLUXIORUNTIMES, DATASETS, STATEFULSETS, PODS) for o in stage.eyes.all(kind)
    ]
    try:
        stage.cluster.get(PERSISTENTVOLUMECLAIMS, "default", f"{NAME}-master-0-journal")
    except NotFound:
        return not any(name.startswith(NAME) for name in names)
    return False


def test_a_master_that_cannot_run_is_reported_on_its_dataset_and_a_corrected_one_replaces_it(stage: Managed) -> None:
    runtime(stage, "sick", master={"jvmOptions": ["-XX:NoSuchOption"]}, fuse={"cleanPolicy": "OnDemand"})
    found = stage.seen(ALLUXIORUNTIMES, "sick", has(READY, "MasterCrashLooping"), 120)
    assert "kubectl logs sick-master-0 -c master" in condition(found, READY)["message"]
    assert condition(found, ACCEPTED)["reason"] == "UnservedFields"
    assert (
        "kubectl logs"
        in stage.until("sick", READY, "False", "MasterCrashLooping", seconds=120)["status"]["conditions"].__repr__()
    )

    stage.cluster.merge_patch(ALLUXIORUNTIMES, "default", "sick", {"spec": {"master": {"jvmOptions": []}}})
    stage.ready("sick", 120)
