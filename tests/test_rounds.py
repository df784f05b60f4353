"""Keys are visited each at its own time, and those that hang cost the others nothing."""

import queue
import threading
from collections.abc import Callable, Iterator

import pytest

from controllers.rounds import AFTER_ERROR_SECONDS, Rounds
from workqueue.clock import FakeClock

WAIT = 40.0  # real seconds after which a test gives up


class Visits:
    """Records visits; a key that hangs stays in its visit until it is released."""

    def __init__(self, seconds: float = 20.0) -> None:
        self.seen: queue.Queue[str] = queue.Queue()
        self.hanging: set[str] = set()
        self.release = threading.Event()
        self.seconds = seconds
        self.others = set(threading.enumerate())  # such as those of an earlier test that took long to end

    def threads(self) -> list[threading.Thread]:
        return [thread for thread in set(threading.enumerate()) - self.others if thread.name.startswith("test-")]

    def __call__(self, key: str) -> float:
        self.seen.put(key)
        if key in self.hanging:
            self.release.wait(WAIT)
        if key == "broken":
            raise RuntimeError("as planned")
        return self.seconds

    def next(self) -> str:
        return self.seen.get(timeout=WAIT)


def rest(clock: FakeClock, visits: Visits, hanging: int = 0) -> None:
    """Return once every thread but those that hang waits; the visit that is awaited must have begun."""
    clock.block_until(len(visits.threads()) - hanging)


Start = Callable[..., Rounds[str]]


@pytest.fixture
def visits() -> Iterator[Visits]:
    made = Visits()
    yield made
    made.release.set()


@pytest.fixture
def start(visits: Visits, clock: FakeClock) -> Iterator[Start]:
    made: list[Rounds[str]] = []

    def begin(threads: int = 4) -> Rounds[str]:
        made.append(Rounds("test", visits, threads=threads, clock=clock))
        made[0].start()
        return made[0]

    yield begin
    visits.release.set()
    for rounds in made:
        rounds.stop(WAIT)


def test_a_key_is_visited_at_once_and_then_whenever_its_time_has_come(
    start: Start, visits: Visits, clock: FakeClock
) -> None:
    start().add("a")
    assert visits.next() == "a"
    for _ in range(3):
        rest(clock, visits)
        clock.advance(19.9)
        assert visits.seen.empty()
        clock.advance(0.1)
        assert visits.next() == "a"


def test_adding_a_key_again_does_not_visit_it_twice(start: Start, visits: Visits, clock: FakeClock) -> None:
    rounds = start()
    for _ in range(5):
        rounds.add("a")
    assert visits.next() == "a"
    rest(clock, visits)
    assert visits.seen.empty()


def test_a_discarded_key_is_visited_no_more_and_may_come_back(start: Start, visits: Visits, clock: FakeClock) -> None:
    rounds = start()
    rounds.add("a")
    visits.next()
    rest(clock, visits)
    rounds.discard("a")
    clock.advance(100)
    assert visits.seen.empty()
    rounds.add("a")
    assert visits.next() == "a"


def test_a_visit_that_fails_costs_only_its_own_key_a_minute(
    start: Start, visits: Visits, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    rounds = start(threads=1)
    rounds.add("broken")
    assert visits.next() == "broken"
    rounds.add("a")
    assert visits.next() == "a"
    assert rounds.dead_thread() == ""
    assert "a visit failed" in caplog.text
    rounds.discard("a")
    rest(clock, visits)
    clock.advance(AFTER_ERROR_SECONDS)
    assert visits.next() == "broken"


@pytest.mark.parametrize("hanging", [1, 4, 64])
def test_a_key_that_was_quick_waits_for_no_number_of_new_keys_that_hang(
    start: Start, visits: Visits, clock: FakeClock, hanging: int
) -> None:
    rounds = start(threads=4)
    rounds.add("quick")
    visits.next()
    rest(clock, visits)
    visits.hanging = {f"h{n}" for n in range(hanging)}
    for key in visits.hanging:
        rounds.add(key)
    begun = {visits.next() for _ in range(min(hanging, 4))}
    assert begun <= visits.hanging
    for _ in range(3):
        rest(clock, visits, len(begun))
        clock.advance(20)
        assert visits.next() == "quick"


def test_new_keys_are_visited_side_by_side_also_after_others(start: Start, visits: Visits, clock: FakeClock) -> None:
    visits.hanging = {"a", "b", "c"}
    rounds = start(threads=3)
    for key in ("q1", "q2", "q3", "q4"):
        rounds.add(key)
        visits.next()
        rest(clock, visits)
    for key in visits.hanging:
        rounds.add(key)
    assert {visits.next() for _ in range(3)} == visits.hanging


def test_threads_start_as_they_are_needed(start: Start, visits: Visits, clock: FakeClock) -> None:
    start(threads=30).add("a")
    for _ in range(20):
        visits.next()
        rest(clock, visits)
        clock.advance(20)
    assert len(visits.threads()) <= 4


def test_no_more_threads_than_allowed_are_started(start: Start, visits: Visits) -> None:
    visits.hanging = {str(n) for n in range(10)}
    rounds = start(threads=2)
    for key in visits.hanging:
        rounds.add(key)
    visits.next(), visits.next()
    assert len(visits.threads()) <= 3  # two of the lane of new keys, one that waits in the other
    assert visits.seen.empty()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_all_the_same_is_named(visits: Visits) -> None:
    def visit(key: str) -> float:
        visits.seen.put(threading.current_thread().name)
        raise SystemExit  # no Exception: it ends the thread

    rounds: Rounds[str] = Rounds("test", visit)
    rounds.start()
    rounds.add("a")
    name = visits.next()
    for thread in visits.threads():
        if thread.name == name:
            thread.join()
    assert rounds.dead_thread() == name
    rounds.stop()
    assert rounds.dead_thread() == ""


def test_stop_ends_the_threads_and_no_visit_begins_after_it(start: Start, visits: Visits, clock: FakeClock) -> None:
    rounds = start()
    rounds.add("a")
    visits.next()
    rounds.stop(WAIT)
    rounds.add("b")
    assert visits.seen.empty()
    assert not visits.threads()
