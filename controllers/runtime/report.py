"""The status of an AlluxioRuntime, computed from the facts alone: phases, numbers, conditions and events."""

from collections.abc import Sequence
from typing import Any

from controllers.api import conditions as c
from controllers.api.alluxioruntime import AlluxioRuntimeStatus
from controllers.api.conditions import FALSE, TRUE, Condition
from controllers.api.times import rfc3339
from controllers.decision import Event, Problem
from controllers.jobs import RUNTIME_UID
from controllers.runtime.pods import Trouble, is_ready, refused, trouble
from controllers.runtime.properties import MASTER, WORKER
from controllers.runtime.seen import Seen
from controllers.runtime.view import of_role, serves, why_not

MASTER_READY, WORKERS_READY = "MasterReady", "WorkersReady"


def status(seen: Seen, wrong: Problem | None, waits: Trouble | None) -> AlluxioRuntimeStatus:
    """Return the status. ``wrong``: what a person must change; ``waits``: why nothing is started, or deleted, yet."""
    masters, workers = of_role(seen.pods, MASTER), of_role(seen.pods, WORKER)
    master = waits or refused(why_not(seen.masters, masters), seen.refused_master, MASTER)
    worker = waits or refused(_workers(seen, workers), seen.refused_worker, WORKER)
    update = {
        "conditions": c.merge(seen.status.conditions, _conditions(seen, wrong, master, worker), rfc3339(seen.now)),
        "observed_generation": seen.generation,
        "selector": f"{RUNTIME_UID}={seen.uid}",
        "setup_duration": seen.status.setup_duration or _duration(seen, master, worker),
        **_numbers(seen, masters, workers),
        "master_phase": "NotReady" if master else "Ready",
        "master_reason": master.message if master else "",
        "worker_phase": _phase(worker, workers),
        "worker_reason": worker.message if worker else "",
    }
    return seen.status.model_copy(update=update)


def events(old: AlluxioRuntimeStatus, new: AlluxioRuntimeStatus) -> tuple[Event, ...]:
    """Return an event where Ready turns to another reason that a person cares about."""
    before, after = c.find(old.conditions, c.READY), c.find(new.conditions, c.READY)
    stalled = c.find(new.conditions, c.STALLED)
    if after is None or (before is not None and before.reason == after.reason):
        return ()
    bad = stalled is not None and stalled.status == TRUE
    if not bad and after.status != TRUE and not after.reason.startswith("Waiting"):
        return ()
    return (Event("Warning" if bad else "Normal", after.reason, "Reconcile", after.message),)


def _workers(seen: Seen, pods: Sequence[dict[str, Any]]) -> Trouble | None:
    if found := trouble(pods, WORKER):
        return found
    ready, wanted = sum(map(is_ready, pods)), seen.spec.workers
    if ready >= wanted:
        return None
    return Trouble("WorkerStarting", f"{ready} of {wanted} workers are ready", passing=True)


def _conditions(
    seen: Seen, wrong: Problem | None, master: Trouble | None, worker: Trouble | None
) -> tuple[Condition, ...]:
    bad = wrong or seen.problem
    first = Trouble(bad.reason, bad.message) if bad else master or worker
    ready = ("Ready", "Alluxio serves") if first is None else (first.reason, first.message)
    stalled = first is not None and not first.passing
    moving = first is not None and first.passing
    made = (
        (c.ACCEPTED, wrong is None, *_accepted(seen, wrong)),
        (MASTER_READY, master is None, *_told(master, "MasterReady", "the master serves")),
        (WORKERS_READY, worker is None, *_told(worker, "WorkersReady", f"all {seen.spec.workers} workers are ready")),
        (c.READY, first is None, *ready),
        (c.RECONCILING, moving, *(ready if moving else ("Settled", ""))),
        (c.STALLED, stalled, *(ready if stalled else ("Fine", ""))),
    )
    return tuple(
        Condition(kind, TRUE if holds else FALSE, reason, message, seen.generation)
        for kind, holds, reason, message in made
    )


def _accepted(seen: Seen, wrong: Problem | None) -> tuple[str, str]:
    if wrong:
        return wrong.reason, wrong.message
    if seen.unserved:
        return "UnservedFields", f"set, but not served here: {', '.join(seen.unserved[:20])}"
    return "Accepted", "the spec can be served"


def _told(found: Trouble | None, reason: str, message: str) -> tuple[str, str]:
    return (found.reason, found.message) if found else (reason, message)


def _numbers(seen: Seen, masters: Sequence[dict[str, Any]], workers: Sequence[dict[str, Any]]) -> dict[str, int]:
    ready, wanted = sum(map(is_ready, workers)), seen.spec.workers
    return {
        "desired_master_number_scheduled": 1,
        "current_master_number_scheduled": len(masters),
        "master_number_ready": int(serves(seen.masters, masters)),
        "desired_worker_number_scheduled": wanted,
        "current_worker_number_scheduled": len(workers),
        "worker_number_ready": ready,
        "worker_number_available": ready,
        "worker_number_unavailable": max(0, wanted - ready),
    }


def _phase(worker: Trouble | None, pods: Sequence[dict[str, Any]]) -> str:
    if worker is None:
        return "Ready"
    return "PartialReady" if any(map(is_ready, pods)) else "NotReady"


def _duration(seen: Seen, master: Trouble | None, worker: Trouble | None) -> str:
    return f"{max(0, round(seen.now - seen.created))}s" if master is None and worker is None and seen.created else ""
