"""What the Job of an attempt waits for before it is created: the master, the runtime, the backup."""

from typing import NamedTuple

from controllers.api.dataset import DatasetSpec, RestorePhase
from controllers.api.times import epoch
from controllers.dataset import restore
from controllers.dataset.seen import NOT_POLLED, STAGE, Observed
from controllers.decision import Problem
from controllers.runtime import names
from controllers.runtime.view import CRASHED

#: How long a Job waits for the first look at its master: a look takes 13 seconds at most, and usually no time.
FIRST_LOOK_SECONDS = 20.0
#: Whoever waits for another object is woken by it; this is for an event that was lost.
AGAIN_SECONDS = 60.0
STARTING = "MasterStarting"


class Gate(NamedTuple):
    """Why no Job is created yet. ``failed``: the attempt has failed before it began, ``permanent``: so will others."""

    reason: str
    message: str
    requeue_after: float | None = None
    stalled: bool = False
    failed: bool = False
    permanent: bool = False


def gate(seen: Observed, spec: DatasetSpec, step: str) -> Gate | None:
    """Return what the step waits for, None where its Job may be created."""
    if spec.alluxio is not None:
        return _existing(seen)
    return _staging(seen, spec) if step == STAGE else _own(seen, spec)


def _existing(seen: Observed) -> Gate | None:
    if seen.master.reachable is None and seen.master.reason == NOT_POLLED:
        asked_for = seen.now - (epoch(seen.status.run.start_time) or 0.0)
        if asked_for < FIRST_LOOK_SECONDS:
            return Gate("AskingMaster", "asking the Alluxio master how it is", FIRST_LOOK_SECONDS - asked_for)
    if seen.master.reachable is False:
        return Gate("MasterUnreachable", f"waiting for the Alluxio master: {seen.master.message}")
    return None


def _staging(seen: Observed, spec: DatasetSpec) -> Gate | None:
    if restore.under_way(seen.status):
        found = restore.source(seen, spec)
        if isinstance(found, Problem):
            permanent = found.reason in ("BackupFailed", "InvalidSpec")
            stalled = found.reason == "BackupNotFound"
            return Gate(found.reason, found.message, AGAIN_SECONDS, stalled, permanent, permanent)
    if not seen.runtime.master_gone:
        text = f"waiting until no master of AlluxioRuntime {seen.meta.name} runs: its journal is written to"
        return Gate("MasterStopping", text, AGAIN_SECONDS)
    return None


def _own(seen: Observed, spec: DatasetSpec) -> Gate | None:
    """The master of the Dataset's own runtime: while it restores, only the one that started from the backup."""
    found, wanted = seen.runtime, seen.status.restore
    restoring = wanted.phase in (RestorePhase.STARTING, RestorePhase.VERIFYING)
    if found.master_ready:
        if not restoring or found.started_from == wanted.checksum:
            return None
        return Gate(STARTING, "waiting for the master that starts from the backup", AGAIN_SECONDS)
    text = found.message or "its pod is not ready"
    if restoring and found.reason == restore.JOURNAL_LOST:
        return Gate(found.reason, text, failed=True)
    if restoring and found.reason in CRASHED:
        left = (epoch(seen.status.stage.completion_time) or seen.now) + spec.load.starting_deadline_seconds - seen.now
        text = f"the master does not start from the backup: {text}"
        return Gate(restore.NOT_STARTED if left <= 0 else found.reason, text, left, failed=left <= 0)
    if restoring and found.reason == STARTING:
        text += f"; the backup was staged at {seen.status.stage.completion_time}, and how far the master has read it "
        text += f"is in the log of pod {names.master_service(seen.meta.name)}"
    return Gate(
        found.reason or STARTING,
        f"waiting for the master of AlluxioRuntime {seen.meta.name}: {text}",
        AGAIN_SECONDS,
    )
