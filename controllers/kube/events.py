"""Kubernetes Events (events.k8s.io/v1) from a background thread: a reconcile never waits for one.

Events help people and are never needed: what cannot be sent is counted and forgotten (API conventions, "Events").
"""

import contextlib
import logging
import threading
import uuid
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any

from controllers.kube.client import Cluster
from controllers.kube.errors import AlreadyExists, KubeError, NoAnswer, NotFound, ServerError, TooManyRequests
from controllers.kube.lease import micro_time
from controllers.kube.resources import EVENTS
from workqueue.clock import Clock

_log = logging.getLogger(__name__)

_QUEUE = 1000
_REMEMBERED = 4096
_BURST, _REFILL_SECONDS = 25, 300.0
_SERIES_SECONDS = 600.0  # after so long a pause the same event is a new one
_TRIES, _LONGEST_WAIT = 3, 5.0
_NOTE_BYTES = 1024
_SHORT_TEXT = 128  # the server's limit for action, reason and reporting instance


def last_warning(cluster: Cluster, namespace: str, regarding: str) -> str:
    """Return "reason: note" of the last warning about an object, "" where there is none; raise KubeError.

    ``regarding`` is a part of a field selector, such as "regarding.uid=...".
    """
    found, _, _ = cluster.list_page(EVENTS, namespace, field_selector=f"{regarding},type=Warning", limit=50)
    return f"{found[-1].get('reason', '')}: {found[-1].get('note', '')}" if found else ""


@dataclass(eq=False)
class _Series:
    """One event and how often it happened."""

    name: str
    namespace: str
    body: dict[str, Any]
    first: float
    last: float
    count: int = 0
    queued: bool = False
    created: bool = False


@dataclass
class _Bucket:
    tokens: float
    filled: float


class EventRecorder:
    """Records events; repeated ones become one with a count, and an object gets 25, then one in five minutes.

    ``component`` is the reportingController (a qualified name, as "data.fluid.io/fluidctl"), ``instance`` the pod.
    ``dropped`` counts what was never sent: queue full, refused, or no answer.
    """

    def __init__(self, cluster: Cluster, component: str, instance: str, clock: Clock) -> None:
        self._cluster = cluster
        self._component = component
        self._instance = instance[:_SHORT_TEXT]
        self._clock = clock
        self._changed = threading.Condition()
        self._queue: deque[_Series] = deque()
        self._sending = False
        self._stopped = threading.Event()
        self._series: OrderedDict[tuple[str, ...], _Series] = OrderedDict()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self.dropped = 0
        self._thread = threading.Thread(target=self._work, name="events", daemon=True)
        self._thread.start()

    def event(self, obj: dict[str, Any], type: str, reason: str, action: str, message: str) -> None:
        """Note that something happened to an object (any dict with apiVersion, kind and metadata). Returns at once.

        ``type`` is "Normal" or "Warning"; reason and action are CamelCase; the message is cut to 1,024 bytes.
        """
        now = self._clock.now()
        key = (_identity(obj), type, reason, action, message)
        with self._changed:
            series = self._series.get(key)
            if series is None or now - series.last > _SERIES_SECONDS:
                series = self._series[key] = self._new(obj, type, reason, action, message, now)
            self._series.move_to_end(key)
            _forget_oldest(self._series)
            series.count += 1
            series.last = now
            if not series.queued and self._may_send(key[0]):
                self._enqueue(series)

    def flush(self, timeout: float) -> bool:
        """Wait until all is sent, at most so many seconds; return whether it was."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._sending, timeout)

    def stop(self, flush_seconds: float = 2.0) -> None:
        """Send what is queued, for at most so many seconds, and end the thread."""
        self.flush(flush_seconds)
        with self._changed:
            self._stopped.set()
            self._changed.notify_all()
        self._thread.join(1.0)

    def _new(self, obj: dict[str, Any], type: str, reason: str, action: str, message: str, now: float) -> _Series:
        metadata = obj["metadata"]
        namespace = metadata.get("namespace") or "default"
        name = f"{metadata['name'][:200].rstrip('-.')}.{uuid.uuid4().hex[:16]}"
        regarding = {"apiVersion": obj.get("apiVersion", ""), "kind": obj.get("kind", "")}
        regarding |= {
            field: metadata[field] for field in ("namespace", "name", "uid", "resourceVersion") if field in metadata
        }
        body = {
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": micro_time(now),
            "type": type,
            "reason": reason[:_SHORT_TEXT],
            "action": action[:_SHORT_TEXT],
            "note": message.encode()[:_NOTE_BYTES].decode(errors="ignore"),
            "regarding": regarding,
            "reportingController": self._component,
            "reportingInstance": self._instance,
        }
        return _Series(name, namespace, body, first=now, last=now)

    def _may_send(self, identity: str) -> bool:
        now = self._clock.monotonic()
        bucket = self._buckets.setdefault(identity, _Bucket(_BURST, now))
        self._buckets.move_to_end(identity)
        _forget_oldest(self._buckets)
        bucket.tokens = min(_BURST, bucket.tokens + (now - bucket.filled) / _REFILL_SECONDS)
        bucket.filled = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _enqueue(self, series: _Series) -> None:
        if len(self._queue) >= _QUEUE or self._stopped.is_set():
            self.dropped += 1
            return
        series.queued = True
        self._queue.append(series)
        self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._sending = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._queue or self._stopped.is_set())
                if self._stopped.is_set():
                    return
                series = self._queue.popleft()
                series.queued, self._sending = False, True
                count, last = series.count, series.last
            self._send(series, count, last)

    def _send(self, series: _Series, count: int, last: float) -> None:
        for attempt in range(_TRIES):
            try:
                self._write(series, count, last)
                return
            except (NoAnswer, ServerError, TooManyRequests) as error:
                problem: KubeError = error
                wait = max(0.2 * 4**attempt, min(getattr(error, "retry_after", 0.0), _LONGEST_WAIT))
                if attempt == _TRIES - 1 or self._stopped.wait(wait):
                    break
            except KubeError as error:
                problem = error
                break
        with self._changed:
            self.dropped += 1
        _log.info("an event was dropped: %s", problem)

    def _write(self, series: _Series, count: int, last: float) -> None:
        occurred = {"series": {"count": count, "lastObservedTime": micro_time(last)}} if count > 1 else {}
        if series.created:
            try:
                self._cluster.merge_patch(EVENTS, series.namespace, series.name, occurred)
                return
            except NotFound:
                series.created = False  # events live for an hour
        with contextlib.suppress(AlreadyExists):  # then the answer to the first try was lost
            self._cluster.create(EVENTS, series.namespace, {**series.body, **occurred})
        series.created = True


def _identity(obj: dict[str, Any]) -> str:
    metadata = obj["metadata"]
    return str(metadata.get("uid") or f"{obj.get('kind')}/{metadata.get('namespace')}/{metadata['name']}")


def _forget_oldest(remembered: OrderedDict[Any, Any]) -> None:
    if len(remembered) > _REMEMBERED:
        remembered.popitem(last=False)
