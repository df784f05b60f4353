"""The life of one Dataset: what is seen of it goes in, the next step comes out. Pure: no I/O, no clock, no logging.

``decide`` asks in this order; the first that has an answer decides.

1. Is it being deleted?            -> cancel Jobs, delete claim and volume, let go        (deletion)
2. Is the spec acceptable?         -> say what to do                                      (here)
3. Does something begin?           -> a new run, a refresh, a check, a new chance         (life, refresh, check)
4. Which step of the run is next?  -> stage, mount, load, size                            (steps, gates, restore)
5. Is everything there?            -> volume, proof, Ready                                (here, volume)

Afterwards ``report`` computes what a person reads.
"""

from dataclasses import replace

from controllers.api.conditions import TRUE
from controllers.api.dataset import DatasetSpec, DatasetStatus, Phase
from controllers.dataset import attempts, deletion, life, refresh, report, steps, volume
from controllers.dataset.seen import (
    FINALIZER,
    LOAD,
    SIZE,
    JobState,
    JobView,
    MasterView,
    Meta,
    Observed,
    ProgressSample,
    VolumeView,
)
from controllers.dataset.steps import Step
from controllers.decision import Child, Decision, Delete, Problem, SetFinalizers
from controllers.jobs import JOB

__all__ = [
    "FINALIZER",
    "LOAD",
    "SIZE",
    "JobState",
    "JobView",
    "MasterView",
    "Meta",
    "Observed",
    "Problem",
    "ProgressSample",
    "VolumeView",
    "decide",
]


def decide(seen: Observed) -> Decision:
    """Return the next step of one Dataset. The same facts give the same decision; nothing else is looked at."""
    if seen.meta.deleting:
        return _delete(seen)
    spec = seen.spec
    if spec is None:
        return _decision(seen, _refused(seen), spec)
    step = steps.run(seen, life.begin(seen), spec)
    if step.over:
        step = _finish(seen, step.status, spec)
    tidy = _stale_jobs(seen, step.status)
    made = volume.children(seen, step.status, spec)
    return _decision(seen, replace(step, children=tidy + step.children + made), spec)


def _delete(seen: Observed) -> Decision:
    step = deletion.wind_up(seen, seen.status)
    if step is not None:
        return _decision(seen, step, seen.spec)
    if FINALIZER not in seen.meta.finalizers:
        return Decision()
    left = tuple(name for name in seen.meta.finalizers if name != FINALIZER)
    return Decision(finalizers=SetFinalizers(left), release=True)


def _refused(seen: Observed) -> Step:
    """A spec that cannot be served starts nothing and stops nothing: a typo costs no volume and no load."""
    problem = seen.spec_error or Problem("InvalidSpec", "the spec cannot be read")
    status = seen.status.model_copy(update={"phase": seen.status.phase or Phase.PENDING})
    return Step(status, problem.reason, problem.message, stalled=True, requeue_after=60.0)


def _finish(seen: Observed, status: DatasetStatus, spec: DatasetSpec) -> Step:
    """Load and count are over: Ready needs the proof and, the first time, the volume."""
    if not status.size.proved and not spec.load.accept_unverified:
        text = (
            "counted, but nothing proves that no file is missing; set spec.load.acceptUnverified: true to accept that"
        )
        return Step(status.model_copy(update={"phase": _not_ready(status)}), "LoadedUnverified", text, stalled=True)
    usable, reason, message = volume.available(seen, status, spec)
    if usable != TRUE and status.phase != Phase.READY:
        stalled = reason in ("ClaimConflict", "VolumeConflict", "VolumeOutdated", "VolumeDeleted")
        waiting = status.model_copy(update={"phase": Phase.SIZING})
        return Step(waiting, reason, message, stalled=stalled, requeue_after=60.0)
    return Step(status.model_copy(update={"phase": Phase.READY}), "Ready", message)


def _not_ready(status: DatasetStatus) -> Phase:
    return Phase.READY if status.phase == Phase.READY else Phase.SIZING


def _stale_jobs(seen: Observed, status: DatasetStatus) -> tuple[Child, ...]:
    """Return deletions of every Job whose result is recorded, but for the last failed one: people read its log."""
    return tuple(
        Delete(JOB, job.name, job.uid)
        for job in seen.jobs
        if job.state is not JobState.DELETING and not _wanted(job, status)
    )


def _wanted(job: JobView, status: DatasetStatus) -> bool:
    step = attempts.current(status)
    if (job.run, job.step) != (status.run.number, step):
        return False
    attempt = attempts.of(status, step).attempt if step else 0
    return job.attempt == attempt or (job.attempt == attempt - 1 and job.state is JobState.FAILED)


def _decision(seen: Observed, step: Step, spec: DatasetSpec | None) -> Decision:
    status = report.finished(seen, step, spec)
    held = report.progress_due(seen, status)
    slot = refresh.next_in(seen, status)
    waits = [seconds for seconds in (step.requeue_after, held, slot) if seconds is not None]
    adopt = spec is not None and FINALIZER not in seen.meta.finalizers and not seen.meta.deleting
    return Decision(
        status=status,
        finalizers=SetFinalizers((*seen.meta.finalizers, FINALIZER)) if adopt else None,
        children=step.children,
        events=report.events(seen.status, status),
        requeue_after=min(waits) if waits else None,
    )
