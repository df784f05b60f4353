"""How a backup ends that does not become complete: its Jobs are stopped, then what they left is removed.

The same way is gone when the object is deleted. Nothing blocks for ever: a removal that fails again and again is given
up, and says what stays where. Nothing is removed while a pod may still write there: where its node does not answer,
that is given up at once.
"""

from dataclasses import replace

from controllers.api.databackup import BackupPhase, DataBackupStatus, DeletionPolicy, WorkStatus, claim_path
from controllers.api.job_commands import REMOVE
from controllers.api.times import rfc3339
from controllers.backup import jobs, reasons, work
from controllers.backup.seen import FINALIZER, Observed
from controllers.backup.step import Step, changed
from controllers.dataset.attempts import past
from controllers.dataset.seen import JobState, JobView
from controllers.decision import Child, Create, Delete
from controllers.jobs import JOB

#: So many removals, each within so many seconds of its beginning.
REMOVALS, REMOVAL_SECONDS = 3, 120.0
#: Nothing of ours changes while something that we do not watch is in the way.
LOOK_AGAIN = 10.0


def fail(seen: Observed, status: DataBackupStatus, reason: str, text: str) -> Step:
    """Return the first step of a failure. What was decided once stays so, whatever the Job still says."""
    doomed = changed(status, failure_reason=reason, message=text)
    return failing(seen, doomed)


def failing(seen: Observed, status: DataBackupStatus) -> Step:
    """Return the next step of a backup that has failed; its phase becomes Failed when nothing of it runs or is left."""
    stop = _stop(seen, status, status.failure_reason)
    if stop is not None:
        return stop
    step = _remove(seen, status, status.failure_reason, partial_only=_is_anothers(status))
    if not step.over:
        return step
    text, reason = status.message + _what_stays(step.status), status.failure_reason
    if step.status.cleanup.last_reason == reasons.POD_LOST and not _is_anothers(status):
        # First what a person has to do: a text is cut at its end.
        text, reason = f"{kept(step.status)}; it failed before, {reason}: {status.message}", reasons.POD_LOST
    over = changed(
        step.status,
        failure_reason=reason,
        phase=BackupPhase.FAILED,
        completion_time=rfc3339(seen.now),
        message=text,
        cleanup=_anew(step.status.cleanup),
    )
    return Step(over, reason, text)


def deleting(seen: Observed) -> Step:
    """Return the next step of the deletion of the object; it is over when the finalizer may go."""
    status = seen.status
    if FINALIZER not in seen.meta.finalizers:
        return Step(status, "", "", over=True)
    stop = _stop(seen, status, reasons.CANCELLING_JOBS)
    if stop is not None:
        return stop
    delete = seen.spec is not None and seen.spec.deletion_policy is DeletionPolicy.DELETE
    if status.phase is BackupPhase.COMPLETE and not delete:
        return Step(status, "", "", over=True)
    partial_only = not delete or _is_anothers(status)
    if seen.users and not partial_only:
        names = ", ".join(seen.users[:5])
        text = f"datasets {names} restore from it; its files go when they have read them or name it no longer"
        return Step(status, reasons.BACKUP_IN_USE, text, requeue_after=LOOK_AGAIN)
    return _remove(seen, status, reasons.REMOVING_FILES, partial_only=partial_only)


def _is_anothers(status: DataBackupStatus) -> bool:
    """Whether what has the final name is not this backup, and so not to be removed with it."""
    return status.failure_reason == reasons.DIRECTORY_TAKEN


def kept(status: DataBackupStatus) -> str:
    """Return what a person has to remove by hand, once a removal is over; "" for nothing."""
    return _what_stays(status).removeprefix("; ")


def _anew(mine: WorkStatus) -> WorkStatus:
    """A deletion of the object tries again, under names that were never used."""
    return WorkStatus(attempt=mine.attempt + bool(mine.start_time))


def _what_stays(status: DataBackupStatus) -> str:
    if status.location is None:
        return ""
    why = status.cleanup.last_error or "nothing can be created in a namespace that is being deleted"
    if status.cleanup.last_reason == reasons.POD_LOST:
        return f"; what it left in {claim_path(status.location)} is kept: {why}"
    return f"; what it left in {claim_path(status.location)} could not be removed, remove it by hand: {why}"


