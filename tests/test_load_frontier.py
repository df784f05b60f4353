"""Directory names in bounded memory, and the watch over a step."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controllers.api.result import Exit, Progress, Totals
from fluidctl.load.errors import Halted, StepError
from fluidctl.load.frontier import Batch, Frontier, Names, Spill
from fluidctl.load.watch import Watch


@pytest.fixture
def spill(tmp_path: Path) -> Iterator[Spill]:
    made = Spill(str(tmp_path / "spill"))
    yield made
    made.close()


def _name(number: int) -> bytes:
    return b"/d\n\xff%d" % number


def test_every_name_comes_out_once_and_few_are_in_memory(spill: Spill, tmp_path: Path) -> None:
    """Random pushes and pops, far more names than memory."""
    rng = random.Random(5)
    frontier, made, seen = Frontier(spill, memory=100), 0, []
    while made < 5000 or len(frontier):
        if made < 5000 and rng.random() < 0.3:
            batch = Batch(spill, chunk=20)
            for _ in range(rng.randrange(60)):
                batch.add(_name(made))
                made += 1
            assert len(batch.names) < 20
            frontier.push(batch)
        elif len(frontier):
            seen.append(frontier.pop())
        assert frontier.in_memory <= 100
    assert sorted(seen) == sorted(_name(number) for number in range(made))
    spill.close()
    assert list((tmp_path / "spill").iterdir()) == []


def test_the_last_one_in_comes_out_first(spill: Spill, tmp_path: Path) -> None:
    """So a walk goes deep, and what waits stays short."""
    frontier = Frontier(spill)
    for number in range(3):
        batch = Batch(spill)
        batch.add(_name(number))
        frontier.push(batch)

    assert [frontier.pop() for _ in range(3)] == [_name(2), _name(1), _name(0)]
    with pytest.raises(IndexError):
        frontier.pop()
    assert list(tmp_path.iterdir()) == []  # nothing was worth a file


def test_a_failed_listing_leaves_nothing_behind(spill: Spill, tmp_path: Path) -> None:
    """Neither names nor files."""
    batch = Batch(spill, chunk=2)
    for number in range(7):
        batch.add(_name(number))
    (home,) = (tmp_path / "spill").iterdir()
    assert len(list(home.iterdir())) == 3

    batch.discard()

    assert (batch.count, batch.names, list(home.iterdir())) == (0, [], [])


def test_kept_names_can_be_read_again_in_pieces(spill: Spill) -> None:
    """Twice the same, no piece longer than asked."""
    names = Names(spill, chunk=10)
    for number in range(95):
        names.add(_name(number))

    for _ in range(2):
        pieces = list(names.pieces())
        assert [name for piece in pieces for name in piece] == [_name(number) for number in range(95)]
        assert max(map(len, pieces)) <= 10
    assert len(names) == 95


class _Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def shown() -> list[Progress]:
    return []


@pytest.fixture
def watch(shown: list[Progress]) -> Watch:
    return Watch("size", shown.append, _Time(), no_progress_seconds=60)


def _pass(watch: Watch, seconds: float) -> None:
    assert isinstance(watch.clock, _Time)
    watch.clock.now += seconds


def test_progress_is_shown_at_once_and_every_five_seconds(watch: Watch, shown: list[Progress]) -> None:
    """With the rate since the window's begin."""
    for _ in range(10):
        watch.tick()
        watch.add(files=20, bytes_=5)
        _pass(watch, 2.5)

    assert [line.seconds for line in shown] == [0.0, 5.0, 10.0, 15.0, 20.0]
    assert (shown[-1].files, shown[-1].bytes, shown[-1].files_per_second) == (160, 40, 8.0)


def test_standing_still_ends_a_step_and_movement_of_any_kind_does_not(watch: Watch) -> None:
    """Counts that are shown again unchanged are no movement."""
    moves: list[Callable[[], None]] = [
        lambda: watch.add(directories=1),
        watch.moved,
        lambda: watch.show(Totals(files=9)),
    ]
    for move in moves:
        _pass(watch, 59)
        move()
        watch.tick()
    _pass(watch, 61)
    watch.show(Totals(files=9))
    with pytest.raises(StepError) as caught:
        watch.tick()
    assert caught.value.code is Exit.NO_PROGRESS


def test_a_request_to_stop_ends_the_step_and_wakes_who_waits(watch: Watch) -> None:
    """Waits of the step and of its threads end at once."""
    watch.pause(0)
    watch.terminate()

    with pytest.raises(Halted):
        watch.pause(3600)
    with pytest.raises(StepError) as caught:
        watch.tick(3600)
    assert caught.value.code is Exit.TERMINATED
