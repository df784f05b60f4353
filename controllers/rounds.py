"""Visits keys again and again, each at its own time, on a bounded number of threads of its own.

A visit may hang up to its own time-outs. So a key proves itself first: keys whose last visit was quick are visited by
threads of their own, which new and slow keys never hold. Threads start as they are needed and then stay.
"""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from workqueue.clock import Clock, SystemClock

SLOW_SECONDS = 1.0
AFTER_ERROR_SECONDS = 60.0

logger = logging.getLogger(__name__)
K = TypeVar("K", bound=Hashable)


@dataclass
class _Lane(Generic[K]):
    changed: threading.Condition
    due: list[tuple[float, int, K]] = field(default_factory=list)
    idle: int = 0
    threads: list[threading.Thread] = field(default_factory=list)


class Rounds(Generic[K]):
    """``visit(key)`` does the work and returns the seconds until its next turn; it runs on any of the threads."""

    def __init__(
        self,
        name: str,
        visit: Callable[[K], float],
        *,
        threads: int = 32,  # at most, in each of the two lanes
        clock: Clock | None = None,
    ) -> None:
        self._name, self._visit, self._most, self._clock = name, visit, threads, clock or SystemClock()
        lock = threading.Lock()
        self._quick: _Lane[K] = _Lane(threading.Condition(lock))
        self._unproved: _Lane[K] = _Lane(threading.Condition(lock))
        self._lock, self._tickets, self._numbers = lock, dict[K, int](), itertools.count()
        self._running = False

    def add(self, key: K) -> None:
        """Visit the key from now on, the first time at once; no-op for a key that is here."""
        with self._lock:
            if key not in self._tickets:
                self._tickets[key] = next(self._numbers)
                self._put(self._unproved, key, 0.0)

    def discard(self, key: K) -> None:
        """Visit the key no more; a visit under way ends by itself."""
        with self._lock:
            self._tickets.pop(key, None)

    def start(self) -> None:
        """Start visiting."""
        with self._lock:
            self._running = True
            for lane in (self._quick, self._unproved):
                self._spare(lane)

    def stop(self, timeout: float = 1.0) -> None:
        """Begin no more visits and wait for those under way, at most so long: the threads are daemons."""
        with self._lock:
            self._running = False
            threads = self._quick.threads + self._unproved.threads
            for lane in (self._quick, self._unproved):
                lane.changed.notify_all()
        end = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))

    def dead_thread(self) -> str:
        """Return the name of a thread that has died, for a health check, or nothing."""
        with self._lock:
            threads = self._quick.threads + self._unproved.threads
            return next((thread.name for thread in threads if self._running and not thread.is_alive()), "")

    def _put(self, lane: _Lane[K], key: K, seconds: float) -> None:
        heapq.heappush(lane.due, (self._clock.monotonic() + seconds, self._tickets[key], key))
        lane.changed.notify()

    def _spare(self, lane: _Lane[K]) -> None:
        """Keep one thread free to wait for the next key, as far as the limit allows."""
        if lane.idle == 0 and len(lane.threads) < self._most:
            name = f"{self._name}-{next(self._numbers)}"
            thread = threading.Thread(target=self._work, args=(lane,), name=name, daemon=True)
            lane.threads.append(thread)
            lane.idle += 1
            thread.start()

    def _work(self, lane: _Lane[K]) -> None:
        while (taken := self._take(lane)) is not None:
            ticket, key = taken
            started = self._clock.monotonic()
            try:
                seconds = self._visit(key)
            except Exception:  # one key's trouble must not end the thread that serves the others
                logger.exception("%s: a visit failed", self._name, extra={"key": str(key)})
                seconds = AFTER_ERROR_SECONDS
            quick = self._clock.monotonic() - started < SLOW_SECONDS
            with self._lock:
                lane.idle += 1
                if self._tickets.get(key) == ticket:
                    self._put(self._quick if quick else self._unproved, key, seconds)

    def _take(self, lane: _Lane[K]) -> tuple[int, K] | None:
        """Wait for the next key that is due, or None at the end."""
        with self._lock:
            while self._running:
                wait = lane.due[0][0] - self._clock.monotonic() if lane.due else None
                if wait is not None and wait <= 0:
                    _, ticket, key = heapq.heappop(lane.due)
                    if self._tickets.get(key) != ticket:
                        continue
                    lane.idle -= 1
                    self._spare(lane)
                    return ticket, key
                self._clock.wait(lane.changed, wait)
        return None
