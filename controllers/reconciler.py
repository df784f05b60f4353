"""One pass over one key: gather -> decide -> apply. The one place that catches Exception.

What a pass needs to know is in objects; what is kept here between passes (the last refusal, the places in line) is
only for display, and is found again after a restart.
"""

import logging
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from controllers import admission, turns
from controllers.api.conditions import TRUE, find
from controllers.api.model import Model
from controllers.apply import Applier, LostLease, Refused
from controllers.decision import ADMISSION, ORPHAN, Decision, Event, Key, Problem
from controllers.kube.errors import Conflict, KubeError, NotFound, TooManyRequests
from controllers.kube.resources import Resource
from controllers.kube.store import Store
from controllers.logs import bound
from controllers.stores import Stores, dataset_of

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


class Handler(Protocol):
    """All that the engine must know of one kind. Called by many threads, never by two for one object."""

    @property
    def resource(self) -> Resource:
        """The kind that it handles."""

    @property
    def store(self) -> Store:
        """Where its objects are."""

    @property
    def logged(self) -> tuple[str, ...]:
        """Types of the conditions of which each new reason is a line in the log; the first one's also of each phase."""

    def decide(self, obj: dict[str, Any], problem: Problem | None) -> tuple[Model, Decision]:
        """Gather, and return the status as it is and the decision, whose ``status`` is what it shall be.

        ``problem`` is what the API server refused the last time: it belongs into the conditions.
        """


class Follower(Protocol):
    """Whom to tell what became of an object of any kind: metrics, and those who read beside the reconciles."""

    def decided(self, key: Key, old: Model, new: Model) -> None: ...

    def forget(self, key: Key) -> None: ...


class Reconciler:
    """Handles keys of any kind. Safe for many workers: the queue never hands one key to two of them.

    ``selected``: the store of Datasets holds those of a selector alone, so that others may be served elsewhere.
    """

    def __init__(
        self,
        stores: Stores,
        handlers: Iterable[Handler],
        applier: Applier,
        *,
        now: Callable[[], float],
        follower: Follower,
        enqueue: Callable[[Key], None],
        send_event: Callable[[dict[str, Any], Event], None],
        per_master: int,
        everywhere: int = 0,
        selected: bool = False,
    ) -> None:
        self._stores, self._applier, self._now = stores, applier, now
        self._handlers = {handler.resource.kind: handler for handler in handlers}
        self._follower, self._enqueue, self._send_event = follower, enqueue, send_event
        self._per_master, self._everywhere, self._selected = per_master, everywhere, selected
        self._problems: dict[Key, tuple[Problem, float]] = {}
        self._waiting: dict[str, str] = {}

    def line(self, job: str) -> str:
        """Return why the suspended Job ("namespace/name") has no turn yet; "" where admission has not seen it."""
        return self._waiting.get(job, "")

    def process(self, key: Key) -> Outcome:
        """Handle one key and say when to come back. Never raises: a bug with one object costs only that one."""
        with bound(**{key.kind.lower(): str(key)}, reconcileID=uuid.uuid4().hex[:8]):
            try:
                if key == ADMISSION:
                    return self._admit()
                if key.kind == ORPHAN:
                    return self._orphan(key)
                handler = self._handlers.get(key.kind)  # whoever may create Jobs may name any owner in them
                return self._object(key, handler) if handler else Outcome("success")
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

    def _object(self, key: Key, handler: Handler) -> Outcome:
        obj = handler.store.get(key.namespace, key.name)
        if obj is None:
            self._follower.forget(key)
            self._problems.pop(key, None)
            return Outcome("success")
        if self._selected and self._is_of_others(obj):
            return Outcome("success")
        problem, _ = self._problems.get(key, (None, 0.0))
        old, decision = handler.decide(obj, problem)
        started = time.monotonic()
        try:
            self._applier.apply(obj, decision)
        except Refused as refused:
            return self._refused(key, refused.problem, self._now())
        if self._problems.pop(key, None):
            self._enqueue(key)  # it is no longer refused: say so
        if decision.status is not None:
            self._follower.decided(key, old, decision.status)
            self._log(handler.logged, old, decision.status, time.monotonic() - started)
        for event in decision.events:
            self._send_event(obj, event)
        return (
            Outcome("success") if decision.requeue_after is None else Outcome("requeue_after", decision.requeue_after)
        )

    def _is_of_others(self, obj: dict[str, Any]) -> bool:
        """Whether its Dataset exists, but is not one of the selector's."""
        dataset = dataset_of(obj)
        return not self._stores.datasets.get(dataset.namespace, dataset.name) and self._applier.knows(dataset)

    def _refused(self, key: Key, problem: Problem, now: float) -> Outcome:
        known, since = self._problems.get(key, (None, now))
        # Other words replace the first ones only at the next try: a webhook may put a number into each of its answers,
        # and every write of a status wakes the object again.
        if known is None or (known != problem and abs(now - since) > REFUSED_SECONDS / 2):
            logger.warning("refused: %s", problem.message, extra={"reason": problem.reason})
            self._problems[key] = problem, now
            self._enqueue(key)  # at once, so that the next pass writes it into the status
        return Outcome("requeue_after", REFUSED_SECONDS)

    def _log(self, logged: tuple[str, ...], old: Any, new: Any, seconds: float) -> None:
        """Log what changed, one line for a decision that changes something. A kind may have no phase, and no run."""
        was, phase = (getattr(status, "phase", None) or "" for status in (old, new))
        for index, kind in enumerate(logged):
            before, after = find(old.conditions, kind), find(new.conditions, kind)
            moved = index == 0 and (was != phase or before is None)
            turned = after and (before.reason != after.reason if before else after.status == TRUE)
            if after and (moved or turned):
                about = {"from": was, "to": phase, "reason": after.reason, "seconds": round(seconds, 3)}
                run = {"run": new.run.number} if hasattr(new, "run") else {}
                logger.info("%s: %s", after.reason, after.message, extra={**about, **run})

    def _admit(self) -> Outcome:
        """Release suspended Jobs whose turn it is; one that changed meanwhile wakes us again by its event."""
        now = self._now()
        plan = admission.plan(turns.candidates(self._stores, now), self._per_master, self._everywhere)
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
        if plan.waiting:  # the clock alone ends the turn of a pod that does not start, or that is lost
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
            self._enqueue(Key(owner["kind"], job["metadata"]["namespace"], owner["name"]))
