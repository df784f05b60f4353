"""Time as an argument: the real clock, and one for tests that stands still until it is told to move."""

import math
import threading
import time
from dataclasses import dataclass, field
from typing import Protocol


class Clock(Protocol):
    """What a component may know of time. Decisions about durations use ``monotonic``, what people read uses ``now``."""

    def now(self) -> float:
        """Return the wall time in seconds since the epoch; it may jump either way."""
        ...

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment; it never goes back."""
        ...

    def wait(self, condition: threading.Condition, timeout: float | None) -> bool:
        """Wait on a condition whose lock the caller holds, at most ``timeout`` seconds; None is without end.

        False means that the time is up. True means nothing but that the thread woke: as with any condition, call it in
        a loop that looks at what it waits for.
        """
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> float:
        """Return the wall time."""
        return time.time()

    def monotonic(self) -> float:
        """Return the monotonic time."""
        return time.monotonic()

    def wait(self, condition: threading.Condition, timeout: float | None) -> bool:
        """Wait for the condition or the timeout."""
        # Condition.wait raises OverflowError beyond TIMEOUT_MAX, some 292 years.
        return condition.wait(None if timeout is None else min(timeout, threading.TIMEOUT_MAX))


@dataclass(eq=False)
class _Waiter:
    condition: threading.Condition
    deadline: float
    woken: threading.Event = field(default_factory=threading.Event)


class FakeClock:
    """A clock for tests. Time moves in ``advance`` alone, and with it every thread that waits by this clock.

    When ``advance`` returns, each waiting thread has woken at each deadline on the way, and has done all that it does
    before it gives up the lock of its condition. So a test asserts right after it, with no sleep and no polling. What
    a thread does outside that lock is not covered: wait for its result, or for its next wait with ``block_until``.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._wall = start  # the wall time at which monotonic() was 0
        self._monotonic = 0.0
        self._waiters: list[_Waiter] = []
        self._conditions: set[threading.Condition] = set()

    def now(self) -> float:
        """Return the wall time."""
        with self._lock:
            return self._wall + self._monotonic

    def monotonic(self) -> float:
        """Return the seconds advanced since the start."""
        with self._lock:
            return self._monotonic

    def wait(self, condition: threading.Condition, timeout: float | None) -> bool:
        """Wait for the condition, or until time has been advanced by ``timeout``."""
        with self._lock:
            deadline = math.inf if timeout is None else self._monotonic + timeout
            if deadline <= self._monotonic:
                return False
            waiter = _Waiter(condition, deadline)
            self._waiters.append(waiter)
            self._conditions.add(condition)
            self._changed.notify_all()
        try:
            condition.wait()
        finally:
            with self._lock:
                self._waiters.remove(waiter)
            waiter.woken.set()
        return self.monotonic() < deadline

    def advance(self, seconds: float) -> None:
        """Move both times forward, from deadline to deadline, so that timers fire in order and on time.

        The caller must not hold a lock that a waiting thread needs.
        """
        if seconds < 0:
            raise ValueError("monotonic time does not go back; jump() moves the wall clock")
        target = self.monotonic() + seconds
        self._wake_all()
        while self._step(target):
            self._wake_all()

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an operator or NTP would; monotonic time does not move."""
        with self._lock:
            self._wall += seconds

    def waiters(self) -> int:
        """Return how many threads wait by this clock."""
        with self._lock:
            return len(self._waiters)

    def block_until(self, waiters: int) -> None:
        """Return once at least so many threads wait by this clock."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiters) >= waiters)

    def _step(self, target: float) -> bool:
        """Move to the next deadline or to the target; return whether a thread is due there."""
        with self._lock:
            earliest = min((waiter.deadline for waiter in self._waiters), default=math.inf)
            self._monotonic = min(max(earliest, self._monotonic), target)
            return earliest <= self._monotonic

    def _wake_all(self) -> None:
        # Not only those that are due: one that was notified a moment ago may not have set its new deadline yet.
        with self._lock:
            conditions = list(self._conditions)
        for condition in conditions:
            with condition:  # with its lock held, each of its threads waits, or is about to wake
                condition.notify_all()
                with self._lock:
                    waiters = [waiter for waiter in self._waiters if waiter.condition is condition]
            for waiter in waiters:
                waiter.woken.wait()
            with condition:  # free once the last of them waits anew or has left
                pass
