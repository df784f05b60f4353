"""A refresh: a run that compares a Ready Dataset with its storage anew, while phase and volume stay as they are.

docs/design/20261124-refresh.md says why. Here is when one begins, what its Jobs are told, and what is made of their
results; how its steps go is the same as in every run (``steps``).
"""

from typing import Any, NamedTuple

from controllers import schedule
from controllers.api.conditions import FALSE, TRUE
from controllers.api.dataset import (
    DatasetSpec,
    DatasetStatus,
    LoadStatus,
    Phase,
    ProgressStatus,
    RefreshStatus,
    RunStatus,
    SizeStatus,
)
from controllers.api.result import Exit, Result, describe
from controllers.api.times import epoch, rfc3339
from controllers.dataset.attempts import counted, current, given_up, of, past
from controllers.dataset.seen import LOAD, REFRESH_ANNOTATION, SIZE, Observed

REFRESH, SUPERSEDED = "Refresh", "Superseded"
REQUESTED, SCHEDULE = "Requested", "Schedule"
SUSPICIOUS = describe(Exit.SUSPICIOUS_REFRESH)[0]


class Trigger(NamedTuple):
    """Why a refresh begins. ``slot`` is the slot of the schedule that it serves, "" for none."""

    reason: str
    slot: str = ""


# --- when one begins --------------------------------------------------------------------------------------------------


def under_way(status: DatasetStatus) -> bool:
    """Whether the current run is a refresh that has not succeeded yet."""
    return status.run.reason == REFRESH and not (status.load.completion_time and status.size.completion_time)


def due(seen: Observed) -> Trigger | None:
    """Return why a refresh begins now, or None. It begins only where nothing else is under way."""
    spec = seen.spec
    if spec is None or spec.suspend or not _idle(seen.status):
        return None
    asked = seen.meta.refresh and seen.meta.refresh != seen.status.last_handled_refresh
    slot = _due_slot(seen, spec)
    if slot or asked:
        return Trigger(REQUESTED if asked else SCHEDULE, rfc3339(slot) if slot else "")
    return None


def _idle(status: DatasetStatus) -> bool:
    return status.phase == Phase.READY and (not current(status) or given_up(status))


def begin(seen: Observed, trigger: Trigger) -> DatasetStatus:
    """Return the status of the run that refreshes: phase, volume, counts and master stay what they are."""
    status, now = seen.status, rfc3339(seen.now)
    old = status.refresh
    fresh = RefreshStatus(
        trigger=trigger.reason,
        start_time=now,
        before=counted(status),
        suspicious=old.suspicious,
        schedule=old.schedule,
        schedule_since=old.schedule_since,
        last_schedule_time=trigger.slot or old.last_schedule_time,
    )
    run = RunStatus(number=status.run.number + 1, inputs=seen.inputs, start_time=now, reason=REFRESH)
    update = {
        "run": run,
        "refresh": fresh,
        LOAD: LoadStatus(attempt=1),
        SIZE: SizeStatus(attempt=1),
        "progress": ProgressStatus(),
        "master": status.master.model_copy(update={"checking": 0}),  # a refresh finds out by itself
        "last_handled_refresh": seen.meta.refresh,
    }
    return status.model_copy(update=update)


def left(status: DatasetStatus) -> RefreshStatus:
    """Return what a run that is no refresh leaves of the last one: since when its schedule counts."""
    old = status.refresh
    return RefreshStatus(schedule=old.schedule, schedule_since=old.schedule_since)


def scheduled(seen: Observed) -> DatasetStatus:
    """Return the status with a note of the schedule: a new one counts from the moment that it is seen."""
    status, load = seen.status, seen.spec.load if seen.spec else None
    if load is None:
        return status
    wanted = f"{load.refresh_schedule} {load.time_zone}".strip() if load.refresh_schedule else ""
    if wanted == status.refresh.schedule:
        return status
    return _with(status, schedule=wanted, schedule_since=rfc3339(seen.now) if wanted else "")


def _due_slot(seen: Observed, spec: DatasetSpec) -> float | None:
    """Return the last slot that has come since the run ended, or None where none has.

    However many have come, one refresh serves them all; those that came while the run was under way are skipped.
    """
    load = spec.load
    if not load.refresh_schedule:
        return None
    first = schedule.next_slot(load.refresh_schedule, load.time_zone, _anchor(seen))
    if first is None or first > seen.now:
        return None
    last = schedule.last_slot(load.refresh_schedule, load.time_zone, seen.now)
    return max(first, last or first)


