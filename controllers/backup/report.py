"""What a person reads: conditions, duration and events, computed last and from the facts alone."""

from controllers.api import conditions as c
from controllers.api.conditions import FALSE, TRUE, UNKNOWN, Condition
from controllers.api.databackup import BackupPhase, BackupProgress, DataBackupStatus
from controllers.api.times import epoch, rfc3339
from controllers.backup import reasons
from controllers.backup.after import Verdict
from controllers.backup.seen import FINAL, Observed
from controllers.backup.step import Step
from controllers.dataset.report import pause
from controllers.dataset.seen import JobState, JobView
from controllers.decision import Event

EXECUTING, COMPLETE, FAILED, VERIFIED = "Executing", "Complete", "Failed", "Verified"
#: Reasons that a good life passes through in a moment: an event for each would bury those that matter.
PASSING = {
    reasons.JOB_CREATED,
    reasons.POD_STARTING,
    reasons.READING_RESULT,
    reasons.CANCELLING_JOBS,
    reasons.REMOVING_FILES,
    reasons.VERIFYING,
}


def finished(seen: Observed, step: Step, verdict: Verdict | None) -> DataBackupStatus:
    """Return the status as it will be written: the step's, with everything that is for people."""
    status, over = step.status, step.status.phase in FINAL
    begun = status.take.attempt if status.take.start_time else max(0, status.take.attempt - 1)
    told = {} if over or status.failure_reason else {"message": step.message}
    status = status.model_copy(
        update={
            "observed_generation": seen.meta.generation,
            "attempts": begun,
            "duration": _duration(status) if over else "",
            "progress": _progress(seen),
            **told,
        }
    )
    rows = _conditions(seen, status, step, verdict)
    made = tuple(Condition(kind, *row[:2], row[2][:1024], seen.meta.generation) for kind, row in rows.items())
    return status.model_copy(update={"conditions": c.merge(seen.status.conditions, made, rfc3339(seen.now))})


def _progress(seen: Observed) -> BackupProgress:
    """Return what the Job that runs said last, but not more often than an API server should store it."""
    job, said = _running(seen), seen.progress
    if job is None:
        return BackupProgress()
    known = seen.status.job_ref is not None and seen.status.job_ref.name == job.name
    old = seen.status.progress if known else BackupProgress()
    last = epoch(old.update_time)
    if said is None or not said.progress.message or (last is not None and said.time - last < pause(last, job.started)):
        return old
    return BackupProgress(message=said.progress.message, update_time=rfc3339(said.time))


def progress_due(seen: Observed, status: DataBackupStatus) -> float | None:
    """Return in how many seconds a held back progress sample may be written; None where none is held back."""
    job, said, last = _running(seen), seen.progress, epoch(status.progress.update_time)
    if job is None or said is None or last is None or said.progress.message in ("", status.progress.message):
        return None
    return max(1.0, last + pause(last, job.started) - seen.now)


def _running(seen: Observed) -> JobView | None:
    return next((job for job in seen.jobs if job.state is JobState.RUNNING), None)


def _conditions(
    seen: Observed, status: DataBackupStatus, step: Step, verdict: Verdict | None
) -> dict[str, tuple[str, str, str]]:
    why, phase = (step.reason, step.message), status.phase
    ended = (status.failure_reason or reasons.COMPLETE, status.message)
    busy = phase not in FINAL or seen.meta.deleting or step.reason == reasons.VERIFYING
    rows = {
        EXECUTING: (TRUE, *why) if phase is BackupPhase.EXECUTING else (FALSE, *(ended if phase in FINAL else why)),
        COMPLETE: (TRUE, *ended) if phase is BackupPhase.COMPLETE else (FALSE, *why),
        FAILED: (TRUE, *ended) if phase is BackupPhase.FAILED else (FALSE, "NotFailed", ""),
        c.RECONCILING: (TRUE, *why) if busy else (FALSE, "Idle", "nothing is under way"),
        c.STALLED: (TRUE, *ended) if phase is BackupPhase.FAILED and not busy else (FALSE, "NotStalled", ""),
    }
    known = c.find(seen.status.conditions, VERIFIED)
    if verdict is not None:
        rows[VERIFIED] = verdict
    elif phase is BackupPhase.COMPLETE and seen.status.phase is not BackupPhase.COMPLETE:
        rows[VERIFIED] = (TRUE, reasons.VERIFIED, "read again and compared before it got its name")
    elif known is None:
        rows[VERIFIED] = (UNKNOWN, "NotYet", "verified when it is complete")
    return rows


def _duration(status: DataBackupStatus) -> str:
    start, end = epoch(status.start_time), epoch(status.completion_time)
    if start is None or end is None:
        return ""
    minutes, seconds = divmod(max(0, int(end - start)), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{value}{unit}" for value, unit in parts if value) or "0s"


def events(seen: Observed, new: DataBackupStatus) -> tuple[Event, ...]:
    """Return one event for each turn that a person cares about: the phase, what it waits for, failures, verdicts."""
    old = seen.status
    found = []
    before, after = c.find(old.conditions, c.RECONCILING), c.find(new.conditions, c.RECONCILING)
    if old.phase != new.phase and new.phase in FINAL:
        kind = "Normal" if new.phase is BackupPhase.COMPLETE else "Warning"
        found.append(Event(kind, new.failure_reason or reasons.COMPLETE, new.phase.value, new.message))
    elif after and after.status == TRUE and _turned(before, after) and new.phase:
        failed = bool(new.failure_reason) or new.take.failures > old.take.failures
        found.append(Event("Warning" if failed else "Normal", after.reason, new.phase.value, after.message))
    verdict, known = c.find(new.conditions, VERIFIED), c.find(old.conditions, VERIFIED)
    if verdict and known and new.last_handled_verify != old.last_handled_verify:
        kind = "Normal" if verdict.status == TRUE else "Warning"
        found.append(Event(kind, verdict.reason, "Verify", verdict.message))
    return tuple(found)


def _turned(before: Condition | None, after: Condition) -> bool:
    return after.reason not in PASSING and (before is None or before.reason != after.reason)
