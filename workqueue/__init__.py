"""A work queue for controllers: many hands add keys, many workers take them. It knows nothing of Kubernetes.

* **Fair**: within a lane, keys are taken in the order in which they were added. A key that is added again and again
  goes to the tail each time.
* **Stingy**: however often a key is added before a worker takes it, it is processed once.
* **Exclusive**: no key is ever in the hands of two workers. One that is added while it is being processed is
  processed once more, afterwards: nothing that happened meanwhile is missed.
* **Patient**: a key can be added later, or later and later (exponential back-off by key). No key waits because
  another one failed.
* **Separated**: events go before the initial list and resyncs, keys that took long go last and never hold all
  workers, and none of them waits for ever (``lanes.Lanes`` has the rule).
* **Orderly at the end**: after ``shut_down`` nothing is taken in, what waits is still handed out, and a drain ends by
  its deadline.

The semantics are those of client-go's ``util/workqueue``; where they differ, the docstring says so. A worker::

    while True:
        try:
            key = queue.get()
        except ShutDown:
            return
        try:
            ...  # then forget(key), add_after(key, seconds) or add_rate_limited(key)
        finally:
            queue.done(key)
"""

from workqueue.backoff import ExponentialBackoff
from workqueue.clock import Clock, FakeClock, SystemClock
from workqueue.lanes import Lane
from workqueue.metrics import Gauges, NoMetrics, QueueMetrics
from workqueue.queue import ShutDown, WorkQueue

__all__ = [
    "Clock",
    "ExponentialBackoff",
    "FakeClock",
    "Gauges",
    "Lane",
    "NoMetrics",
    "QueueMetrics",
    "ShutDown",
    "SystemClock",
    "WorkQueue",
]
