"""Laws of ``decide``: what holds for every combination of what can be seen of a Dataset."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import Any

import pytest

from controllers.api.conditions import (
    ALWAYS_SHOWN,
    AVAILABLE,
    READY,
    RECONCILING,
    REFRESHING,
    RESTORED,
    STALLED,
    TRUE,
    find,
)
from controllers.api.dataset import (
    CountStatus,
    DatasetStatus,
    LoadStatus,
    MasterStatus,
    Phase,
    RefreshStatus,
    RestorePhase,
    RunStatus,
    SizeStatus,
    StepStatus,
)
from controllers.api.result import Exit, Result
from controllers.api.times import rfc3339
from controllers.dataset import FINALIZER, JobState, JobView, MasterView, Observed, Problem, decide, restore
from controllers.dataset.attempts import counted, current, given_up, of
from controllers.dataset.seen import LOAD, MOUNT, SIZE, STAGE
from controllers.decision import Create, Decision
from controllers.jobs import ATTEMPT, JOB, RUN, STEP
from controllers.runtime.view import RuntimeView
from controllers.volumes import CLAIM, VOLUME
from tests.builders import NOW, REACHABLE, applied, at, doomed, good, job, made, managed, observed, published, spec
from tests.restores import CHECKSUM, COMPLETE, STOPPED, restoring, serving

#: The drawn edges of docs/architecture.md; a phase may always stay. "" is the phase of a Dataset nobody has touched.
EDGES = {
    ("", "Pending"),
    ("Pending", "LoadingMetadata"),
    ("LoadingMetadata", "Sizing"),
    ("Sizing", "Ready"),
    ("Sizing", "LoadingMetadata"),
    ("LoadingMetadata", "Failed"),
    ("Pending", "Failed"),
    ("Sizing", "Failed"),
    ("Failed", "LoadingMetadata"),
    ("Failed", "Sizing"),
    *((phase.value, "Pending") for phase in Phase),
}
#: Several edges in one pass are one step for a person: a Job may end between two looks at it.
SHORTCUTS = {
    ("Pending", "Sizing"),
    ("Pending", "Ready"),
    ("LoadingMetadata", "Ready"),
    ("Failed", "Ready"),
    ("", "LoadingMetadata"),
    ("", "Sizing"),
    ("", "Ready"),
    ("", "Failed"),
}

COUNTED = CountStatus(files=3, directories=1, bytes=42, completion_time=rfc3339(NOW - 900))
MASTER = MasterStatus(cluster_id="cluster-1", start_time_ms=1_000)

# All cases are decided once, in one process: ten seconds that four would each pay.
#: All cases are decided before the first law: on a slow machine that takes a minute.
pytestmark = [pytest.mark.xdist_group("laws"), pytest.mark.timeout(600)]


def _refreshing(step: str, **mine: Any) -> DatasetStatus:
    """A Ready Dataset the refresh of which is at that step, with these values in it."""
    status = at(
        Phase.READY,
        run=RunStatus(number=2, inputs="aaaa", start_time=rfc3339(NOW - 90), reason="Refresh"),
        refresh=RefreshStatus(start_time=rfc3339(NOW - 90), before=COUNTED),
        master=MASTER,
    )
    load = LoadStatus(**({"attempt": 1} | mine)) if step == LOAD else status.load
    return status.model_copy(update={LOAD: load, SIZE: SizeStatus(**({"attempt": 1} | (mine if step == SIZE else {})))})


_TRIED: dict[str, Any] = {
    "attempt": 5,
    "failures": 4,
    "last_reason": "Incomplete",
    "last_error": "no",
    "given_up": True,
}

STATUSES: dict[str, DatasetStatus] = {
    "untouched": DatasetStatus(),
    "pending": at(Phase.PENDING),
    "loading": at(Phase.LOADING_METADATA),
    "sizing": at(Phase.SIZING),
    "ready": at(Phase.READY),
    "failed": at(Phase.FAILED),
    "failed long ago": at(
        Phase.FAILED, load=at(Phase.FAILED).load.model_copy(update={"last_failure_time": rfc3339(NOW - 7200)})
    ),
    "loading again": at(
        Phase.LOADING_METADATA,
        load=at(Phase.FAILED).load.model_copy(update={"attempt": 2, "failures": 1, "last_failure_time": rfc3339(NOW)}),
    ),
    "other inputs": at(Phase.READY, run=at(Phase.READY).run.model_copy(update={"inputs": "bbbb"})),
    "unproved": at(Phase.READY, size=at(Phase.READY).size.model_copy(update={"proved": False})).model_copy(
        update={"phase": Phase.SIZING}
    ),
    "ready, unproved": at(Phase.READY, size=at(Phase.READY).size.model_copy(update={"proved": False})),
    "ready at a known master": at(Phase.READY, master=MASTER),
    "checked": at(Phase.READY, master=MASTER.model_copy(update={"checking": 2_000})),
    "refreshing": _refreshing(LOAD),
    "refreshing, counting": _refreshing(SIZE),
    "refreshing again": _refreshing(LOAD, attempt=2, failures=1, last_failure_time=rfc3339(NOW)),
    "refresh given up": _refreshing(LOAD, **_TRIED, last_failure_time=rfc3339(NOW - 60)),
    "refresh given up while counting": _refreshing(SIZE, **_TRIED, last_failure_time=rfc3339(NOW - 60)),
    "refresh given up long ago": _refreshing(LOAD, **_TRIED, last_failure_time=rfc3339(NOW - 7200)),
    "suspicious": (suspicious := _refreshing(LOAD, **_TRIED, last_failure_time=rfc3339(NOW - 60))).model_copy(
        update={"refresh": suspicious.refresh.model_copy(update={"suspicious": "all is gone"})}
    ),
}


def _result(step: str, code: int) -> Result:
    return Result(step, Exit(code).name.title().replace("_", ""), message="it says why", failed_directories=("/a",))


def _jobs(
    step: str, attempt: int, run: int, exits: tuple[int, ...] = (1, 10, 20, 21, 24, 25, 137)
) -> Iterator[tuple[JobView, ...]]:
    """Every way in which the Job of one attempt can be, alone and beside one of an earlier run."""

    def one(state: JobState, **changes: Any) -> JobView:
        return job(step, state, attempt=attempt, run=run, **changes)

    yield ()
    for state in (JobState.SUSPENDED, JobState.STARTING, JobState.RUNNING, JobState.DELETING):
        yield (one(state),)
    yield (one(JobState.STARTING, started=NOW - 10_000.0),)
    yield (one(JobState.SUCCEEDED, result=good(step), exit_code=0),)
    yield (one(JobState.SUCCEEDED, result=good(step, proved=False), exit_code=0),)
    yield (one(JobState.SUCCEEDED),)
    yield (one(JobState.SUCCEEDED, finished=NOW),)
    for code in exits:
        known = code in tuple(Exit)
        yield (one(JobState.FAILED, exit_code=code, result=_result(step, code) if known else None),)
    yield (one(JobState.FAILED, failure="DeadlineExceeded", failure_message="too long"),)
    yield (one(JobState.FAILED, finished=NOW),)
    yield (one(JobState.RUNNING), job(step, JobState.RUNNING, run=99))


VOLUMES: dict[str, dict[str, Any]] = {
    "none": {},
    "bound": published(),
    "unbound": published(bound=False),
    "outdated": published(fits=False),
    "claim gone": {"volume": published(fits=False)["volume"]},
    "deleting": published(deleting=True),
}
MASTERS = {
    "up": REACHABLE,
    "down": MasterView(False, "Unreachable", "refused"),
    "unknown": MasterView(),
    "formatted": replace(REACHABLE, start_time_ms=2_000, total_paths=1),
    "restarted": replace(REACHABLE, start_time_ms=2_000),
}
SPECS = {
    "plain": spec(),
    "suspended": spec(suspend=True),
    "no volume": spec(volume={"enabled": False}),
    "after verify": spec(volume={"publish": "AfterVerify"}),
    "cli": spec(load={"loader": "AlluxioCLI", "acceptUnverified": True}),
    "scheduled": spec(load={"refreshSchedule": "0 3 * * *", "timeZone": "Europe/Berlin"}),
}
#: Of a Dataset whose schedule has been known for days.
SINCE = {"schedule": "0 3 * * * Europe/Berlin", "schedule_since": rfc3339(NOW - 3 * 86_400)}


#: Where a restore can stand.
RESTORES = {
    "waiting": restoring(),
    "staging": restoring(RestorePhase.STAGING),
    "staging again": restoring(
        RestorePhase.STAGING, stage=StepStatus(attempt=3, failures=2, last_failure_time=rfc3339(NOW - 3600))
    ),
    "starting": restoring(RestorePhase.STARTING),
    "starting for long": restoring(
        RestorePhase.STARTING, stage=StepStatus(attempt=1, completion_time=rfc3339(NOW - 7200))
    ),
    "verifying": restoring(RestorePhase.VERIFYING),
    "restored": restoring(RestorePhase.RESTORED),
    "failed": restoring(RestorePhase.FAILED),
    "abandoned": restoring(RestorePhase.ABANDONED),
}
RESTORE_EXITS = (1, 14, 17, 18, 20, 31)
RUNTIMES = {
    "stopped": STOPPED,
    "stopping": RuntimeView(exists=True, reason="MasterStopped"),
    "restored": serving(CHECKSUM),
    "of another start": serving(""),
    "crashed": RuntimeView(exists=True, reason="MasterCrashLooping", message="exit 1"),
    "lost": RuntimeView(exists=True, reason="JournalLost", message="no file"),
}
RESTORE_SPECS = {
    "fail": managed({"path": "pvc://backups/a"}),
    "load": managed({"path": "pvc://backups/a", "onFailure": "LoadFromUFS"}, volume={"publish": "Immediately"}),
    "by name": managed({"backupName": "monday"}),
    "waits": managed({"backupName": "monday"}, load={"acceptUnverified": True}),
    "removed": managed(),
}


@dataclass(frozen=True)
class Case:
    """One combination, with a name that says which."""

    name: str
    seen: Observed


def _cases() -> Iterator[Case]:
    """Statuses x Jobs in full, the other axes around them: the policies look at each of those on its own."""
    for status_name, status in STATUSES.items():
        step = current(status) or SIZE
        attempt = of(status, step).attempt or 1
        for index, jobs in enumerate(_jobs(step, attempt, status.run.number or 1)):
            for volume, master in [*product(VOLUMES, ("up", "down")), *product(("bound",), MASTERS)]:
                seen = observed(status=status, jobs=jobs, master=MASTERS[master], **VOLUMES[volume])
                yield Case(f"{status_name}, jobs {index}, volume {volume}, master {master}", seen)
            for name, wanted in SPECS.items():
                finals = ((), (FINALIZER,), ("other/one", FINALIZER)) if name == "plain" else ((FINALIZER,),)
                for deleting, finalizers in product((False, True), finals):
                    meta = replace(observed().meta, deleting=deleting, finalizers=finalizers)
                    seen = observed(status=status, jobs=jobs, spec=wanted, meta=meta, **published())
                    yield Case(f"{status_name}, jobs {index}, {name}, deleting {deleting}", seen)
            for problem in (Problem("Forbidden", "quota"), Problem("ClaimConflict", "not ours")):
                yield Case(
                    f"{status_name}, jobs {index}, {problem}", observed(status=status, jobs=jobs, problem=problem)
                )
            bad = observed(status=status, jobs=jobs, spec=None, spec_error=Problem("InvalidSpec", "say what to do"))
            yield Case(f"{status_name}, jobs {index}, bad spec", bad)
            asked = observed(status=status, jobs=jobs, meta=replace(observed().meta, retry="now", generation=2))
            yield Case(f"{status_name}, jobs {index}, retry", asked)
            yield from _asked_to_refresh(f"{status_name}, jobs {index}", status, jobs)


def _asked_to_refresh(name: str, status: DatasetStatus, jobs: tuple[JobView, ...]) -> Iterator[Case]:
    """By the annotation; by a slot that has come."""
    meta = replace(observed().meta, refresh="now")
    yield Case(f"{name}, refresh", observed(status=status, jobs=jobs, meta=meta, **published()))
    known = status.model_copy(update={"refresh": status.refresh.model_copy(update=SINCE)})
    later = observed(status=known, jobs=jobs, spec=SPECS["scheduled"], now=NOW + 86_400, **published())
    yield Case(f"{name}, slot", later)


def _restore_cases() -> Iterator[Case]:
    """Every place of a restore x Jobs x runtimes, and what a person may have changed meanwhile."""
    for name, status in RESTORES.items():
        step = current(status) or SIZE
        for index, jobs in enumerate(_jobs(step, of(status, step).attempt, 1, RESTORE_EXITS)):
            for runtime, wanted in product(RUNTIMES, RESTORE_SPECS):
                alike = {"status": status, "jobs": jobs, "spec": RESTORE_SPECS[wanted], "runtime": RUNTIMES[runtime]}
                seen = observed(**alike, backup=COMPLETE if wanted == "by name" else None, path="/dataset")
                label = f"{name}, jobs {index}, runtime {runtime}, {wanted}"
                yield Case(label, seen)
                meta = replace(seen.meta, retry="now", deleting=wanted == "load")
                yield Case(f"{label}, asked {meta.deleting}", replace(seen, meta=meta))


@pytest.fixture(scope="module")
def decided() -> list[tuple[Case, Decision]]:
    """Every case with its decision: that there is one at all is the first law."""
    return [(case, decide(case.seen)) for case in chain(_cases(), _restore_cases())]


def test_there_are_thousands_of_cases(decided: list[tuple[Case, Decision]]) -> None:
    """So that a mistake in the generator does not make the laws empty."""
    assert len(decided) > 5_000


def test_the_same_facts_give_the_same_decision(decided: list[tuple[Case, Decision]]) -> None:
    """decide has no memory and no clock."""
    for case, decision in decided[::7]:
        assert decide(case.seen) == decision, case.name


def test_only_drawn_edges_between_phases_occur(decided: list[tuple[Case, Decision]]) -> None:
    """A person can rely on the picture in docs/architecture.md."""
    for case, decision in decided:
        if decision.status is None:
            continue
        before, after = case.seen.status.phase or "", decision.status.phase or ""
        assert before == after or (before, after) in EDGES | SHORTCUTS, case.name


def test_nothing_is_created_while_deleting_and_nothing_for_a_spec_that_is_refused(
    decided: list[tuple[Case, Decision]],
) -> None:
    """A Dataset that goes, or that cannot be served, makes no children."""
    for case, decision in decided:
        if case.seen.meta.deleting or case.seen.spec is None:
            assert not made(decision), case.name


def test_at_most_one_job_is_created_and_only_where_there_is_none_of_that_attempt(
    decided: list[tuple[Case, Decision]],
) -> None:
    """Two Jobs of one run and attempt can never exist; the created one is the one that the status names."""
    for case, decision in decided:
        created = [body["metadata"] for body in made(decision, JOB)]
        assert len(created) <= 1, case.name
        for meta in created:
            assert decision.status is not None
            labels, step = meta["labels"], meta["labels"][STEP]
            mine = of(decision.status, step)
            assert (int(labels[RUN]), int(labels[ATTEMPT])) == (decision.status.run.number, mine.attempt), case.name
            assert mine.job_name == meta["name"], case.name
            assert meta["name"] not in {found.name for found in case.seen.jobs}, case.name


def test_a_finalizer_is_there_before_the_first_child(decided: list[tuple[Case, Decision]]) -> None:
    """Else a deletion between the two would leave the child behind."""
    for case, decision in decided:
        if made(decision):
            kept = case.seen.meta.finalizers
            assert FINALIZER in (decision.finalizers.finalizers if decision.finalizers else kept), case.name


def test_deletions_name_the_uid_of_something_that_was_seen(decided: list[tuple[Case, Decision]]) -> None:
    """So that a late deletion never hits a successor of the same name."""
    for case, decision in decided:
        seen = case.seen
        uids = {found.uid for found in seen.jobs} | {seen.volume.uid, seen.claim.uid}
        for child in doomed(decision):
            assert child.uid, case.name
            assert child.uid in uids, case.name


def test_who_waits_is_woken(decided: list[tuple[Case, Decision]]) -> None:
    """A pass that does nothing and is not final has a Job in flight, a timer, or a reason that an event ends."""
    events = {"Suspended", "MasterUnreachable", "LoadedUnverified"}
    for case, decision in decided:
        status = decision.status
        if status is None or decision.children or decision.requeue_after is not None:
            continue
        ready = find(status.conditions, READY)
        assert ready is not None
        in_flight = any(not found.ended for found in case.seen.jobs)
        over = status.phase == Phase.READY and not current(status) and not case.seen.meta.deleting
        over = over and case.seen.spec is not SPECS["scheduled"]  # the next slot has to be waited for
        assert in_flight or over or _waits_for(case.seen, status) & events, (case.name, ready)


def _waits_for(seen: Observed, status: DatasetStatus) -> set[str]:
    """What is waited for, as the conditions say; the check of a master has none of its own."""
    reasons = {found.reason for found in status.conditions if found.type in (READY, REFRESHING)}
    if status.master.checking and seen.master.reachable is False:
        reasons.add("MasterUnreachable")
    if status.master.checking and seen.spec is not None and seen.spec.suspend:
        reasons.add("Suspended")
    return reasons


def test_run_and_attempt_only_grow(decided: list[tuple[Case, Decision]]) -> None:
    """So a name is never used for two different things."""
    for case, decision in decided:
        if decision.status is None:
            continue
        old, new = case.seen.status, decision.status
        assert 0 <= new.run.number - old.run.number <= 1, case.name
        if old.run.number == new.run.number:
            for step in (STAGE, MOUNT, LOAD, SIZE):
                assert of(new, step).attempt >= of(old, step).attempt, case.name


def test_ready_is_claimed_only_when_loaded_counted_proved_and_usable(decided: list[tuple[Case, Decision]]) -> None:
    """Nothing is claimed that is not so."""
    for case, decision in decided:
        status = decision.status
        ready = find(status.conditions, READY) if status else None
        if status is None or ready is None or ready.status != TRUE:
            continue
        wanted, available = case.seen.spec, find(status.conditions, AVAILABLE)
        assert wanted is not None
        assert status.phase == Phase.READY, case.name
        assert counted(status).completion_time, case.name
        if not (status.run.reason == "Refresh" and current(status)):  # else that of the run before
            assert status.load.completion_time, case.name
            assert status.size.proved or wanted.load.accept_unverified, case.name
        assert not status.refresh.suspicious, case.name
        assert status.run.inputs == case.seen.inputs, case.name
        assert available is not None, case.name
        assert available.status == TRUE, case.name
        assert case.seen.master.reachable is not False, case.name


def test_a_phase_that_is_ready_leaves_ready_only_by_a_run_for_other_inputs_or_a_lost_master(
    decided: list[tuple[Case, Decision]],
) -> None:
    """Not by a refresh, whatever becomes of it, nor by the look at a restarted master."""
    for case, decision in decided:
        if case.seen.status.phase != Phase.READY or decision.status is None or decision.status.phase == Phase.READY:
            continue
        assert decision.status.run.reason in ("InputsChanged", "MasterReset"), case.name
        assert decision.status.run.number == case.seen.status.run.number + 1, case.name


def test_a_refresh_and_a_check_keep_every_number_until_there_is_a_new_one(
    decided: list[tuple[Case, Decision]],
) -> None:
    """What is shown, and what a restarted master is held against."""
    for case, decision in decided:
        old, new = case.seen.status, decision.status
        if new is None or old.phase != Phase.READY or new.phase != Phase.READY or not current(new):
            continue
        assert counted(new) == counted(old), case.name
        assert (new.file_count, new.ufs_total_bytes) == (old.file_count, old.ufs_total_bytes), case.name


def test_refreshing_is_true_exactly_while_a_refresh_is_under_way_and_not_given_up(
    decided: list[tuple[Case, Decision]],
) -> None:
    """So its end can be waited for."""
    for case, decision in decided:
        status = decision.status
        if status is None or case.seen.meta.deleting or case.seen.spec is None:
            continue
        found = find(status.conditions, REFRESHING)
        busy = status.run.reason == "Refresh" and bool(current(status)) and not given_up(status)
        assert (found is not None and found.status == TRUE) == busy, case.name


def test_nothing_is_published_and_no_proof_is_claimed_before_a_restore_is_proved(
    decided: list[tuple[Case, Decision]],
) -> None:
    """A master that was killed while it restored serves a part, and says OK."""
    for case, decision in decided:
        status = decision.status
        found = find(status.conditions, RESTORED) if status else None
        if status is None or status.restore.phase is None or case.seen.spec is None:
            continue
        if restore.unfinished(status):
            assert not made(decision, VOLUME, CLAIM), case.name
            assert status.phase != Phase.READY, case.name
        assert found is not None, case.name
        if found.status == TRUE:
            promised = (status.restore.files, status.restore.directories, status.restore.bytes)
            assert status.size.completion_time, case.name
            assert (status.size.files, status.size.directories, status.size.bytes) == promised, case.name


def test_a_backup_is_staged_without_a_master_and_only_the_master_that_starts_from_it_is_counted(
    decided: list[tuple[Case, Decision]],
) -> None:
    """A journal has one writer; and a master that was started otherwise is never taken for the restored one."""
    for case, decision in decided:
        for body in made(decision, JOB):
            if case.seen.spec is None or case.seen.spec.alluxio is not None:
                continue
            assert decision.status is not None
            runtime, step = case.seen.runtime, body["metadata"]["labels"][STEP]
            assert runtime.master_gone if step == STAGE else runtime.master_ready, case.name
            if step != STAGE and restore.under_way(decision.status):
                assert runtime.started_from == decision.status.restore.checksum != "", case.name


def test_available_is_claimed_only_for_a_bound_volume_that_fits(decided: list[tuple[Case, Decision]]) -> None:
    """A pod that mounts the claim of an Available Dataset sees that Dataset."""
    for case, decision in decided:
        available = find(decision.status.conditions, AVAILABLE) if decision.status else None
        if available is None or available.status != TRUE or case.seen.spec is None:
            continue
        if case.seen.spec.volume.enabled and not case.seen.meta.deleting:
            assert case.seen.volume.uid, case.name
            assert case.seen.claim.bound, case.name
            assert case.seen.volume.fits, case.name


def test_every_condition_is_shown_from_the_first_visit_and_never_both_abnormal_ones(
    decided: list[tuple[Case, Decision]],
) -> None:
    """kstatus reads Reconciling and Stalled; kubectl wait needs a condition to wait on."""
    for case, decision in decided:
        if decision.status is None:
            continue
        shown = {condition.type: condition.status for condition in decision.status.conditions}
        assert set(ALWAYS_SHOWN) <= set(shown), case.name
        assert not (shown[RECONCILING] == TRUE == shown[STALLED]), case.name
        if decision.status.phase == Phase.FAILED and not case.seen.meta.deleting:
            assert shown[STALLED] == TRUE, case.name


def test_a_volume_is_deleted_only_with_the_dataset_or_unclaimed_and_outdated(
    decided: list[tuple[Case, Decision]],
) -> None:
    """PV and PVC go only with the Dataset; a PV that no longer fits is replaced when nobody holds its claim."""
    for case, decision in decided:
        if doomed(decision, VOLUME, CLAIM) and not case.seen.meta.deleting:
            assert not case.seen.claim.uid, case.name
            assert not case.seen.volume.fits, case.name


def test_a_job_under_way_is_ended_only_for_a_new_run_a_deadline_or_a_deletion(
    decided: list[tuple[Case, Decision]],
) -> None:
    """An attempt is not thrown away for an edit that does not touch its inputs."""
    for case, decision in decided:
        ended = {child.uid for child in doomed(decision, JOB)}
        for found in case.seen.jobs:
            if found.uid in ended and not found.ended and found.run == case.seen.status.run.number:
                assert decision.status is not None
                new_run = decision.status.run.number != found.run
                over = bool(case.seen.status.size.completion_time)
                late = "PodNotStarted" in {of(decision.status, step).last_reason for step in (STAGE, MOUNT, LOAD, SIZE)}
                over = over or decision.status.restore.reason == "RestoreRemoved"
                assert new_run or over or late or case.seen.meta.deleting, case.name


def test_without_news_everything_comes_to_rest(decided: list[tuple[Case, Decision]]) -> None:
    """Carried out again and again, with nothing else happening, a decision changes nothing after a few passes."""
    for case, decision in decided[::3]:
        seen = case.seen
        for _ in range(6):
            if decision.release or (seen.meta.deleting and decision == Decision()):
                break
            seen = applied(seen, decision)
            decision = decide(seen)
            if decision.status in (None, seen.status) and not decision.children and not decision.finalizers:
                break
        else:
            pytest.fail(f"{case.name}: still busy: {decision}")


def test_a_crash_between_status_and_children_loses_nothing(decided: list[tuple[Case, Decision]]) -> None:
    """Who starts after it creates and deletes just what was left undone."""
    for case, decision in decided[::2]:
        if decision.status is None or not decision.children:
            continue
        again = decide(applied(case.seen, decision, children=False))
        if current(decision.status):
            assert _names(again) == _names(decision), case.name
        else:  # what is over may be refreshed, or looked into, at once
            assert _names(again) >= _names(decision), case.name


def _names(decision: Decision) -> set[str]:
    names = set()
    for child in decision.children:
        name = child.body["metadata"]["name"] if isinstance(child, Create) else child.name
        names.add(f"{type(child).__name__} {child.kind} {name}")
    return names


def test_a_job_whose_pod_is_gone_says_so_and_not_that_a_limit_was_reached() -> None:
    """Kubernetes says BackoffLimitExceeded of every pod that failed; one deleted by hand has no last words."""
    words = {"failure": "BackoffLimitExceeded", "failure_message": "Job has reached the specified backoff limit"}
    seen = observed(status=at(Phase.LOADING_METADATA), jobs=(job(LOAD, JobState.FAILED, **words),))
    status = decide(seen).status
    assert status is not None
    assert status.load.last_reason == "JobFailed"
    assert "is gone: deleted by hand" in status.load.last_error
