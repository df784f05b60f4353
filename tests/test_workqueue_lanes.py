"""The three lanes: who goes first, who never waits for ever, and what slow keys can not do to others."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from workqueue import FakeClock, Lane, ShutDown, WorkQueue

Queue = WorkQueue[str]
WORKERS, SLOW_LIMIT = 16, 8


@pytest.fixture
def queue(clock: FakeClock) -> Iterator[Queue]:
    made: Queue = WorkQueue(slow_limit=SLOW_LIMIT, clock=clock)
    yield made
    made.shut_down()


def process(queue: Queue, clock: FakeClock, seconds: float = 0.0) -> str:
    """Take a key and be done with it after so many seconds."""
    key = queue.get()
    clock.advance(seconds)
    queue.done(key)
    return key


def make_slow(queue: Queue, clock: FakeClock, *keys: str) -> None:
    for key in keys:
        queue.add(key)
        assert process(queue, clock, seconds=1.5) == key


def lane_of(queue: Queue) -> Lane:
    """Return the lane of the only key that waits."""
    (lane,) = (lane for lane, depth in queue.gauges().depth.items() if depth)
    return lane


def test_an_event_goes_before_the_whole_initial_list(queue: Queue) -> None:
    for number in range(10_000):
        queue.add(f"listed-{number}", Lane.BULK)
    queue.add("event")
    assert queue.get() == "event"
    assert queue.get() == "listed-0"


def test_a_listed_key_that_changes_moves_to_the_tail_of_the_fresh_lane(queue: Queue) -> None:
    for key in ("listed-1", "listed-2"):
        queue.add(key, Lane.BULK)
    queue.add("event")
    queue.add("listed-2")
    assert len(queue) == 3
    assert [queue.get() for _ in range(3)] == ["event", "listed-2", "listed-1"]


def test_a_resync_does_not_put_an_event_back(queue: Queue) -> None:
    queue.add("event")
    queue.add("event", Lane.BULK)
    assert lane_of(queue) is Lane.FRESH


def test_a_resync_of_a_slow_key_does_not_lower_the_lane_of_its_retries(queue: Queue, clock: FakeClock) -> None:
    make_slow(queue, clock, "a")
    queue.add("a", Lane.FRESH)
    queue.add("a", Lane.BULK)
    queue.get()
    queue.add_after("a", 1)
    queue.done("a")
    clock.advance(1)
    assert lane_of(queue) is Lane.FRESH


def test_a_key_marked_while_processed_waits_in_the_most_urgent_lane_that_was_asked(queue: Queue) -> None:
    queue.add("a")
    queue.get()
    queue.add("a", Lane.BULK)
    queue.add("a", Lane.FRESH)
    queue.add("a", Lane.BULK)
    queue.done("a")
    assert lane_of(queue) is Lane.FRESH


def test_a_listed_key_that_has_waited_over_30_seconds_is_served_in_turn_with_events(
    queue: Queue, clock: FakeClock
) -> None:
    queue.add("listed-1", Lane.BULK)
    queue.add("listed-2", Lane.BULK)
    clock.advance(30)
    for number in range(6):
        queue.add(f"event-{number}")
    assert queue.get() == "event-0", "30 seconds are not over 30 seconds"
    clock.advance(0.5)
    assert [queue.get() for _ in range(5)] == ["event-1", "listed-1", "event-2", "listed-2", "event-3"]


def test_under_a_steady_stream_of_events_no_listed_key_waits_for_ever(queue: Queue, clock: FakeClock) -> None:
    """Two events arrive for each one that is served: strict priority would never come to the list."""
    for number in range(20):
        queue.add(f"listed-{number}", Lane.BULK)
    served = []
    for number in range(100):
        queue.add(f"event-{2 * number}")
        queue.add(f"event-{2 * number + 1}")
        served.append(process(queue, clock, seconds=0.5))
    assert [key for key in served[:60] if key.startswith("listed")] == []
    assert [key for key in served if key.startswith("listed")] == [f"listed-{number}" for number in range(19)]


def test_ten_thousand_keys_that_aged_together_hold_up_an_event_by_one_key(queue: Queue, clock: FakeClock) -> None:
    for number in range(10_000):
        queue.add(f"listed-{number}", Lane.BULK)
    clock.advance(60)
    assert queue.get() == "listed-0"
    for number in range(100):
        queue.add(f"event-{number}")
        assert f"event-{number}" in {queue.get(), queue.get()}


def test_a_key_that_took_over_a_second_waits_in_the_slow_lane_whatever_lane_asks(
    queue: Queue, clock: FakeClock
) -> None:
    make_slow(queue, clock, "slow")
    for lane in Lane:
        queue.add("slow", lane)
    assert lane_of(queue) is Lane.SLOW
    queue.add("event")
    queue.add("listed", Lane.BULK)
    assert [queue.get() for _ in range(3)] == ["event", "listed", "slow"]


def test_a_key_that_took_just_a_second_is_not_slow(queue: Queue, clock: FakeClock) -> None:
    queue.add("a")
    process(queue, clock, seconds=1.0)
    queue.add("a")
    assert lane_of(queue) is Lane.FRESH


def test_a_slow_key_that_was_fast_once_is_fast_again(queue: Queue, clock: FakeClock) -> None:
    make_slow(queue, clock, "a")
    queue.add("a")
    process(queue, clock, seconds=0.1)
    queue.add("a")
    assert lane_of(queue) is Lane.FRESH


def test_a_key_marked_while_it_is_slow_goes_to_the_slow_lane_and_one_marked_while_fast_leaves_it(
    queue: Queue, clock: FakeClock
) -> None:
    for seconds, lane in ((2.0, Lane.SLOW), (0.5, Lane.FRESH)):
        queue.add("a")
        queue.get()
        queue.add("a")
        clock.advance(seconds)
        queue.done("a")
        assert lane_of(queue) is lane
    process(queue, clock)


def test_slow_keys_hold_at_most_slow_limit_workers_and_a_done_lets_the_next_one_in(
    queue: Queue, clock: FakeClock
) -> None:
    slow = [f"slow-{number}" for number in range(SLOW_LIMIT + 1)]
    make_slow(queue, clock, *slow)
    for key in slow:
        queue.add(key)
    assert [queue.get() for _ in range(SLOW_LIMIT)] == slow[:SLOW_LIMIT]
    queue.add("event")
    assert queue.get() == "event"
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(queue.get)
        clock.block_until(waiters=2)  # the timer and the worker
        queue.done(slow[0])
        assert waiting.result(timeout=40) == slow[SLOW_LIMIT]


def test_a_key_that_hangs_for_the_first_time_counts_against_the_limit_once_it_is_overdue(
    queue: Queue, clock: FakeClock
) -> None:
    make_slow(queue, clock, "slow")
    hanging = [f"hanging-{number}" for number in range(SLOW_LIMIT)]
    for key in hanging:
        queue.add(key)
        queue.get()
    clock.advance(2)
    queue.add("slow")
    queue.add("event")
    assert queue.get() == "event"
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(queue.get)
        clock.block_until(waiters=2)  # the timer and the worker
        queue.done("event")  # frees no place for slow keys
        queue.done(hanging[0])
        assert waiting.result(timeout=40) == "slow"


def test_a_slow_key_is_not_starved_by_a_steady_stream_of_fast_ones(queue: Queue, clock: FakeClock) -> None:
    make_slow(queue, clock, "slow")
    queue.add("slow")
    served = []
    for number in range(80):
        queue.add(f"event-{number}")
        queue.add(f"listed-{number}", Lane.BULK)
        served.append(process(queue, clock, seconds=0.5))
    assert 59 < served.index("slow") < 65


def test_a_slow_key_is_not_starved_by_other_slow_ones(queue: Queue, clock: FakeClock) -> None:
    """Every one of them comes again at once; their lane is a round of all."""
    slow = [f"slow-{number}" for number in range(12)]
    make_slow(queue, clock, *slow)
    for key in slow:
        queue.add(key)
    served: Counter[str] = Counter()
    for _ in range(120):
        key = process(queue, clock, seconds=2)
        served[key] += 1
        queue.add(key)
    assert set(served.values()) == {10}


def test_a_limit_below_one_would_starve_slow_keys_and_is_refused() -> None:
    with pytest.raises(ValueError, match="never run again"):
        WorkQueue(slow_limit=0)


@pytest.mark.parametrize("hanging", [0, 8, 16, 32, 64])
def test_keys_that_hang_and_were_slow_once_never_delay_a_fast_key(hanging: int) -> None:
    """With 16 workers a thousand fast keys are all served while the hanging ones hang, and those run in the end."""
    clock, gate = FakeClock(), threading.Event()
    queue: Queue = WorkQueue(slow_limit=SLOW_LIMIT, clock=clock)
    make_slow(queue, clock, *(f"hang-{number}" for number in range(hanging)))
    ran: Counter[str] = Counter()
    fast_left, fast_done = 1000, threading.Event()
    lock = threading.Lock()

    def work() -> None:
        nonlocal fast_left
        while True:
            try:
                key = queue.get()
            except ShutDown:
                return
            if key.startswith("hang"):
                gate.wait()
            with lock:
                ran[key] += 1
                fast_left -= key.startswith("fast")
                if fast_left == 0:
                    fast_done.set()
            queue.done(key)

    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        for number in range(hanging):
            queue.add(f"hang-{number}")
        workers = [pool.submit(work) for _ in range(WORKERS)]
        for number in range(1000):
            queue.add(f"fast-{number}")
        try:
            assert fast_done.wait(timeout=40)
            assert sum(ran.values()) == 1000, "and no hanging key has ended"
        finally:
            gate.set()
            drained = queue.shut_down(drain=True, timeout=None)
        assert drained
        for worker in workers:
            worker.result()
    assert set(ran.values()) == {1}
    assert len(ran) == 1000 + hanging
