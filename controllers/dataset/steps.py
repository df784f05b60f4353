"""The steps of a run: what is done with the Job of each attempt.

A run is a chain, mostly load and size, then publish. Each policy below looks at one state of one Job and answers with a
``Step``. A step that is over hands on to the next one in the same pass, so no dataset waits for a tick.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from controllers.api.dataset import DatasetSpec, DatasetStatus, Phase
from controllers.api.result import Exit, Result, describe
from controllers.api.times import rfc3339
from controllers.dataset import check, refresh, restore, results, stepjob
from controllers.dataset.attempts import UNREACHABLE, changed, current, given_up, of, phase_of, plan, probe_at, retry_at
from controllers.dataset.ended import failure, last_words_in
from controllers.dataset.gates import gate
from controllers.dataset.seen import LOAD, MOUNT, RETRY_ANNOTATION, SIZE, STAGE, JobState, JobView, Observed
from controllers.decision import Child, Create
from controllers.jobs import JOB, MUTE

#: For so long after its release a Job without a container is nothing to speak of.
STARTING_GRACE = 5.0
#: Nothing of ours changes when Kubernetes makes no pod for a Job, or when a pod waits for its volumes: so its events
#: are looked up again after so long.
NO_POD_AGAIN = 10.0

#: What sends a count back to the load; what sends a step at a master of our own back to the mounts, which it has lost.
LOAD_AGAIN = {describe(code)[0] for code in (Exit.INCOMPLETE, Exit.MASTER_CHANGED)}
MOUNT_AGAIN = {describe(code)[0] for code in (Exit.MOUNT_MISSING, Exit.PATH_NOT_FOUND)}


@dataclass(frozen=True)
class Step:
    """Where a run stands after this pass, and why. ``reason`` and ``message`` are what a person reads."""

    status: DatasetStatus
    reason: str
    message: str
    children: tuple[Child, ...] = ()
    stalled: bool = False  # nothing more happens without a person, or for an hour
    requeue_after: float | None = None
    over: bool = False  # load and count are over: what remains is to publish


def run(seen: Observed, status: DatasetStatus, spec: DatasetSpec) -> Step:
    """Return where the run's current step stands, from this status on."""
    seen = replace(seen, status=status)
    step = current(status)
    if not step:
        return Step(status, "Counted", "loaded and counted", over=True)
    job = seen.job(step, of(status, step).attempt)
    if job is None:
        return _start(seen, spec, step)
    if status.phase == Phase.FAILED:  # a new chance is under way
        phase = phase_of(status, step)
        seen = replace(seen, status=changed(status, step, given_up=False).model_copy(update={"phase": phase}))
    return HANDLERS[job.state](seen, spec, step, job)


# --- no Job yet -------------------------------------------------------------------------------------------------------


def _start(seen: Observed, spec: DatasetSpec, step: str) -> Step:
    mine = of(seen.status, step)
    retry_in = retry_at(mine, seen.now) - seen.now
    if given_up(seen.status):
        probe_in = max(1.0, probe_at(seen.status, seen.now) - seen.now)
        return Step(seen.status, mine.last_reason, _failed_text(seen, step), stalled=True, requeue_after=probe_in)
    if spec.suspend:
        return Step(seen.status, "Suspended", "spec.suspend is true: nothing new is started", stalled=True)
    if retry_in > 0:
        text = f"{mine.last_error}; the next attempt ({mine.failures + 1} of {spec.load.max_attempts}) follows"
        if mine.last_reason == UNREACHABLE:
            text = f"{mine.last_error}; tried again, and no attempt is charged"
        return Step(seen.status, mine.last_reason, text, requeue_after=retry_in)
    if (wait := gate(seen, spec, step)) is not None:
        if wait.failed:
            return _failed(seen, spec, step, wait.reason, wait.message, permanent=wait.permanent)
        return Step(seen.status, wait.reason, wait.message, stalled=wait.stalled, requeue_after=wait.requeue_after)
    return _create(seen, spec, step)


