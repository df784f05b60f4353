"""What a person reads of a schedule, computed last and from the facts alone."""

from controllers.api import conditions as c
from controllers.api.conditions import FALSE, TRUE, Condition
from controllers.api.schedule import ScheduledDataBackupStatus
from controllers.api.times import epoch, rfc3339
from controllers.schedules.seen import Observed

SCHEDULED = "Scheduled"
SUSPENDED = "Suspended"
INVALID_SCHEDULE = "InvalidSchedule"
INVALID_SPEC = "InvalidSpec"
#: Events alone.
BACKUP_CREATED = "BackupCreated"
SLOT_SKIPPED = "SlotSkipped"


def finished(
    seen: Observed, status: ScheduledDataBackupStatus, reason: str, message: str, *, stalled: bool = False
) -> ScheduledDataBackupStatus:
    """Return the status as it will be written. Ready: the next slot will get its backup."""
    ready = TRUE if reason == SCHEDULED else FALSE
    rows = (
        (c.READY, ready, reason, message),
        (c.RECONCILING, FALSE, "Idle", "nothing is under way"),
        (c.STALLED, *((TRUE, reason, message) if stalled else (FALSE, "NotStalled", ""))),
    )
    made = tuple(Condition(kind, value, why, text[:1024], seen.generation) for kind, value, why, text in rows)
    ended = [backup.ended for backup in seen.backups if backup.good and backup.ended is not None]
    known = epoch(status.last_successful_time)
    last = max([*ended, *([known] if known is not None else [])], default=None)
    return status.model_copy(
        update={
            "observed_generation": seen.generation,
            "active": tuple(sorted(b.name for b in seen.backups if not b.over and not b.deleting)),
            "last_successful_time": rfc3339(last) if last is not None else "",
            "conditions": c.merge(seen.status.conditions, made, rfc3339(seen.now)),
        }
    )
