"""Anybody may create Jobs and pods with our labels: what stands in them must not hold up the Jobs of others."""

from typing import Any

import pytest

from controllers.admission import plan
from controllers.config import ControllerConfig
from controllers.jobs import BACKUP, BACKUP_UID, DATASET, DATASET_UID, MASTERS, PATH
from controllers.kube.errors import Forbidden
from controllers.observe import Observer
from controllers.stores import Stores
from controllers.turns import candidates
from tests.builders import NOW


def job(name: str, *, masters: str = '["m:19998"]', suspend: bool = True, **meta: Any) -> dict[str, Any]:
    """A Job of the Dataset "d", as the API server shows it."""
    return {
        "metadata": {
            "namespace": "default",
            "name": name,
            "uid": f"uid-{name}",
            "resourceVersion": "1",
            "labels": {DATASET: "d", DATASET_UID: "uid-d"},
            "annotations": {MASTERS: masters, PATH: "/"},
            "ownerReferences": [{"kind": "Dataset", "name": "d", "uid": "uid-d"}],
            **meta,
        },
        "spec": {"suspend": suspend},
        "status": {},
    }


def stores(jobs: tuple[dict[str, Any], ...]) -> Stores:
    """Return the stores that have these Jobs and nothing else."""
    found = Stores.of(())
    found.jobs.replace(jobs, "1")
    return found


def observer(jobs: tuple[dict[str, Any], ...], cluster: Any = None) -> Observer:
    """Return an observer of these Jobs and of nothing else."""
    return Observer(
        stores(jobs),
        cluster,
        ControllerConfig(),
        now=lambda: NOW,
        snapshot=lambda address: None,
        line=lambda name: "",
        follow=lambda key, seen: None,
    )


def in_line(*jobs: dict[str, Any]) -> set[str]:
    """Return the names of the Jobs that count for admission."""
    return {candidate.name.removeprefix("default/") for candidate in candidates(stores(jobs), NOW)}


def test_who_waits_for_a_backup_reads_which_one_it_is() -> None:
    """Its Job is the backup's by both label and owner; the pods of masters and workers are nobody's turn."""
    owner = {"kind": "DataBackup", "name": "b", "uid": "uid-b"}
    labels = {BACKUP: "b", BACKUP_UID: "uid-b"}
    take = job("take", suspend=False, labels=labels, ownerReferences=[owner])
    load = job("load", creationTimestamp="2026-01-01T00:00:00Z")
    forged = job("forged", labels={**labels, BACKUP_UID: "uid-else"}, ownerReferences=[owner])
    found = stores((take, load, forged))
    pod = {"metadata": {"namespace": "default", "name": "d-master-0", "ownerReferences": [{"kind": "StatefulSet"}]}}
    found.pods.replace([{**pod, "spec": {}}], "1")

    line = candidates(found, NOW)

    assert {candidate.name for candidate in line} == {"default/take", "default/load"}
    assert plan(line, 4).waiting == {
        "default/load": "place 1 in line: backup default/b is at work on /, which overlaps /"
    }


@pytest.mark.parametrize(
    ("pods", "left"),
    [
        (["default/Running"], {"default/load", "default/size"}),
        (["default/Succeeded"], {"default/size"}),
        (["default/Succeeded", "default/Running"], {"default/load", "default/size"}),
        (["other/Succeeded"], {"default/load", "default/size"}),  # whoever may make pods there only says whose it is
        (["default/Succeeded", "other/Running"], {"default/size", "other/1"}),
    ],
)
def test_a_job_gives_its_turn_up_when_its_pod_has_succeeded(pods: list[str], left: set[str]) -> None:
    """Its controller says that it is complete up to a second later, and the next step waits for the same path."""
    found = stores((job("load", suspend=False), job("size")))
    owners = [{"kind": "Job", "name": "load", "uid": "uid-load"}]
    for number, (namespace, phase) in enumerate(pod.split("/") for pod in pods):
        meta = {"namespace": namespace, "name": str(number), "resourceVersion": "1", "ownerReferences": owners}
        found.pods.upsert({"metadata": meta, "spec": {}, "status": {"phase": phase}})

    assert {candidate.name for candidate in candidates(found, NOW)} == left


@pytest.mark.parametrize("masters", ["[" * 100_000, "9" * 5_000, "null", "{", "[[1]]", '"m"'])
def test_no_annotation_ends_the_turns_of_everybody(masters: str) -> None:
    """One pass looks at the Jobs of all tenants: it may not fail by what one of them has written."""
    assert "good" in in_line(job("odd", masters=masters, suspend=False), job("good"))


def test_a_job_that_a_finalizer_holds_keeps_no_place() -> None:
    """A deleted Job gets no pod any more; whose finalizer it has may hold it for ever."""
    held: dict[str, Any] = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.org/mine"]}

    assert in_line(job("held", suspend=False, **held), job("waiting-held", **held), job("good")) == {"good"}


class NoEvents:
    """A cluster whose events may not be read."""

    in_cluster = True

    def list_page(self, *args: Any, **options: Any) -> Any:
        """Refuse."""
        raise Forbidden(403, "Forbidden", "list events: no right to")


def test_events_that_cannot_be_read_stop_no_dataset() -> None:
    """They are for people alone; the deadline of a Job without a pod passes whether they are read or not."""
    stuck = {**job("stuck", suspend=False), "status": {"startTime": "2026-01-01T00:00:00Z"}}
    dataset = {"kind": "Dataset", "metadata": {"namespace": "default", "name": "d", "uid": "uid-d"}, "spec": {}}

    (seen,) = observer((stuck,), NoEvents()).dataset(dataset, None).jobs

    assert "no pod yet, and why cannot be read" in seen.waiting
    assert "no right to" in seen.waiting
