"""The work queue behaves as client-go's, and in shutting down better: one named test per promise."""

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from workqueue import ExponentialBackoff, FakeClock, Lane, ShutDown, WorkQueue

Queue = WorkQueue[str]


@pytest.fixture
def queue(clock: FakeClock) -> Iterator[Queue]:
    backoff = ExponentialBackoff[str](random.Random(1), jitter=0.0)
    made: Queue = WorkQueue(slow_limit=8, slow_after=1e9, clock=clock, backoff=backoff)
    yield made
    made.shut_down()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=80) as pool:
        yield pool


def drain_keys(queue: Queue) -> list[str]:
    """Take and finish everything that waits."""
    taken = []
    while len(queue):
        taken.append(queue.get())
        queue.done(taken[-1])
    return taken


def reconcile_once(queue: Queue, reconcile: Callable[[str], None]) -> None:
    """One turn of a worker, as the package's docstring has it."""
    key = queue.get()
    try:
        reconcile(key)
    except OSError:
        queue.add_rate_limited(key)
    else:
        queue.forget(key)
    finally:
        queue.done(key)


def raise_error(error: BaseException) -> None:
    raise error


def test_keys_are_taken_in_the_order_in_which_they_were_added(queue: Queue) -> None:
    for key in "cab":
        queue.add(key)
    assert drain_keys(queue) == ["c", "a", "b"]


def test_a_key_added_many_times_before_get_is_taken_once(queue: Queue) -> None:
    for _ in range(100):
        queue.add("a")
    assert len(queue) == 1
    assert drain_keys(queue) == ["a"]


def test_a_key_added_while_it_is_processed_runs_once_more_after_done_and_at_the_tail(queue: Queue) -> None:
    queue.add("hot")
    assert queue.get() == "hot"
    queue.add("hot")
    queue.add("other")
    queue.add("hot")
    assert len(queue) == 1, "a second worker must not see it"
    queue.done("hot")
    assert drain_keys(queue) == ["other", "hot"]


def test_a_key_that_comes_back_at_done_wakes_an_idle_worker(
    queue: Queue, clock: FakeClock, threads: ThreadPoolExecutor
) -> None:
    queue.add("a")
    queue.get()
    idle = threads.submit(queue.get)
    clock.block_until(waiters=2)  # the timer and the idle worker
    queue.add("a")
    queue.done("a")
    assert idle.result(timeout=40) == "a"


def test_done_without_a_new_add_leaves_nothing(queue: Queue) -> None:
    queue.add("a")
    queue.done(queue.get())
    assert len(queue) == 0
    assert queue.gauges().processing == 0
    assert queue.shut_down(drain=True)


def test_len_leaves_out_keys_that_are_processed_or_delayed(queue: Queue) -> None:
    queue.add("processed")
    queue.get()
    queue.add("waiting")
    queue.add("processed")
    queue.add_after("delayed", 1)
    assert len(queue) == 1


def test_done_of_a_key_that_nobody_processes_is_an_error(queue: Queue) -> None:
    queue.add("a")
    with pytest.raises(ValueError, match="not being processed"):
        queue.done("a")
    assert drain_keys(queue) == ["a"]


def test_never_two_workers_on_one_key_and_nothing_is_lost_with_64_threads(threads: ThreadPoolExecutor) -> None:
    """Each key has a lock that its worker must get at once, and a counter that its worker must bring up to date."""
    queue: WorkQueue[int] = WorkQueue(slow_limit=64)
    held = [threading.Lock() for _ in range(20)]
    wanted, seen = [0] * 20, [0] * 20
    start = threading.Barrier(80)

    def work() -> None:
        start.wait()
        while True:
            try:
                key = queue.get()
            except ShutDown:
                return
            assert held[key].acquire(blocking=False), f"two workers on {key}"
            seen[key] = wanted[key]
            held[key].release()
            queue.done(key)

    def produce(seed: int) -> None:
        start.wait()
        rng = random.Random(seed)
        for _ in range(400):
            key = seed if rng.random() < 0.5 else (seed + 1) % 20
            with writing[key]:
                wanted[key] += 1
            queue.add(key, rng.choice(list(Lane)))
            if rng.random() < 0.1:
                queue.add_after(key, 0.0001)

    writing = [threading.Lock() for _ in range(20)]
    workers = [threads.submit(work) for _ in range(64)]
    for producer in [threads.submit(produce, seed) for seed in range(16)]:
        producer.result()
    assert queue.shut_down(drain=True, timeout=40)
    for worker in workers:
        worker.result()
    assert seen == wanted, "a worker looked after the last add of every key"


def test_requeue_after_forgets_failures(queue: Queue, clock: FakeClock) -> None:
    queue.add_rate_limited("a")
    clock.advance(1)
    assert queue.num_requeues("a") == 1
    key = queue.get()
    queue.forget(key)
    queue.add_after(key, 30)
    queue.done(key)
    assert queue.num_requeues("a") == 0
    clock.advance(29)
    assert len(queue) == 0
    clock.advance(1)
    assert drain_keys(queue) == ["a"]


def test_an_error_brings_the_key_back_after_its_back_off(queue: Queue, clock: FakeClock) -> None:
    queue.add("a")
    for failures in range(4):
        reconcile_once(queue, lambda key: raise_error(OSError(key)))
        assert queue.num_requeues("a") == failures + 1
        clock.advance(0.0049 * 2**failures)
        assert len(queue) == 0
        clock.advance(0.0002 * 2**failures)
        assert len(queue) == 1
    reconcile_once(queue, lambda key: None)
    assert queue.num_requeues("a") == 0
    clock.advance(1000)
    assert len(queue) == 0


def test_a_terminal_error_that_is_forgotten_does_not_come_back(queue: Queue, clock: FakeClock) -> None:
    queue.add("a")
    key = queue.get()
    queue.forget(key)
    queue.done(key)
    clock.advance(1000)
    assert len(queue) == 0


@pytest.mark.parametrize(
    "error", [OSError(), KeyboardInterrupt(), SystemExit()], ids=lambda error: type(error).__name__
)
def test_whatever_a_reconcile_raises_its_key_is_done_and_can_run_again(queue: Queue, error: BaseException) -> None:
    queue.add("a")
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        reconcile_once(queue, lambda key: raise_error(error))
    assert queue.gauges().processing == 0
    queue.add("a")
    assert drain_keys(queue) == ["a"]
