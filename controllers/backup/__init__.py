"""The life of one DataBackup: what is seen of it goes in, the next step comes out. Pure: no I/O, no clock, no logging.

``decide`` asks in this order; the first that has an answer decides.

1. Is it being deleted?        -> end its Jobs, remove what is to go, let go    (windup)
2. Is it over?                 -> verify on request, expire                     (after)
3. Has it failed already?      -> end its Jobs, remove what it left             (windup)
4. Can the spec be read?       -> fail                                          (here)
5. What does the backup need?  -> the line, the Job, its result                 (take, check, queue, work)

Afterwards ``report`` computes what a person reads.
"""

from controllers.api.databackup import BackupPhase, DataBackupStatus, DeletionPolicy
from controllers.api.job_commands import REMOVE, TAKE, VERIFY
from controllers.backup import after, reasons, report, take, windup
from controllers.backup.after import Verdict
from controllers.backup.seen import FINAL, FINALIZER, Observed
from controllers.backup.step import Step
from controllers.dataset.seen import JobState, JobView
from controllers.decision import Child, Decision, Delete, Event, SetFinalizers
from controllers.jobs import JOB

__all__ = ["FINALIZER", "Observed", "decide"]


def decide(seen: Observed) -> Decision:
    """Return the next step of one DataBackup. The same facts give the same decision; nothing else is looked at."""
    if seen.meta.deleting:
        step, verdict = windup.deleting(seen), None
        if step.over:
            return _let_go(seen, step)
    else:
        step, verdict = _step(seen)
    return _decision(seen, step, verdict)


def _step(seen: Observed) -> tuple[Step, Verdict | None]:
    status, spec = seen.status, seen.spec
    if status.phase in FINAL:
        return after.step(seen)
    if status.failure_reason:
        return windup.failing(seen, status), None
    if spec is None:
        status = status.model_copy(update={"phase": status.phase or BackupPhase.PENDING})
        return windup.fail(seen, status, reasons.INVALID_SPEC, seen.spec_error), None
    return take.step(seen, status, spec), None


def _let_go(seen: Observed, step: Step) -> Decision:
    if FINALIZER not in seen.meta.finalizers:
        return Decision()
    left = tuple(name for name in seen.meta.finalizers if name != FINALIZER)
    keeps = seen.spec is None or seen.spec.deletion_policy is DeletionPolicy.RETAIN
    wanted = seen.status.phase is BackupPhase.COMPLETE and keeps
    stays = "" if wanted else windup.kept(step.status)
    told = (Event("Warning", reasons.FILES_KEPT, "Delete", stays),) if stays else ()
    return Decision(finalizers=SetFinalizers(left), release=True, events=told)


def _decision(seen: Observed, step: Step, verdict: Verdict | None) -> Decision:
    status = report.finished(seen, step, verdict)
    found = (step.requeue_after, _deadline_in(seen, status), report.progress_due(seen, status))
    waits = [seconds for seconds in found if seconds is not None]
    adopt = status.phase not in FINAL and FINALIZER not in seen.meta.finalizers and not seen.meta.deleting
    return Decision(
        status=status,
        finalizers=SetFinalizers((*seen.meta.finalizers, FINALIZER)) if adopt else None,
        children=(*_stale(seen, status, step.children), *step.children),
        events=report.events(seen, status),
        requeue_after=max(0.1, min(waits)) if waits else None,
    )


def _deadline_in(seen: Observed, status: DataBackupStatus) -> float | None:
    """Return in how many seconds the backup fails by the clock, where nothing else happens; None where it cannot."""
    if seen.spec is None or status.failure_reason or status.phase in FINAL or seen.meta.deleting:
        return None
    deadline = take.next_deadline(seen, status, seen.spec)
    return None if deadline is None else deadline - seen.now


def _stale(seen: Observed, status: DataBackupStatus, children: tuple[Child, ...]) -> tuple[Child, ...]:
    """Return deletions of every Job whose result is recorded, but for the last failed one: people read its log."""
    doomed = {child.name for child in children if isinstance(child, Delete)}
    return tuple(
        Delete(JOB, job.name, job.uid)
        for job in seen.jobs
        if job.state is not JobState.DELETING and job.name not in doomed and not _wanted(seen, job, status)
    )


def _wanted(seen: Observed, job: JobView, status: DataBackupStatus) -> bool:
    over = status.phase in FINAL
    if job.step == TAKE:
        last = status.take.attempt
        failed = job.state is JobState.FAILED and job.attempt == last - 1
        return status.phase is not BackupPhase.COMPLETE and (job.attempt == last or failed)
    if job.step == VERIFY:
        mine = status.verify
        return status.phase is BackupPhase.COMPLETE and bool(mine.start_time) and job.attempt == mine.attempt
    mine = status.cleanup
    due = job.step == REMOVE and (not over or seen.meta.deleting)
    return due and bool(mine.start_time) and job.attempt == mine.attempt
