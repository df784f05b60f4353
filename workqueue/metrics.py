"""What the queue tells about itself: four moments that it pushes, and gauges that are read when they are wanted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from workqueue.lanes import Lane


class QueueMetrics(Protocol):
    """The moments of client-go's ``workqueue`` metrics. Called with the queue's lock held: count, do not call back.

    An implementation must not raise: in ``get`` the key would be taken and handed to nobody.
    """

    def add(self) -> None:
        """A key was added that was not waiting yet, also while it is being processed: ``workqueue_adds_total``."""

    def get(self, queue_seconds: float) -> None:
        """A worker took a key, so long after its ``add``: ``workqueue_queue_duration_seconds``."""

    def done(self, work_seconds: float) -> None:
        """A worker is done with a key, so long after it took it: ``workqueue_work_duration_seconds``."""

    def retry(self) -> None:
        """``add_after`` or ``add_rate_limited`` was called, whatever the delay: ``workqueue_retries_total``."""


class NoMetrics:
    """Counts nothing."""

    def add(self) -> None:
        """Ignore it."""

    def get(self, queue_seconds: float) -> None:
        """Ignore it."""

    def done(self, work_seconds: float) -> None:
        """Ignore it."""

    def retry(self) -> None:
        """Ignore it."""


@dataclass(frozen=True)
class Gauges:
    """The state of a queue at one moment, for a collector that asks at each scrape.

    client-go refreshes the two durations on a timer of its own; read at the scrape they are exact and cost nothing.
    """

    depth: Mapping[Lane, int]  # workqueue_depth by lane; as in client-go with keys added while being processed
    delayed: int  # keys whose add_after is not due yet
    processing: int
    unfinished_work_seconds: float  # summed over the keys being processed
    longest_running_processor_seconds: float
