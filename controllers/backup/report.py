"""What a person reads: conditions, duration and events, computed last and from the facts alone."""

from controllers.api import conditions as c
from controllers.api.conditions import FALSE, TRUE, UNKNOWN, Condition
from controllers.api.databackup import BackupPhase, DataBackupStatus
from controllers.api.times import epoch, rfc3339
from controllers.backup import reasons
from controllers.backup.after import Verdict
from controllers.backup.seen import FINAL, Observed
from controllers.backup.step import Step
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
            **told,
        }
    )
    rows = _conditions(seen, status, step, verdict)
    made = tuple(Condition(kind, *row[:2], row[2][:1024], seen.meta.generation) for kind, row in rows.items())
    return status.model_copy(update={"conditions": c.merge(seen.status.conditions, made, rfc3339(seen.now))})


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
