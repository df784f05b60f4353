"""Delays, back-off and the clock that tests drive."""

import math
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from workqueue import ExponentialBackoff, FakeClock, Lane, SystemClock, WorkQueue
from workqueue.delay import DelayHeap

Queue = WorkQueue[str]


def test_add_after_adds_when_the_time_has_come_and_not_before(queue: Queue, clock: FakeClock) -> None:
    queue.add_after("a", 5)
    clock.advance(4.999)
    assert len(queue) == 0
    clock.advance(0.001)
    assert queue.get() == "a"


@pytest.mark.parametrize("seconds", [0, -1, -math.inf])
def test_add_after_without_a_delay_adds_at_once(queue: Queue, seconds: float) -> None:
    queue.add_after("a", seconds)
    assert len(queue) == 1


def test_of_two_delays_a_later_shorter_one_wins_and_the_key_runs_once(queue: Queue, clock: FakeClock) -> None:
    queue.add_after("a", 10)
    queue.add_after("a", 3)
    clock.advance(3)
    queue.done(queue.get())
    clock.advance(100)
    assert len(queue) == 0


def test_of_two_delays_a_later_longer_one_is_ignored(queue: Queue, clock: FakeClock) -> None:
    queue.add_after("a", 3)
    queue.add_after("a", 10)
    clock.advance(3)
    queue.done(queue.get())
    clock.advance(100)
    assert len(queue) == 0


def test_an_add_does_not_cancel_a_pending_delay_so_the_key_runs_twice(queue: Queue, clock: FakeClock) -> None:
    queue.add_after("a", 3)
    queue.add("a")
    queue.done(queue.get())
    clock.advance(3)
    assert queue.get() == "a"


def test_a_delay_that_ends_while_its_key_is_processed_runs_it_once_more_after_done(
    queue: Queue, clock: FakeClock
) -> None:
    queue.add("a")
    queue.add_after("a", 3)
    queue.get()
    clock.advance(3)
    assert len(queue) == 0
    queue.done("a")
    assert queue.get() == "a"


def test_delays_end_in_the_order_of_their_times_and_equal_times_in_the_order_of_their_requests(
    queue: Queue, clock: FakeClock
) -> None:
    for key, seconds in {"c": 3, "a1": 1, "a2": 1, "b": 2, "a3": 1}.items():
        queue.add_after(key, seconds)
    clock.advance(3)
    assert [queue.get() for _ in range(5)] == ["a1", "a2", "a3", "b", "c"]


def test_a_retry_keeps_the_lane_in_which_its_key_is_processed(queue: Queue, clock: FakeClock) -> None:
    """Else the retries of a long initial list would overtake events."""
    queue.add("bulk", Lane.BULK)
    queue.get()
    queue.add_rate_limited("bulk")
    queue.add_after("unknown", 1)
    queue.done("bulk")
    clock.advance(1)
    assert queue.gauges().depth == {Lane.FRESH: 1, Lane.BULK: 1, Lane.SLOW: 0}


def test_of_two_delays_the_more_urgent_lane_counts(queue: Queue, clock: FakeClock) -> None:
    queue.add_after("a", 1, Lane.BULK)
    queue.add_after("a", 2, Lane.FRESH)
    clock.advance(1)
    assert queue.gauges().depth[Lane.FRESH] == 1


def test_a_delay_that_is_not_a_number_is_refused_and_one_without_end_is_kept(queue: Queue, clock: FakeClock) -> None:
    with pytest.raises(ValueError, match="not a number"):
        queue.add_after("a", math.nan)
    queue.add_after("a", math.inf)
    clock.advance(1e9)
    assert len(queue) == 0
    assert queue.alive


def test_ten_thousand_delayed_keys_share_one_timer_thread(queue: Queue, clock: FakeClock) -> None:
    others = set(threading.enumerate())
    for number in range(10_000):
        queue.add_after(f"ns/{number}", 1 + number % 7)
    assert not set(threading.enumerate()) - others
    clock.advance(7)
    assert len(queue) == 10_000


def test_a_resync_that_is_moved_to_now_over_and_over_leaves_no_garbage(clock: FakeClock) -> None:
    """Else the heap would hold an entry a second until the resync's time, ten hours away."""
    lock = threading.Lock()
    delivered: list[str] = []
    heap: DelayHeap[str] = DelayHeap(clock, lock, lambda key, lane: delivered.append(key))
    for _ in range(1000):
        with lock:
            heap.put("a", 36_000, Lane.BULK)
            heap.put("a", 1, Lane.FRESH)
        clock.advance(1)
    assert delivered == ["a"] * 1000
    assert len(heap._heap) < 100
    with lock:
        heap.stop()
    heap.join()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_timer_thread_that_died_shows(clock: FakeClock) -> None:
    class Broken:
        def add(self) -> None:
            raise RuntimeError("a metric that raises")

        def get(self, queue_seconds: float) -> None: ...
        def done(self, work_seconds: float) -> None: ...
        def retry(self) -> None: ...

    queue: Queue = WorkQueue(slow_limit=1, clock=clock, metrics=Broken())
    assert queue.alive
    queue.add_after("a", 1)
    clock.advance(1)
    queue._delay.join()
    assert not queue.alive


