"""Names, labels and buckets are those of client-go and controller-runtime; series go with their object."""

import threading
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from controllers.api.conditions import Condition
from controllers.api.dataset_status import CacheStatus, DatasetStatus, Phase, ProgressStatus, RefreshStatus
from controllers.api.result import Exit, describe
from controllers.metrics import RESULTS, Metrics
from workqueue.clock import FakeClock
from workqueue.queue import WorkQueue


@dataclass
class Seen:
    """The metrics and what a scrape of them gives."""

    metrics: Metrics

    def value(self, name: str, /, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    def text(self) -> str:
        return generate_latest(self.metrics.registry).decode()


@pytest.fixture
def seen() -> Seen:
    return Seen(Metrics(CollectorRegistry()))


def test_two_sets_of_metrics_live_side_by_side() -> None:
    one, other = Metrics(CollectorRegistry()), Metrics(CollectorRegistry())
    one.request("GET", "h", "200", 0.1)
    assert Seen(one).value("rest_client_requests_total", code="200", method="GET", host="h") == 1
    assert Seen(other).value("rest_client_requests_total", code="200", method="GET", host="h") is None


def test_a_controller_has_every_series_at_0_before_the_first_reconcile(seen: Seen) -> None:
    seen.metrics.controller("dataset", 16)
    for result in RESULTS:
        assert seen.value("controller_runtime_reconcile_total", controller="dataset", result=result) == 0
    for name in (
        "controller_runtime_reconcile_errors_total",
        "controller_runtime_terminal_reconcile_errors_total",
        "controller_runtime_reconcile_panics_total",
        "controller_runtime_reconcile_time_seconds_count",
        "controller_runtime_active_workers",
    ):
        assert seen.value(name, controller="dataset") == 0
    assert seen.value("controller_runtime_max_concurrent_reconciles", controller="dataset") == 16


def test_a_reconcile_is_counted_by_its_end(seen: Seen) -> None:
    controller = seen.metrics.controller("dataset", 16)
    ends = [("success", {}), ("error", {}), ("error", {"terminal": True}), ("error", {"panic": True})]
    for result, more in ends:
        controller.started()
        assert seen.value("controller_runtime_active_workers", controller="dataset") == 1
        controller.ended(result, 0.3, **more)
    counts = {
        name: seen.value(f"controller_runtime_{name}", controller="dataset")
        for name in (
            "active_workers",
            "reconcile_errors_total",
            "terminal_reconcile_errors_total",
            "reconcile_panics_total",
            "reconcile_time_seconds_count",
        )
    }
    assert list(counts.values()) == [0, 3, 1, 1, 4]
    assert seen.value("controller_runtime_reconcile_total", controller="dataset", result="error") == 3
    assert seen.value("controller_runtime_reconcile_time_seconds_bucket", controller="dataset", le="0.25") == 0
    assert seen.value("controller_runtime_reconcile_time_seconds_bucket", controller="dataset", le="0.3") == 4


def test_a_real_queue_feeds_the_metrics_of_client_go(seen: Seen) -> None:
    labels = {"name": "dataset", "controller": "dataset"}
    clock, counters = FakeClock(), seen.metrics.queue("dataset")
    work: WorkQueue[str] = WorkQueue(slow_limit=1, clock=clock, metrics=counters)
    counters.watch(work.gauges)
    assert seen.value("workqueue_adds_total", **labels) == 0
    assert seen.value("workqueue_retries_total", **labels) == 0
    work.add("a")
    work.add("b")
    work.add_after("c", 60)
    assert seen.value("workqueue_depth", **labels, priority="fresh") == 2
    clock.advance(0.05)
    work.get()
    clock.advance(7)
    assert seen.value("workqueue_adds_total", **labels) == 2
    assert seen.value("workqueue_retries_total", **labels) == 1
    assert seen.value("workqueue_depth", **labels, priority="fresh") == 1
    assert seen.value("workqueue_unfinished_work_seconds", **labels) == 7
    assert seen.value("workqueue_longest_running_processor_seconds", **labels) == 7
    work.done("a")
    assert seen.value("workqueue_longest_running_processor_seconds", **labels) == 0
    assert seen.value("workqueue_work_duration_seconds_bucket", **labels, le="1.0") == 0
    assert seen.value("workqueue_work_duration_seconds_bucket", **labels, le="10.0") == 1
    assert seen.value("workqueue_queue_duration_seconds_bucket", **labels, le="0.01") == 0
    assert seen.value("workqueue_queue_duration_seconds_bucket", **labels, le="0.1") == 1
    work.shut_down()


def test_the_buckets_of_the_queue_go_from_ten_nanoseconds_to_a_thousand_seconds(seen: Seen) -> None:
    seen.metrics.queue("q")
    bounds = [
        float(sample.labels["le"])
        for family in seen.metrics.registry.collect()
        if family.name == "workqueue_queue_duration_seconds"
        for sample in family.samples
        if sample.name.endswith("_bucket")
    ]
    assert bounds == pytest.approx([10.0**power for power in range(-8, 4)] + [float("inf")])


def test_answers_of_the_api_server_are_counted_by_code_and_verb(seen: Seen) -> None:
    for code, seconds in (("200", 0.01), ("409", 0.2), ("<error>", 20.0)):
        seen.metrics.request("PUT", "h:443", code, seconds)
    assert seen.value("rest_client_requests_total", code="<error>", method="PUT", host="h:443") == 1
    assert seen.value("rest_client_request_duration_seconds_bucket", verb="PUT", host="h:443", le="0.25") == 2
    assert seen.value("rest_client_request_duration_seconds_bucket", verb="PUT", host="h:443", le="15.0") == 2


def test_the_leader_is_1_and_a_standby_is_0(seen: Seen) -> None:
    for leading in (False, True, False):
        seen.metrics.leader("fluidctl", leading)
        assert seen.value("leader_election_master_status", name="fluidctl") == leading


def test_lists_and_watches_are_counted_and_the_version_keeps_15_digits(seen: Seen) -> None:
    reflector = seen.metrics.reflector("jobs")
    assert seen.value("reflector_lists_total", name="jobs") == 0
    reflector.listed(2.0, 500)
    reflector.watched(300.0, 9)
    reflector.watched(0.1, 0)
    reflector.version("1234567890123456789")
    reflector.version("opaque")
    values = {
        "lists_total": 1,
        "watches_total": 2,
        "short_watches_total": 1,
        "last_resource_version": 567890123456789,
        "list_duration_seconds_sum": 2.0,
        "items_per_list_sum": 500,
        "watch_duration_seconds_count": 2,
        "items_per_watch_sum": 9,
    }
    assert {name: seen.value(f"reflector_{name}", name="jobs") for name in values} == values


FULL = DatasetStatus(
    phase=Phase.SIZING,
    file_count=7,
    ufs_total_bytes=70,
    refresh=RefreshStatus(completion_time="1970-01-01T00:00:08Z"),
    progress=ProgressStatus(files=5, total=9, update_time="2026-01-01T00:00:00Z"),
    cache=CacheStatus(used_bytes=3, capacity_bytes=4, update_time="2026-01-01T00:00:00Z"),
    conditions=tuple(
        Condition("A", "True", "R", last_transition_time=f"1970-01-01T00:00:{second:02}Z") for second in (5, 9, 1)
    ),
)


def test_a_dataset_shows_what_is_known_of_it_and_its_series_go_with_it(seen: Seen) -> None:
    labels = {"namespace": "ns", "dataset": "d"}
    seen.metrics.datasets.seen("ns", "d", FULL)
    values = {
        "files": 7,
        "bytes": 70,
        "progress_files": 5,
        "progress_total_files": 9,
        "cache_used_bytes": 3,
        "cache_capacity_bytes": 4,
        "last_refresh_timestamp_seconds": 8,
        "last_transition_timestamp_seconds": 9,
    }
    assert {name: seen.value(f"fluidctl_dataset_{name}", **labels) for name in values} == values
    assert seen.value("fluidctl_dataset_phase", **labels, phase="Sizing") == 1
    seen.metrics.datasets.seen("ns", "d", DatasetStatus(phase=Phase.READY))
    assert seen.value("fluidctl_dataset_phase", **labels, phase="Sizing") is None
    assert seen.value("fluidctl_dataset_phase", **labels, phase="Ready") == 1
    seen.metrics.datasets.gone("ns", "d")
    seen.metrics.datasets.gone("ns", "d")
    assert 'dataset="d"' not in seen.text()


def test_what_is_not_known_of_a_dataset_is_a_gap_and_not_a_0(seen: Seen) -> None:
    seen.metrics.datasets.seen("ns", "d", DatasetStatus())
    assert 'dataset="d"' not in seen.text()


def test_attempts_exist_at_0_for_every_reason_and_are_counted(seen: Seen) -> None:
    for step in ("load", "size"):
        for code in Exit:
            assert seen.value("fluidctl_dataset_attempts_total", step=step, reason=describe(code)[0]) == 0
        assert seen.value("fluidctl_dataset_step_duration_seconds_count", step=step) == 0
    seen.metrics.datasets.attempt("load", "Complete", 42.0)
    seen.metrics.datasets.attempt("load", "Signal137")
    assert seen.value("fluidctl_dataset_attempts_total", step="load", reason="Complete") == 1
    assert seen.value("fluidctl_dataset_attempts_total", step="load", reason="Signal137") == 1
    assert seen.value("fluidctl_dataset_step_duration_seconds_sum", step="load") == 42.0


def test_the_process_and_the_interpreter_are_shown_and_no_created_series(seen: Seen) -> None:
    text = seen.text()
    assert "process_resident_memory_bytes" in text
    assert "python_gc_collections_total" in text
    assert "_created" not in text


def test_a_scrape_sees_whole_datasets_while_others_write(seen: Seen) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for number in range(50):
                seen.metrics.datasets.seen("ns", str(number), FULL)
                seen.metrics.datasets.gone("ns", str(number))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            lines = [line for line in seen.text().splitlines() if 'namespace="ns"' in line]
            assert len(lines) % 9 == 0
    finally:
        stop.set()
        writer.join()
