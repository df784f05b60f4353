"""The API server misbehaves in every way we know; a Dataset still gets Ready, by one Job of each step."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from controllers.kube.client import Cluster
from controllers.kube.resources import DATASETS
from devcluster import Fault
from tests.world import World, tree

#: What is ordered, on which requests, how often.
ROWS = {
    "a conflict at each status write": ("PUT .*/datasets/one/status", Fault(status=409), 3),
    "an answer lost after a status was written": ("PUT .*/datasets/one/status", Fault(lost=True), 2),
    "an answer lost after a Job was created": ("POST .*/jobs", Fault(lost=True), 2),
    "an answer lost after a volume was created": ("POST .*/persistentvolume", Fault(lost=True), 2),
    "an answer lost after a Job was released": ("PATCH .*/jobs/one-", Fault(lost=True), 1),
    "an answer lost after a Job was deleted": ("DELETE .*/jobs/one-", Fault(lost=True), 1),
    "429 with Retry-After": ("(POST .*/jobs|PUT .*/datasets|PATCH .*/datasets)", Fault(status=429, retry_after=1), 4),
    "500 at writes": ("(POST .*/(jobs|persistent)|PUT .*/datasets|PATCH .*/(jobs|datasets))", Fault(status=500), 6),
    "every write is slow": ("(POST|PUT|PATCH) ", Fault(latency=0.3), 40),
    "watches are cut within a line": ("(ADDED|MODIFIED) .*/(datasets|jobs|pods)", Fault(cut=True), 6),
    "watches are refused": ("GET .*watch=", Fault(status=500), 5),
    "watches have expired": ("GET .*watch=", Fault(status=410), 5),
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A cluster with a controller that runs already."""
    with World(tree(tmp_path / "data"), tmp_path / "work") as made:
        yield made


@pytest.mark.parametrize("name", ROWS)
def test_a_fault_costs_time_and_nothing_else(world: World, name: str) -> None:
    """Ready in the end, exact, with one Job of each step; then it can be deleted as ever."""
    match, fault, times = ROWS[name]
    world.dev.server.faults.add(match, fault, times)

    world.apply()
    status = world.ready()["status"]

    assert status["fileCount"] == 30
    assert len(world.eyes.jobs_seen) == 2
    world.cluster.delete(DATASETS, "default", "one")
    world.gone()


def test_a_dataset_whose_writes_hang_delays_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two get Ready while every status write of three others hangs until its time-out."""
    monkeypatch.setattr(Cluster.replace_status, "__kwdefaults__", {"timeout": 3.0})
    world.dev.server.faults.add("PUT .*/datasets/stuck-", Fault(hang=True), 50)
    for index in range(3):
        world.apply(f"stuck-{index}", world.spec(f"/d{index:03}"))

    for name in ("one", "two"):
        world.apply(name)
        world.ready(name)
    assert not any("status" in (world.get(f"stuck-{index}") or {}) for index in range(3)), "they still hang"

    world.dev.server.faults.orders.clear()
    for index in range(3):
        world.ready(f"stuck-{index}")
