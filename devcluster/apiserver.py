"""An API server over real HTTP on loopback, as far as controllers can tell it from kube-apiserver.

Not here, by design: Table, OpenAPI, CEL, authorization, JSON patch. A strategic merge patch of a built-in kind is taken
as a merge patch, so it replaces lists (conditions, containerStatuses) where the real server merges them by key.
"""

import json
import re
import socket
import sys
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from devcluster import kinds
from devcluster.faults import Fault, Faults
from devcluster.kinds import Obj, Predicate, Resource
from devcluster.store import ApiError, Store

Query = dict[str, str]
#: namespace, pod, container, query -> the parts of the log, as they come.
LogReader = Callable[[str, str, str, Query], Iterator[bytes]]
#: A Service with this annotation is proxied to that port of loopback.
PORT_ANNOTATION = "devcluster/port"
_PATH = re.compile(
    r"^/(?:api|apis/(?P<group>[^/]+))/(?P<version>[^/]+)(?:/namespaces/(?P<namespace>[^/]+)(?=/(?!status$|finalize$)))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>.+))?$"
)


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
        self.http = _HttpServer(("127.0.0.1", port), _Handler)
        self.http.app = self
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self._thread = threading.Thread(target=self.http.serve_forever, args=(0.05,), name="apiserver", daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        """End every request and watch, within a second."""
        self.stopping.set()
        with self.changed:
            self.changed.notify_all()
        self.http.shutdown()
        self.http.close_connections()
        self.http.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    def write_kubeconfig(self, path: str | Path) -> None:
        """Write a kubeconfig whose only context, "devcluster", is this server."""
        named = {"cluster": {"server": self.url}, "context": {"cluster": "devcluster", "user": "devcluster"}}
        named["user"] = {"token": "none"}
        lists = {f"{kind}s": [{"name": "devcluster", kind: value}] for kind, value in named.items()}
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "devcluster", **lists}
        Path(path).write_text(json.dumps(config))

    def handle(self, method: str, path: str, query: Query, body: Obj, patch_type: str) -> tuple[int, Any]:
        """Answer one request: status and an object, or an iterator of lines (a watch) or of bytes (a log)."""
        if simple := self._simple(path):
            return 200, simple
        target = _PATH.match(
            path.replace("/bindings", f"/pods/{body['metadata']['name']}/binding")
            if path.endswith("/bindings")
            else path
        )
        kind = target and self.store.resources.get(".".join(filter(None, (target["plural"], target["group"]))))
        if not target or not kind or kind.version != target["version"]:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        namespace, name, sub = (target[part] or "" for part in ("namespace", "name", "sub"))
        if method == "GET":
            return 200, self._read(kind, namespace, name, sub, query)
        with self.changed:
            try:
                return self._write(method, kind, namespace, name, sub, query, body, patch_type)
            finally:
                self.changed.notify_all()

    def _simple(self, path: str) -> Any:
        if path in ("/readyz", "/livez", "/healthz"):
            return iter([b"ok"])
        if path == "/version":
            return {"major": "1", "minor": "36", "gitVersion": "v1.36.3+devcluster", "platform": "python"}
        by_version: dict[str, list[Resource]] = {}
        for kind in self.store.resources.values():
            by_version.setdefault(kind.api_version, []).append(kind)
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            named = [{"groupVersion": name, "version": name.split("/")[1]} for name in by_version if "/" in name]
            groups = [{"name": v["groupVersion"].split("/")[0], "versions": [v], "preferredVersion": v} for v in named]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        if found := by_version.get(path.removeprefix("/apis/").removeprefix("/api/")):
            shown = [{"name": kind.plural, "kind": kind.kind, "namespaced": kind.namespaced} for kind in found]
            return {"kind": "APIResourceList", "groupVersion": found[0].api_version, "resources": shown}
        return None

    # Reading

    def _read(self, kind: Resource, namespace: str, name: str, sub: str, query: Query) -> Any:
        if kind.name == "services" and sub.startswith("proxy"):
            return self._proxy(namespace, name.removeprefix("http:").split(":")[0], sub.removeprefix("proxy"))
        if name:
            with self.changed:
                found = self.store.get(kind.name, namespace, name)
            return self._log(found, query) if sub == "log" else found
        selected = kinds.selector(namespace, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        version = int(query.get("resourceVersion") or 0)
        if query.get("watch") in ("true", "1"):
            initial = query.get("sendInitialEvents") == "true"
            if initial and query.get("resourceVersionMatch") != "NotOlderThan":
                text = "sendInitialEvents is forbidden unless resourceVersionMatch is set to NotOlderThan"
                raise ApiError(
                    422, "Invalid", f'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: {text}'
                )
            return self._watch(kind, selected, version, initial, query)
        with self.changed:
            if version > self.store.version:
                cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
                text = f"Too large resource version: {version}, current: {self.store.version}"
                raise ApiError(504, "Timeout", text, {"causes": [cause], "retryAfterSeconds": 1})
            page = self.store.page(kind.name, selected, int(query.get("limit") or 0), query.get("continue", ""))
        meta: Obj = {"resourceVersion": str(page.version)}
        if page.token:
            meta |= {"continue": page.token, "remainingItemCount": page.remaining}
        bare = ("apiVersion", "kind") if kind.schema is None else ()
        items = [{field: value for field, value in item.items() if field not in bare} for item in page.items]
        return {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": meta, "items": items}

    def _watch(self, kind: Resource, selected: Predicate, since: int, initial: bool, query: Query) -> Iterator[bytes]:
        now, marks = time.monotonic(), query.get("allowWatchBookmarks") == "true"
        end, mark, told = now + float(query.get("timeoutSeconds") or 1800), now + self.bookmark_seconds, since
        if initial or since == 0:
            with self.changed:
                page = self.store.page(kind.name, selected)
            since = told = page.version
            yield from (_event("ADDED", item) for item in page.items)
            if initial and marks:
                yield _bookmark(kind, since, {"k8s.io/initial-events-end": "true"})
        while not self.stopping.is_set() and (now := time.monotonic()) < end:
            with self.changed:
                if self.store.version <= since:
                    self.changed.wait(min(end, mark) - now)
                try:
                    changes, since = self.store.changes(kind.name, since), max(since, self.store.version)
                except ApiError as error:
                    yield _event("ERROR", error.status)
                    return
            yield from filter(None, [_shown(change, selected) for change in changes])
            if time.monotonic() >= min(mark, end):
                mark = time.monotonic() + self.bookmark_seconds
                if marks and since > told:
                    told = since
                    yield _bookmark(kind, since)

    def _log(self, pod: Obj, query: Query) -> Iterator[bytes]:
        name, container = pod["metadata"]["name"], query.get("container") or pod["spec"]["containers"][0]["name"]
        reader = self.log_readers.get(pod["spec"].get("nodeName", ""))
        if reader is None or not pod["status"].get("startTime"):
            text = f'container "{container}" in pod "{name}" is waiting to start: ContainerCreating'
            raise ApiError(400, "BadRequest", text)
        return reader(pod["metadata"]["namespace"], name, container, query)

    def _proxy(self, namespace: str, name: str, path: str) -> Iterator[bytes]:
        with self.changed:
            service = self.store.get("services", namespace, name)
        port = int(service["metadata"].get("annotations", {}).get(PORT_ANNOTATION, 0))
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return iter([answer.read()])
        except OSError as error:
            raise ApiError(503, "ServiceUnavailable", f"error trying to reach service: {error}") from error

    # Writing

    def _write(
        self, method: str, kind: Resource, namespace: str, name: str, sub: str, query: Query, body: Obj, patch_type: str
    ) -> tuple[int, Obj]:
        store = self.store
        if method == "POST" and sub == "binding":
            store.bind(namespace, name, body)
            return 201, {"kind": "Status", "apiVersion": "v1", "status": "Success", "code": 201}
        if method == "POST" and not name:
            return 201, store.create(kind.name, namespace, body)
        if method == "PUT":
            return 200, store.update(kind.name, namespace, name, body, sub)
        if method == "DELETE" and name:
            return 200, store.delete(
                kind.name, namespace, name, body | {k: v for k, v in query.items() if k == "propagationPolicy"}
            )
        if method == "PATCH" and patch_type == "application/apply-patch+yaml":
            code = 200 if store.find(kind.name, namespace, name) else 201
            return code, store.apply(kind.name, namespace, name, body, query["fieldManager"])
        merges = ["application/merge-patch+json"]
        merges += ["application/strategic-merge-patch+json"] if kind.schema is None else []
        if method == "PATCH" and patch_type in merges:
            return 200, store.patch(kind.name, namespace, name, body, sub)
        if method == "PATCH":
            text = (
                f"the body of the request was in an unknown format - accepted media types include: {', '.join(merges)}"
            )
            raise ApiError(415, "UnsupportedMediaType", text)
        raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def _event(kind: str, obj: Obj) -> bytes:
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


def _bookmark(kind: Resource, version: int, annotations: Query | None = None) -> bytes:
    meta = {"resourceVersion": str(version)} | ({"annotations": annotations} if annotations else {})
    return _event("BOOKMARK", {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": meta})


def _shown(change: Any, selected: Predicate) -> bytes:
    """Return the event as this watch sees it: an object that leaves its selection is DELETED, one that enters ADDED."""
    before, after = (obj is not None and selected(obj) for obj in (change.old, change.new))
    if not before and not after:
        return b""
    return _event("ADDED" if not before else "MODIFIED" if after else "DELETED", change.shown)


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    app: ApiServer

    def __init__(self, *args: Any) -> None:
        self._open: set[socket.socket] = set()
        self._closed = threading.Condition()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._closed:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._closed:
            self._open.discard(request)
            self._closed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet where a client has gone, as clients of a watch do; show a bug of ours."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def close_connections(self) -> None:
        """Cut what is open and wait until its threads are through, at most a second."""
        with self._closed:
            for connection in self._open:
                with suppress(OSError):  # the client has gone already
                    connection.shutdown(socket.SHUT_RDWR)
            self._closed.wait_for(lambda: not self._open, timeout=1)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _HttpServer

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: ``ApiServer.requests`` has them."""

    def _serve(self) -> None:
        app, raw = self.server.app, self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = app.faults.take(f"{self.command} {self.path}")
        app.stopping.wait(fault.latency)
        if fault.hang:
            app.stopping.wait()
        if fault.hang or fault.cut:
            self.close_connection = True
            return
        code, answer = self._answer(app, raw, fault)
        app.requests.append((self.command, self.path, code))
        if fault.lost:
            self.close_connection = True
        elif isinstance(answer, dict):
            self._send(code, answer, fault)
        else:
            self._stream(app, answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _answer(self, app: ApiServer, raw: bytes, fault: Fault) -> tuple[int, Any]:
        url = urlsplit(self.path)
        try:
            if fault.status:
                raise ApiError(fault.status, _REASONS.get(fault.status, "InternalError"), "injected by a test")
            query, body = dict(parse_qsl(url.query)), json.loads(raw or b"{}")
            return app.handle(self.command, url.path, query, body, self.headers.get("Content-Type", ""))
        except ApiError as error:
            return error.code, error.status
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return 400, ApiError(400, "BadRequest", f"{type(error).__name__}: {error}").status

    def _send(self, code: int, answer: Obj, fault: Fault) -> None:
        data = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if fault.retry_after:
            self.send_header("Retry-After", str(fault.retry_after))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, app: ApiServer, parts: Iterator[bytes]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json" if "watch=" in self.path else "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        try:
            for part in parts:
                if not self._chunk(app, part):
                    return
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True  # the client has gone, as clients of a watch do

    def _chunk(self, app: ApiServer, part: bytes) -> bool:
        fault = app.faults.take(f"EVENT {self.path}")
        app.stopping.wait(fault.latency)
        if fault.hang:
            app.stopping.wait()
        if fault.hang or fault.cut:
            part, self.close_connection = part[: len(part) // 2 if fault.cut else 0], True
        if part:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.flush()
        return not self.close_connection


_REASONS = {403: "Forbidden", 404: "NotFound", 409: "Conflict", 410: "Expired", 422: "Invalid", 429: "TooManyRequests",
            503: "ServiceUnavailable", 504: "Timeout"}  # fmt: skip
