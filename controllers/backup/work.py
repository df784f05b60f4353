"""One attempt of a DataBackup's Job: how it ended, and when the next one may start. Computed from what is stored."""

from dataclasses import dataclass

from controllers.api.databackup import WorkStatus
from controllers.api.result import Exit, Result
from controllers.api.times import rfc3339
from controllers.backup import reasons
from controllers.dataset.attempts import RETRY_BASE, RETRY_CAP, past
from controllers.dataset.ended import failure, last_words_in
from controllers.dataset.seen import JobState, JobView

#: Not the backup's fault: no attempt is charged for them, and the active deadline bounds them.
NOT_CHARGED = (Exit.UNREACHABLE, Exit.BACKUP_IN_PROGRESS)


@dataclass(frozen=True)
class Ended:
    """How a Job ended; ``reason`` is empty where that was well. Permanent: the same attempt would fail again."""

    reason: str = ""
    message: str = ""
    permanent: bool = False
    charged: bool = True
    result: Result | None = None


def ended(job: JobView, now: float) -> Ended | None:
    """Return how it ended, or None where it has not, or where its last words may still be on their way."""
    if not job.ended:
        return None
    if job.failure == reasons.DEADLINE_EXCEEDED:
        return Ended(reasons.DEADLINE_EXCEEDED, job.failure_message or f"Job {job.name} took too long", True)
    if last_words_in(job, now) > 0:
        return None
    if job.state is JobState.SUCCEEDED and job.result is not None:
        return Ended(result=job.result)
    reason, text, permanent = failure(job, " of the Dataset")
    return Ended(reason, text.rstrip("."), permanent, job.exit_code not in NOT_CHARGED, job.result)


def not_started(job: JobView, now: float, seconds: float) -> Ended | None:
    """Return how a released Job failed that has had no running container for so many seconds, or None.

    A pod that replaces one which ran has the whole time again.
    """
    idle = job.state in (JobState.STARTING, JobState.SUSPENDED)
    if not idle or job.started is None or now < begun(job) + seconds:
        return None
    waiting = job.waiting or "its place was given to others"
    # Kubernetes has many words for a volume that is not there, and "volume" is in all of them.
    reason = reasons.VOLUME_UNAVAILABLE if "volume" in waiting.lower() else reasons.DEADLINE_EXCEEDED
    text = f"no container of Job {job.name} ran within spec.runningDeadlineSeconds ({seconds:.0f} s): {waiting}"
    return Ended(reason, text, permanent=True)


def begun(job: JobView) -> float:
    """Return since when a container of a released Job is waited for."""
    return max(job.started or 0.0, job.pod_created or 0.0)


def failed(mine: WorkStatus, end: Ended, now: float) -> WorkStatus:
    """Return the status in which the next attempt is due; one that is not charged only costs time."""
    return WorkStatus(
        attempt=mine.attempt + 1,
        failures=mine.failures + end.charged,
        last_failure_time=rfc3339(now),
        last_reason=end.reason,
        last_error=end.message,
    )


def started(mine: WorkStatus, now: float) -> WorkStatus:
    """Return the status of an attempt whose Job is to be created."""
    begun = mine.start_time or rfc3339(now)
    return mine.model_copy(update={"attempt": max(1, mine.attempt), "start_time": begun})


def retry_at(mine: WorkStatus, now: float) -> float:
    """Return when the next attempt may start, in seconds since the epoch; not after ``now`` where nothing failed."""
    return past(mine.last_failure_time, now) + min(RETRY_CAP, RETRY_BASE * 2.0 ** min(max(mine.attempt - 2, 0), 16))
