"""One pass over one key: gather -> decide -> apply. The one place that catches Exception.

What a pass needs to know is in objects; what is kept here between passes (the last refusal, the places in line) is
only for display, and is found again after a restart.
"""

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from controllers import admission, observe
from controllers.api.conditions import READY, REFRESHING, find
from controllers.api.dataset import DatasetStatus
from controllers.apply import Applier, LostLease, Refused
from controllers.dataset import Observed, Problem, decide
from controllers.decision import ADMISSION, ORPHAN, Decision, Event, Key
from controllers.kube.errors import Conflict, KubeError, NotFound, TooManyRequests
from controllers.logs import bound

logger = logging.getLogger(__name__)

#: A refusal (RBAC, quota, a name that somebody else holds) is tried again after so many seconds.
REFUSED_SECONDS = 60.0


@dataclass(frozen=True)
class Outcome:
    """How a pass ended: controller-runtime's four results. ``seconds`` for requeue_after."""

    result: str  # "success", "requeue_after", "requeue" (a conflict), "error"
    seconds: float = 0.0
    error: str = ""
    bug: bool = False  # the error is one of ours: controller-runtime would call it a panic


class Follower(Protocol):
    """Who reads masters and logs beside the reconciles, and whom to tell what to read."""

    def follow(self, key: Key, seen: Observed) -> None: ...

    def decided(self, key: Key, old: DatasetStatus, new: DatasetStatus) -> None: ...

    def forget(self, key: Key) -> None: ...


