"""A master that restarted after Ready: does it still have the metadata?

Fewer paths than were counted: no. Otherwise its cluster id tells, which survives a restart and changes when the journal
is formatted; it is asked for by one more attempt of the size step. docs/design/20261124-refresh.md says why so.
"""

from controllers.api.dataset import DatasetStatus, MasterStatus, Phase, RestorePhase
from controllers.api.result import Exit
from controllers.dataset.attempts import changed, counted, current
from controllers.dataset.refresh import under_way
from controllers.dataset.restore import JOURNAL_LOST
from controllers.dataset.seen import SIZE, JobState, Observed


def was_reset(seen: Observed) -> bool:
    """Whether it is known that the master has lost the metadata."""
    gone = seen.runtime.reason == JOURNAL_LOST
    if gone and seen.status.restore.phase == RestorePhase.RESTORED and current(seen.status):
        return True  # in a later run: its master looks for a backup that is gone, and never starts
    return seen.status.phase == Phase.READY and (gone or _has_fewer_paths(seen) or _is_another(seen))


def due(seen: Observed) -> bool:
    """Whether the master restarted, and nothing under way will find out what it knows."""
    status, spec = seen.status, seen.spec
    if spec is None or spec.suspend or status.phase != Phase.READY or current(status):
        return False
    return _restarted(seen) and bool(status.master.cluster_id)


def begin(seen: Observed) -> DatasetStatus:
    """Return the status in which the master is asked for its cluster id."""
    status = seen.status
    asked = status.master.model_copy(update={"checking": seen.master.start_time_ms})
    status = changed(status, SIZE, attempt=status.size.attempt + 1)
    return status.model_copy(update={"master": asked})


def same(status: DatasetStatus) -> DatasetStatus:
    """Return the status when the master has turned out to be the one that has the metadata.

    What is noted is the start that the poller saw: were it the Job's, two sources that differ would ask for ever.
    """
    found = status.master
    return status.model_copy(update={"master": _start(found, found.checking)})


def _start(master: MasterStatus, start: int) -> MasterStatus:
    return master.model_copy(update={"start_time_ms": start, "checking": 0})


def _restarted(seen: Observed) -> bool:
    known, found = seen.status.master.start_time_ms, seen.master.start_time_ms
    return bool(seen.master.reachable and known and found and known != found)


def _has_fewer_paths(seen: Observed) -> bool:
    """Whether it restarted and knows fewer paths than the dataset alone has: its journal was formatted.

    A restart that kept the metadata has at least as many, but for what a refresh may have removed.
    """
    if not _restarted(seen) or seen.master.total_paths is None:
        return False
    before = counted(seen.status)
    least = float(before.files + before.directories)
    if under_way(seen.status) and seen.spec is not None:
        least *= 1 - float(seen.spec.load.max_removed_fraction)
    return seen.master.total_paths < least


def _is_another(seen: Observed) -> bool:
    """Whether the Job that asked for the cluster id found another one."""
    status = seen.status
    job = seen.job(SIZE, status.size.attempt) if status.master.checking else None
    if job is None or job.state is not JobState.FAILED or job.exit_code != Exit.MASTER_CHANGED:
        return False
    told = job.result.master if job.result else None
    return told is None or told.cluster_id != status.master.cluster_id