def next_in(seen: Observed, status: DatasetStatus) -> float | None:
    """Return in how many seconds the schedule has to be looked at again; None where it has not."""
    spec = seen.spec
    if spec is None or spec.suspend or not spec.load.refresh_schedule or not _idle(status):
        return None
    coming = schedule.next_slot(spec.load.refresh_schedule, spec.load.time_zone, seen.now)
    return None if coming is None else max(1.0, coming - seen.now)


def _anchor(seen: Observed) -> float:
    """Return the time after which slots count: schedule and run have begun, and the run has ended."""
    status = seen.status
    ended = [status.size.completion_time, *(of(status, step).last_failure_time for step in (LOAD, SIZE))]
    times = [status.refresh.schedule_since, status.refresh.last_schedule_time, status.run.start_time, *ended]
    return max(past(time, seen.now) for time in times)


# --- what its Jobs are told, and what they say ------------------------------------------------------------------------


def options(status: DatasetStatus, spec: DatasetSpec) -> dict[str, Any]:
    """Return what only the load of a refresh is told."""
    before = status.refresh.before
    return {
        "refresh": True,
        "since_ms": int(1000 * (epoch(status.run.start_time) or 0.0)),
        "known_paths": before.files + before.directories,
        "max_removed_fraction": float(spec.load.max_removed_fraction),
    }


def failed(status: DatasetStatus, reason: str, text: str) -> DatasetStatus:
    """Return the status with what the failure of a refresh's load means for those who read the dataset."""
    if not under_way(status) or reason != SUSPICIOUS:
        return status
    return _with(status, suspicious=text)


def loaded(status: DatasetStatus, result: Result) -> DatasetStatus:
    """Return the status with the changes that the loads of a refresh found: the last one knows those of all."""
    if status.run.reason != REFRESH:
        return status
    found = result.changes
    known = (found.added, found.removed, found.changed) if found else (None, None, None)
    return _with(status, suspicious="", **dict(zip(("added", "removed", "changed"), known, strict=True)))


def _with(status: DatasetStatus, **values: Any) -> DatasetStatus:
    return status.model_copy(update={"refresh": status.refresh.model_copy(update=values)})


def sized(status: DatasetStatus) -> DatasetStatus:
    """Return the status with the net difference, now that the count is complete."""
    if status.run.reason != REFRESH:
        return status
    before, now = status.refresh.before, counted(status)
    return _with(
        status,
        completion_time=now.completion_time,
        files_delta=now.files - before.files,
        directories_delta=now.directories - before.directories,
        bytes_delta=now.bytes - before.bytes,
    )


# --- what a person reads ----------------------------------------------------------------------------------------------


def condition(status: DatasetStatus, reason: str, message: str) -> tuple[str, str, str] | None:
    """Return status, reason and message of Refreshing, where the step of the run stands so; None before the first."""
    found = status.refresh
    if not found.start_time:
        return None
    if not under_way(status):
        return FALSE, "Refreshed", _summary(found)
    if not given_up(status):
        return TRUE, reason, message
    return FALSE, reason, f"{message}; the data is as it was counted at {found.before.completion_time}"


def superseded(status: DatasetStatus) -> tuple[str, str, str]:
    """Return Refreshing for a Dataset whose last refresh gave way to a run of another kind."""
    return FALSE, SUPERSEDED, f"the last refresh is no longer of interest: run {status.run.number}, {status.run.reason}"


def _summary(found: RefreshStatus) -> str:
    entries = ""
    if found.added is not None:
        entries = f"added {found.added:,}, removed {found.removed or 0:,}, changed {found.changed or 0:,} entries; "
    return f"{entries}files {found.files_delta:+,}, bytes {found.bytes_delta:+,}"


def suspicion(status: DatasetStatus) -> str:
    """Return why the content may be incomplete since a refresh, and what to do; "" where nothing is suspicious."""
    if not status.refresh.suspicious:
        return ""
    return (
        f"{status.refresh.suspicious} (meant so: a larger spec.load.maxRemovedFraction, then the annotation "
        f"{REFRESH_ANNOTATION}; else mend the storage: an attempt that sees the files again ends this)"
    )
