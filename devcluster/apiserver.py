"""An API server over real HTTP on loopback, as far as our controllers and command line can tell it from kube-apiserver.

Not here, by design: Table, OpenAPI, CEL, authorization, discovery; any patch but a merge patch; a watch without a
resourceVersion, which gets 410, or without bookmarks.
"""

import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from controllers.kube.resources import Resource
from devcluster import kinds
from devcluster.http import Call, Server
from devcluster.kinds import Obj, Predicate
from devcluster.refusals import ApiError
from devcluster.store import Change, Store

Query = dict[str, str]
Event = tuple[str, Obj]
_PATH = re.compile(r"/(?:api|apis/([^/]+))/([^/]+)(?:/namespaces/([^/]+)(?=/))?/([^/]+)(?:/([^/]+))?(?:/([^/]+))?")


@dataclass(frozen=True)
class Fault:
    """What happens to one request, or to one event of a watch (there only ``latency``, ``hang`` and ``cut``)."""

    latency: float = 0.0  # seconds before anything else
    status: int = 0  # answered in place of handling the request
    retry_after: int = 0  # seconds, header of that answer
    hang: bool = False  # nothing is ever sent again: a half-open connection
    cut: bool = False  # the connection ends, in a watch in the middle of a line
    lost: bool = False  # the request is handled, then the connection ends without an answer


class Faults:
    """Orders by regular expression over "METHOD /path?query" or, of an event, "ADDED /path?query"."""

    def __init__(self) -> None:
        self.orders = list[tuple[str, list[Fault]]]()

    def add(self, match: str, do: Fault, times: int = 1) -> None:
        """Do that to the next ``times`` requests that match and for which nothing was ordered before."""
        self.orders.append((match, [do] * times))

    def take(self, line: str, stopping: threading.Event) -> Fault:
        """Return what is ordered for this request, after its latency; one that hangs returns when the server stops."""
        found = next((left.pop() for match, left in self.orders if left and re.search(match, line)), Fault())
        stopping.wait(None if found.hang else found.latency)
        return found


