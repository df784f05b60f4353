"""What hostile tenants, broken neighbours and wrong rights do to a running controller: no hot loop, and it is said."""

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controllers.jobs import child_labels
from controllers.kube.resources import DATASETS, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from devcluster.refusals import ApiError
from tests.world import World, tree


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A cluster with a controller that runs already."""
    with World(tree(tmp_path / "data"), tmp_path / "work") as made:
        yield made


def refuse(world: World, method: str, path: str, say: Callable[[], str]) -> list[str]:
    """Answer 403 to these requests; return the list to which each of them is added."""
    handle, seen = world.dev.server.handle, list[str]()

    def guarded(verb: str, where: str, *rest: Any) -> Any:
        if verb == method and path in where:
            seen.append(where)
            raise ApiError(403, "Forbidden", say())
        return handle(verb, where, *rest)

    world.dev.server.handle = guarded  # type: ignore[method-assign, assignment]
    return seen


def test_a_refusal_in_ever_other_words_is_no_hot_loop(world: World) -> None:
    """A webhook that numbers its answers, a quota that says what is used now: shown, and tried again in a minute."""
    numbers = itertools.count()
    seen = refuse(world, "POST", "/jobs", lambda: f"admission webhook denied request {next(numbers)}")

    world.apply()
    world.until("one", "Ready", "False", "Forbidden", "admission webhook denied request")

    assert not threading.Event().wait(1.0)  # that nothing happens can only be seen by waiting
    assert len(seen) <= 3


def test_a_job_that_may_not_be_released_says_so(world: World) -> None:
    """Where the right to patch Jobs is missing, "waits for its turn" would be a lie."""
    refuse(world, "PATCH", "/jobs/one-", lambda: "jobs.batch is forbidden: the controller cannot patch")

    world.apply()

    world.until("one", "Ready", "False", "WaitingForTurn", "it cannot be released: patch jobs.batch")


def test_a_deletion_that_is_refused_says_so(world: World) -> None:
    """Where the right to delete claims is missing, "waiting for claim one to go" would not be the whole truth."""
    world.apply()
    world.ready()
    refuse(world, "DELETE", "/persistentvolumeclaims/one", lambda: "the controller cannot delete claims")

    world.cluster.delete(DATASETS, "default", "one")

    found = world.until("one", "Ready", "False", "Forbidden", "the controller cannot delete claims")
    assert "deletionTimestamp" in found["metadata"]


def test_the_sweep_of_orphans_takes_no_copy_of_a_claim(world: World) -> None:
    """Somebody copied a claim with its labels and has data in it; the Dataset was torn away; the copy stays."""
    labels, size = child_labels("gone", "uid-of-gone"), {"storage": "1Gi"}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": size}, "storageClassName": "none"}
    for name in ("gone", "copy"):
        body = {"metadata": {"name": name, "namespace": "default", "labels": labels}, "spec": spec}
        world.cluster.create(PERSISTENTVOLUMECLAIMS, "default", body)
    world.eyes.until(lambda: len(world.eyes.all(PERSISTENTVOLUMECLAIMS)) == 2)
    volume = {
        "metadata": {"name": "dataset-uid-of-gone", "labels": labels},
        "spec": {
            "capacity": size,
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "none",
            "csi": {"driver": "d", "volumeHandle": "h"},
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "default", "name": "gone"},
        },
    }
    world.cluster.create(PERSISTENTVOLUMES, "", volume)

    world.eyes.until(lambda: not world.eyes.all(PERSISTENTVOLUMES))

    world.eyes.until(lambda: [c["metadata"]["name"] for c in world.eyes.all(PERSISTENTVOLUMECLAIMS)] == ["copy"])
