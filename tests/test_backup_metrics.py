"""Metrics of backups: read from the objects, so they survive a restart and go with the objects."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from controllers.api.databackup import BackupPhase, DataBackupStatus
from controllers.api.times import epoch
from controllers.metrics import Metrics


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def value(metrics: Metrics, name: str, /, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"fluidctl_backup_{name}", labels)


def backup(dataset: str, phase: str, end: str, size: int = 0) -> dict[str, Any]:
    status = {"phase": phase, "completionTime": end, "sizeBytes": size}
    meta = {"namespace": "ns", "name": end}
    return {"metadata": meta, "spec": {"dataset": {"name": dataset}}, "status": status}


def test_the_newest_backup_of_each_dataset_counts(metrics: Metrics) -> None:
    found = [
        backup("a", "Complete", "2026-11-20T03:00:00Z", 10),
        backup("a", "Complete", "2026-11-21T03:00:00Z", 20),
        backup("a", "Failed", "2026-11-22T03:00:00Z"),
        backup("b", "Executing", ""),
        {"metadata": {"namespace": "ns", "name": "untouched"}},
        {"metadata": {"namespace": "ns", "name": "x"}, "status": {"phase": "Complete", "completionTime": 7}},
    ]
    metrics.backups.watch(lambda: found, list)
    of = {"namespace": "ns", "dataset": "a"}
    assert value(metrics, "last_success_timestamp_seconds", **of) == epoch("2026-11-21T03:00:00Z")
    assert value(metrics, "last_failure_timestamp_seconds", **of) == epoch("2026-11-22T03:00:00Z")
    assert value(metrics, "size_bytes", **of) == 20
    assert value(metrics, "last_success_timestamp_seconds", namespace="ns", dataset="b") is None
    found.clear()
    assert value(metrics, "last_success_timestamp_seconds", **of) is None, "a series goes with its objects"


def test_a_schedule_shows_its_slots_and_its_last_success(metrics: Metrics) -> None:
    status = {"lastSlotTime": "2026-11-22T03:00:00Z", "lastSuccessfulTime": "2026-11-21T03:01:00Z"}
    metrics.backups.watch(list, lambda: [{"metadata": {"namespace": "ns", "name": "nightly"}, "status": status}])
    of = {"namespace": "ns", "schedule": "nightly"}
    assert value(metrics, "schedule_last_slot_timestamp_seconds", **of) == epoch("2026-11-22T03:00:00Z")
    assert value(metrics, "schedule_last_success_timestamp_seconds", **of) == epoch("2026-11-21T03:01:00Z")
    assert value(metrics, "schedule_next_slot_timestamp_seconds", **of) is None


def test_what_ends_is_counted_once(metrics: Metrics) -> None:
    assert value(metrics, "total", result="Complete") == value(metrics, "total", result="Failed") == 0
    busy = DataBackupStatus(phase=BackupPhase.EXECUTING, start_time="2026-11-22T03:00:00Z")
    done = busy.model_copy(update={"phase": BackupPhase.COMPLETE, "completion_time": "2026-11-22T03:00:07Z"})
    failed = done.model_copy(update={"phase": BackupPhase.FAILED})
    for old, new in ((DataBackupStatus(), busy), (busy, done), (done, done), (busy, failed)):
        metrics.backups.decided(old, new)
    assert value(metrics, "total", result="Complete") == 1
    assert value(metrics, "total", result="Failed") == 1
    assert value(metrics, "duration_seconds_sum") == 7
