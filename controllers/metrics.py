"""What Prometheus sees: the names of client-go and controller-runtime, so that public dashboards fit, and our own.

Everything hangs on the registry that ``Metrics`` is given. A series from which a rate is taken exists from the start,
at 0; a series that describes one object lives and dies with it (``dataset_metrics``).

    metrics = Metrics(CollectorRegistry())
    counters = metrics.queue("dataset")
    queue = WorkQueue(…, metrics=counters)
    counters.watch(queue.gauges)

Names, labels and buckets: controller-runtime pkg/internal/metrics/workqueue.go, pkg/internal/controller/metrics and
pkg/metrics; the reflector's as Kubernetes' own components name those of client-go's tools/cache.
"""

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from controllers.backup_metrics import BackupMetrics
from controllers.dataset_metrics import DatasetMetrics
from workqueue.metrics import Gauges, QueueMetrics

RESULTS = ("success", "error", "requeue", "requeue_after")

_QUEUE = ["name", "controller"]
# fmt: off
_QUEUE_BUCKETS = tuple(float(f"1e{power}") for power in range(-8, 4))
_RECONCILE_BUCKETS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5, 1.75,
    2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60,
)
_CLIENT_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60)
# fmt: on


class Metrics:
    """All metrics of one process. Any thread may call any method, and none of them waits."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Else each counter has a second series beside it, which no dashboard of client-go knows.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry
        self.datasets = DatasetMetrics(registry)
        self.backups = BackupMetrics(registry)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self._queues = _Queues(registry)
        self._controllers = _Controllers(registry)
        self._reflectors = _Reflectors(registry)
        self._leader = _gauge(registry, "leader_election_master_status", "1 for the leader.", ["name"])
        self._requests = _counter(registry, "rest_client_requests_total", "Requests.", ["code", "method", "host"])
        self._request_seconds = _histogram(
            registry,
            "rest_client_request_duration_seconds",
            "Until the whole answer.",
            ["verb", "host"],
            _CLIENT_BUCKETS,
        )

    def queue(self, name: str) -> "QueueCounters":
        """Return what a work queue of this name is given."""
        return QueueCounters(self._queues, name)

    def controller(self, name: str, workers: int) -> "ControllerMetrics":
        """Return the metrics of one controller with so many workers."""
        return ControllerMetrics(self._controllers, name, workers)

    def reflector(self, name: str) -> "ReflectorMetrics":
        """Return the metrics of the reflector of one resource, by its plural name."""
        return ReflectorMetrics(self._reflectors, name)

    def leader(self, name: str, leading: bool) -> None:
        """Tell whether this process holds the Lease of that name; call it with False at the start."""
        self._leader.labels(name).set(leading)

    def request(self, method: str, host: str, code: str, seconds: float) -> None:
        """Count an answer of the API server: the ``observe`` of ``kube.Cluster``."""
        self._requests.labels(code, method, host).inc()
        self._request_seconds.labels(method, host).observe(seconds)


class QueueCounters(QueueMetrics):
    """One queue's counters, called by the queue; ``watch`` adds its gauges."""

    def __init__(self, queues: "_Queues", name: str) -> None:
        self._queues, self._name = queues, name
        self._adds, self._retries = queues.adds.labels(name, name), queues.retries.labels(name, name)
        self._waits, self._works = queues.waits.labels(name, name), queues.works.labels(name, name)

    def watch(self, gauges: Callable[[], Gauges]) -> None:
        """Read these gauges at every scrape."""
        self._queues.gauges[self._name] = gauges

    def add(self) -> None:
        """See QueueMetrics."""
        self._adds.inc()

    def get(self, queue_seconds: float) -> None:
        """See QueueMetrics."""
        self._waits.observe(queue_seconds)

    def done(self, work_seconds: float) -> None:
        """See QueueMetrics."""
        self._works.observe(work_seconds)

    def retry(self) -> None:
        """See QueueMetrics."""
        self._retries.inc()


class ControllerMetrics:
    """One controller's reconciles."""

    def __init__(self, families: "_Controllers", name: str, workers: int) -> None:
        families.most.labels(name).set(workers)
        self._active, self._seconds = families.active.labels(name), families.seconds.labels(name)
        self._results = {result: families.results.labels(name, result) for result in RESULTS}
        self._errors, self._terminal = families.errors.labels(name), families.terminal.labels(name)
        self._panics = families.panics.labels(name)

    def started(self) -> None:
        """Count a worker that begins a reconcile; each needs its ``ended``."""
        self._active.inc()

    def ended(self, result: str, seconds: float, *, terminal: bool = False, panic: bool = False) -> None:
        """Count the end of a reconcile; ``result`` is one of RESULTS.

        An error is ``terminal`` where the key is not tried again, a ``panic`` where it is a bug of ours.
        """
        self._active.dec()
        self._seconds.observe(seconds)
        self._results[result].inc()
        for happened, counter in ((result == "error", self._errors), (terminal, self._terminal), (panic, self._panics)):
            counter.inc(1 if happened else 0)


