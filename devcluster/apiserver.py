"""An API server over real HTTP on loopback, as far as controllers can tell it from kube-apiserver.

Not here, by design: Table, OpenAPI, CEL, authorization, JSON patch, field ownership. A strategic merge patch of a
built-in kind is taken as a merge patch: it replaces lists (conditions), which the real server merges by key.
"""

import json
import re
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from devcluster import kinds
from devcluster.faults import Faults
from devcluster.kinds import Kind, Obj, Predicate
from devcluster.refusals import ApiError
from devcluster.store import Change, Store

Query = dict[str, str]
#: namespace, pod, container, query -> the parts of the log, as they come.
LogReader = Callable[[str, str, str, Query], Iterator[bytes]]
_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>[^/]+)(?:/namespaces/(?P<space>[^/]+)(?=/(?!status$)))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?"
)
_MERGE = ("application/merge-patch+json", "application/strategic-merge-patch+json")
_REASONS = {403: "Forbidden", 409: "Conflict", 410: "Expired", 429: "TooManyRequests", 503: "ServiceUnavailable"}


class ApiServer:
    """``changed`` is the lock of ``store``, and is notified after every request that may have written."""

    def __init__(
        self, crds: Iterable[Obj] = (), port: int = 0, clock: Callable[[], float] = time.time, window: int = 1000
    ) -> None:
        self.store, self.faults = Store(crds, clock, window=window), Faults()
        self.changed, self.stopping = threading.Condition(), threading.Event()
        self.log_readers: dict[str, LogReader] = {}  # by node
        self.requests: deque[tuple[str, str, int]] = deque(maxlen=100_000)  # method, path with query, status
        self.bookmark_seconds = 60.0
        self.connections: set[socket.socket] = set()
        self._http = _HttpServer(("127.0.0.1", port), type("_Bound", (_Handler,), {"app": self}))
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name="apiserver", daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        """End every request and watch, within a second."""
        self.stopping.set()
        self._http.shutdown()
        with self.changed:
            for connection in self.connections:
                with suppress(OSError):  # the client has gone already
                    connection.shutdown(socket.SHUT_RDWR)
            self.changed.notify_all()
            self.changed.wait_for(lambda: not self.connections, timeout=1)
        self._http.server_close()

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.stop()

    def write_kubeconfig(self, path: str | Path) -> None:
        """Write a kubeconfig whose only context, "devcluster", is this server."""
        parts = {"cluster": {"server": self.url}, "user": {"token": "none"}}
        parts["context"] = {"cluster": "devcluster", "user": "devcluster"}
        named = {f"{kind}s": [{"name": "devcluster", kind: value}] for kind, value in parts.items()}
        Path(path).write_text(json.dumps({"kind": "Config", "current-context": "devcluster"} | named))

    def handle(self, method: str, path: str, query: Query, body: Obj, content_type: str) -> tuple[int, Any]:
        """Answer one request: status, and an object or an iterator over lines (a watch) or parts (a log)."""
        simple: dict[str, Any] = {"/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.3+devcluster"}}
        simple |= {"/api": {"versions": ["v1"]}} | dict.fromkeys(("/readyz", "/livez", "/healthz"), iter([b"ok"]))
        if path in simple:
            return 200, simple[path]
        if path.endswith("/bindings"):
            path = f"{path.removesuffix('bindings')}pods/{body['metadata']['name']}/binding"
        found = _PATH.fullmatch(path)
        space, name, sub = (found[part] or "" for part in ("space", "name", "sub")) if found else ("", "", "")
        kind = found and self.store.resources.get(".".join(filter(None, (found["plural"], found["group"]))))
        if not found or not kind or kind.version != found["version"]:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        if method == "GET":
            return 200, self._read(kind, space, name, sub, query)
        with self.changed:
            try:
                return self._write(method, kind, (str(kind), space, name), sub, query, body, content_type)
            finally:
                self.changed.notify_all()

    def _write(
        self,
        method: str,
        kind: Kind,
        key: tuple[str, str, str],
        sub: str,
        query: Query,
        body: Obj,
        content_type: str,
    ) -> tuple[int, Obj]:
        if method == "POST" and sub == "binding":
            self.store.bind(*key[1:], body)
            return 201, {"kind": "Status", "apiVersion": "v1", "status": "Success", "code": 201}
        if method == "POST" and not key[2]:
            return 201, self.store.create(*key[:2], body)
        if method == "PUT" and key[2]:
            return 200, self.store.update(*key, body, sub)
        if method == "DELETE" and key[2]:
            return 200, self.store.delete(*key, body)
        if method != "PATCH":
            raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        if content_type == "application/apply-patch+yaml":
            return (200 if self.store.find(*key) else 201), self.store.apply(*key, body, query["fieldManager"])
        if content_type not in _MERGE[: 1 if kind.schema else 2]:
            raise ApiError(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
        return 200, self.store.patch(*key, body, sub)

    def _read(self, kind: Kind, space: str, name: str, sub: str, query: Query) -> Any:
        if name:
            with self.changed:
                found = self.store.get(str(kind), space, name)
            return self._log(found, query) if sub == "log" else found
        selected = kinds.selector(space, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        version = int(query.get("resourceVersion") or 0)
        if query.get("watch") in ("true", "1"):
            initial = query.get("sendInitialEvents") == "true"
            if initial and query.get("resourceVersionMatch") != "NotOlderThan":
                text = "resourceVersionMatch: Forbidden: sendInitialEvents requires NotOlderThan"
                raise ApiError(422, "Invalid", f'ListOptions.meta.k8s.io "" is invalid: {text}')
            return self._watch(kind, selected, version, initial, query)
        with self.changed:
            if version > self.store.version:
                text = f"Too large resource version: {version}, current: {self.store.version}"
                causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
                raise ApiError(504, "Timeout", text, causes=causes, retryAfterSeconds=1)
            page = self.store.page(str(kind), selected, int(query.get("limit") or 0), query.get("continue", ""))
        meta: Obj = {"resourceVersion": str(page.version)}
        meta |= {"continue": page.token, "remainingItemCount": page.remaining} if page.token else {}
        bare = () if kind.schema else ("apiVersion", "kind")  # as the real server lists built-in kinds
        items = [{field: value for field, value in item.items() if field not in bare} for item in page.items]
        return {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": meta, "items": items}

    def _watch(self, kind: Kind, selected: Predicate, since: int, initial: bool, query: Query) -> Iterator[bytes]:
        marks, told, now = query.get("allowWatchBookmarks") == "true", since, time.monotonic()
        end, mark = now + float(query.get("timeoutSeconds") or 1800), now + self.bookmark_seconds
        if initial or not since:
            with self.changed:
                page = self.store.page(str(kind), selected)
            since = told = page.version
            yield from (_event("ADDED", item) for item in page.items)
            if initial and marks:
                yield _bookmark(kind, since, annotations={"k8s.io/initial-events-end": "true"})
        while (now := time.monotonic()) < end and not self.stopping.is_set():
            with self.changed:
                if self.store.version <= since and not self.stopping.is_set():
                    self.changed.wait(min(end, mark) - now)
                try:
                    changes, since, gone = self.store.changes(str(kind), since), max(since, self.store.version), None
                except ApiError as error:
                    changes, gone = [], error.status
            if gone:
                yield _event("ERROR", gone)
                return
            yield from filter(None, [_shown(change, selected) for change in changes])
            if time.monotonic() >= min(mark, end):
                mark = time.monotonic() + self.bookmark_seconds
                if marks and since > told:
                    yield _bookmark(kind, since)
                told = since

    def _log(self, pod: Obj, query: Query) -> Iterator[bytes]:
        meta, container = pod["metadata"], query.get("container") or pod["spec"]["containers"][0]["name"]
        if "nodeName" not in pod["spec"]:
            return iter(())
        reader = self.log_readers.get(pod["spec"]["nodeName"])
        if reader is None or "startTime" not in pod["status"]:
            text = f'container "{container}" in pod "{meta["name"]}" is waiting to start: ContainerCreating'
            raise ApiError(400, "BadRequest", text)
        return reader(meta["namespace"], meta["name"], container, query)


def _event(kind: str, obj: Obj) -> bytes:
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


def _bookmark(kind: Kind, version: int, **more: Any) -> bytes:
    meta = {"resourceVersion": str(version)} | more
    return _event("BOOKMARK", {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": meta})


def _shown(change: Change, selected: Predicate) -> bytes:
    """Return the event as this watch sees it: what leaves its selection is DELETED, what enters it ADDED."""
    before, after = (obj is not None and selected(obj) for obj in (change.old, change.new))
    kind = "MODIFIED" if before and after else "ADDED" if after else "DELETED"
    return _event(kind, change.shown) if before or after else b""


class _HttpServer(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away, as they do in the middle of watches."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    app: ApiServer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: ``ApiServer.requests`` has them."""

    def setup(self) -> None:
        super().setup()
        with self.app.changed:
            self.app.connections.add(self.connection)

    def finish(self) -> None:
        with self.app.changed:
            self.app.connections.discard(self.connection)
            self.app.changed.notify_all()
        super().finish()

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.app.faults.take(f"{self.command} {self.path}", self.app.stopping)
        self.close_connection = fault.hang or fault.cut or fault.lost
        if fault.hang or fault.cut:
            return
        code, answer = self._answer(raw, fault.status)
        self.app.requests.append((self.command, self.path, code))
        if fault.lost:
            return
        data = json.dumps(answer).encode() if isinstance(answer, dict) else None
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if "/log" in self.path else "application/json")
        self.send_header("Retry-After", str(fault.retry_after)) if fault.retry_after else None
        self.send_header(*(("Transfer-Encoding", "chunked") if data is None else ("Content-Length", str(len(data)))))
        self.end_headers()
        self.wfile.write(data or b"")
        self.wfile.flush()
        if data is None:
            self._stream(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _answer(self, raw: bytes, status: int) -> tuple[int, Any]:
        url, kind = urlsplit(self.path), self.headers.get("Content-Type", "")
        try:
            if status:
                raise ApiError(status, _REASONS.get(status, "InternalError"), "ordered by a test")
            return self.app.handle(self.command, url.path, dict(parse_qsl(url.query)), json.loads(raw or b"{}"), kind)
        except ApiError as error:
            return error.code, error.status
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return 400, ApiError(400, "BadRequest", str(error)).status

    def _stream(self, parts: Iterator[bytes]) -> None:
        for part in filter(None, parts):
            kind = part[10 : part.find(b'"', 10)].decode(errors="replace")
            fault = self.app.faults.take(f"{kind} {self.path}", self.app.stopping)
            self.close_connection = fault.hang or fault.cut
            shown = b"" if fault.hang else part[: len(part) // 2] if fault.cut else part
            self.wfile.write(b"%x\r\n%s\r\n" % (len(shown), shown) if shown else b"")
            self.wfile.flush()
            if self.close_connection:
                return
        self.wfile.write(b"0\r\n\r\n")
