"""Short stories that the simulation found, told once more in plain steps: what a person does, what comes of it."""

from typing import Any

import pytest

from controllers.api.conditions import READY, STALLED
from controllers.jobs import job_name
from controllers.kube.resources import DATASETS, JOBS, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from tests.simulation import WATCHED, Process, World
from tests.simulation_end import come_to_rest, judge
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


def test_a_claim_deleted_by_hand_comes_back_and_is_bound(world: World) -> None:
    """A volume that lost its claim takes no other one, so both are made anew, without anybody's help."""
    world.store.delete(CLAIMS, "default", "one")
    come_to_rest(world)
    assert condition(world.datasets()[0], READY)["status"] == "True"
    assert world.store.get(CLAIMS, "default", "one")["status"]["phase"] == "Bound"


def test_who_deletes_a_volume_by_hand_reads_that_its_claim_keeps_it(world: World) -> None:
    """The volume stays in deletion as long as the claim is there; after the claim both are made anew."""
    (volume,) = world.store.page(VOLUMES).items
    world.store.delete(VOLUMES, "", volume["metadata"]["name"])
    come_to_rest(world)
    ready = condition(world.datasets()[0], READY)
    assert ready["status"] == "False"
    assert "delete claim one" in ready["message"]
    world.store.delete(CLAIMS, "default", "one")
    come_to_rest(world)
    assert condition(world.datasets()[0], READY)["status"] == "True"


def test_a_dataset_whose_finalizer_was_torn_off_leaves_nothing_behind(world: World) -> None:
    """The controller was awake and saw it go; it does not take a restart to sweep the volume and the claim."""
    world.store.patch(str(DATASETS), "default", "one", {"metadata": {"finalizers": None}})
    world.store.delete(str(DATASETS), "default", "one")
    come_to_rest(world)
    assert not world.laws.leftovers()


def test_a_name_that_somebody_else_holds_is_a_stall_not_work_under_way() -> None:
    """kubectl wait, Argo CD and Flux need not wait for a Job that a person has to make room for."""
    world = World()
    uid = world.apply("default", "one", spec())["metadata"]["uid"]
    name = job_name("one", uid, "load", 1, 1)
    template: dict[str, Any] = {"metadata": {}, "spec": {"containers": []}}
    foreign = {"metadata": {"name": name}, "spec": {"suspend": True, "template": template}}
    world.store.create(str(JOBS), "default", foreign)
    come_to_rest(world)
    stalled = condition(world.datasets()[0], STALLED)
    assert (stalled["status"], stalled["reason"]) == ("True", "JobConflict")
    world.store.delete(str(JOBS), "default", name)
    come_to_rest(world)
    assert condition(world.datasets()[0], READY)["status"] == "True"


def test_a_view_of_the_past_deletes_no_job_of_the_present(world: World) -> None:
    """A new leader may know an old Dataset and a new Job: it asks before it takes the Job for one of the past."""
    past = world.store.version
    world.edit(world.datasets()[0], spec(path="/z"))
    while not (jobs := world.store.page(str(JOBS)).items):
        quiesce_once(world)
    assert world.leader
    looks = world.leader.polled
    world.leader = Process(world, "C", lambda resource: past if resource is DATASETS else world.store.version)
    world.leader.polled.update(looks)
    for key in world.leader.due():
        world.leader.reconcile(key)
    assert world.store.page(str(JOBS)).items[0]["metadata"]["uid"] == jobs[0]["metadata"]["uid"]


def quiesce_once(world: World) -> None:
    """Let the controller see everything and make its passes once."""
    assert world.leader
    for resource in WATCHED:
        world.leader.deliver(resource, 1000)
    for address in set(world.leader.followed.values()):
        world.leader.poll(address)
    for key in world.leader.due():
        world.leader.reconcile(key)
