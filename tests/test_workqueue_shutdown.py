"""Shutting down: what waits is served, what comes is dropped, and a drain always ends."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from workqueue import FakeClock, Lane, ShutDown, WorkQueue

Queue = WorkQueue[str]


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=8) as pool:
        yield pool


def test_after_shutdown_what_waits_is_served_then_get_raises(queue: Queue) -> None:
    queue.add("a")
    queue.add("b")
    assert queue.shut_down() is False
    assert [queue.get(), queue.get()] == ["a", "b"]
    with pytest.raises(ShutDown):
        queue.get()


def test_adds_after_shutdown_are_dropped(queue: Queue) -> None:
    queue.shut_down()
    queue.add("a")
    queue.add_after("b", 0)
    queue.add_after("c", 5)
    queue.add_rate_limited("d")
    assert len(queue) == 0
    assert queue.gauges().delayed == 0


def test_a_key_marked_before_shutdown_still_runs_after_its_done(queue: Queue) -> None:
    queue.add("a")
    queue.get()
    queue.add("a")
    queue.shut_down()
    queue.done("a")
    assert queue.get() == "a"


def test_shutdown_wakes_all_waiting_workers(queue: Queue, threads: ThreadPoolExecutor) -> None:
    waiting = [threads.submit(queue.get) for _ in range(8)]
    queue.shut_down()
    assert all(isinstance(worker.exception(timeout=40), ShutDown) for worker in waiting)


def test_shutdown_drops_delayed_keys_and_returns_when_the_timer_thread_has_ended() -> None:
    class LingeringClock(FakeClock):
        def wait(self, condition: threading.Condition, timeout: float | None) -> bool:
            woken = super().wait(condition, timeout)
            sum(range(1_000_000))
            return woken

    others = set(threading.enumerate())
    clock = LingeringClock()
    queue: Queue = WorkQueue(slow_limit=1, clock=clock)
    queue.add_after("a", 5)
    queue.shut_down()
    assert not set(threading.enumerate()) - others
    clock.advance(10)
    assert len(queue) == 0
    assert queue.gauges().delayed == 0


def test_drain_waits_for_what_is_processed_and_for_what_waits(
    queue: Queue, clock: FakeClock, threads: ThreadPoolExecutor
) -> None:
    """client-go's drain would return at the moment when nothing is processed, though a key still waits."""
    queue.add("first")
    queue.add("second")
    queue.get()
    drain = threads.submit(queue.shut_down, drain=True)
    queue._delay.join()  # its thread ends once the drain has begun
    clock.block_until(waiters=1)
    queue.done("first")
    clock.advance(0)
    assert clock.waiters() == 1, "it looked again, and waits again"
    assert queue.get() == "second"
    clock.advance(0)
    assert clock.waiters() == 1
    queue.done("second")
    assert drain.result(timeout=40) is True


def test_a_second_shutdown_ends_a_drain(queue: Queue, threads: ThreadPoolExecutor) -> None:
    queue.add("never done")
    queue.get()
    drain = threads.submit(queue.shut_down, drain=True)
    with pytest.raises(ShutDown):
        queue.get()  # returns once the drain has begun
    assert queue.shut_down() is False
    assert drain.result(timeout=40) is False


def test_a_missing_done_ends_a_drain_by_its_deadline_and_does_not_hang(
    queue: Queue, clock: FakeClock, threads: ThreadPoolExecutor
) -> None:
    queue.add("never done")
    queue.get()
    drain = threads.submit(lambda: (queue.shut_down(drain=True, timeout=20), clock.monotonic()))
    with pytest.raises(ShutDown):
        queue.get()
    clock.advance(19)
    assert not drain.done()
    clock.advance(1)
    assert drain.result(timeout=40) == (False, 20)


def test_workers_kept_waiting_by_the_slow_limit_end_too(clock: FakeClock, threads: ThreadPoolExecutor) -> None:
    """Slow keys over their limit make workers wait on after the shutdown; taking the last key must end them."""
    slow: Queue = WorkQueue(slow_limit=1, clock=clock)
    slow.add("a", Lane.SLOW)
    slow.add("b", Lane.SLOW)
    assert slow.get() == "a"
    waiting = [threads.submit(slow.get) for _ in range(4)]
    slow.shut_down()
    clock.block_until(waiters=4)
    clock.advance(0)
    assert clock.waiters() == 4
    slow.done("a")
    ends = [worker.exception(timeout=40) or worker.result() for worker in waiting]
    assert sum(end == "b" for end in ends) == 1
    assert sum(isinstance(end, ShutDown) for end in ends) == 3
