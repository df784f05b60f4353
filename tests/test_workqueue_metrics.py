"""The queue tells client-go's seven metrics at client-go's moments."""

import random
from collections.abc import Iterator

import pytest

from workqueue import ExponentialBackoff, FakeClock, Lane, WorkQueue

Queue = WorkQueue[str]


class Recorder:
    """Metrics as a list of moments."""

    def __init__(self) -> None:
        self.moments: list[tuple[str, float]] = []

    def add(self) -> None:
        self.moments.append(("add", 0.0))

    def get(self, queue_seconds: float) -> None:
        self.moments.append(("get", queue_seconds))

    def done(self, work_seconds: float) -> None:
        self.moments.append(("done", work_seconds))

    def retry(self) -> None:
        self.moments.append(("retry", 0.0))


@pytest.fixture
def metrics() -> Recorder:
    return Recorder()


@pytest.fixture
def queue(clock: FakeClock, metrics: Recorder) -> Iterator[Queue]:
    backoff = ExponentialBackoff[str](random.Random(1))
    made: Queue = WorkQueue(slow_limit=8, slow_after=1e9, clock=clock, backoff=backoff, metrics=metrics)
    yield made
    made.shut_down()


def test_metrics_tell_each_transition_at_client_gos_moments(queue: Queue, clock: FakeClock, metrics: Recorder) -> None:
    queue.add("a")
    queue.add("a")  # waits already: no moment
    clock.advance(3)
    queue.get()
    queue.add("a")
    queue.add("a")
    clock.advance(4)
    queue.done("a")
    clock.advance(5)
    queue.get()
    queue.done("a")
    assert metrics.moments == [("add", 0), ("get", 3), ("add", 0), ("done", 4), ("get", 9), ("done", 0)]


def test_each_add_after_counts_as_a_retry_also_without_a_delay(
    queue: Queue, clock: FakeClock, metrics: Recorder
) -> None:
    queue.add_after("a", 0)
    queue.add_after("b", 5)
    queue.add_rate_limited("c")
    assert sorted(metrics.moments) == [("add", 0), ("retry", 0), ("retry", 0), ("retry", 0)]
    clock.advance(5)
    assert metrics.moments[4:] == [("add", 0), ("add", 0)]


def test_gauges_are_zero_at_first_then_show_depth_by_lane_and_running_work(queue: Queue, clock: FakeClock) -> None:
    zero = queue.gauges()
    assert (zero.depth, zero.delayed, zero.processing) == (dict.fromkeys(Lane, 0), 0, 0)
    assert (zero.unfinished_work_seconds, zero.longest_running_processor_seconds) == (0, 0)
    queue.add("a")
    queue.get()
    clock.advance(2)
    queue.add("b")
    queue.get()
    clock.advance(3)
    queue.add("c", Lane.BULK)
    queue.add("b")
    queue.add_after("d", 1)
    shown = queue.gauges()
    assert shown.depth == {Lane.FRESH: 1, Lane.BULK: 1, Lane.SLOW: 0}, "an add while processing is depth"
    assert (shown.delayed, shown.processing) == (1, 2)
    assert (shown.unfinished_work_seconds, shown.longest_running_processor_seconds) == (8, 5)


def test_what_is_dropped_at_shutdown_is_not_counted(queue: Queue, metrics: Recorder) -> None:
    queue.shut_down()
    queue.add("a")
    queue.add_after("b", 0)
    queue.add_rate_limited("c")
    assert metrics.moments == []