class ReflectorMetrics:
    """One reflector's lists and watches."""

    def __init__(self, families: "_Reflectors", name: str) -> None:
        self._lists, self._watches, self._short, self._version, *summaries = (
            family.labels(name) for family in families.all
        )
        self._list_seconds, self._list_items, self._watch_seconds, self._watch_items = summaries

    def listed(self, seconds: float, items: int) -> None:
        """Count a complete list."""
        self._lists.inc()
        self._list_seconds.observe(seconds)
        self._list_items.observe(items)

    def watched(self, seconds: float, events: int) -> None:
        """Count a watch that ended. Short, as in client-go, is one that ended within a second without an event."""
        self._watches.inc()
        self._short.inc(1 if seconds < 1 and not events else 0)
        self._watch_seconds.observe(seconds)
        self._watch_items.observe(events)

    def version(self, resource_version: str) -> None:
        """Tell the last resourceVersion; one that is not a number is passed over. 15 digits: all that a float holds."""
        if resource_version.isascii() and resource_version.isdecimal():
            self._version.set(int(resource_version[-15:]))


class _Queues(Collector):
    """Counters that are pushed, and gauges that are read at the scrape: exact, and free between two scrapes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.adds = _counter(registry, "workqueue_adds_total", "Keys added.", _QUEUE)
        self.retries = _counter(registry, "workqueue_retries_total", "Keys added with a delay.", _QUEUE)
        name = "workqueue_queue_duration_seconds"
        self.waits = _histogram(registry, name, "How long a key waits for a worker.", _QUEUE, _QUEUE_BUCKETS)
        name = "workqueue_work_duration_seconds"
        self.works = _histogram(registry, name, "How long a worker is busy with a key.", _QUEUE, _QUEUE_BUCKETS)
        self.gauges: dict[str, Callable[[], Gauges]] = {}
        registry.register(self)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        depth = GaugeMetricFamily("workqueue_depth", "Keys that wait, by lane.", labels=[*_QUEUE, "priority"])
        unfinished = GaugeMetricFamily("workqueue_unfinished_work_seconds", "Work under way, summed.", labels=_QUEUE)
        name = "workqueue_longest_running_processor_seconds"
        longest = GaugeMetricFamily(name, "Longest work under way.", labels=_QUEUE)
        for queue, gauges in tuple(self.gauges.items()):
            now = gauges()
            for lane, count in now.depth.items():
                depth.add_metric([queue, queue, lane.name.lower()], count)
            unfinished.add_metric([queue, queue], now.unfinished_work_seconds)
            longest.add_metric([queue, queue], now.longest_running_processor_seconds)
        yield from (depth, unfinished, longest)


class _Controllers:
    def __init__(self, registry: CollectorRegistry) -> None:
        prefix, by = "controller_runtime_", ["controller"]
        self.results = _counter(registry, f"{prefix}reconcile_total", "Reconciles, by result.", [*by, "result"])
        self.errors = _counter(registry, f"{prefix}reconcile_errors_total", "Reconciles that failed.", by)
        self.terminal = _counter(registry, f"{prefix}terminal_reconcile_errors_total", "Failures not tried again.", by)
        self.panics = _counter(registry, f"{prefix}reconcile_panics_total", "Reconciles ended by a bug.", by)
        name = f"{prefix}reconcile_time_seconds"
        self.seconds = _histogram(registry, name, "How long a reconcile takes.", by, _RECONCILE_BUCKETS)
        self.most = _gauge(registry, f"{prefix}max_concurrent_reconciles", "Workers.", by)
        self.active = _gauge(registry, f"{prefix}active_workers", "Workers in a reconcile.", by)


class _Reflectors:
    def __init__(self, registry: CollectorRegistry) -> None:
        by = ["name"]
        self.all: tuple[Any, ...] = (
            _counter(registry, "reflector_lists_total", "Lists.", by),
            _counter(registry, "reflector_watches_total", "Watches that ended.", by),
            _counter(registry, "reflector_short_watches_total", "Watches that ended at once without an event.", by),
            _gauge(registry, "reflector_last_resource_version", "Last resourceVersion seen.", by),
            Summary("reflector_list_duration_seconds", "How long a list takes.", by, registry=registry),
            Summary("reflector_items_per_list", "Objects in a list.", by, registry=registry),
            Summary("reflector_watch_duration_seconds", "How long a watch lasts.", by, registry=registry),
            Summary("reflector_items_per_watch", "Events in a watch.", by, registry=registry),
        )


def _counter(registry: CollectorRegistry, name: str, text: str, labels: list[str]) -> Counter:
    return Counter(name, text, labels, registry=registry)


def _gauge(registry: CollectorRegistry, name: str, text: str, labels: list[str]) -> Gauge:
    return Gauge(name, text, labels, registry=registry)


def _histogram(
    registry: CollectorRegistry, name: str, text: str, labels: list[str], buckets: tuple[float, ...]
) -> Histogram:
    return Histogram(name, text, labels, buckets=buckets, registry=registry)
