"""Seeded histories of a whole cluster. To read a failure again: ``explain(history(seed))`` of tests.simulation_end.

SIMULATIONS=number of histories, SIMULATION_SEED=first seed.
"""

import os

import pytest

from tests.simulation import history
from tests.simulation_end import broken, explain, play, shrink
from tests.simulation_laws import Violation

NUMBER = int(os.environ.get("SIMULATIONS", "300"))
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
