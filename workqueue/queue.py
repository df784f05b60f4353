"""The queue between what happens and who works on it. Its promises are in the package's docstring."""

import math
import random
import threading
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from workqueue.backoff import ExponentialBackoff
from workqueue.clock import Clock, SystemClock
from workqueue.delay import DelayHeap
from workqueue.lanes import Entry, Lane, Lanes
from workqueue.metrics import Gauges, NoMetrics, QueueMetrics

K = TypeVar("K", bound=Hashable)


class ShutDown(Exception):
    """The queue is shut down and empty: the worker's loop ends."""


@dataclass(slots=True)
class _Run:
    """A key in the hands of a worker."""

    started: float
    asked: Lane
    slow: bool  # handed out from the SLOW lane
    again: Entry | None = None  # added meanwhile: queued anew at done()


class WorkQueue(Generic[K]):
    """client-go's rate-limited, delaying work queue, with lanes. All methods may be called by any thread.

    A key is in at most one of two places, waiting (in a lane) or processing; added while it is being processed it is
    only marked, and goes to the tail of its lane at ``done``. (client-go calls waiting and marked keys "dirty".)

    ``slow_limit``: how many workers slow keys may hold at a time; half of the workers is a good choice. A key is slow
    if its last processing, from ``get`` to ``done``, took over ``slow_after`` seconds: until it is fast once, it waits
    in the SLOW lane whatever lane is asked for. A key that is over that time *now* counts against the limit too.
    The queue cannot interrupt a worker: it relies on each processing to end at some time. ``age_after``: the seconds
    after which a key that is not in the FRESH lane is served in turn with those that are; ``Lanes`` has the whole rule.
    """

    def __init__(
        self,
        *,
        slow_limit: int,
        slow_after: float = 1.0,
        age_after: float = 30.0,
        clock: Clock | None = None,
        backoff: ExponentialBackoff[K] | None = None,
        metrics: QueueMetrics | None = None,
    ) -> None:
        if slow_limit < 1:
            raise ValueError("with slow_limit below 1 a key that was slow once would never run again")
        self._slow_limit = slow_limit
        self._slow_after = slow_after
        self._clock: Clock = clock or SystemClock()
        self._backoff: ExponentialBackoff[K] = backoff or ExponentialBackoff(random.Random())
        self._metrics: QueueMetrics = metrics or NoMetrics()
        self._lock = threading.Lock()
        # Workers wait on one condition and drainers on another, so that no notify() wakes the wrong kind.
        self._ready = threading.Condition(self._lock)
        self._drained = threading.Condition(self._lock)
        self._lanes: Lanes[K] = Lanes(age_after)
        self._processing: dict[K, _Run] = {}
        self._slow: set[K] = set()
        self._delay: DelayHeap[K] = DelayHeap(self._clock, self._lock, self._mark)
        self._shutting_down = False
        self._draining = False

    def add(self, key: K, lane: Lane = Lane.FRESH) -> None:
        """Have the key processed; if it waits already, at most move it to a more urgent lane. Dropped at shutdown."""
        with self._lock:
            if not self._shutting_down:
                self._mark(key, lane)

    def add_after(self, key: K, seconds: float, lane: Lane | None = None) -> None:
        """Add the key in so many seconds, at once where not positive; of several pending requests the earliest counts.

        Without a lane the key keeps the one in which it is being processed (FRESH if it is not), so that the retries of
        a long initial list do not overtake events. ``add`` does not cancel a pending request, as in client-go: the key
        then runs now and again. At shutdown pending requests are dropped.
        """
        if math.isnan(seconds):
            raise ValueError("a delay that is not a number would disorder the heap")
        with self._lock:
            if self._shutting_down:
                return
            run = self._processing.get(key)
            wanted = lane if lane is not None else run.asked if run else Lane.FRESH
            if seconds > 0:
                self._delay.put(key, seconds, wanted)
            else:
                self._mark(key, wanted)
            self._metrics.retry()

    def add_rate_limited(self, key: K, lane: Lane | None = None) -> None:
        """Count a failure of the key and add it when its back-off has passed."""
        self.add_after(key, self._backoff.when(key), lane)

    def get(self) -> K:
        """Wait for a key and take it; every ``get`` needs its ``done``. Raise ShutDown once shut down and empty."""
        with self._lock:
            while (taken := self._take()) is None:
                if self._shutting_down and not len(self._lanes):
                    raise ShutDown
                self._clock.wait(self._ready, None)  # by the clock, so that a test can tell that a worker is idle
            if self._shutting_down and not len(self._lanes):
                self._ready.notify_all()
            return taken

    def done(self, key: K) -> None:
        """End the processing of a key; if it was added meanwhile it waits again. ValueError if nobody processes it."""
        with self._lock:
            run = self._processing.pop(key, None)
            if run is None:
                raise ValueError(f"done() of {key!r}, which is not being processed")
            seconds = self._clock.monotonic() - run.started
            # Keys of deleted objects leave the set by themselves: their last processing finds nothing, and is fast.
            if seconds > self._slow_after:
                self._slow.add(key)
            else:
                self._slow.discard(key)
            if run.again:
                self._lanes.put(key, self._lane(key, run.again.asked), run.again)
                self._ready.notify()
            if run.slow or seconds > self._slow_after:
                self._ready.notify()  # a place for slow keys has become free
            if not self._busy():
                self._drained.notify_all()
            self._metrics.done(seconds)

    def forget(self, key: K) -> None:
        """Reset the back-off of a key; ``done`` is needed all the same."""
        self._backoff.forget(key)

    def num_requeues(self, key: K) -> int:
        """Return the failures counted by ``add_rate_limited`` since the last ``forget``."""
        return self._backoff.num_requeues(key)

    def shut_down(self, drain: bool = False, timeout: float | None = None) -> bool:
        """Take no more keys; what waits is still handed out. Return whether nothing waits and nothing is processed.

        With ``drain``, first wait for just that, at most ``timeout`` seconds. A later call without ``drain`` makes a
        drain that still waits return at once.
        """
        with self._lock:
            self._shutting_down = True
            self._draining = drain
            self._delay.stop()
            self._ready.notify_all()
            self._drained.notify_all()
            deadline = self._clock.monotonic() + (math.inf if timeout is None else timeout)
            while self._draining and self._busy():
                remaining = deadline - self._clock.monotonic()
                if remaining <= 0:
                    break
                self._clock.wait(self._drained, remaining)
            idle = not self._busy()
        self._delay.join()
        return idle

    def __len__(self) -> int:
        """Return how many keys wait in a lane: without those being processed or delayed. No basis for a decision."""
        with self._lock:
            return len(self._lanes)

    @property
    def alive(self) -> bool:
        """False if the timer thread has died; a health check should fail then."""
        return self._delay.alive

    def gauges(self) -> Gauges:
        """Return the gauges of this moment."""
        with self._lock:
            now = self._clock.monotonic()
            running = [now - run.started for run in self._processing.values()]
            again = [self._lane(key, run.again.asked) for key, run in self._processing.items() if run.again]
            return Gauges(
                depth={lane: self._lanes.count(lane) + again.count(lane) for lane in Lane},
                delayed=len(self._delay),
                processing=len(running),
                unfinished_work_seconds=sum(running),
                longest_running_processor_seconds=max(running, default=0.0),
            )

    # Below, the caller holds the lock.

    def _mark(self, key: K, lane: Lane) -> None:
        entry = Entry(lane, self._clock.monotonic())
        run = self._processing.get(key)
        if run is None:
            if not self._lanes.put(key, self._lane(key, lane), entry):
                return
            self._ready.notify()
        elif run.again:
            run.again.asked = min(run.again.asked, lane)
            return
        else:
            run.again = entry
        self._metrics.add()

    def _take(self) -> K | None:
        now = self._clock.monotonic()
        taken = self._lanes.take(now, slow_allowed=self._slow_allowed(now))
        if taken is None:
            return None
        key, lane, entry = taken
        self._processing[key] = _Run(now, entry.asked, slow=lane is Lane.SLOW)
        self._metrics.get(now - entry.since)
        return key

    def _slow_allowed(self, now: float) -> bool:
        if not self._lanes.count(Lane.SLOW):
            return False
        held = sum(run.slow or now - run.started > self._slow_after for run in self._processing.values())
        return held < self._slow_limit

    def _lane(self, key: K, asked: Lane) -> Lane:
        return Lane.SLOW if key in self._slow else asked

    def _busy(self) -> bool:
        return bool(len(self._lanes) or self._processing)
