"""Seeded histories of a whole cluster. To read a failure again: ``explain(history(seed))`` of tests.simulation_end.

SIMULATIONS=number of histories, SIMULATION_SEED=first seed.
"""

import os
from collections.abc import Callable

import pytest

from tests.simulation import World, history
from tests.simulation_end import (
    broken,
    come_to_rest,
    explain,
    judge,
    mend,
    one_fault_each,
    play,
    quiesce,
    shrink,
    summary,
)
from tests.simulation_laws import Violation

NUMBER = int(os.environ.get("SIMULATIONS", "60"))
FIRST = int(os.environ.get("SIMULATION_SEED", "0"))
CHUNK = 10


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(FIRST, FIRST + NUMBER, CHUNK))
def test_every_history_keeps_the_laws_and_comes_to_rest_where_an_undisturbed_one_would(first: int) -> None:
    """A failure names the seed and the shortest history that was found for it."""
    for seed in range(first, min(first + CHUNK, FIRST + NUMBER)):
        try:
            play(history(seed))
        except Violation as violation:
            steps = shrink(history(seed), broken(history(seed)))
            pytest.fail(f"seed {seed}: {violation}\n{steps}\n{explain(steps)}")


SPEC = {
    "mounts": [{"mountPoint": "s3://bucket/p", "path": "/"}],
    "alluxio": {"masters": ["a1:19998"], "datasetPath": "/x"},
}


def plain(world: World) -> None:
    """A Dataset becomes Ready."""
    world.apply("default", "one", SPEC)
    come_to_rest(world)


def failing(world: World) -> None:
    """The first load and the first count fail; then a Dataset becomes Ready."""
    world.exits = [21, 0, 137]
    plain(world)


def edited(world: World) -> None:
    """A Ready Dataset gets another path, and a person deletes the claim as told."""
    plain(world)
    world.edit(world.datasets()[0], {**SPEC, "alluxio": {"masters": ["a1:19998"], "datasetPath": "/z"}})
    come_to_rest(world)
    while mend(world):
        come_to_rest(world)


def refreshed(world: World) -> None:
    """Files change in the storage, and a person asks for a refresh, the first load of which is suspicious."""
    plain(world)
    world.age, world.exits = 1, [25, 0]
    world.refresh(world.datasets()[0])
    come_to_rest(world)


def restarted(world: World) -> None:
    """The master restarts with all that it knows."""
    plain(world)
    world.masters["a"].start_ms += 1_000
    come_to_rest(world)


def formatted(world: World) -> None:
    """The journal of the master is formatted, and others load as much."""
    plain(world)
    master = world.masters["a"]
    master.start_ms, master.cluster_id, master.ages = 2_000, "2", {}
    master.known = {("others",): 1_000}
    come_to_rest(world)


def deleted(world: World) -> None:
    """A Dataset is deleted when it is Ready."""
    plain(world)
    world.delete(world.datasets()[0])
    come_to_rest(world)


def deleted_early(world: World) -> None:
    """A Dataset is deleted while its load runs."""
    world.apply("default", "one", SPEC)
    quiesce(world, rounds=6)
    world.delete(world.datasets()[0])
    come_to_rest(world)


#: These begin as the plain life does, whose writes have had their faults in its own test.
GO_ON = [edited, refreshed, restarted, formatted, deleted]
LIVES = [plain, failing, deleted_early, *GO_ON]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("life", LIVES)
def test_no_single_fault_at_any_write_changes_the_end(life: Callable[[World], None]) -> None:
    """Every crash point before and after every write, and every lost answer: all of them, in small lives."""
    begun = World()
    if life in GO_ON:
        plain(begun)
    ends = one_fault_each(life, after=begun.attempts)
    _, calm = next(ends)
    wanted = [summary(calm, obj) for obj in calm.datasets()]
    assert wanted == [] if "deleted" in life.__name__ else wanted[0]["ready"][0] == "True"
    for what, world in ends:
        judge(world)
        assert [summary(world, obj) for obj in world.datasets()] == wanted, what
