"""A DataBackup that is over: it stays what it is. Verified again on request, and deleted when its time has come."""

from controllers.api.conditions import FALSE, TRUE, UNKNOWN
from controllers.api.databackup import KIND, BackupPhase, DataBackupStatus, JobReference, WorkStatus
from controllers.api.job_commands import VERIFY
from controllers.api.times import epoch
from controllers.backup import jobs, reasons, work
from controllers.backup.seen import Observed
from controllers.backup.step import Step, changed
from controllers.dataset.ended import RESULT_GRACE
from controllers.dataset.seen import JobView
from controllers.decision import Create, Delete
from controllers.jobs import JOB

#: So many attempts to verify; what a Job says of the backup itself counts at once.
VERIFICATIONS = 3

Verdict = tuple[str, str, str]  # of the condition Verified


def step(seen: Observed) -> tuple[Step, Verdict | None]:
    """Return what follows, and what is now known of the backup; None: nothing new."""
    status = seen.status
    rest = Step(status, status.failure_reason or reasons.COMPLETE, status.message)
    asked = seen.meta.verify not in ("", status.last_handled_verify)
    if status.phase is BackupPhase.COMPLETE and asked and status.location is not None:
        return _verify(seen)
    return _expire(seen, rest), None


def _expire(seen: Observed, rest: Step) -> Step:
    ttl, ended = seen.spec.ttl_seconds_after_finished if seen.spec else None, epoch(seen.status.completion_time)
    if ttl is None or ended is None:
        return rest
    left = ended + ttl - seen.now
    if left > 0:
        return Step(rest.status, rest.reason, rest.message, requeue_after=left)
    return Step(rest.status, rest.reason, rest.message, (Delete(KIND, seen.meta.name, seen.meta.uid),))


def _verify(seen: Observed) -> tuple[Step, Verdict | None]:
    status, mine = seen.status, seen.status.verify
    job = seen.job(VERIFY, mine.attempt) if mine.start_time else None
    end = _ended(seen, job) if job is not None else None
    if end is None:
        return _verifying(seen, status), None
    if not end.reason:
        return _served(seen, mine), (TRUE, reasons.VERIFIED, "read again and compared on request")
    if end.permanent and end.result is not None:
        return _served(seen, mine), (FALSE, end.reason, end.message)
    mine = work.failed(mine, work.Ended(end.reason, end.message), seen.now)
    if mine.failures >= VERIFICATIONS:
        return _served(seen, mine), (UNKNOWN, reasons.NOT_VERIFIED, f"could not be read: {end.reason}: {end.message}")
    return _verifying(seen, changed(status, verify=mine)), None


def _ended(seen: Observed, job: JobView) -> work.Ended | None:
    lost = next((pod for pod in seen.lost_pods if pod.name == job.pod), None)
    if lost is not None and not job.ended:
        return work.Ended(reasons.POD_LOST, str(lost))
    seconds = seen.spec.running_deadline_seconds if seen.spec else 0.0
    return work.ended(job, seen.now) or work.not_started(job, seen.now, seconds)


def _served(seen: Observed, mine: WorkStatus) -> Step:
    """Return the step after the last word on what was asked for; the next request has new Jobs."""
    fresh = WorkStatus(attempt=mine.attempt + bool(mine.start_time))
    status = changed(seen.status, last_handled_verify=seen.meta.verify, verify=fresh)
    return Step(status, reasons.COMPLETE, status.message)


def _verifying(seen: Observed, status: DataBackupStatus) -> Step:
    mine, place = status.verify, status.location
    wait = work.retry_at(mine, seen.now) - seen.now
    if not mine.start_time and wait > 0:
        return Step(status, reasons.VERIFYING, f"{mine.last_error}; tried again", requeue_after=wait)
    status = changed(status, verify=work.started(mine, seen.now))
    attempt = status.verify.attempt
    job = seen.job(VERIFY, attempt)
    if job is None and place is not None:
        made = (Create(JOB, jobs.verify(seen, place, attempt)),)
        text = seen.problem.message if seen.problem else f"created Job {jobs.name(seen.meta, VERIFY, attempt)}"
        return Step(status, reasons.VERIFYING, text, made)
    text = (job.waiting if job else "") or f"Job {jobs.name(seen.meta, VERIFY, attempt)} reads it again"
    if job is not None:
        status = changed(status, job_ref=JobReference(name=job.name, uid=job.uid))
    return Step(status, reasons.VERIFYING, text, requeue_after=RESULT_GRACE)