class Reconciler:
    """Handles keys of any kind. Safe for many workers: the queue never hands one key to two of them."""

    def __init__(
        self,
        stores: observe.Stores,
        observer_: observe.Observer,
        applier: Applier,
        *,
        follower: Follower,
        enqueue: Callable[[Key], None],
        send_event: Callable[[dict[str, Any], Event], None],
        per_master: int,
        everywhere: int = 0,
    ) -> None:
        self._stores, self._observer, self._applier = stores, observer_, applier
        self._follower, self._enqueue, self._send_event = follower, enqueue, send_event
        self._per_master, self._everywhere = per_master, everywhere
        self._problems: dict[Key, tuple[Problem, float]] = {}
        self._waiting: dict[str, str] = {}

    def line(self, job: str) -> str:
        """Return why the suspended Job ("namespace/name") has no turn yet; "" where admission has not seen it."""
        return self._waiting.get(job, "")

    def process(self, key: Key) -> Outcome:
        """Handle one key and say when to come back. Never raises: a bug in one Dataset costs only that one."""
        with bound(dataset=str(key), reconcileID=uuid.uuid4().hex[:8]):
            try:
                if key == ADMISSION:
                    return self._admit()
                return self._orphan(key) if key.kind == ORPHAN else self._dataset(key)
            except Conflict as error:
                logger.debug("read again: %s", error.message)
                return Outcome("requeue", error=error.message)
            except LostLease:
                return Outcome("success")
            except TooManyRequests as error:
                return Outcome("requeue_after", max(1.0, error.retry_after), error.message)
            except KubeError as error:
                logger.warning("%s", error.message)
                return Outcome("error", error=error.message)
            except Exception as error:  # noqa: BLE001
                logger.exception("a bug: the pass ended with an exception")
                return Outcome("error", error=str(error), bug=True)

    def _dataset(self, key: Key) -> Outcome:
        obj = self._stores.datasets.get(key.namespace, key.name)
        if obj is None:
            self._follower.forget(key)
            self._problems.pop(key, None)
            return Outcome("success")
        problem, _ = self._problems.get(key, (None, 0.0))
        seen = self._observer.dataset(obj, problem)
        self._follower.follow(key, seen)
        decision = decide(seen)
        started = time.monotonic()
        try:
            self._applier.apply(obj, decision)
        except Refused as refused:
            return self._refused(key, refused.problem, seen.now)
        if self._problems.pop(key, None):
            self._enqueue(key)  # it is no longer refused: say so
        if decision.status is not None:
            self._follower.decided(key, seen.status, decision.status)
        self._tell(obj, seen, decision, time.monotonic() - started)
        return (
            Outcome("success") if decision.requeue_after is None else Outcome("requeue_after", decision.requeue_after)
        )

    def _refused(self, key: Key, problem: Problem, now: float) -> Outcome:
        known, since = self._problems.get(key, (None, now))
        # Other words replace the first ones only at the next try: a webhook may put a number into each of its answers,
        # and every write of a status wakes the Dataset again.
        if known is None or (known != problem and abs(now - since) > REFUSED_SECONDS / 2):
            logger.warning("refused: %s", problem.message, extra={"reason": problem.reason})
            self._problems[key] = problem, now
            self._enqueue(key)  # at once, so that the next pass writes it into the status
        return Outcome("requeue_after", REFUSED_SECONDS)

    def _tell(self, obj: dict[str, Any], seen: Observed, decision: Decision, seconds: float) -> None:
        """Log what changed, one line for a decision that changes something, and send the events last."""
        old, new = seen.status, decision.status or seen.status
        for kind in (READY, REFRESHING):
            before, after = find(old.conditions, kind), find(new.conditions, kind)
            moved = kind == READY and old.phase != new.phase
            if after and (moved or before is None or before.reason != after.reason):
                about = {"from": old.phase or "", "to": new.phase or "", "reason": after.reason}
                took = {"run": new.run.number, "seconds": round(seconds, 3)}
                logger.info("%s: %s", after.reason, after.message, extra={**about, **took})
        for event in decision.events:
            self._send_event(obj, event)

    def _admit(self) -> Outcome:
        """Release suspended Jobs whose turn it is; one that changed meanwhile wakes us again by its event."""
        now = self._observer.now()
        candidates = self._observer.candidates()
        plan = admission.plan(candidates, self._per_master, self._everywhere)
        waiting, failed = dict(plan.waiting), None
        for candidate in plan.release:
            if error := self._turn(candidate.name, "released", lambda job: self._applier.release(job, now)):
                failed = error
                if not isinstance(error, Conflict):
                    waiting[candidate.name] = f"it is its turn, but it cannot be released: {error.message}"
        for candidate in plan.park:
            failed = self._turn(candidate.name, "parked", lambda job: self._applier.park(job, now)) or failed
        moved = {name for name, text in waiting.items() if self._waiting.get(name) != text}
        self._waiting = waiting
        for name in moved:
            self._wake(name)
        if failed is not None:
            raise failed
        if plan.waiting and any(candidate.starting for candidate in candidates):
            return Outcome("requeue_after", admission.PATIENCE_SECONDS / 4)
        return Outcome("success")

    def _turn(self, name: str, what: str, act: Callable[[dict[str, Any]], None]) -> KubeError | None:
        """Release or park one Job; return what went wrong, so that it costs nobody else in line his turn."""
        job = self._stores.jobs.get(*name.split("/", 1))
        try:
            if job is not None:
                act(job)
                logger.info("%s Job %s", what, name)
        except NotFound:
            return None
        except KubeError as error:
            return error
        return None

    def _orphan(self, key: Key) -> Outcome:
        """Delete a volume, and its claim, whose Dataset the API server does not know: a forced deletion left them."""
        volume = self._stores.volumes.get("", key.name)
        if volume is not None and self._applier.delete_orphan(volume):
            logger.info("deleted volume %s: its Dataset is gone", key.name)
        return Outcome("success")

    def _wake(self, job_name: str) -> None:
        job = self._stores.jobs.get(*job_name.split("/", 1))
        owner = next(iter(job["metadata"].get("ownerReferences", ())), None) if job else None
        if job and owner:
            self._enqueue(Key("Dataset", job["metadata"]["namespace"], owner["name"]))
