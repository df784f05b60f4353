"""What is gathered for a Dataset with an Alluxio of its own: its runtime, the backup it starts from, whom to ask."""

from typing import Any

import pytest

from controllers.config import ControllerConfig
from controllers.dataset import Observed
from controllers.jobs import DATASET_UID as DATASET_LABEL
from controllers.jobs import RUNTIME_UID, STEP
from controllers.kube.resources import EVENTS
from controllers.observe import Observer
from controllers.runtime import children
from controllers.runtime.properties import MASTER
from controllers.runtime.view import ROLE
from controllers.stores import Stores
from tests.runtime_kit import DATASET_UID, NOW, UID, pod, seen

META = {"namespace": "ml", "name": "imagenet", "resourceVersion": "1"}
OLD = "2020-01-01T00:00:00Z"
MOUNTS = [{"mountPoint": "s3://bucket/x", "path": "/x"}]


class Cluster:
    """A cluster of which only events can be asked."""

    in_cluster = True

    def __init__(self) -> None:
        self.asked: list[str] = []

    def list_page(self, resource: Any, namespace: str, *, field_selector: str, limit: int) -> Any:
        assert (resource, namespace) == (EVENTS, "ml")
        self.asked.append(field_selector)
        return [{"reason": "FailedMount", "note": 'secret "aws" not found'}], "1", ""


class World:
    """The stores around one Dataset, and what is seen of it."""

    def __init__(self, **spec: Any) -> None:
        self.stores, self.cluster = Stores.of(()), Cluster()
        self.obj = {"kind": "Dataset", "metadata": {**META, "uid": DATASET_UID}, "spec": {"mounts": MOUNTS, **spec}}

    def runtime(self, *, ready: bool, namespace: str = "ml", **meta: Any) -> None:
        about = {**META, "namespace": namespace, "uid": UID, **meta}
        self.stores.runtimes.upsert({"kind": "AlluxioRuntime", "metadata": about, "spec": {"replicas": 1}})
        masters = children.stateful_set(seen(), MASTER, 1)
        masters["metadata"] |= {"uid": "u-masters", "resourceVersion": "1"}
        self.stores.statefulsets.upsert({**masters, "status": {"observedGeneration": 1, "replicas": 1}})
        made = pod(MASTER, ready=ready)
        made["metadata"] |= {**META, "name": made["metadata"]["name"], "uid": "u", "namespace": namespace}
        made["metadata"]["labels"] = {ROLE: MASTER, RUNTIME_UID: UID}
        self.stores.pods.upsert(made)

    def look(self) -> Observed:
        none: Any = lambda *_: None  # noqa: E731
        observer = Observer(
            self.stores,
            self.cluster,  # type: ignore[arg-type]
            ControllerConfig(),
            now=lambda: NOW,
            snapshot=none,
            line=lambda _: "",
            follow=none,
        )
        return observer.dataset(self.obj, None)


def test_without_a_runtime_of_its_name_it_is_told_to_make_one() -> None:
    world = World()
    world.runtime(ready=True, namespace="other")
    found = world.look()

    assert (found.spec, found.spec_error and found.spec_error.reason) == (None, "RuntimeMissing")


def test_a_runtime_of_an_earlier_dataset_of_this_name_is_none() -> None:
    world = World()
    world.runtime(ready=True, ownerReferences=[{"kind": "Dataset", "name": "imagenet", "uid": "the one before"}])

    assert world.look().spec is None


@pytest.mark.parametrize("ready", [True, False])
def test_its_masters_are_those_of_its_runtime_and_are_asked_only_when_they_serve(ready: bool) -> None:
    """One that does not is known not to; the poller would wait longer and longer between two questions."""
    world = World()
    world.runtime(ready=ready)
    found = world.look()

    assert (found.masters, found.path) == (("imagenet-master-0.ml.svc:19998",), "/dataset")
    assert found.runtime.master_ready is ready
    assert (found.alluxio is not None) is ready
    assert found.master.reachable is (None if ready else False)
    assert found.volume == found.claim


def test_a_dataset_at_an_alluxio_that_exists_asks_that_one_whatever_runtime_has_its_name() -> None:
    world = World(alluxio={"masters": ["a:19998"]})
    world.runtime(ready=False)
    found = world.look()

    assert (found.masters, found.master.reason) == (("a:19998",), "NotPolled")
    assert found.alluxio is not None
    assert found.alluxio.masters == ("a.ml.svc:19998",)


@pytest.mark.parametrize(("namespace", "known"), [("ml", True), ("other", False)])
def test_the_backup_that_it_names_is_that_of_its_own_namespace(namespace: str, known: bool) -> None:
    world = World(dataRestoreLocation={"backupName": "monday"})
    world.runtime(ready=False)
    meta = {"name": "monday", "namespace": namespace, "uid": "b", "resourceVersion": "1"}
    world.stores.backups.upsert({"kind": "DataBackup", "metadata": meta, "spec": {}, "status": {"phase": "Executing"}})
    found = world.look().backup

    assert (found is not None and found.phase == "Executing") is known


def test_why_a_pod_waits_for_its_volumes_is_read_from_its_events() -> None:
    """A Secret that does not exist is nowhere else."""
    world = World()
    world.runtime(ready=True)
    labels = {DATASET_LABEL: DATASET_UID, STEP: "mount"}
    owner = [{"uid": DATASET_UID}]
    job = {**META, "name": "j", "uid": "u-job", "labels": labels, "ownerReferences": owner, "creationTimestamp": OLD}
    world.stores.jobs.upsert({"metadata": job, "spec": {}, "status": {"startTime": OLD}})
    waits = {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}
    about = {**META, "name": "p", "uid": "u-p", "labels": labels, "ownerReferences": [{"uid": "u-job"}]}
    world.stores.pods.upsert({"metadata": {**about, "creationTimestamp": OLD}, "spec": {}, "status": waits})
    (found,) = world.look().jobs

    assert world.cluster.asked == ["regarding.name=p,type=Warning"]
    assert found.waiting == 'FailedMount: secret "aws" not found'
