"""Short stories that the simulation found, told once more in plain steps: what a person does, what comes of it."""

from typing import Any

import pytest

from controllers.api.conditions import AVAILABLE, READY
from controllers.kube.resources import DATASETS, JOBS, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from tests.simulation import World
from tests.simulation_end import come_to_rest, judge, quiesce
from tests.world import condition

CLAIMS, VOLUMES = str(PERSISTENTVOLUMECLAIMS), str(PERSISTENTVOLUMES)


def spec(master: str = "a1:19998", path: str = "/x") -> dict[str, Any]:
    """A spec at one master."""
    mounts = [{"mountPoint": "s3://bucket/p", "path": "/"}]
    return {"mounts": mounts, "alluxio": {"masters": [master], "datasetPath": path}}


@pytest.fixture
def world() -> World:
    """A world with one Dataset, default/one, at rest."""
    made = World()
    made.apply("default", "one", spec())
    come_to_rest(made)
    return made


def test_a_copy_of_a_job_with_its_labels_is_nobodys_job(world: World) -> None:
    """Somebody applies the manifest of a Job of ours again, elsewhere: it is not released, counted or deleted."""
    world.apply("team", "two", spec(path="/y"))
    while not (jobs := world.store.page(str(JOBS)).items):
        assert world.leader
        quiesce_once(world)
    meta = jobs[0]["metadata"]
    for namespace in ("default", "team"):
        copied = {"name": "copy", "labels": meta["labels"], "annotations": meta["annotations"]}
        made = world.store.create(str(JOBS), namespace, {"metadata": copied, "spec": jobs[0]["spec"]})
        world.laws.foreign.add(made["metadata"]["uid"])
    come_to_rest(world)
    judge(world)
    assert all(job["spec"]["suspend"] for job in world.store.page(str(JOBS)).items)


def test_a_master_is_the_same_however_its_name_is_written(world: World) -> None:
    """Host names know no case: two Datasets on one path of one master never load at one time."""
    world.apply("team", "two", spec(master="A1:19998"))
    world.apply("team", "one", spec(master="a1:19998"))
    come_to_rest(world)  # the laws of the world judge
    judge(world)


def quiesce_once(world: World) -> None:
    """Let the controller see everything and make its passes once."""
    from tests.simulation import WATCHED

    assert world.leader
    for resource in WATCHED:
        world.leader.deliver(resource, 1000)
    for address in set(world.leader.followed.values()):
        world.leader.poll(address)
    for key in world.leader.due():
        world.leader.reconcile(key)


__all__ = ["AVAILABLE", "CLAIMS", "DATASETS", "READY", "VOLUMES", "condition", "quiesce"]
