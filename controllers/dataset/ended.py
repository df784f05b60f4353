"""What a Job that has ended says, of a Dataset and of a DataBackup alike."""

from controllers.api.result import describe
from controllers.dataset.seen import JobState, JobView

#: Job and pod come by two watches: how long the pod's last words may lag behind the Job's end. Whoever deletes a pod by
#: hand waits as long, because its last words go with it.
RESULT_GRACE = 10.0


def last_words_in(job: JobView, now: float) -> float:
    """Return for how many seconds yet its last words may be on their way; 0 where nobody need wait for them."""
    known = job.exit_code is not None or job.failure == "DeadlineExceeded"
    if job.state is JobState.SUCCEEDED:
        known = job.result is not None
    return 0.0 if known else max(0.0, (job.finished or now) + RESULT_GRACE - now)


def failure(job: JobView, whose: str = "") -> tuple[str, str, bool]:
    """Return reason and message of one that failed, or whose result is lost, and whether it would fail so again.

    ``whose``: of what spec.load is, where the reader may think of another object.
    """
    if job.state is JobState.SUCCEEDED:
        return "ResultLost", f"Job {job.name} succeeded but its pod and result are gone", False
    if job.exit_code is None and job.failure != "DeadlineExceeded":  # Kubernetes only says that a limit was reached
        return "JobFailed", f"the pod of Job {job.name} is gone: deleted by hand, or lost with its node", False
    if job.oom_killed:
        text = f"pod {job.pod} ran out of memory: raise spec.load.podTemplate.resources{whose}"
        return "OOMKilled", text, False
    reason, permanent = describe(job.exit_code) if job.exit_code else (job.failure or "JobFailed", False)
    text = job.failure_message or f"Job {job.name} failed"
    if job.result is not None:
        reason, text = job.result.reason or reason, job.result.message or text
    return reason, text, permanent
