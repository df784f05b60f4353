"""The metrics of Datasets, ``fluidctl_dataset_*``: one set per object, computed from its status at the scrape."""

import threading
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from controllers.api.dataset_status import DatasetStatus, RestorePhase
from controllers.api.result import Exit, describe
from controllers.api.times import epoch

STEPS = ("stage", "mount", "load", "size")
RESTORE_ENDS = (RestorePhase.RESTORED, RestorePhase.FAILED, RestorePhase.ABANDONED)

_BUCKETS = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800, 86400)
_OBJECT = ["namespace", "dataset"]
_GAUGES = {
    "files": "Files, counted and complete.",
    "bytes": "Bytes, counted and complete.",
    "progress_files": "Files that the running step has done.",
    "progress_total_files": "Estimate of the files that the running step has to do.",
    "cache_used_bytes": "Bytes in the cache of the Dataset's Alluxio, of all its datasets.",
    "cache_capacity_bytes": "Capacity of the cache of the Dataset's Alluxio.",
    "last_refresh_timestamp_seconds": "When a refresh last succeeded, since the epoch.",
    "last_transition_timestamp_seconds": "When a condition last changed, since the epoch.",
}


class DatasetMetrics(Collector):
    """``seen`` at every reconcile, ``gone`` when the object is. What is not known has no series: a gap is not a 0."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lock = threading.Lock()
        self._status: dict[tuple[str, str], DatasetStatus] = {}
        self._attempts = Counter(
            "fluidctl_dataset_attempts_total", "Ended Jobs, by how.", ["step", "reason"], registry=registry
        )
        self._seconds = Histogram(
            "fluidctl_dataset_step_duration_seconds",
            "From the start of a Job that was complete to its end.",
            ["step"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._restores = Counter(
            "fluidctl_dataset_restores_total",
            "Restores from a backup, by how they ended.",
            ["result"],
            registry=registry,
        )
        for end in RESTORE_ENDS:
            self._restores.labels(end.value)
        for step in STEPS:
            self._seconds.labels(step)
            for code in Exit:
                self._attempts.labels(step, describe(code)[0])
        registry.register(self)

    def seen(self, namespace: str, name: str, status: DatasetStatus) -> None:
        """Show this status of a Dataset."""
        with self._lock:
            self._status[namespace, name] = status

    def gone(self, namespace: str, name: str) -> None:
        """Show the Dataset no more; no-op for one that is not shown."""
        with self._lock:
            self._status.pop((namespace, name), None)

    def attempt(self, step: str, reason: str, seconds: float | None = None) -> None:
        """Count a Job that ended. ``reason`` as of ``api.result.describe``; ``seconds`` only where it was complete."""
        self._attempts.labels(step, reason).inc()
        if seconds is not None:
            self._seconds.labels(step).observe(seconds)

    def restored(self, result: str) -> None:
        """Count a restore that ended; ``result`` is one of RESTORE_ENDS."""
        self._restores.labels(result).inc()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See Collector; writers wait no longer than it takes to copy the dictionary."""
        with self._lock:
            shown = tuple(self._status.items())
        phase = GaugeMetricFamily("fluidctl_dataset_phase", "1 for the phase it is in.", labels=[*_OBJECT, "phase"])
        families = {
            name: GaugeMetricFamily(f"fluidctl_dataset_{name}", text, labels=_OBJECT) for name, text in _GAUGES.items()
        }
        for key, status in shown:
            if status.phase:
                phase.add_metric([*key, status.phase.value], 1)
            for name, value in _values(status).items():
                if value is not None:
                    families[name].add_metric(list(key), value)
        yield phase
        yield from families.values()


def _values(status: DatasetStatus) -> dict[str, float | None]:
    running, cache = status.progress if status.progress.update_time else None, status.cache
    changes = [
        moment for condition in status.conditions if (moment := epoch(condition.last_transition_time)) is not None
    ]
    return {
        "files": status.file_count,
        "bytes": status.ufs_total_bytes,
        "progress_files": running.files if running else None,
        "progress_total_files": running.total or None if running else None,
        "cache_used_bytes": cache.used_bytes if cache.update_time else None,
        "cache_capacity_bytes": cache.capacity_bytes if cache.update_time else None,
        "last_refresh_timestamp_seconds": epoch(status.refresh.completion_time),
        "last_transition_timestamp_seconds": max(changes, default=None),
    }