def _stop(seen: Observed, status: DataBackupStatus, reason: str) -> Step | None:
    """Return the step that ends every Job but those that remove; None where none of them runs, or only lost pods do."""
    # One that is being deleted makes no pod: a lost pod may hold it, or anybody's finalizer.
    alive = [j for j in seen.jobs if not (j.step == REMOVE or j.ended or j.state is JobState.DELETING)]
    doomed = tuple(Delete(JOB, job.name, job.uid) for job in alive)
    if not alive and not seen.running_pods:
        return None
    names = [job.name for job in alive] or list(seen.running_pods)
    text = f"waiting for {', '.join(names[:5])} to end"
    if status.failure_reason:
        text = f"{status.message}; {text}"
    return Step(status, reason, text, children=doomed, requeue_after=LOOK_AGAIN)


def _remove(seen: Observed, status: DataBackupStatus, reason: str, *, partial_only: bool) -> Step:
    """Return the next step of the removal; over when nothing is left, or when it is given up."""
    mine, over = status.cleanup, Step(status, reason, "", over=True)
    job = seen.job(REMOVE, mine.attempt) if mine.start_time else None
    if job is not None and job.state is JobState.SUCCEEDED:
        return replace(over, status=changed(status, location=None))
    if status.location is not None and seen.lost_writers:  # which may still write there
        why = {"last_reason": reasons.POD_LOST, "last_error": _how_to_end(seen)}
        return replace(over, status=changed(status, cleanup=mine.model_copy(update=why)))
    terminating = seen.problem is not None and seen.problem.reason == reasons.NAMESPACE_TERMINATING
    if status.location is None or mine.failures >= REMOVALS or terminating:
        return over
    end = _ended(seen, mine, job)
    if end is None:
        return _removing(seen, status, job, reason, partial_only=partial_only)
    mine = work.failed(mine, end, seen.now)
    status = changed(status, cleanup=mine)
    if mine.failures >= REMOVALS:
        return replace(over, status=status)
    return Step(status, reason, _text(status, end.message), requeue_after=work.retry_at(mine, seen.now) - seen.now)


def _how_to_end(seen: Observed) -> str:
    pods = seen.lost_writers[:5]
    command = f"kubectl delete pod --force -n {seen.meta.namespace} {' '.join(pod.name for pod in pods)}"
    then = "remove it by hand" if seen.meta.deleting else "delete this backup, which removes what is not finished"
    why = f"{', '.join(map(str, pods))}, and may still write there"
    return f"{why}; when its node is off for sure, {command}; then {then}"


def _ended(seen: Observed, mine: WorkStatus, job: JobView | None) -> work.Ended | None:
    """Return how the attempt failed, or None. One whose Job cannot be created, or does not run, fails by the clock."""
    end = work.ended(job, seen.now) if job is not None else None
    if end is not None or not mine.start_time or _until(seen, mine) > 0:
        return work.Ended(end.reason, end.message) if end else None
    refused = seen.problem.message if seen.problem else ""
    why = (job.waiting if job else "") or refused or "its Job did not end"
    return work.Ended(reasons.DEADLINE_EXCEEDED, f"not removed within {REMOVAL_SECONDS:.0f} s: {why}")


def _until(seen: Observed, mine: WorkStatus) -> float:
    return past(mine.start_time, seen.now) + REMOVAL_SECONDS - seen.now


def _removing(
    seen: Observed, status: DataBackupStatus, job: JobView | None, reason: str, *, partial_only: bool
) -> Step:
    mine, place = status.cleanup, status.location
    wait = work.retry_at(mine, seen.now) - seen.now
    if not mine.start_time and wait > 0:
        return Step(status, reason, _text(status, mine.last_error), requeue_after=wait)
    status = changed(status, cleanup=work.started(mine, seen.now))
    made: tuple[Child, ...] = ()
    if job is None and place is not None:
        made = (Create(JOB, jobs.remove(seen, place, status.cleanup.attempt, partial_only=partial_only)),)
    return Step(status, reason, _text(status, job.waiting if job else ""), made, max(1.0, _until(seen, status.cleanup)))


def _text(status: DataBackupStatus, more: str) -> str:
    doing = f"{status.message}; removing what it left" if status.failure_reason else "removing its files"
    return f"{doing}: {more}" if more else doing
