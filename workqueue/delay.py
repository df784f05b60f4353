"""Keys that are to be added later: one heap and one timer thread, however many keys wait.

A ``threading.Timer`` per key would be a thread per key (bench/bench_workqueue.py has the figures).
"""

import heapq
import itertools
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from workqueue.clock import Clock
from workqueue.lanes import Lane

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True, eq=False)
class _Request(Generic[K]):
    key: K
    ready_at: float
    lane: Lane


class DelayHeap(Generic[K]):
    """Hands each key to ``deliver``, on its timer thread and with ``lock`` held, once its time has come.

    The caller holds ``lock`` in ``put``, ``stop`` and ``len()``. Of several requests for one key the earliest time
    and the most urgent lane count, and it is delivered once.
    """

    def __init__(self, clock: Clock, lock: threading.Lock, deliver: Callable[[K, Lane], None]) -> None:
        self._clock = clock
        self._wake = threading.Condition(lock)
        self._deliver = deliver
        self._due: dict[K, _Request[K]] = {}
        # A key that was moved to an earlier time leaves its old request behind: _due alone says which one counts.
        # The counter keeps equal times in order, and requests out of the comparison.
        self._heap: list[tuple[float, int, _Request[K]]] = []
        self._sequence = itertools.count()
        self._running = False
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="workqueue-timer", daemon=True)
        with self._wake:
            self._thread.start()
            self._wake.wait_for(lambda: self._running)  # from here on it waits by the clock: no race with its start

    def __len__(self) -> int:
        return len(self._due)

    @property
    def alive(self) -> bool:
        """False once the timer thread has died of an error: from then on no delayed key comes back."""
        return self._stopped or self._thread.is_alive()

    def put(self, key: K, seconds: float, lane: Lane) -> None:
        """Have the key delivered in so many seconds; a later time than the one it already has is ignored."""
        ready_at = self._clock.monotonic() + seconds
        known = self._due.get(key)
        if known is not None:
            lane = known.lane = min(known.lane, lane)
            if known.ready_at <= ready_at:
                return
        request = self._due[key] = _Request(key, ready_at, lane)
        heapq.heappush(self._heap, (ready_at, next(self._sequence), request))
        self._compact()
        if self._heap[0][2] is request:
            self._wake.notify()

    def stop(self) -> None:
        """Drop all waiting keys and end the thread."""
        self._stopped = True
        self._due.clear()
        self._wake.notify_all()

    def join(self) -> None:
        """Wait, without the lock, until the thread of a stopped heap has ended."""
        self._thread.join()

    def _run(self) -> None:
        with self._wake:
            self._running = True
            self._wake.notify()
            while not self._stopped:
                self._clock.wait(self._wake, self._deliver_due())

    def _deliver_due(self) -> float | None:
        """Deliver what is due and return the seconds until the next key, None if there is none."""
        while self._heap:
            remaining = self._heap[0][0] - self._clock.monotonic()
            if remaining > 0:
                return remaining
            request = heapq.heappop(self._heap)[2]
            if self._due.get(request.key) is request:
                del self._due[request.key]
                self._deliver(request.key, request.lane)
        return None

    def _compact(self) -> None:
        # A resync in ten hours that is moved to the next second, over and over, would leave an entry a second.
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [entry for entry in self._heap if self._due.get(entry[2].key) is entry[2]]
            heapq.heapify(self._heap)
