"""Laws of a backup's ``decide``: what holds for every combination of what can be seen, and after a death anywhere."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from random import Random
from typing import Any

import pytest

from controllers.api.conditions import RECONCILING, STALLED, TRUE, find
from controllers.api.databackup import BackupPhase, DataBackupStatus, JobReference, WorkStatus
from controllers.api.job_commands import REMOVE, TAKE, VERIFY
from controllers.api.result import Exit
from controllers.api.times import rfc3339
from controllers.backup import FINALIZER, Observed, decide
from controllers.backup.report import COMPLETE, EXECUTING, FAILED, VERIFIED
from controllers.backup.seen import FINAL, ClaimView, DatasetView, LostPod, Place
from controllers.dataset.seen import JobState, JobView
from controllers.decision import Decision, Problem
from controllers.jobs import ATTEMPT, JOB, STEP
from tests.backup_kit import META, NOW, READY, World, job, observed, place, spec
from tests.builders import doomed, made

pytestmark = [pytest.mark.xdist_group("backup laws"), pytest.mark.timeout(600)]

EDGES = {
    ("", "Pending"),
    ("", "Failed"),  # refused at the first look
    ("Pending", "Executing"),
    ("Pending", "Complete"),  # its Job may start and end between two looks
    ("Pending", "Failed"),
    ("Executing", "Complete"),
    ("Executing", "Failed"),
}
FIRST = WorkStatus(attempt=1, start_time=rfc3339(NOW - 90))


def _begun(**changes: Any) -> DataBackupStatus:
    source = {"datasetUID": READY.uid, "mountsHash": "aaaa"}
    base = DataBackupStatus.read({"phase": "Executing", "startTime": rfc3339(NOW - 80), "source": source})
    update = {"take": FIRST, "location": place(), "job_ref": JobReference(name="j", uid="u"), **changes}
    return base.model_copy(update=update)


AGAIN = {"failures": 1, "last_reason": "BackupFailed", "last_error": "no"}
STATUSES: dict[str, DataBackupStatus] = {
    "untouched": DataBackupStatus(),
    "pending": DataBackupStatus(phase=BackupPhase.PENDING),
    "in line": _begun(phase=BackupPhase.PENDING, start_time=""),
    "executing": _begun(),
    "again": _begun(take=WorkStatus(attempt=2, last_failure_time=rfc3339(NOW - 2), **AGAIN)),
    "long ago": _begun(start_time=rfc3339(NOW - 9_000)),
    "doomed": _begun(failure_reason="BackupFailed", message="no"),
    "cleaning": _begun(failure_reason="BackupFailed", message="no", cleanup=FIRST),
    "cleaning late": _begun(
        failure_reason="BackupFailed", cleanup=WorkStatus(attempt=3, start_time=rfc3339(NOW - 999), failures=2)
    ),
    "complete": _begun(phase=BackupPhase.COMPLETE, completion_time=rfc3339(NOW - 10)),
    "verifying": _begun(phase=BackupPhase.COMPLETE, completion_time=rfc3339(NOW - 10), verify=FIRST),
    "failed": _begun(phase=BackupPhase.FAILED, failure_reason="No", location=None, completion_time=rfc3339(NOW)),
    "failed, files left": _begun(phase=BackupPhase.FAILED, failure_reason="No", completion_time=rfc3339(NOW)),
}


def _jobs(*, codes: tuple[int, ...]) -> Iterator[tuple[JobView, ...]]:
    yield ()
    for step in (TAKE, VERIFY, REMOVE):
        for state in (JobState.SUSPENDED, JobState.STARTING, JobState.RUNNING, JobState.DELETING, JobState.SUCCEEDED):
            yield (job(step, state),)
        yield (job(step, JobState.STARTING, started=NOW - 9_000, waiting="FailedMount: volume"),)
        yield (job(step, JobState.SUSPENDED, started=NOW - 9_000),)
        yield (job(step, JobState.SUCCEEDED, result=None),)
        yield (job(step, JobState.SUCCEEDED, result=None, finished=NOW),)
        for code in codes:
            yield (job(step, JobState.FAILED, code=code),)
        yield (job(step, JobState.FAILED, failure="DeadlineExceeded"),)
        yield (job(step, JobState.FAILED, oom_killed=True, result=None, code=137),)
        yield (job(step, JobState.FAILED, result=None, exit_code=None),)
    yield (job(TAKE, JobState.FAILED), job(TAKE, JobState.RUNNING, attempt=2))
    yield (job(TAKE, JobState.FAILED), job(REMOVE, JobState.RUNNING))
    yield (job(TAKE, JobState.DELETING), job(REMOVE, JobState.SUCCEEDED))


LOST = LostPod(job(TAKE, JobState.RUNNING).pod, "n1")
AROUND: dict[str, dict[str, Any]] = {
    "plain": {},
    "no dataset": {"dataset": DatasetView()},
    "dataset goes": {"dataset": replace(READY, deleting=True)},
    "dataset loads": {"dataset": replace(READY, ready=False)},
    "master down": {"dataset": replace(READY, ready=False, master_down="refused")},
    "not shared": {"dataset": replace(READY, agent="", unshared=True)},
    "no claim": {"claim": ClaimView(exists=False)},
    "another": {"others": (Place("a", 1.0),)},
    "asked": {"meta": replace(META, verify="now")},
    "deadlines": {"spec": spec(startingDeadlineSeconds=50, ttlSecondsAfterFinished=5, deletionPolicy="Delete")},
    "no attempts": {"spec": spec(backoffLimit=0)},
    "refused": {"problem": Problem("Forbidden", "quota")},
    "terminating": {"problem": Problem("NamespaceTerminating", "it goes")},
    "bad spec": {"spec": None, "spec_error": "spec.x: no"},
    "a pod runs on": {"running_pods": ("x",)},
    "a pod is lost": {"lost_pods": (LOST,)},
    "a pod is lost, one runs on": {"lost_pods": (LOST,), "running_pods": ("x",)},
    "new": {"meta": replace(META, finalizers=())},
    "deleted": {"meta": replace(META, deleting=True)},
    "deleted with files": {"meta": replace(META, deleting=True), "spec": spec(deletionPolicy="Delete")},
    "deleted in use": {
        "meta": replace(META, deleting=True), "spec": spec(deletionPolicy="Delete"), "users": ("copy",),
    },
    "deleted, pod runs on": {"meta": replace(META, deleting=True), "running_pods": ("x",)},
    "deleted, pod lost": {"meta": replace(META, deleting=True), "lost_pods": (LOST,)},
    "deleted with files, pod lost": {
        "meta": replace(META, deleting=True), "spec": spec(deletionPolicy="Delete"), "lost_pods": (LOST,),
    },
    "let go": {"meta": replace(META, deleting=True, finalizers=("other",))},
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    name: str
    seen: Observed


@pytest.fixture(scope="module")
def decided() -> list[tuple[Case, Decision]]:
    """Every case with its decision: that there is one at all is the first law."""
    some, every = list(_jobs(codes=(17,)))[::2], list(_jobs(codes=(1, 17, 20, 21, 24, 26, 27, 29, 30, 137)))
    found = []
    for (status_name, status), (around, changes) in product(STATUSES.items(), AROUND.items()):
        for index, jobs in enumerate(every if around == "plain" else some):
            seen = observed(status=status, jobs=jobs, **changes)
            found.append((Case(f"{status_name}, jobs {index}, {around}", seen), decide(seen)))
    return found


def known(case: Case) -> bool:
    """Whether the status knows of every Job: it is written before a Job is made, but another hand may empty it."""
    mine = {TAKE: case.seen.status.take, VERIFY: case.seen.status.verify, REMOVE: case.seen.status.cleanup}
    return all(found.attempt <= mine[found.step].attempt for found in case.seen.jobs)


def working(case: Case) -> list[JobView]:
    """Jobs that may still make a pod which reads or writes: none that is being deleted, whoever holds it."""
    over = JobState.DELETING
    return [found for found in case.seen.jobs if found.step != REMOVE and not found.ended and found.state is not over]


def status_of(decision: Decision) -> DataBackupStatus:
    assert isinstance(decision.status, DataBackupStatus)
    return decision.status


def shown(decision: Decision) -> dict[str, str]:
    return {condition.type: condition.status for condition in status_of(decision).conditions}


def test_only_drawn_edges_are_gone_and_what_is_over_stays_over(decided: list[tuple[Case, Decision]]) -> None:
    for case, decision in decided:
        if decision.status is None:
            continue
        before, after = case.seen.status.phase or "", status_of(decision).phase or ""
        assert before == after or (before, after) in EDGES, case.name
        if before in FINAL:
            kept = ("completion_time", "failure_reason", "checksum", "entry_count", "start_time", "message")
            old, new = case.seen.status, status_of(decision)
            assert [getattr(old, name) for name in kept] == [getattr(new, name) for name in kept], case.name


def test_a_failure_that_is_decided_stays_one(decided: list[tuple[Case, Decision]]) -> None:
    for case, decision in decided:
        reason = case.seen.status.failure_reason
        if reason and decision.status is not None:
            status = status_of(decision)
            lost = case.seen.lost_pods and f"{reason}: {case.seen.status.message}" in status.message
            assert status.failure_reason == reason or (lost and status.failure_reason == "PodLost"), case.name


def test_while_deleting_no_job_is_made_but_one_that_removes(decided: list[tuple[Case, Decision]]) -> None:
    for case, decision in decided:
        steps = [body["metadata"]["labels"][STEP] for body in made(decision)]
        if case.seen.meta.deleting:
            assert set(steps) <= {REMOVE}, case.name
        assert len(steps) <= 1, case.name


def test_no_file_is_removed_while_a_container_may_write_or_a_dataset_reads(
    decided: list[tuple[Case, Decision]],
) -> None:
    for case, decision in decided:
        if any(body["metadata"]["labels"][STEP] == REMOVE for body in made(decision)):
            assert not case.seen.running_pods, case.name
            assert not case.seen.lost_pods, case.name
            assert not working(case), case.name
            assert not case.seen.users, case.name


def test_a_complete_backup_loses_its_files_only_when_it_is_deleted_and_that_is_asked_for(
    decided: list[tuple[Case, Decision]],
) -> None:
    for case, decision in decided:
        if case.seen.status.phase is BackupPhase.COMPLETE and REMOVE in str(made(decision)):
            assert case.seen.meta.deleting, case.name
            assert case.seen.spec is not None, case.name
            assert case.seen.spec.deletion_policy == "Delete", case.name


def test_a_job_is_made_only_where_there_is_none_of_its_name_and_the_status_names_it_first(
    decided: list[tuple[Case, Decision]],
) -> None:
    for case, decision in decided:
        for body in made(decision):
            labels, status = body["metadata"]["labels"], status_of(decision)
            mine = {TAKE: status.take, VERIFY: status.verify, REMOVE: status.cleanup}[labels[STEP]]
            assert int(labels[ATTEMPT]) == mine.attempt, case.name
            assert not known(case) or body["metadata"]["name"] not in {found.name for found in case.seen.jobs}, (
                case.name
            )
            assert status.location is not None, f"{case.name}: what it may write is known before it can"
            kept = case.seen.meta.finalizers
            finalizers = decision.finalizers.finalizers if decision.finalizers else kept
            assert FINALIZER in finalizers or status.phase in FINAL, case.name


def test_failed_is_said_only_when_nothing_runs_and_nothing_is_left_or_it_is_said_what(
    decided: list[tuple[Case, Decision]],
) -> None:
    for case, decision in decided:
        if case.seen.status.phase in FINAL or decision.status is None:
            continue
        status = status_of(decision)
        if status.phase is BackupPhase.FAILED:
            assert not case.seen.running_pods, case.name
            kept = f"{LOST} and" in status.message.replace(",", "") and status.failure_reason == "PodLost"
            assert status.location is None or "remove it by hand" in status.message or kept, case.name


def test_for_a_lost_pod_alone_nobody_waits(decided: list[tuple[Case, Decision]]) -> None:
    """What has failed is Failed then, what is deleted is let go; its files are kept, and it is said which."""
    count = 0
    for case, decision in decided:
        seen = case.seen
        if not seen.lost_pods or seen.running_pods or working(case):
            continue
        if seen.meta.deleting:
            assert decision.release, case.name
            kept = seen.status.location is not None and not [j for j in seen.jobs if j.state is JobState.SUCCEEDED]
            wanted = seen.status.phase is BackupPhase.COMPLETE and seen.spec.deletion_policy == "Retain"
            assert [event.reason for event in decision.events] == ["FilesKept"] or not kept or wanted, case.name
        elif seen.status.failure_reason:
            assert status_of(decision).phase is BackupPhase.FAILED, case.name
            count += 1
    assert count


def test_complete_is_said_only_of_what_the_job_said_to_be_complete(decided: list[tuple[Case, Decision]]) -> None:
    for case, decision in decided:
        if case.seen.status.phase in FINAL or decision.status is None:
            continue
        if status_of(decision).phase is BackupPhase.COMPLETE:
            (found,) = [found for found in case.seen.jobs if found.state is JobState.SUCCEEDED]
            assert found.step == TAKE, case.name
            assert status_of(decision).checksum, case.name
            assert shown(decision)[VERIFIED] == TRUE, case.name


def test_who_waits_is_woken(decided: list[tuple[Case, Decision]]) -> None:
    """By a Job or a pod in flight, a timer, or an event of the Dataset or of another backup."""
    events = {"DatasetNotFound", "DatasetNotReady", "MasterNotReady", "WaitingForBackup"}
    for case, decision in decided:
        if decision.status is None or decision.children or decision.requeue_after is not None:
            continue
        why = find(status_of(decision).conditions, RECONCILING)
        assert why is not None
        in_flight = any(not found.ended for found in case.seen.jobs) or bool(case.seen.running_pods)
        over = status_of(decision).phase in FINAL and why.status != TRUE
        assert in_flight or over or why.reason in events, (case.name, why)


def test_attempts_only_grow_and_deletions_name_what_was_seen(decided: list[tuple[Case, Decision]]) -> None:
    for case, decision in decided:
        uids = {found.uid for found in case.seen.jobs}
        assert all(child.uid in uids for child in doomed(decision, JOB)), case.name
        if decision.status is not None:
            old, new = case.seen.status, status_of(decision)
            for name in ("take", "verify", "cleanup"):
                assert getattr(new, name).attempt >= getattr(old, name).attempt, case.name


def test_every_condition_is_shown_from_the_first_visit(decided: list[tuple[Case, Decision]]) -> None:
    """So that "kubectl wait" has something to wait on, and kstatus reads Reconciling and Stalled."""
    for case, decision in decided:
        if decision.status is None:
            continue
        found = shown(decision)
        assert set(found) == {EXECUTING, COMPLETE, FAILED, VERIFIED, RECONCILING, STALLED}, case.name
        phase = status_of(decision).phase
        assert (found[COMPLETE] == TRUE) == (phase is BackupPhase.COMPLETE), case.name
        assert (found[FAILED] == TRUE) == (phase is BackupPhase.FAILED), case.name
        assert not (found[RECONCILING] == TRUE == found[STALLED]), case.name


def test_the_same_facts_after_the_status_was_written_give_the_same_children(
    decided: list[tuple[Case, Decision]],
) -> None:
    """A death between the status and the children, or between two of these, loses nothing and doubles nothing."""
    for case, decision in decided:
        if decision.status is None or not made(decision) or not known(case):
            continue
        meta = case.seen.meta
        if decision.finalizers:
            meta = replace(meta, finalizers=decision.finalizers.finalizers)
        again = decide(replace(case.seen, status=status_of(decision), meta=meta))
        names = [[body["metadata"]["name"] for body in made(each)] for each in (decision, again)]
        assert names[0] == names[1], case.name


@pytest.mark.parametrize("seed", range(100))
def test_whatever_dies_or_fails_a_backup_ends_and_nothing_half_is_left(seed: int) -> None:
    """A random life: the controller dies after any number of writes, Jobs fail in every way, the object is deleted."""
    rng = Random(seed)
    policy = rng.choice(["Retain", "Delete"])
    world = World(spec=spec(deletionPolicy=policy, backoffLimit=rng.randrange(3), activeDeadlineSeconds=600))
    delete_at = rng.choice([None, rng.randrange(40)])
    for turn in range(400):
        if turn == delete_at:
            world.meta = replace(world.meta, deleting=True)
        world.pass_(writes=rng.choice([0, 1, 2, 99]))
        if world.gone or (world.status.phase in FINAL and not world.meta.deleting and rng.random() < 0.1):
            break
        if (found := world.alive()) and rng.random() < 0.7:
            _move(world, found, rng)
        world.now += rng.choice([0, 1, 30])
    assert world.gone or world.status.phase in FINAL, "it never ends"
    assert "partial" not in world.files
    assert not world.pods
    assert len(world.created) == len(set(world.created)) or world.dropped, "no Job is made twice"
    if world.status.phase is BackupPhase.FAILED:
        assert world.files == set()
    if world.status.phase is BackupPhase.COMPLETE:
        assert world.files == (set() if world.gone and policy == "Delete" else {"complete"})


@pytest.mark.parametrize("seed", range(100))
def test_whenever_a_node_is_lost_a_backup_ends_and_nothing_is_removed_or_written_under_a_pod(seed: int) -> None:
    """A random life as above; the node goes at any moment, and may come back; its pods may go on all the time."""
    rng = Random(seed)
    policy = rng.choice(["Retain", "Delete"])
    world = World(spec=spec(deletionPolicy=policy, backoffLimit=rng.randrange(3), activeDeadlineSeconds=600))
    lost_at, heal_at, delete_at = rng.randrange(2, 5), rng.randrange(300), rng.choice([None, rng.randrange(40)])
    for turn in range(400):
        if turn == delete_at:
            world.meta = replace(world.meta, deleting=True)
        if turn == lost_at:
            world.stuck = set(world.pods)
        if turn == heal_at:
            world.heal()
        before = len(world.created)
        world.pass_(writes=rng.choice([0, 1, 2, 99]))
        writes = [pod for pod in world.pods if f"-{TAKE.partition('-')[0]}-" in pod]
        assert not writes or not world.created[before:], "none is made that removes under it, or writes beside it"
        if world.gone or (world.status.phase in FINAL and not world.meta.deleting and rng.random() < 0.1):
            break
        found = world.alive()
        if found and found.pod not in world.stuck and rng.random() < 0.7:
            _move(world, found, rng)
        elif found and found.pod in world.stuck and rng.random() < 0.1:
            world.drop(found)
        elif world.stuck & world.pods and rng.random() < 0.1:
            world.files = {"complete"}  # nobody hears of it
        world.now += rng.choice([0, 1, 30])
    assert world.gone or world.status.phase in FINAL, "it never ends"
    if world.status.phase is BackupPhase.COMPLETE:
        assert world.files == (set() if world.gone and policy == "Delete" else {"complete"})
    elif world.files and not world.gone:
        assert world.status.failure_reason == "PodLost"


def _move(world: World, found: JobView, rng: Random) -> None:
    """Let a Job do anything that a Job can do; a removal fails twice in a row at most."""
    if found.state is not JobState.RUNNING:
        world.advance(found)
    elif found.step == REMOVE:
        failed = world.status.cleanup.failures
        world.end(found, 0 if failed or rng.random() < 0.8 else Exit.VOLUME_FAILED)
    elif rng.random() < 0.1:  # somebody deletes it by hand
        world.drop(found)
    else:
        world.end(found, rng.choice([0, 0, 0, 1, 17, 20, 26, 30, 137]))