def _create(seen: Observed, spec: DatasetSpec, step: str) -> Step:
    name = stepjob.name(seen, step)
    status = changed(seen.status, step, job_name=name)
    if step == LOAD:
        status = changed(status, LOAD, loader=stepjob.loader(seen, spec).value)
    if step == STAGE and restore.under_way(status):
        status = restore.changed(status, source=str(restore.source(seen, spec)))
    made = (Create(JOB, stepjob.job(replace(seen, status=status), spec, step)),)
    if seen.problem is not None:  # the last try was refused; what is claimed is what was seen
        return Step(status, seen.problem.reason, seen.problem.message, children=made, stalled=True)
    return replace(_created(status, name), children=made)


def _created(status: DatasetStatus, job: str) -> Step:
    """What is said until there is more to say. Each status that is true for a moment only would be one write more."""
    return Step(status, "JobCreated", f"created Job {job}")


def _failed_text(seen: Observed, step: str) -> str:
    text = f"{of(seen.status, step).last_error} (mend it and edit the spec, or set the annotation {RETRY_ANNOTATION})"
    if seen.status.phase == Phase.FAILED and seen.meta.refresh not in ("", seen.status.last_handled_refresh):
        return f"{text}; the refresh that was asked for follows when it is Ready"
    return text


# --- a Job that has not ended -----------------------------------------------------------------------------------------


def _suspended(seen: Observed, spec: DatasetSpec, step: str, job: JobView) -> Step:
    line = seen.line or f"Job {job.name} waits for its turn"
    if job.started is None:
        return Step(seen.status, "WaitingForTurn", line) if seen.line else _created(seen.status, job.name)
    left = job.started + spec.load.starting_deadline_seconds - seen.now
    if left <= 0:
        return _failed(seen, spec, step, "PodNotStarted", _too_late(spec, job, "its place was given to others"))
    text = f"{line}; its pod did not start, so others go first"
    return Step(seen.status, "WaitingForTurn", text, requeue_after=left)


def _starting(seen: Observed, spec: DatasetSpec, step: str, job: JobView) -> Step:
    # A pod that replaces one which ran has the whole time again.
    begun = max(job.started or seen.now, job.pod_created or 0.0)
    left = begun + spec.load.starting_deadline_seconds - seen.now
    waiting = job.waiting or (f"pod {job.pod} does not run yet" if job.pod else "no pod yet")
    if left <= 0:
        return _failed(seen, spec, step, "PodNotStarted", _too_late(spec, job, waiting))
    soon = begun + STARTING_GRACE - seen.now
    if soon > 0 and not job.waiting:
        return replace(_created(seen.status, job.name), requeue_after=soon)
    text = f"waiting for the pod of Job {job.name}: {waiting}"
    told_by_events = not job.pod or waiting.startswith(MUTE)
    again = min(left, NO_POD_AGAIN) if told_by_events else left
    return Step(_granted(seen, step, job), _why_waiting(waiting), text, requeue_after=again)


def _why_waiting(waiting: str) -> str:
    """Return the reason for a pod that waits, from the words of the scheduler or the kubelet."""
    missing = "not found" in waiting or "non-existent" in waiting
    if missing and "persistentvolumeclaim" in waiting:
        return "VolumeNotFound"
    return "SecretNotFound" if missing and "secret" in waiting else "PodStarting"


def _too_late(spec: DatasetSpec, job: JobView, waiting: str) -> str:
    return f"no container of Job {job.name} ran within {spec.load.starting_deadline_seconds} s: {waiting}"


def _running(seen: Observed, spec: DatasetSpec, step: str, job: JobView) -> Step:
    reason, text = RUNNING[step]
    if step == LOAD and refresh.under_way(seen.status):
        text = "comparing the metadata with the storage"
    if step == STAGE:
        found = seen.status.restore
        text = f"{text} {found.source}" if restore.under_way(seen.status) else "removing what was staged"
    return Step(_granted(seen, step, job), reason, text)


def _deleting(seen: Observed, spec: DatasetSpec, step: str, job: JobView) -> Step:
    return Step(seen.status, "JobDeleted", f"Job {job.name} is being deleted; it is created anew when it is gone")


def _granted(seen: Observed, step: str, job: JobView) -> DatasetStatus:
    started = of(seen.status, step).start_time or rfc3339(job.started or seen.now)
    status = changed(seen.status, step, start_time=started, job_name=job.name)
    return status.model_copy(update={"phase": phase_of(status, step)})


