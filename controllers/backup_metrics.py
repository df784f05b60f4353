"""The metrics of backups and their schedules, ``fluidctl_backup_*``.

What is true of an object is read from the objects at the scrape: it survives a restart of the controller, and goes with
the objects. Only what has ended is counted.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from controllers.api.databackup import BackupPhase, DataBackupStatus
from controllers.api.times import epoch

Objects = Callable[[], Iterable[dict[str, Any]]]

RESULTS = (BackupPhase.COMPLETE, BackupPhase.FAILED)
_BUCKETS = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400)
_OF_DATASET = {
    "last_success_timestamp_seconds": "When the newest complete backup ended, since the epoch.",
    "last_failure_timestamp_seconds": "When the newest failed backup ended, since the epoch.",
    "size_bytes": "Bytes of the newest complete backup.",
}
_OF_SCHEDULE = {
    "last_success_timestamp_seconds": ("When a backup was last complete, since the epoch.", "lastSuccessfulTime"),
    "last_slot_timestamp_seconds": ("The last slot that got a backup or was skipped.", "lastSlotTime"),
    "next_slot_timestamp_seconds": ("The next slot; none where it is suspended.", "nextScheduleTime"),
}


class BackupMetrics(Collector):
    """``watch`` says where the objects are; ``decided`` is called with each status that was written."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._backups: Objects = tuple
        self._schedules: Objects = tuple
        self._total = Counter("fluidctl_backup_total", "Backups that ended, by how.", ["result"], registry=registry)
        name = "fluidctl_backup_duration_seconds"
        self._seconds = Histogram(name, "From the start of a complete backup.", buckets=_BUCKETS, registry=registry)
        for result in RESULTS:
            self._total.labels(result.value)
        registry.register(self)

    def watch(self, backups: Objects, schedules: Objects) -> None:
        """Read these DataBackups and ScheduledDataBackups at every scrape."""
        self._backups, self._schedules = backups, schedules

    def decided(self, old: DataBackupStatus, new: DataBackupStatus) -> None:
        """Count a backup that ended between the two."""
        if old.phase == new.phase or new.phase not in RESULTS:
            return
        self._total.labels(new.phase.value).inc()
        start, end = epoch(new.start_time), epoch(new.completion_time)
        if new.phase is BackupPhase.COMPLETE and start is not None and end is not None:
            self._seconds.observe(max(0.0, end - start))

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See Collector."""
        yield from self._of_datasets()
        for name, (text, field) in _OF_SCHEDULE.items():
            family = GaugeMetricFamily(f"fluidctl_backup_schedule_{name}", text, labels=["namespace", "schedule"])
            for obj in self._schedules():
                moment = _time(obj, field)
                if moment is not None:
                    family.add_metric([obj["metadata"]["namespace"], obj["metadata"]["name"]], moment)
            yield family

    def _of_datasets(self) -> Iterator[GaugeMetricFamily]:
        newest: dict[tuple[str, str, str], tuple[float, dict[str, Any]]] = {}
        for obj in self._backups():
            moment, status = _time(obj, "completionTime"), obj.get("status") or {}
            dataset = str(((obj.get("spec") or {}).get("dataset") or {}).get("name", ""))
            key = (obj["metadata"]["namespace"], dataset, str(status.get("phase")))
            if moment is not None and moment > newest.get(key, (0.0, {}))[0]:
                newest[key] = moment, status
        families = {
            name: GaugeMetricFamily(f"fluidctl_backup_{name}", text, labels=["namespace", "dataset"])
            for name, text in _OF_DATASET.items()
        }
        for (namespace, dataset, phase), (moment, status) in newest.items():
            if phase == BackupPhase.FAILED:
                families["last_failure_timestamp_seconds"].add_metric([namespace, dataset], moment)
            if phase == BackupPhase.COMPLETE:
                families["last_success_timestamp_seconds"].add_metric([namespace, dataset], moment)
                families["size_bytes"].add_metric([namespace, dataset], float(status.get("sizeBytes") or 0))
        yield from families.values()


def _time(obj: dict[str, Any], field: str) -> float | None:
    found = (obj.get("status") or {}).get(field)
    return epoch(found) if isinstance(found, str) else None
