"""What is gathered for an AlluxioRuntime: whose children count, and what only an event of Kubernetes says."""

from typing import Any

import pytest

from controllers.config import ControllerConfig
from controllers.jobs import RUNTIME_UID
from controllers.kube.errors import Forbidden
from controllers.kube.resources import EVENTS
from controllers.observe_runtime import RuntimeHandler
from controllers.runtime import children
from controllers.runtime.properties import MASTER
from controllers.runtime.view import ROLE
from controllers.stores import Stores
from tests.runtime_kit import DATASET_UID, NOW, SAMPLES, UID, pod, seen

OLD = "2020-01-01T00:00:00Z"
RUNTIME: dict[str, Any] = {
    "apiVersion": "data.fluid.io/v1alpha1",
    "kind": "AlluxioRuntime",
    "metadata": {"namespace": "ml", "name": "imagenet", "uid": UID, "resourceVersion": "1"},
    "spec": SAMPLES["properties"],
}


class Events:
    """A cluster that has only events, and remembers what it was asked."""

    def __init__(self, *notes: str, denied: bool = False) -> None:
        self.notes, self.denied, self.asked = notes, denied, []  # type: ignore[var-annotated]

    def list_page(self, resource: Any, namespace: str, *, field_selector: str, limit: int) -> Any:
        assert resource == EVENTS
        self.asked.append(field_selector)
        if self.denied:
            raise Forbidden(403, "Forbidden", "events are forbidden")
        return [{"reason": "FailedCreate", "note": note} for note in self.notes], "1", ""


def stores(*pods: dict[str, Any], dataset: dict[str, Any] | None = None) -> Stores:
    """Return the stores with the runtime, its masters' StatefulSet, an old one, and these pods."""
    made = Stores.of(())
    masters = children.stateful_set(seen(), MASTER, 1)
    masters["metadata"] |= {"uid": "u-masters", "creationTimestamp": OLD, "resourceVersion": "1"}
    made.statefulsets.upsert(masters)
    spec = {"mounts": [{"mountPoint": "s3://b/x", "path": "/x"}], **(dataset or {})}
    about = {"namespace": "ml", "name": "imagenet", "uid": DATASET_UID, "resourceVersion": "1"}
    made.datasets.upsert({"kind": "Dataset", "metadata": about, "spec": spec})
    for each in pods:
        made.pods.upsert({**each, "metadata": {"resourceVersion": "1", **each["metadata"]}})
    return made


def handler(found: Stores, cluster: Events) -> RuntimeHandler:
    return RuntimeHandler(found, cluster, ControllerConfig(), now=lambda: NOW, token=lambda: "t")  # type: ignore[arg-type]


def ours(**changes: Any) -> dict[str, Any]:
    made = pod(MASTER, **changes)
    made["metadata"] |= {"uid": "u-pod", "creationTimestamp": OLD, "labels": {ROLE: MASTER, RUNTIME_UID: UID}}
    return made


CREATING = {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}


@pytest.mark.parametrize(
    ("pods", "asked"),
    [
        ((), ["regarding.uid=u-masters,type=Warning"]),
        ((ours(ready=False, **CREATING),), ["regarding.uid=u-pod,type=Warning"]),
        ((ours(),), []),
    ],
)
def test_events_are_asked_for_only_where_a_pod_or_its_containers_are_missing(
    pods: tuple[dict[str, Any], ...], asked: list[str]
) -> None:
    cluster = Events("exceeded quota")
    found = handler(stores(*pods), cluster).seen(RUNTIME, None)
    assert cluster.asked == asked
    assert found.refused_master == ("FailedCreate: exceeded quota" if asked else "")


def test_who_may_not_read_events_says_so_and_goes_on() -> None:
    status, decision = handler(stores(), Events(denied=True)).decide(RUNTIME, None)
    assert decision.children
    assert "cannot be read: events are forbidden" in repr(decision.status)
    assert status.observed_generation == 0


def test_labels_that_somebody_forged_in_another_namespace_count_for_nothing() -> None:
    forged = ours()
    forged["metadata"]["namespace"] = "evil"
    assert handler(stores(forged), Events()).seen(RUNTIME, None).pods == ()


def test_a_property_that_has_no_effect_is_named() -> None:
    found = handler(stores(), Events()).seen(RUNTIME, None)
    assert "spec.properties[alluxio.master.journal.folder]" in found.unserved
    assert "spec.fuse" in found.unserved


def test_a_dataset_at_another_alluxio_needs_none_of_its_name() -> None:
    existing = {"alluxio": {"masters": ["a:19998"]}}
    assert handler(stores(dataset=existing), Events()).seen(RUNTIME, None).dataset is None
    found = handler(stores(), Events()).seen(RUNTIME, None).dataset
    assert found is not None
    assert (found.uid, found.directories) == (DATASET_UID, ("/dataset",))
