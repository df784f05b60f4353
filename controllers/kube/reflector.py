"""Keeps a Store equal to the API server and announces every change, through every failure of the connection."""

import random
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from controllers.kube.client import Cluster
from controllers.kube.errors import KubeError, NotFound, ServerError
from controllers.kube.policy import Action, Backoff, Step, after_list, after_watch
from controllers.kube.resources import Resource
from controllers.kube.store import Change, ChangeKind, Store, strip, version_of
from controllers.kube.watch import Watch
from workqueue.clock import Clock

__all__ = ["Change", "ChangeKind", "Reflector"]

_PAGE = 500
# The server ends a watch after a random time in this range, so that not all of them come back at once (client-go).
_WATCH_SECONDS = (300, 600)
_POLL = 0.25


class Report(Protocol):
    """Who counts what a reflector does, in the manner of client-go's reflector metrics."""

    def listed(self, seconds: float, items: int) -> None:
        """A list is complete."""

    def watched(self, seconds: float, events: int) -> None:
        """A watch has ended."""

    def version(self, resource_version: str) -> None:
        """This is the last resourceVersion that was seen."""


class NoReport:
    """Counts nothing."""

    def listed(self, seconds: float, items: int) -> None:
        """Ignore it."""

    def watched(self, seconds: float, events: int) -> None:
        """Ignore it."""

    def version(self, resource_version: str) -> None:
        """Ignore it."""


class Reflector:
    """Lists once, then watches, for ever.

    ``on_change`` is called by one thread, in the server's order, after the store was changed; it must return at once
    (the server closes the streams of slow readers) and must not raise. ``lists``, ``watches`` and ``restarts`` (streams
    that failed or were too short) count for metrics.
    """

    def __init__(
        self,
        cluster: Cluster,
        resource: Resource,
        store: Store,
        on_change: Callable[[Change], None],
        *,
        namespace: str | None = None,
        label_selector: str = "",
        report: Report | None = None,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._cluster = cluster
        self._resource = resource
        self._store = store
        self._on_change = on_change
        self._namespace = namespace
        self._selector = label_selector
        self._report: Report = report or NoReport()
        self._clock = clock
        self._rng = rng
        self._backoff = Backoff(rng)
        self._pausing = threading.Condition()
        self._current: Watch | None = None
        self._version = ""
        self._problem = ""
        self._last_activity = clock.monotonic()
        self.lists = 0
        self.watches = 0
        self.restarts = 0

    @property
    def problem(self) -> str:
        """Why nothing can be read at the moment, in one line; empty when all is well."""
        return self._problem

    def last_activity(self) -> float:
        """Return when the server was last heard of (monotonic); over three minutes ago, something is wrong."""
        return self._last_activity

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set, and return within a second of it, whatever the connection is doing.

        The requests are made by a thread of their own: where one hangs it is left behind, ends by its time limit, and
        calls no handler any more. Raises RuntimeError where that thread dies, which only a bug can do.
        """
        thread = threading.Thread(target=self._work, args=(stop,), name=f"reflector-{self._resource}", daemon=True)
        thread.start()
        while not stop.wait(_POLL):
            if not thread.is_alive() and not stop.is_set():  # in this order: stop may be set after the wait
                raise RuntimeError(f"the reflector of {self._resource} died; its traceback is in the log")
        with self._pausing:
            self._pausing.notify_all()
        if watch := self._current:
            watch.stop()
        thread.join(_POLL)

    def _work(self, stop: threading.Event) -> None:
        step = Step(Action.LIST)
        while not stop.is_set():
            step = self._list(stop) if step.action is Action.LIST else self._watch(stop)
            if step.pause:
                self._pause(stop, step.retry_after)

    def _pause(self, stop: threading.Event, retry_after: float) -> None:
        until = self._clock.monotonic() + self._backoff.next(self._clock.monotonic(), retry_after)
        with self._pausing:
            while not stop.is_set() and self._clock.wait(self._pausing, until - self._clock.monotonic()):
                pass  # woken for another reason

    def _list(self, stop: threading.Event) -> Step:
        self.lists += 1
        begin = self._clock.monotonic()
        items: list[dict[str, Any]] = []
        token = ""
        try:
            while not stop.is_set():
                page, version, token = self._cluster.list_page(
                    self._resource, self._namespace, self._selector, _PAGE, token
                )
                self._last_activity = self._clock.monotonic()
                items += map(strip, page)
                if not token:
                    self._version = version
                    self._report.listed(self._clock.monotonic() - begin, len(items))
                    self._report.version(version)
                    self._announce(self._store.replace(items, version, self._namespace), stop)
                    break
        except KubeError as error:
            self._note(error)
            return after_list(error)
        return after_list(None)

    def _watch(self, stop: threading.Event) -> Step:
        self.watches += 1
        begin, events = self._clock.monotonic(), 0
        failure: KubeError | None = None
        try:
            seconds = self._rng.randint(*_WATCH_SECONDS)
            self._current = self._cluster.watch(
                self._resource, self._namespace, self._selector, self._version, timeout_seconds=seconds
            )
            self._last_activity, self._problem = self._clock.monotonic(), ""
            # After run() has seen stop it may have looked for the watch before there was one.
            for event in self._current if not stop.is_set() else ():
                self._last_activity = self._clock.monotonic()
                events += 1
                self._take(event["type"], event["object"], stop)
        except KubeError as error:
            failure = error
        finally:
            self._current = None
        lasted = self._clock.monotonic() - begin
        self._report.watched(lasted, events)
        step = after_watch(failure, events=events, seconds=lasted)
        if failure is not None or step.pause:
            self.restarts += 1
        if failure is not None and step.pause:
            self._note(failure)
        return step

    def _take(self, kind: str, obj: dict[str, Any], stop: threading.Event) -> None:
        changes: Iterable[Change] = ()
        if kind == "BOOKMARK":
            self._store.advance(version_of(obj), self._namespace)
        elif kind in ("ADDED", "MODIFIED"):
            changes = self._store.upsert(obj)
        elif kind == "DELETED":
            changes = self._store.remove(obj)
        else:
            raise ServerError(0, "BadAnswer", f"watch {self._resource}: unknown event type {kind!r}")
        self._version = version_of(obj)
        self._report.version(self._version)
        self._announce(changes, stop)

    def _announce(self, changes: Iterable[Change], stop: threading.Event) -> None:
        for change in changes:
            if stop.is_set():
                return
            self._on_change(change)

    def _note(self, error: KubeError) -> None:
        hint = ": is its CRD installed?" if isinstance(error, NotFound) else ""
        self._problem = f"{error.message}{hint}"
