"""The worker threads: take a key, have it processed, say when to come back. The loop of controller-runtime."""

import logging
import threading
import time
from collections.abc import Callable

from controllers.decision import Key
from controllers.metrics import ControllerMetrics
from controllers.reconciler import Outcome
from workqueue import ShutDown, WorkQueue

logger = logging.getLogger(__name__)


class Workers:
    """A fixed number of threads over one queue."""

    def __init__(
        self, queue: WorkQueue[Key], process: Callable[[Key], Outcome], metrics: ControllerMetrics, number: int
    ) -> None:
        self._queue, self._process, self._metrics = queue, process, metrics
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"worker-{index}", daemon=True) for index in range(number)
        ]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float) -> bool:
        """Let each worker finish the key in its hands, start no other; return whether all did so in time."""
        self._stopping.set()
        self._queue.shut_down()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def dead_thread(self) -> str:
        """Return the name of a worker that ended although nobody asked it to; "" where all is well."""
        started = (thread for thread in self._threads if thread.ident is not None)
        return "" if self._stopping.is_set() else next((t.name for t in started if not t.is_alive()), "")

    def _run(self) -> None:
        while True:
            try:
                key = self._queue.get()
            except ShutDown:
                return
            try:
                if not self._stopping.is_set():
                    self._one(key)
            finally:
                self._queue.done(key)

    def _one(self, key: Key) -> None:
        self._metrics.started()
        started = time.monotonic()
        outcome = self._process(key)
        self._metrics.ended(outcome.result, time.monotonic() - started, panic=outcome.bug)
        if outcome.result in ("error", "requeue"):
            self._queue.add_rate_limited(key)
            return
        self._queue.forget(key)
        if outcome.result == "requeue_after":
            self._queue.add_after(key, outcome.seconds)
