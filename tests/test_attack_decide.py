"""Wrong clocks, forged words and absurd values, held against the decision about one Dataset."""

import json
from dataclasses import replace

import pytest

from controllers.api.dataset import DatasetStatus, LoadStatus, Phase, RefreshStatus
from controllers.api.result import Result
from controllers.api.times import rfc3339
from controllers.dataset import LOAD, SIZE, JobState, Observed, decide
from controllers.dataset.seen import REFRESH_ANNOTATION, RETRY_ANNOTATION
from controllers.dataset.volume import view
from controllers.jobs import JOB
from controllers.observe import _meta
from tests.builders import NOW, at, good, job, made, observed, published, spec

DAY = 86_400.0


def failed(phase: Phase, when: float) -> LoadStatus:
    """A load one attempt of which failed at that time, with no attempt left in Failed."""
    failures = 4 if phase is Phase.FAILED else 1
    return LoadStatus(
        attempt=2, failures=failures, last_failure_time=rfc3339(when), last_reason="Incomplete", last_error="no"
    )


@pytest.mark.parametrize("phase", [Phase.LOADING_METADATA, Phase.FAILED])
def test_a_failure_noted_under_a_clock_that_ran_ahead_delays_nothing(phase: Phase) -> None:
    """The clock of the last leader was a month ahead: its times must not hold up the next attempt for a month."""
    seen = observed(status=at(phase, load=failed(phase, NOW + 30 * DAY)))

    assert made(decide(seen), JOB)


def test_a_little_skew_between_two_leaders_keeps_the_back_off() -> None:
    """A failure half a minute in the future is one of just now."""
    seen = observed(status=at(Phase.LOADING_METADATA, load=failed(Phase.LOADING_METADATA, NOW + 30)))

    assert decide(seen).requeue_after == 40.0


def test_a_huge_retry_annotation_does_not_grow_the_status() -> None:
    """256 KiB of annotation are allowed, and 16 KiB of status are enough. Handled once, it asks for nothing more."""
    meta = {"namespace": "default", "name": "a", "uid": "u", "annotations": {RETRY_ANNOTATION: "x" * 200_000}}
    seen = observed(status=at(Phase.READY))
    seen = replace(seen, meta=replace(seen.meta, retry=_meta({"metadata": meta}).retry))

    status = decide(seen).status

    assert status is not None
    assert len(json.dumps(status.model_dump(mode="json"))) < 16_384
    assert status.last_handled_retry == seen.meta.retry


def test_a_huge_refresh_annotation_is_served_once_and_does_not_grow_the_status() -> None:
    """It is cut before it is compared, so that what is echoed is what was asked for."""
    meta = {"namespace": "default", "name": "a", "uid": "u", "annotations": {REFRESH_ANNOTATION: "x" * 200_000}}
    asked = _meta({"metadata": meta}).refresh
    seen = observed(status=at(Phase.READY), **published())
    seen = replace(seen, meta=replace(seen.meta, refresh=asked))

    status = _decided(seen)

    assert (status.run.number, status.last_handled_refresh) == (2, asked)
    assert len(json.dumps(status.model_dump(mode="json"))) < 16_384


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1969-12-31T23:59:59+14:00"])
def test_absurd_times_in_a_status_break_no_schedule(when: str) -> None:
    """Another hand wrote them."""
    load = {"refreshSchedule": "0 3 * * *", "timeZone": "Asia/Tokyo"}
    refresh = RefreshStatus(
        schedule="0 3 * * * Asia/Tokyo", schedule_since=when, last_schedule_time=when, start_time=when
    )
    run = at(Phase.READY).run.model_copy(update={"start_time": when})
    seen = observed(status=at(Phase.READY, refresh=refresh, run=run), spec=spec(load=load), **published())

    assert decide(seen).requeue_after == pytest.approx(0, abs=DAY)
    assert _decided(replace(seen, now=NOW + 2 * DAY)).run.number == 2


def test_why_there_is_no_pod_is_looked_up_again_soon() -> None:
    """A quota that is used up makes no pod, and no event that would wake the Dataset: it has to look by itself."""
    starting = job(LOAD, JobState.STARTING, started=NOW - 5)

    assert decide(observed(status=at(Phase.LOADING_METADATA), jobs=(starting,))).requeue_after == 10.0
    with_pod = replace(starting, pod="a-pod")
    assert decide(observed(status=at(Phase.LOADING_METADATA), jobs=(with_pod,))).requeue_after == 595.0
    just_released = replace(starting, started=NOW)
    assert decide(observed(status=at(Phase.LOADING_METADATA), jobs=(just_released,))).requeue_after == 5.0


def test_a_master_that_only_pods_cannot_reach_gets_ever_fewer_jobs() -> None:
    """A network policy between pods and master costs no attempt, but not two pods a minute for ever either."""
    waits = []
    for attempt in (2, 3, 11, 1_000):
        load = LoadStatus(attempt=attempt, last_failure_time=rfc3339(NOW), last_reason="Unreachable", last_error="no")
        waits.append(decide(observed(status=at(Phase.LOADING_METADATA, load=load))).requeue_after)

    assert waits == [30.0, 60.0, 300.0, 300.0]


@pytest.mark.parametrize("kind", ["claim", "volume"])
def test_a_deletion_names_the_finalizers_of_others_that_hold_it_up(kind: str) -> None:
    """Kubernetes' own protection is no news: the pods that use a claim are named for it."""
    names = ["kubernetes.io/pvc-protection", "example.org/backup"]
    meta = {"name": "imagenet", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": names}
    seen = observed(status=at(Phase.READY), **{kind: view({"metadata": meta}, {"spec": {}})})

    status = decide(replace(seen, meta=replace(seen.meta, deleting=True))).status

    assert status is not None
    assert "finalizer example.org/backup" in str(status.conditions)
    assert "pvc-protection" not in str(status.conditions)


def test_a_count_that_always_finds_the_load_incomplete_ends_failed() -> None:
    """A load that succeeds heals nothing by itself: only a complete count begins the attempts anew."""
    status, phases = at(Phase.LOADING_METADATA), []
    for round_ in range(1, 5):
        now = NOW + 1_000 * round_
        loaded = job(LOAD, JobState.SUCCEEDED, attempt=round_, result=good(LOAD), exit_code=0)
        status = _decided(observed(status=status, jobs=(loaded,), now=now))
        assert status.load.failures == round_ - 1
        incomplete = Result(SIZE, "Incomplete", message="/d is empty", failed_directories=("/d",), failed_count=1)
        counted = job(SIZE, JobState.FAILED, attempt=round_, result=incomplete, exit_code=21)
        status = _decided(observed(status=status, jobs=(counted,), now=now))
        phases.append(status.phase)

    assert phases == [Phase.LOADING_METADATA] * 3 + [Phase.FAILED]


def _decided(seen: Observed) -> DatasetStatus:
    status = decide(seen).status
    assert status is not None
    return status