class ApiServer:
    """``changed`` is the lock of ``store``, and is notified after every request that may have written."""

    def __init__(self, crds: Iterable[Obj] = ()) -> None:
        self.store, self.faults = Store(crds), Faults()
        self.changed, self.stopping = threading.Condition(), threading.Event()
        self.logs: Callable[[str, str, Query], bytes] = lambda *_: b""  # of a pod by namespace and name
        self.requests: deque[tuple[str, str, int]] = deque(maxlen=100_000)  # method, path with query, status or 0
        self.bookmark_seconds = 60.0
        self._http = Server(self._serve)
        self.url = f"http://127.0.0.1:{self._http.port}"

    def __enter__(self) -> Self:
        return self

    def stop(self, *_: object) -> None:
        """End every watch, and answer no request any more."""
        self.stopping.set()
        with self.changed:
            self.changed.notify_all()
        self._http.stop()

    __exit__ = stop

    def write_kubeconfig(self, path: str | Path) -> None:
        """Write a kubeconfig whose only context, "devcluster", is this server."""
        one = {"name": "devcluster", "cluster": {"server": self.url}, "user": {"token": "none"}}
        one["context"] = {"cluster": "devcluster", "user": "devcluster"}
        config = {"kind": "Config", "current-context": "devcluster"}
        Path(path).write_text(json.dumps(config | dict.fromkeys(("clusters", "users", "contexts"), [one])))

    def handle(self, method: str, path: str, query: Query, body: Obj, content_type: str) -> tuple[int, Any]:
        """Answer one request: status, and an object, the bytes of a log, or the events of a watch as they come."""
        if path == "/version":
            return 200, {"major": "1", "minor": "36", "gitVersion": "v1.36.3+devcluster"}
        found = _PATH.fullmatch(path)
        group, version, space, plural, name, sub = (part or "" for part in found.groups()) if found else [""] * 6
        kind = self.store.resources.get(f"{plural}.{group}".rstrip("."))
        if not kind or kind.version != version:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        with self.changed:
            if method == "GET":
                return 200, self._read(kind, space, name, sub, query)
            try:
                return self._write(method, (str(kind), space, name), sub, body, content_type)
            finally:
                self.changed.notify_all()

    def _write(self, method: str, key: tuple[str, str, str], sub: str, body: Obj, kind: str) -> tuple[int, Obj]:
        match method:
            case "POST" if key[0] == "bindings":
                return 201, self.store.bind(key[1], body["metadata"]["name"], body)
            case "POST":
                return 201, self.store.create(*key[:2], body)
            case "PUT":
                return 200, self.store.update(*key, body, sub)
            case "DELETE":
                return 200, self.store.delete(*key, body)
            case "PATCH" if kind == "application/merge-patch+json":
                return 200, self.store.patch(*key, body, sub)
        raise ApiError(415, "UnsupportedMediaType", "the body of the request was in an unknown format")

    def _read(self, kind: Resource, space: str, name: str, sub: str, query: Query) -> Any:
        if name:
            found = self.store.get(str(kind), space, name)
            return self.logs(space, name, query) if sub == "log" else found
        selected = kinds.selector(space, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        if query.get("watch") == "true":
            return self._watch(kind, selected, query)
        page = self.store.page(str(kind), selected, int(query.get("limit") or 0), query.get("continue", ""))
        meta = {"resourceVersion": str(page.version), "continue": page.token}
        return {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": meta, "items": page.items}

    def _watch(self, kind: Resource, selected: Predicate, query: Query) -> Iterator[Event]:
        since, now = int(query.get("resourceVersion") or 0), time.monotonic()
        end, mark = now + float(query.get("timeoutSeconds") or 1800), now + self.bookmark_seconds
        while (now := time.monotonic()) < end and not self.stopping.is_set():
            with self.changed:
                if self.store.version <= since and not self.stopping.is_set():
                    self.changed.wait(min(end, mark) - now)
                try:
                    news = [_shown(change, selected) for change in self.store.changes(str(kind), since)]
                    since = self.store.version
                except ApiError as error:
                    news, end = [("ERROR", error.status)], 0.0
            yield from filter(None, news)
            if not news and time.monotonic() >= mark:
                mark = time.monotonic() + self.bookmark_seconds
                meta = {"resourceVersion": str(since)}
                yield "BOOKMARK", {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": meta}

    def _serve(self, call: Call) -> None:
        raw = call.rfile.read(int(call.headers.get("Content-Length") or 0))
        fault = self.faults.take(f"{call.command} {call.path}", self.stopping)
        code, answer = (0, b"") if fault.hang or fault.cut else self._answer(call, raw, fault.status)
        self.requests.append((call.command, call.path, code))
        if code and not fault.lost:
            call.answer(code, self._parts(call.path, answer), fault.retry_after)

    def _answer(self, call: Call, raw: bytes, status: int) -> tuple[int, Any]:
        url, kind = urlsplit(call.path), call.headers.get("Content-Type", "")
        try:
            if status:
                raise ApiError(status, "Ordered", "ordered by a test")
            return self.handle(call.command, url.path, dict(parse_qsl(url.query)), json.loads(raw or b"{}"), kind)
        except ApiError as error:
            return error.code, error.status
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return 400, ApiError(400, "BadRequest", str(error)).status

    def _parts(self, path: str, answer: Any) -> Iterator[bytes]:
        """Return the bytes of an answer; a watch's as its events come, with the faults that are ordered for them."""
        if not isinstance(answer, Iterator):
            yield answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            return
        for kind, obj in answer:
            line = json.dumps({"type": kind, "object": obj}).encode() + b"\n"
            fault = self.faults.take(f"{kind} {path}", self.stopping)
            yield b"" if fault.hang else line[: len(line) // 2] if fault.cut else line
            if fault.hang or fault.cut:
                return


def _shown(change: Change, selected: Predicate) -> Event | None:
    """Return the event as this watch sees it: what leaves its selection is DELETED, what enters it ADDED."""
    before, after = (obj is not None and selected(obj) for obj in (change.old, change.new))
    kind = "MODIFIED" if before and after else "ADDED" if after else "DELETED"
    return (kind, change.shown) if before or after else None
