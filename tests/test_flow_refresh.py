"""A refresh and a restarted master in the embedded cluster: over real HTTP and threads, with Jobs as processes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controllers.kube.resources import DATASETS, PERSISTENTVOLUMECLAIMS
from tests.world import Obj, World, condition, found_by_walk, tree

REFRESH = "data.fluid.io/refresh-requested-at"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Return a world over a small tree."""
    with World(tree(tmp_path / "data"), tmp_path / "work") as made:
        yield made


def status(world: World) -> Obj:
    """Return the status as it is now."""
    return dict((world.get() or {}).get("status", {}))


def ask(world: World, word: str) -> None:
    """Ask for a refresh."""
    world.cluster.merge_patch(DATASETS, "default", "one", {"metadata": {"annotations": {REFRESH: word}}})


def served(world: World, word: str) -> bool:
    """Whether that request was served, and well."""
    over = condition(world.get(), "Refreshing").get("reason") == "Refreshed"
    return over and bool(status(world)["lastHandledRefresh"] == word)


def counted(world: World) -> tuple[Any, ...]:
    """Return files, directories and bytes of the Dataset."""
    size = status(world)["size"]
    return size["files"], size["directories"], size["bytes"]


def test_a_refresh_counts_what_came_and_went_and_ready_stays(world: World) -> None:
    """The phase has no other turn, and the claim is the same one."""
    world.apply()
    world.ready()
    claim = world.cluster.get(PERSISTENTVOLUMECLAIMS, "default", "one")["metadata"]["uid"]
    (world.data / "d000" / "late").write_bytes(b"12345")
    (world.data / "d001" / "f00010").unlink()

    ask(world, "monday")
    found = world.eyes.until(lambda: world.get() if served(world, "monday") else None, 60, lambda: world.get())

    assert counted(world) == found_by_walk(world.data)
    assert (found["status"]["lastHandledRefresh"], found["status"]["refresh"]["trigger"]) == ("monday", "Requested")
    assert world.eyes.phases["one"] == ["Pending", "LoadingMetadata", "Sizing", "Ready"]
    assert world.cluster.get(PERSISTENTVOLUMECLAIMS, "default", "one")["metadata"]["uid"] == claim
    assert set(world.eyes.reasons["one"][world.eyes.reasons["one"].index("Ready") :]) == {"Ready"}


def test_a_master_that_restarted_is_asked_once_and_nothing_is_counted_anew(world: World) -> None:
    """Its new start is noted; run and count are those of before."""
    world.apply()
    before = world.ready()["status"]
    world.dev.master.restart()

    start = world.dev.master.start_ms
    world.eyes.until(lambda: status(world)["master"].get("startTimeMs") == start, 60, lambda: world.get())

    after = status(world)
    assert (after["run"], after["fileCount"], after["size"]["completionTime"]) == (
        before["run"],
        before["fileCount"],
        before["size"]["completionTime"],
    )
    assert world.eyes.phases["one"] == ["Pending", "LoadingMetadata", "Sizing", "Ready"]


def test_a_formatted_master_into_which_others_loaded_as_much_is_found_out(world: World) -> None:
    """It knows no fewer paths than before; the cluster id tells."""
    world.apply()
    before = world.ready()["status"]
    world.dev.master.cluster_id = "another"
    world.dev.master.restart()

    def again() -> Obj | None:
        found = status(world)
        return found if (found["run"]["number"], found["phase"]) == (2, "Ready") else None

    after = world.eyes.until(again, 90, lambda: world.get())

    assert (after["run"]["reason"], after["fileCount"]) == ("MasterReset", before["fileCount"])
    assert after["master"]["clusterId"] == "another"
