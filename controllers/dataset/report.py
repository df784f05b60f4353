"""What a person reads: conditions, progress, cache state and events, computed last and from the facts alone."""

from controllers.api import conditions as c
from controllers.api import job_commands as jobs
from controllers.api.conditions import FALSE, TRUE, UNKNOWN, Condition
from controllers.api.dataset import (
    DatasetSpec,
    DatasetStatus,
    Loader,
    Phase,
    ProgressStatus,
    RestorePhase,
    VolumeStatus,
)
from controllers.api.result import Progress
from controllers.api.times import epoch, rfc3339
from controllers.dataset import refresh, restore, volume
from controllers.dataset.attempts import counted, current, failures, given_up, of
from controllers.dataset.seen import SIZE, STAGE, Observed
from controllers.dataset.steps import Step
from controllers.decision import Event, Problem
from controllers.runtime.view import RuntimeView

#: A status is written for progress alone at most so often, in seconds: at first after a third of what has passed
# (people watch the beginning), then every half minute.
PROGRESS_EVERY = (2.0, 30.0)

#: Reasons that a good life passes through in a moment: an event for each would bury those that matter.
PASSING = {
    *("AskingMaster", "JobCreated", "PodStarting", "Loading", "ReadingResult", "Counting", "Binding"),
    *("Staging", "Mounting", "MasterStarting", "MasterStopping", "MasterStopped"),
}


def finished(seen: Observed, step: Step, spec: DatasetSpec | None) -> DatasetStatus:
    """Return the status as it will be written: the step's, with everything that is for people."""
    status = step.status.model_copy(update={"observed_generation": seen.meta.generation})
    status = status.model_copy(
        update={"progress": _progress(seen, status), "volume": VolumeStatus(**volume.published(seen))}
    )
    if seen.master.cache is not None:
        states = dict(seen.master.cache_states)
        status = status.model_copy(update={"cache": seen.master.cache, "cache_states": states})
    made = tuple(
        Condition(kind, value, reason, message[:1024], seen.meta.generation)
        for kind, value, reason, message in _conditions(seen, status, step, spec)
    )
    return status.model_copy(update={"conditions": c.merge(seen.status.conditions, made, rfc3339(seen.now))})


def _conditions(
    seen: Observed, status: DatasetStatus, step: Step, spec: DatasetSpec | None
) -> list[tuple[str, str, str, str]]:
    ready = _ready(seen, status, step, spec)
    stalled = step.stalled and ready[0] != TRUE
    working = ready[0] != TRUE and not stalled and (status.phase != Phase.READY or ready[1] == refresh.SUSPICIOUS)
    why = ready[1:]
    rows = [(c.ACCEPTED, *_accepted(seen, status)), (c.MASTER_REACHABLE, *_master(seen))]
    if spec is not None:
        rows += [
            (c.METADATA_LOADED, *_loaded(status, step)),
            (c.SIZED, *_sized(status, step)),
            *([(c.RESTORED, *restored)] if (restored := restore.condition(status, step.reason, step.message)) else []),
            (c.AVAILABLE, *volume.available(seen, status, spec)),
        ]
    rows += [
        (c.READY, *ready),
        (c.RECONCILING, *((TRUE, *why) if working else (FALSE, "Idle", "nothing is under way"))),
        (c.STALLED, *((TRUE, *why) if stalled else (FALSE, "NotStalled", ""))),
    ]
    if refreshing := refresh.condition(status, step.reason, step.message):
        rows.append((c.REFRESHING, *refreshing))
    elif c.find(seen.status.conditions, c.REFRESHING):
        rows.append((c.REFRESHING, *refresh.superseded(status)))
    shown = {row[0] for row in rows} | {condition.type for condition in seen.status.conditions}
    return rows + [(kind, UNKNOWN, "NotYet", "") for kind in c.ALWAYS_SHOWN if kind not in shown]


def _accepted(seen: Observed, status: DatasetStatus) -> tuple[str, str, str]:
    if seen.spec_error is not None:
        return FALSE, seen.spec_error.reason, seen.spec_error.message
    if seen.spec and seen.spec.data_restore_location and status.run.number and status.restore.phase is None:
        return TRUE, "RestoreIgnored", "dataRestoreLocation is acted on where a Dataset is made, not afterwards"
    if seen.unserved:
        return TRUE, "UnservedFields", f"set, but not served here: {', '.join(seen.unserved)}"
    return TRUE, "Accepted", "the spec can be served"


def _master(seen: Observed) -> tuple[str, str, str]:
    value = {True: TRUE, False: FALSE, None: UNKNOWN}[seen.master.reachable]
    return value, seen.master.reason, seen.master.message


def _loaded(status: DatasetStatus, step: Step) -> tuple[str, str, str]:
    if status.phase == Phase.READY and not status.load.completion_time:
        return TRUE, "Loaded", f"loaded and counted at {counted(status).completion_time}"
    if not status.load.completion_time:
        return FALSE, step.reason, step.message
    if status.master.checking:
        text = f"loaded at {status.load.completion_time}; the master restarted, and is asked whether it still has it"
        return TRUE, "Loaded", f"{text}: {step.message}"
    if status.size.completion_time and not status.size.proved:
        return TRUE, "LoadedUnverified", status.size.last_error or "loaded; nothing proves that no file is missing"
    if status.load.loader == restore.LOADER:
        return TRUE, "Restored", f"restored from {status.restore.source}, proved at {status.load.completion_time}"
    if status.load.loader == Loader.ALLUXIO_CLI and not status.size.completion_time:
        return TRUE, "LoadedUnverified", "the commands of Alluxio ended well, which proves nothing; the count follows"
    return TRUE, "Loaded", f"loaded at {status.load.completion_time}"