# --- a Job that has ended ---------------------------------------------------------------------------------------------


def _succeeded(seen: Observed, spec: DatasetSpec, step: str, job: JobView) -> Step:
    if job.result is None:
        return _failed_job(seen, spec, step, job)
    granted = _granted(seen, step, job)
    if granted.master.checking:
        return run(seen, results.healed(check.same(granted), SIZE), spec)
    if bad := restore.refused(granted, spec, step, job.result):
        return _failed(seen, spec, step, bad.reason, bad.message, permanent=bad.reason == "ChecksumMismatch")
    return run(seen, results.over(granted, step, job.result, rfc3339(job.finished or seen.now)), spec)


def _failed_job(seen: Observed, spec: DatasetSpec, step: str, job: JobView) -> Step:
    if (lag := last_words_in(job, seen.now)) > 0:
        words = "ended; reading its result" if job.state is JobState.SUCCEEDED else "failed; reading why"
        return Step(seen.status, "ReadingResult", f"Job {job.name} has {words}", requeue_after=lag)
    reason, text, permanent = failure(job)
    return _failed(seen, spec, step, reason, text, permanent=permanent, result=job.result)


def _failed(
    seen: Observed,
    spec: DatasetSpec,
    step: str,
    reason: str,
    text: str,
    *,
    permanent: bool = False,
    result: Result | None = None,
) -> Step:
    """Record a failed attempt and say what follows: a new attempt, an earlier step again, or nothing for an hour."""
    checking = bool(seen.status.master.checking)  # the count itself stays what it is
    back = step if checking else _back(seen.status, step, reason)
    charged = 0 if reason == UNREACHABLE else 1
    over = (permanent and back == step) or of(seen.status, back).failures + charged >= spec.load.max_attempts
    if over and restore.under_way(seen.status):
        back = STAGE
    mine = of(seen.status, back)
    update: dict[str, Any] = {
        "attempt": mine.attempt + 1,
        "failures": mine.failures + charged,
        "last_failure_time": rfc3339(seen.now),
        "last_reason": reason,
        "last_error": text.rstrip("."),  # more follows where it is shown
        "given_up": over,
        **({} if checking else {"completion_time": "", "start_time": ""}),
    }
    if back == LOAD and result is not None:
        update |= {"failed_directories": result.failed_directories[:5], "failed_count": result.failed_count}
    status = _begun_anew(changed(seen.status, back, **update), back, step)
    if step == LOAD:
        status = refresh.failed(status, reason, text)
    if back == STAGE and restore.under_way(status):
        status = restore.failed(status, spec, reason, text.rstrip("."))
    over = of(status, back).given_up and status.phase != Phase.READY
    status = status.model_copy(update={"phase": Phase.FAILED if over else phase_of(status, back)})
    return _start(replace(seen, status=status), spec, back)


def _back(status: DatasetStatus, step: str, reason: str) -> str:
    """Return the step with which the run goes on after that failure."""
    if restore.begins_anew(status, step, reason):
        return STAGE
    if step in (LOAD, SIZE) and reason in MOUNT_AGAIN and MOUNT in plan(status):
        return MOUNT
    return LOAD if step == SIZE and reason in LOAD_AGAIN and LOAD in plan(status) else step


def _begun_anew(status: DatasetStatus, back: str, step: str) -> DatasetStatus:
    """Let the steps after ``back``, up to ``step``, start over under names of their own."""
    steps = plan(status)
    for name in steps[steps.index(back) + 1 : steps.index(step) + 1]:
        attempt = of(status, name).attempt + 1
        status = changed(status, name, attempt=attempt, start_time="", completion_time="")
    return status


RUNNING = {
    STAGE: ("Staging", "verifying the backup"),
    MOUNT: ("Mounting", "mounting the storages"),
    LOAD: ("Loading", "loading metadata"),
    SIZE: ("Counting", "counting files and bytes"),
}

HANDLERS: dict[JobState, Callable[[Observed, DatasetSpec, str, JobView], Step]] = {
    JobState.SUSPENDED: _suspended,
    JobState.STARTING: _starting,
    JobState.RUNNING: _running,
    JobState.SUCCEEDED: _succeeded,
    JobState.FAILED: _failed_job,
    JobState.DELETING: _deleting,
}
