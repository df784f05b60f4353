"""The life of one ScheduledDataBackup: which slot is due, which backups go. Pure: no I/O, no clock, no logging.

A slot has one backup, for its name follows from the slot. First the backup is created, then, when it is seen, the slot
is noted as served: who dies in between finds the backup by its name.

Slots are counted as those of a refresh (``dataset.refresh``): a schedule counts from the moment that it is seen, one
that was never seen before from its creation; however many slots have passed, the last one alone is made up for.
"""

from controllers import schedule
from controllers.api.databackup import KIND as BACKUP_KIND
from controllers.api.schedule import ConcurrencyPolicy, ScheduledDataBackupSpec, ScheduledDataBackupStatus
from controllers.api.times import epoch, rfc3339
from controllers.decision import Child, Create, Decision, Event
from controllers.schedules import report
from controllers.schedules.backups import body, doomed, name_of
from controllers.schedules.report import (
    BACKUP_CREATED,
    INVALID_SCHEDULE,
    INVALID_SPEC,
    SCHEDULED,
    SLOT_SKIPPED,
    SUSPENDED,
)
from controllers.schedules.seen import Made, Observed

__all__ = ["Made", "Observed", "decide"]

#: Of a backup that exists with our slot's name and is not ours.
NAME_TAKEN = f"{BACKUP_KIND}Conflict"
#: So far may the clocks of two controllers differ, in seconds: a time of ours that lies ahead by more counts as none.
CLOCK_SKEW = 60.0


def decide(seen: Observed) -> Decision:
    """Return the next step of one schedule. The same facts give the same decision; nothing else is looked at."""
    if seen.deleting:
        return Decision()
    spec = seen.spec
    wrong = schedule.problem(spec.schedule, spec.time_zone) if spec else ""
    if spec is None or wrong:
        why = (INVALID_SCHEDULE, f"spec.schedule: {wrong}") if spec else (INVALID_SPEC, seen.spec_error)
        return Decision(status=report.finished(seen, seen.status, *why, stalled=True))
    status, made, events = _serve(seen, _noted(seen, spec), spec)
    old = doomed(seen, spec)
    coming = schedule.next_slot(spec.schedule, spec.time_zone, seen.now)
    shown = status.model_copy(update={"next_schedule_time": rfc3339(coming) if coming and not spec.suspend else ""})
    waits = [at - seen.now for at in (None if spec.suspend else coming, old.next_at) if at is not None]
    reason, text = _why(seen, shown, spec)
    return Decision(
        status=report.finished(seen, shown, reason, text),
        children=(*made, *old.deletions),
        events=events,
        requeue_after=max(1.0, min(waits)) if waits else None,
    )


def _noted(seen: Observed, spec: ScheduledDataBackupSpec) -> ScheduledDataBackupStatus:
    """Return the status with a note of the schedule: its slots count from here on."""
    status, wanted = seen.status, f"{spec.schedule} {spec.time_zone}".strip()
    if status.schedule == wanted and status.schedule_since:
        return status
    since = seen.now if status.schedule else seen.created
    return status.model_copy(update={"schedule": wanted, "schedule_since": rfc3339(since)})


def due_slot(seen: Observed, status: ScheduledDataBackupStatus, spec: ScheduledDataBackupSpec) -> float | None:
    """Return the slot that is to be served now, in seconds since the epoch, or None."""
    if spec.suspend:
        return None
    served, since = _past(status.last_slot_time, seen.now), _past(status.schedule_since, seen.now)
    last = schedule.last_slot(spec.schedule, spec.time_zone, seen.now)
    if last is not None and last > max(served, since):
        return last
    return seen.created if spec.immediate and not status.last_slot_time else None


def _serve(
    seen: Observed, status: ScheduledDataBackupStatus, spec: ScheduledDataBackupSpec
) -> tuple[ScheduledDataBackupStatus, tuple[Child, ...], tuple[Event, ...]]:
    """Return the status, and what is created for the slot that is due."""
    slot = due_slot(seen, status, spec)
    if slot is None:
        return status, (), ()
    name, at = name_of(seen, slot), rfc3339(slot)
    if any(backup.name == name for backup in seen.backups):
        served = {"last_slot_time": at, "last_schedule_time": at, "last_backup_name": name}
        return status.model_copy(update=served), (), ()
    if why := _skipped(seen, spec, slot, name):
        event = Event("Warning", SLOT_SKIPPED, "Schedule", f"the slot of {at} gets no backup: {why}")
        return status.model_copy(update={"last_slot_time": at}), (), (event,)
    event = Event("Normal", BACKUP_CREATED, "Schedule", f"created backup {name} for the slot of {at}")
    return status, (Create(BACKUP_KIND, body(seen, spec, name)),), (event,)


def _skipped(seen: Observed, spec: ScheduledDataBackupSpec, slot: float, name: str) -> str:
    """Return why a slot gets no backup; "" where it gets one."""
    limit = spec.starting_deadline_seconds
    if limit is not None and seen.now > slot + limit:
        return f"it is {seen.now - slot:,.0f} s late, spec.startingDeadlineSeconds is {limit}"
    if seen.problem is not None and seen.problem.reason == NAME_TAKEN and name in seen.problem.message:
        return f"a DataBackup {name} exists that is not of this schedule"
    running = [backup.name for backup in seen.backups if not backup.over and not backup.deleting]
    if running and spec.concurrency_policy is ConcurrencyPolicy.FORBID:
        return f"backup {running[0]} is not over, and spec.concurrencyPolicy is Forbid"
    return ""


def _why(seen: Observed, status: ScheduledDataBackupStatus, spec: ScheduledDataBackupSpec) -> tuple[str, str]:
    if seen.problem is not None and seen.problem.reason != NAME_TAKEN:
        return seen.problem.reason, seen.problem.message
    if spec.suspend:
        return SUSPENDED, "spec.suspend is true: nothing new is started"
    over = [backup for backup in seen.backups if backup.over]
    last = max(over, key=lambda backup: (backup.created, backup.name), default=None)
    failed = f"; the last backup, {last.name}, failed: {last.message}" if last and not last.good else ""
    return SCHEDULED, f"the next slot is {status.next_schedule_time or 'never'}{failed}"


def _past(time: str, now: float) -> float:
    seconds = epoch(time) or 0.0
    return seconds if seconds <= now + CLOCK_SKEW else 0.0
