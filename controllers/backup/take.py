"""From Pending to Complete: the line before it, the Job of each attempt, and what is made of its result."""

from collections.abc import Callable

from controllers.api.databackup import (
    BackupMaster,
    BackupPhase,
    BackupSource,
    DataBackupSpec,
    DataBackupStatus,
    JobReference,
)
from controllers.api.job_commands import TAKE
from controllers.api.result import BackupFacts, Result
from controllers.api.times import rfc3339
from controllers.backup import check, jobs, reasons, windup, work
from controllers.backup.seen import Observed
from controllers.backup.step import Step, changed
from controllers.dataset.attempts import past
from controllers.dataset.ended import last_words_in
from controllers.dataset.seen import JobState, JobView
from controllers.decision import Create
from controllers.jobs import JOB

#: Why a pod does not start is known from events, which are looked up again after so many seconds.
LOOK_AGAIN = 10.0


def step(seen: Observed, status: DataBackupStatus, spec: DataBackupSpec) -> Step:
    """Return the next step of a backup that is Pending or Executing."""
    job = seen.job(TAKE, status.take.attempt)
    end = work.ended(job, seen.now) if job is not None else None
    if job is not None and end is not None:  # what has ended counts, however late it is seen
        return _ended(seen, _granted(seen, status, job), spec, end)
    if job is not None and job.ended:
        return _last_words(seen, status, job)
    if late := _overdue(seen, status, spec, job):
        return windup.fail(seen, status, *late)
    if not status.take.attempt:
        return _pending(seen, status, spec)
    if job is None:
        return _next(seen, status, spec)
    return _HANDLERS[job.state](seen, status, spec, job)


# --- deadlines --------------------------------------------------------------------------------------------------------


def next_deadline(seen: Observed, status: DataBackupStatus, spec: DataBackupSpec) -> float | None:
    """Return when the next deadline strikes, in seconds since the epoch; None where none is set."""
    if status.start_time:
        return past(status.start_time, seen.now) + spec.active_deadline_seconds
    seconds = spec.starting_deadline_seconds
    return seen.meta.created + seconds if seconds is not None else None


def _overdue(
    seen: Observed, status: DataBackupStatus, spec: DataBackupSpec, job: JobView | None
) -> tuple[str, str] | None:
    """Return why the backup has failed because of the time that has passed, or None."""
    deadline = next_deadline(seen, status, spec)
    if deadline is not None and seen.now >= deadline and not (job and job.started and not status.start_time):
        name = "activeDeadlineSeconds" if status.start_time else "startingDeadlineSeconds"
        return reasons.DEADLINE_EXCEEDED, f"spec.{name} is over: {status.message or 'it could not start'}"
    begun, seconds = status.take.start_time, spec.running_deadline_seconds
    if seen.problem and job is None and not status.start_time and begun and seen.now >= past(begun, seen.now) + seconds:
        text = f"its Job could not be created within spec.runningDeadlineSeconds ({seconds:.0f} s)"
        return reasons.DEADLINE_EXCEEDED, f"{text}: {seen.problem.message}"
    end = work.not_started(job, seen.now, seconds) if job else None
    return (end.reason, end.message) if end else None


# --- no Job yet -------------------------------------------------------------------------------------------------------


def _pending(seen: Observed, status: DataBackupStatus, spec: DataBackupSpec) -> Step:
    status = changed(status, phase=BackupPhase.PENDING)
    if refusal := check.refused(seen, spec):
        return windup.fail(seen, status, *refusal)
    if obstacle := check.waiting(seen, spec):
        (reason, text), again = obstacle
        return Step(status, reason, text, requeue_after=again)
    status = changed(status, location=jobs.location(seen.meta, spec))
    return _not_beside(seen, status) or _create(seen, status, spec)