def _sized(status: DatasetStatus, step: Step) -> tuple[str, str, str]:
    if status.size.completion_time or status.phase == Phase.READY:
        size = counted(status)
        found = status.size.loaded_by_size
        late = f", of them {found:,} loaded by the count itself" if found else ""
        return TRUE, "Counted", f"{size.files:,} files, {size.directories:,} directories, {size.bytes:,} bytes{late}"
    if current(status) == SIZE:
        return FALSE, step.reason, step.message
    return FALSE, "NotLoaded", "files are counted when the metadata is loaded"


def _ready(seen: Observed, status: DatasetStatus, step: Step, spec: DatasetSpec | None) -> tuple[str, str, str]:
    if spec is None or seen.meta.deleting or status.phase != Phase.READY:
        problem = seen.problem or Problem(step.reason, step.message)
        return FALSE, problem.reason, problem.message
    usable, reason, message = volume.available(seen, status, spec)
    busy = current(status)  # with what is published already: what stands in its way is no news of that
    if seen.problem is not None and not busy:
        return FALSE, seen.problem.reason, seen.problem.message
    if usable != TRUE:
        return FALSE, reason, message
    if text := refresh.suspicion(status):
        return FALSE, refresh.SUSPICIOUS, text
    if not busy and step.reason == "LoadedUnverified":
        return FALSE, step.reason, step.message
    trouble = seen.runtime if spec.alluxio is None else RuntimeView()
    if seen.master.reachable is False:
        return FALSE, trouble.reason or "MasterUnreachable", seen.master.message
    text = f"{counted(status).files:,} files, {status.ufs_total}; {message}"
    return TRUE, "Ready", f"{text}; {trouble.message}" if trouble.reason else text


def _progress(seen: Observed, status: DatasetStatus) -> ProgressStatus:
    """Return the newest sample, but not more often than a person can read and an API server should store."""
    step, said = current(status), seen.progress
    old = seen.status.progress if step and seen.status.progress.step == step else ProgressStatus()
    if not step or said is None or said.progress.step not in ("", step, *([jobs.STAGE] if step == STAGE else [])):
        return old
    new, last = said.progress, epoch(old.update_time)
    text = _words(new)
    if not text or (last is not None and said.time - last < pause(last, epoch(of(status, step).start_time))):
        return old
    return ProgressStatus(
        step=step,
        files=new.files,
        directories=new.directories,
        bytes=new.bytes,
        total=new.total,
        files_per_second=int(new.files_per_second),
        message=text,
        update_time=rfc3339(said.time),
    )


def _words(new: Progress) -> str:
    """Return how far it is; "" where nothing moves yet. A stage counts no files: it has its own words."""
    if not new.files:
        return new.message if new.step == jobs.STAGE else ""
    done = f" ({100 * new.files // new.total} %)" if new.total else ""
    return f"{new.files:,} files{done}, {new.files_per_second:,.0f}/s{new.message and ': ' + new.message}"


def progress_due(seen: Observed, status: DatasetStatus) -> float | None:
    """Return in how many seconds a held back progress sample may be written; None where none is held back."""
    last = epoch(status.progress.update_time)
    if seen.progress is None or last is None or not current(status):
        return None
    new, old = seen.progress.progress, status.progress
    if not (text := _words(new)) or (new.files == old.files and (new.files or text == old.message)):
        return None
    return max(1.0, last + pause(last, epoch(of(status, current(status)).start_time)) - seen.now)


def pause(last: float, begun: float | None) -> float:
    """Return for how long the progress that was told at ``last`` is good enough, of what began at ``begun``."""
    least, most = PROGRESS_EVERY
    return min(most, max(least, (last - (begun or last)) / 3))


def events(old: DatasetStatus, new: DatasetStatus) -> tuple[Event, ...]:
    """Return one event for each turn that a person cares about: the phase, what Ready says, the end of a refresh."""
    return (*_turn_of_ready(old, new), *_end_of_refresh(old, new), *_end_of_restore(old, new))


def _turn_of_ready(old: DatasetStatus, new: DatasetStatus) -> tuple[Event, ...]:
    before, after = c.find(old.conditions, c.READY), c.find(new.conditions, c.READY)
    stalled = c.find(new.conditions, c.STALLED)
    if after is None:
        return ()
    turned = before is None or (before.reason != after.reason and after.reason not in PASSING)
    if not turned and old.phase == new.phase:
        return ()
    bad = (stalled and stalled.status == TRUE) or failures(new) > failures(old)
    kind = "Warning" if after.status != TRUE and bad else "Normal"
    action = new.phase.value if new.phase else "Reconcile"
    reason = action if after.reason in PASSING else after.reason
    return (Event(kind, reason, action, after.message),)


def _end_of_refresh(old: DatasetStatus, new: DatasetStatus) -> tuple[Event, ...]:
    before, after = c.find(old.conditions, c.REFRESHING), c.find(new.conditions, c.REFRESHING)
    if after is None or after.status != FALSE or after.reason == refresh.SUPERSEDED:
        return ()
    if before is not None and before.status == FALSE and old.run.number == new.run.number:
        return ()
    kind = "Warning" if given_up(new) else "Normal"
    return (Event(kind, after.reason, "Refresh", after.message),)


def _end_of_restore(old: DatasetStatus, new: DatasetStatus) -> tuple[Event, ...]:
    if new.restore.phase == old.restore.phase:
        return ()
    if new.restore.phase == RestorePhase.ABANDONED:
        text = f"{new.restore.reason}: {new.restore.message}; everything is loaded from the storage instead"
        return (Event("Warning", "RestoreAbandoned", "Restore", text),)
    found = c.find(new.conditions, c.RESTORED)
    return (Event("Normal", "Restored", "Restore", found.message),) if found and found.status == TRUE else ()
