"""Which step of a run is due, how it stands, and when its next attempt may start. Computed from the status alone, so
that it survives a restart of the controller."""

from typing import Any

from controllers.api.dataset import CountStatus, DatasetStatus, Phase, StepStatus
from controllers.api.result import Exit, describe
from controllers.api.times import epoch
from controllers.dataset.seen import LOAD, MOUNT, SIZE, STAGE

#: Seconds between attempts: 10, 20, 40 ... 300.
RETRY_BASE, RETRY_CAP = 10.0, 300.0
#: An attempt that only found the master unreachable is not charged; it is repeated after 30, 60, 90 ... 300 seconds.
UNREACHABLE_DELAY = 30.0
#: What was given up is tried again by itself once an hour: what was wrong may have been mended outside of Kubernetes.
PROBE_SECONDS = 3600.0
#: So far may the clocks of two controllers differ, in seconds.
CLOCK_SKEW = 60.0

UNREACHABLE = describe(Exit.UNREACHABLE)[0]

_PHASES = {
    STAGE: Phase.PENDING,  # no master runs
    MOUNT: Phase.LOADING_METADATA,
    LOAD: Phase.LOADING_METADATA,
    SIZE: Phase.SIZING,
}
_PLANS = ((MOUNT, LOAD, SIZE), (STAGE, MOUNT, SIZE), (STAGE, MOUNT, LOAD, SIZE))


def plan(status: DatasetStatus) -> tuple[str, ...]:
    """Return the steps of the run in order."""
    return status.run.plan if status.run.plan in _PLANS else (LOAD, SIZE)


def current(status: DatasetStatus) -> str:
    """Return the first step that is not over, or "" where nothing is left to do."""
    due = (step for step in plan(status) if not of(status, step).completion_time)
    return next(due, SIZE if status.master.checking else "")


def of(status: DatasetStatus, step: str) -> StepStatus:
    """Return what is known of that step."""
    return {STAGE: status.stage, MOUNT: status.mount, LOAD: status.load, SIZE: status.size}[step]


def changed(status: DatasetStatus, step: str, **values: Any) -> DatasetStatus:
    """Return the status with these values in that step."""
    return status.model_copy(update={step: of(status, step).model_copy(update=values)})


def phase_of(status: DatasetStatus, step: str) -> Phase:
    """Return the phase while that step is under way. A phase that is Ready leaves it only by a new run."""
    if status.phase == Phase.READY:
        return Phase.READY
    return _PHASES[step]


def given_up(status: DatasetStatus) -> bool:
    """Whether no attempt follows until a person says so, or an hour has passed."""
    step = current(status)
    return status.phase == Phase.FAILED or (bool(step) and of(status, step).given_up)


def counted(status: DatasetStatus) -> CountStatus:
    """Return the last complete count: that of this run, or while a refresh counts anew, the one before it."""
    size = status.size
    if not size.completion_time:
        return status.refresh.before
    return CountStatus(
        files=size.files, directories=size.directories, bytes=size.bytes, completion_time=size.completion_time
    )


def failures(status: DatasetStatus) -> int:
    """Return how many attempts of the run's steps failed."""
    return sum(of(status, step).failures for step in plan(status))


def retry_at(mine: StepStatus, now: float) -> float:
    """Return when the next attempt may start, in seconds since the epoch; not after ``now`` where nothing failed."""
    failed = past(mine.last_failure_time, now)
    if mine.last_reason == UNREACHABLE:
        not_charged = max(1, mine.attempt - 1 - mine.failures)
        return failed + min(RETRY_CAP, UNREACHABLE_DELAY * not_charged)
    return failed + min(RETRY_CAP, RETRY_BASE * 2.0 ** min(max(mine.failures, 1) - 1, 16))


def probe_at(status: DatasetStatus, now: float) -> float:
    """Return when what was given up is tried again by itself."""
    return past(of(status, current(status) or SIZE).last_failure_time, now) + PROBE_SECONDS


def past(time: str, now: float) -> float:
    """Return that time, 0 for none and for one in the future, which was written under a clock that ran ahead.

    Nobody waits until it comes.
    """
    seconds = epoch(time) or 0.0
    return seconds if seconds <= now + CLOCK_SKEW else 0.0