def _next(seen: Observed, status: DataBackupStatus, spec: DataBackupSpec) -> Step:
    """Return the step of an attempt that has no Job: it is created when its time has come."""
    mine, dataset = status.take, seen.dataset
    if dataset.deleting or dataset.uid != (status.source.dataset_uid if status.source else ""):
        text = f"dataset {spec.dataset.name} was deleted before its backup was complete"
        return windup.fail(seen, status, reasons.DATASET_NOT_FOUND, text)
    if step := _not_beside(seen, status):
        return step
    if not dataset.ready:  # a master that is being loaded has a part: a backup of it would be restored as the whole
        text = f"waiting for dataset {spec.dataset.name} to be Ready: {dataset.why}"
        return Step(status, reasons.DATASET_NOT_READY, text)
    wait = work.retry_at(mine, seen.now) - seen.now
    if not mine.start_time and wait > 0:
        follows = f"attempt {mine.attempt} follows, {mine.failures} of {spec.backoff_limit + 1} failed"
        return Step(status, mine.last_reason, f"{mine.last_error}; {follows}", requeue_after=wait)
    return _create(seen, status, spec)


def _not_beside(seen: Observed, status: DataBackupStatus) -> Step | None:
    """Return the step while a pod of an earlier Job may write, which as a lost one keeps no turn; None: none may."""
    mine = status.take
    deleted = (reasons.JOB_DELETED, "its Job was deleted")
    reason, text = deleted if mine.start_time or not mine.last_reason else (mine.last_reason, mine.last_error)
    if seen.lost_writers:
        return windup.fail(seen, status, reason, text)
    if not seen.running_pods:
        return None
    text = f"{text}; waiting for {', '.join(seen.running_pods[:5])} to end"
    return Step(status, reason, text, requeue_after=LOOK_AGAIN)


def _create(seen: Observed, status: DataBackupStatus, spec: DataBackupSpec) -> Step:
    dataset, known = seen.dataset, seen.dataset.master
    status = changed(
        status,
        take=work.started(status.take, seen.now),
        source=BackupSource(
            datasetUID=dataset.uid,
            mounts_hash=dataset.mounts_hash,
            ufs_total=dataset.ufs_total,
            file_num=dataset.file_num,
            run=dataset.run,
        ),
        master=BackupMaster(address=known.address, cluster_id=known.cluster_id, start_time_ms=known.start_time_ms),
    )
    name = jobs.name(seen.meta, TAKE, status.take.attempt)
    made = (Create(JOB, jobs.take(seen, spec, status.take.attempt)),)
    if seen.problem is not None:  # the last try was refused; what is claimed is what was seen
        return Step(status, seen.problem.reason, seen.problem.message, made)
    return Step(status, reasons.JOB_CREATED, f"created Job {name}", made)


# --- a Job that has not ended -----------------------------------------------------------------------------------------


def _granted(seen: Observed, status: DataBackupStatus, job: JobView) -> DataBackupStatus:
    """Return the status with the note that the Job was released: the backup is under way, and never again Pending."""
    start = status.start_time or rfc3339(job.started or seen.now)
    return changed(
        status, phase=BackupPhase.EXECUTING, start_time=start, job_ref=JobReference(name=job.name, uid=job.uid)
    )


def _suspended(seen: Observed, status: DataBackupStatus, spec: DataBackupSpec, job: JobView) -> Step:
    line = seen.line or f"Job {job.name} waits for its turn"
    if job.started is None:
        return Step(status, reasons.WAITING_FOR_TURN, line)
    left = work.begun(job) + spec.running_deadline_seconds - seen.now
    text = f"{line}; its pod did not start, so others go first"
    return Step(_granted(seen, status, job), reasons.WAITING_FOR_TURN, text, requeue_after=left)


def _starting(seen: Observed, status: DataBackupStatus, spec: DataBackupSpec, job: JobView) -> Step:
    left = work.begun(job) + spec.running_deadline_seconds - seen.now
    text = f"waiting for the pod of Job {job.name}: {job.waiting or 'no container runs yet'}"
    return Step(_granted(seen, status, job), reasons.POD_STARTING, text, requeue_after=min(left, LOOK_AGAIN))


def _running(seen: Observed, status: DataBackupStatus, spec: DataBackupSpec, job: JobView) -> Step:
    text = f"attempt {job.attempt}: Job {job.name} runs"
    return Step(_granted(seen, status, job), reasons.TAKING_BACKUP, text)


