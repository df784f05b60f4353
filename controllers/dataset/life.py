"""What begins: the first run, a run for changed inputs or a lost master, a refresh, a new chance for what was given up.

Each function takes the status as it is and returns the status from which the rest of the decision goes on. The
number of a run only grows, and it is written before any child of that run exists.
"""

from dataclasses import replace

from controllers.api.dataset import (
    DatasetStatus,
    LoadStatus,
    MasterStatus,
    Phase,
    ProgressStatus,
    RunStatus,
    SizeStatus,
    StepStatus,
)
from controllers.api.times import rfc3339
from controllers.dataset import check, refresh, restore
from controllers.dataset.attempts import changed, current, given_up, of, phase_of, probe_at
from controllers.dataset.seen import INPUTS_CHANGED, MOUNT, SIZE, STAGE, Observed


def begin(seen: Observed) -> DatasetStatus:
    """Return the status to go on from: the first that is due of new run, refresh, look at the master, new chance."""
    seen = replace(seen, status=refresh.scheduled(seen))
    if reason := why_new_run(seen):
        status = _new_run(seen, reason)
    elif trigger := refresh.due(seen):
        status = refresh.begin(seen, trigger)
    else:
        status = check.begin(seen) if check.due(seen) else _new_chance(seen)
    status = restore.left_behind(seen, status)
    return status.model_copy(update={"last_handled_retry": seen.meta.retry})


def why_new_run(seen: Observed) -> str:
    """Return the reason for a new run, or "". A->B->A is three runs: only the last run's inputs are compared."""
    status = seen.status
    if not status.run.number:
        return "Created"
    if status.run.inputs != seen.inputs:
        return INPUTS_CHANGED
    if restore.moved(seen):
        return "BackupChanged"
    return "MasterReset" if check.was_reset(seen) else ""


def _new_run(seen: Observed, reason: str) -> DatasetStatus:
    status, steps = seen.status, restore.plan(seen)
    run = RunStatus(number=status.run.number + 1, inputs=seen.inputs, start_time=rfc3339(seen.now), reason=reason)
    run = run.model_copy(update={"plan": steps})
    # What was asked for before there was anything to refresh is served by the first run.
    asked = seen.meta.refresh if reason == "Created" else status.last_handled_refresh
    update = {
        "phase": Phase.PENDING,
        "run": run,
        STAGE: StepStatus(attempt=1 if STAGE in steps else 0),
        MOUNT: StepStatus(attempt=1 if MOUNT in steps else 0),
        "load": LoadStatus(attempt=1),
        "size": SizeStatus(attempt=1),
        "restore": restore.fresh(seen, steps, reason),
        "master": MasterStatus(),
        "progress": ProgressStatus(),
        "refresh": refresh.left(status),
        "last_handled_refresh": asked,
        # Counts of other inputs, or of a master that lost them, are not this run's: no number is better than a
        # wrong one.
        "file_count": None,
        "ufs_total_bytes": None,
        "ufs_total": "",
        "file_num": "",
    }
    return status.model_copy(update=update)


def _new_chance(seen: Observed) -> DatasetStatus:
    status = seen.status
    step = current(status)
    asked = seen.meta.retry != status.last_handled_retry
    if not step:
        return _count_again(status) if asked and _in_doubt(status) else status
    edited, over = seen.meta.generation != status.observed_generation, given_up(status)
    if not (asked or (over and (edited or seen.now >= probe_at(status, seen.now)))):
        return status
    # A probe gets one attempt; a person's word gets them all.
    failures = 0 if asked or edited else max(0, of(status, step).failures - 1)
    fresh = restore.retried(changed(status, step, failures=failures, last_failure_time="", given_up=False))
    return fresh.model_copy(update={"phase": phase_of(status, step)}) if over else fresh


def _in_doubt(status: DatasetStatus) -> bool:
    return status.phase != Phase.READY and bool(status.size.completion_time) and not status.size.proved


def _count_again(status: DatasetStatus) -> DatasetStatus:
    """A doubt may be over: a master's counters of failures are everybody's."""
    return changed(status, SIZE, attempt=status.size.attempt + 1, completion_time="", start_time="", last_error="")
