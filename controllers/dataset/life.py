"""What begins: the first run, a run for changed inputs or a lost master, and the way out of Failed.

Each function takes the status as it is and returns the status from which the rest of the decision goes on. The
number of a run only grows, and it is written before any child of that run exists.
"""

from controllers.api.dataset import (
    DatasetStatus,
    LoadStatus,
    MasterStatus,
    Phase,
    ProgressStatus,
    RunStatus,
    SizeStatus,
)
from controllers.api.times import rfc3339
from controllers.dataset.seen import LOAD, Observed
from controllers.dataset.steps import current, probe_at


def begin(seen: Observed) -> DatasetStatus:
    """Return the status to go on from: a new run where one is due, else a new chance where one is due."""
    reason = why_new_run(seen)
    status = _new_run(seen, reason) if reason else _new_chance(seen)
    return status.model_copy(update={"last_handled_retry": seen.meta.retry})


def why_new_run(seen: Observed) -> str:
    """Return the reason for a new run, or "". A->B->A is three runs: only the last run's inputs are compared."""
    status = seen.status
    if not status.run.number:
        return "Created"
    if status.run.inputs != seen.inputs:
        return "InputsChanged"
    if status.phase == Phase.READY and _master_was_reset(seen):
        return "MasterReset"
    return ""


def _master_was_reset(seen: Observed) -> bool:
    """Whether the master restarted and knows fewer paths than the dataset alone has: its journal was formatted.

    A restart that kept the metadata has at least as many. A format after which others loaded as much is not seen here.
    """
    known, master = seen.status, seen.master
    if not master.reachable or master.total_paths is None or not known.master.start_time_ms:
        return False
    restarted = master.start_time_ms not in (0, known.master.start_time_ms)
    return restarted and master.total_paths < known.size.files + known.size.directories


def _new_run(seen: Observed, reason: str) -> DatasetStatus:
    return seen.status.model_copy(
        update={
            "phase": Phase.PENDING,
            "run": RunStatus(
                number=seen.status.run.number + 1, inputs=seen.inputs, start_time=rfc3339(seen.now), reason=reason
            ),
            "load": LoadStatus(attempt=1),
            "size": SizeStatus(attempt=1),
            "master": MasterStatus(),
            "progress": ProgressStatus(),
            # Counts of other inputs, or of a master that lost them, are not this run's: no number is better than a
            # wrong one.
            "file_count": None,
            "ufs_total_bytes": None,
            "ufs_total": "",
            "file_num": "",
        }
    )


def _new_chance(seen: Observed) -> DatasetStatus:
    status = seen.status
    step = current(status)
    asked = seen.meta.retry != status.last_handled_retry
    if not step:
        return status
    edited = seen.meta.generation != status.observed_generation
    failed = status.phase == Phase.FAILED
    if not (asked or (failed and (edited or seen.now >= probe_at(status, seen.now)))):
        return status
    mine = status.load if step == LOAD else status.size
    # A probe gets one attempt; a person's word gets them all.
    failures = 0 if asked or edited else max(0, mine.failures - 1)
    fresh = mine.model_copy(update={"failures": failures, "last_failure_time": ""})
    phase = Phase.LOADING_METADATA if step == LOAD else Phase.SIZING
    return status.model_copy(update={step: fresh, "phase": phase if failed else status.phase})