def _last_words(seen: Observed, status: DataBackupStatus, job: JobView) -> Step:
    text = f"Job {job.name} has ended; reading its result"
    again = max(0.1, last_words_in(job, seen.now))
    return Step(_granted(seen, status, job), reasons.READING_RESULT, text, requeue_after=again)


def _deleting(seen: Observed, status: DataBackupStatus, spec: DataBackupSpec, job: JobView) -> Step:
    text = f"Job {job.name} is being deleted; it is created anew when it is gone"
    return Step(status, reasons.JOB_DELETED, text)


_HANDLERS: dict[JobState, Callable[[Observed, DataBackupStatus, DataBackupSpec, JobView], Step]] = {
    JobState.SUSPENDED: _suspended,
    JobState.STARTING: _starting,
    JobState.RUNNING: _running,
    JobState.DELETING: _deleting,
}


# --- a Job that has ended ---------------------------------------------------------------------------------------------


def _ended(seen: Observed, status: DataBackupStatus, spec: DataBackupSpec, end: work.Ended) -> Step:
    result, facts = end.result, end.result.backup if end.result else None
    if end.reason or result is None:
        return _failed(seen, status, spec, end)
    if facts is None or status.location is None or facts.directory.strip("/") != status.location.path:
        text = "the Job says of no backup that it is complete: controller and image do not fit together"
        return windup.fail(seen, status, reasons.JOB_FAILED, text)
    before = status.master or BackupMaster()
    if result.master and before.cluster_id and result.master.cluster_id not in ("", before.cluster_id):
        text = "the master lost its metadata after the dataset was loaded: what was backed up is not the dataset"
        return windup.fail(seen, status, reasons.MASTER_RESTARTED, f"{text}; wait until it is Ready again")
    if _is_of_others(seen, status, facts):
        text = (
            f"dataset {spec.dataset.name} was mounted or loaded anew meanwhile: what was backed up may be a part of it"
        )
        return windup.fail(seen, status, reasons.DATASET_CHANGED, f"{text}; create another DataBackup")
    return _complete(seen, status, result, facts)


def _is_of_others(seen: Observed, status: DataBackupStatus, facts: BackupFacts) -> bool:
    """Whether the backup may be one of other mounts, or of a part: a Job that waited may run between mount and load.

    A refresh keeps all that was loaded.
    """
    source, dataset = status.source or BackupSource(), seen.dataset
    if facts.mounts_hash not in ("", source.mounts_hash):
        return True  # of an attempt that ended well and could not say so
    same = dataset.run == source.run or (dataset.run == source.run + 1 and dataset.refreshes)
    return bool(source.run) and dataset.uid == source.dataset_uid and not same


def _failed(seen: Observed, status: DataBackupStatus, spec: DataBackupSpec, end: work.Ended) -> Step:
    if end.reason == reasons.MASTER_CHANGED:
        end = work.Ended(reasons.MASTER_RESTARTED, end.message, end.permanent)
    mine = work.failed(status.take, end, seen.now)
    if end.permanent or mine.failures > spec.backoff_limit:
        return windup.fail(seen, status, end.reason, end.message)
    later = changed(status, take=mine)
    if late := _overdue(seen, changed(later, message=end.message), spec, None):
        return windup.fail(seen, later, *late)
    return _next(seen, later, spec)


def _complete(seen: Observed, status: DataBackupStatus, result: Result, facts: BackupFacts) -> Step:
    found = result.master
    master = status.master
    if found is not None:
        master = BackupMaster(address=found.address, cluster_id=found.cluster_id, start_time_ms=found.start_time_ms)
    job = seen.job(TAKE, status.take.attempt)
    text = f"{facts.entries:,} entries in {facts.size_bytes:,} bytes, written, read back and compared"
    over = changed(
        status,
        phase=BackupPhase.COMPLETE,
        completion_time=rfc3339((job.finished if job else None) or seen.now),
        message=text,
        entry_count=facts.entries,
        size_bytes=facts.size_bytes,
        checksum=facts.checksum,
        manifest_sha256=facts.manifest_sha256,
        format_version=facts.format_version,
        engine_version=facts.engine_version,
        master=master,
    )
    return Step(over, reasons.COMPLETE, text)