def test_the_system_clock_drives_a_delay() -> None:
    queue: Queue = WorkQueue(slow_limit=1, clock=SystemClock())
    queue.add_after("far", 1e300)
    queue.add_after("near", 0.001)
    assert queue.get() == "near"
    queue.done("near")
    assert queue.shut_down(drain=True, timeout=40)


def test_the_back_off_doubles_from_5_ms_to_300_s_and_stays_there() -> None:
    backoff = ExponentialBackoff[str](random.Random(1), jitter=0.0)
    delays = [backoff.when("a") for _ in range(2000)]
    assert delays[:5] == [0.005, 0.01, 0.02, 0.04, 0.08]
    assert delays[15:17] == [163.84, 300.0]
    assert set(delays[17:]) == {300.0}, "no overflow however often"
    assert backoff.num_requeues("a") == 2000


def test_the_back_off_is_spread_by_20_percent_either_way_also_at_its_maximum() -> None:
    backoff = ExponentialBackoff[int](random.Random(1))
    first = [backoff.when(key) for key in range(1000)]
    assert 0.004 <= min(first) < 0.0042 < 0.0058 < max(first) <= 0.006
    for _ in range(20):
        last = [backoff.when(key) for key in range(1000)]
    assert 240 <= min(last) < 245 < 355 < max(last) <= 360


def test_the_back_off_of_one_key_says_nothing_about_another_and_is_reset_by_forget() -> None:
    backoff = ExponentialBackoff[str](random.Random(1), jitter=0.0)
    for _ in range(10):
        backoff.when("bad")
    assert backoff.when("good") == 0.005
    backoff.forget("bad")
    backoff.forget("never seen")
    assert backoff.num_requeues("bad") == 0
    assert backoff.when("bad") == 0.005


@pytest.mark.parametrize(
    "wrong", [{"base": 0.0}, {"base": 400.0}, {"maximum": math.inf}, {"maximum": math.nan}, {"jitter": 1.0}]
)
def test_a_back_off_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="back-off"):
        ExponentialBackoff(random.Random(1), **wrong)


def test_advance_wakes_a_thread_at_each_of_its_deadlines_on_the_way(clock: FakeClock) -> None:
    condition, seen = threading.Condition(), []

    def renew() -> None:
        with condition:
            for _ in range(4):
                next_at = clock.monotonic() + 2
                while (left := next_at - clock.monotonic()) > 0:
                    clock.wait(condition, left)
                seen.append(clock.monotonic())

    with ThreadPoolExecutor() as pool:
        pool.submit(renew)
        clock.block_until(waiters=1)
        clock.advance(7)
        assert seen == [2, 4, 6]
        clock.advance(1)
        assert seen == [2, 4, 6, 8]


def test_advance_returns_after_the_work_that_a_woken_thread_does_under_its_lock(clock: FakeClock) -> None:
    condition, result = threading.Condition(), []

    def work() -> None:
        with condition:
            while clock.wait(condition, 1 - clock.monotonic()):
                pass
            result.append(sum(range(1_000_000)))

    with ThreadPoolExecutor() as pool:
        pool.submit(work)
        clock.block_until(waiters=1)
        clock.advance(1)
        assert len(result) == 1


def test_a_wait_tells_a_notification_from_the_end_of_its_time(clock: FakeClock) -> None:
    condition = threading.Condition()

    def wait() -> bool:
        with condition:
            return clock.wait(condition, 5)

    def wait_for_the_end() -> float:
        with condition:
            while clock.wait(condition, 5 - clock.monotonic()):
                pass
            return clock.monotonic()

    with ThreadPoolExecutor() as pool:
        notified = pool.submit(wait)
        clock.block_until(waiters=1)
        with condition:
            condition.notify()
        assert notified.result(timeout=40) is True
        late = pool.submit(wait_for_the_end)
        clock.block_until(waiters=1)
        clock.advance(100)
        assert late.result(timeout=40) == 5
    with condition:
        assert clock.wait(condition, 0) is False
        assert SystemClock().wait(condition, 0) is False


def test_a_jump_of_the_wall_clock_moves_no_timer(queue: Queue, clock: FakeClock) -> None:
    start = clock.now()
    queue.add_after("a", 5)
    clock.jump(-3600)
    assert clock.now() == start - 3600
    clock.jump(7200)
    assert (clock.now(), clock.monotonic()) == (start + 3600, 0)
    clock.advance(4)
    assert len(queue) == 0
    clock.advance(1)
    assert len(queue) == 1
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)
