"""The HTTP side: HTTP/1.1 with connections that stay open, a thread each, and its own small reader of requests."""

import base64
import contextlib
import json
import socket
import socketserver
import struct
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, unquote_to_bytes

from tests.objectstore import dialects
from tests.objectstore.faults import Fault, Faults, Kind, Rule
from tests.objectstore.keys import Keys, Page

Driver = Literal["s3", "oss"]
_NO_LINGER = struct.pack("ii", 1, 0)  # close() sends a reset
_REASONS = {200: "OK", 403: "Forbidden", 404: "Not Found", 500: "Internal Server Error", 503: "Service Unavailable"}


@dataclass(frozen=True)
class Counts:
    """Requests since the counters were reset. LIST is any listing; HEAD any question for one key or bucket."""

    lists: int = 0
    heads: int = 0
    most_in_flight: int = 0


class ObjectStore:
    """Context manager: buckets that exist from their first ``fill`` on.

    Attributes:
        url: what a client calls its endpoint. latency: seconds that every request waits. slow: what a slow one waits.
    """

    def __init__(self, latency: float = 0.0, port: int = 0) -> None:
        self.latency = latency
        self.slow = 15.0
        self.closing = threading.Event()
        self._buckets: dict[str, Keys] = {}
        self._faults = Faults()
        self._numbers: dict[tuple[str, bytes, str, bytes], int] = {}  # of pages, by where they begin
        self._lock = threading.Lock()
        self._counts, self._in_flight = Counts(), 0
        self._server = _Server(self, port)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="objectstore", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def fill(self, bucket: str, keys: Mapping[str, int] | Iterable[tuple[str, int]]) -> None:
        """Add or replace keys of these sizes, sorted ones in little memory; one that ends in "/" is a marker."""
        pairs = keys.items() if isinstance(keys, Mapping) else keys
        self._buckets[bucket] = self._buckets.get(bucket, Keys()).plus((name.encode(), size) for name, size in pairs)

    def remove(self, bucket: str, keys: Iterable[str]) -> None:
        """Remove keys."""
        self._buckets[bucket] = self._buckets[bucket].minus(name.encode() for name in keys)

    def fail(
        self,
        bucket: str,
        prefix: str,
        how: Fault,
        *,
        page: int | None = None,
        times: int | None = None,
        kinds: Iterable[Kind] = ("LIST", "HEAD"),
        shown: bool = False,
    ) -> None:
        """Let requests fail that ask for ``prefix`` or for what is below it.

        ``page`` (from 1): only that page of a listing. ``times``: only the first ones. A listing of what is above the
        prefix does not fail, as where a policy forbids the prefix; ``shown``: its pages with keys below the prefix do.
        """
        self._faults.add(Rule(bucket, prefix.encode(), how, page, times, tuple(kinds), shown))

    def heal(self, bucket: str | None = None, prefix: str = "") -> None:
        """Let nothing fail any more, or nothing that was asked for at or below ``prefix``."""
        self._faults.heal(bucket, prefix.encode())

    @property
    def counts(self) -> Counts:
        """Return the counters of this moment."""
        return self._counts

    def reset_counts(self) -> None:
        """Begin to count anew."""
        with self._lock:
            self._counts = Counts()

    def uri(self, driver: Driver, bucket: str, prefix: str = "") -> str:
        """Return how Alluxio calls a place."""
        return f"{driver}://{bucket}/{prefix}"

    def properties(self, driver: Driver) -> dict[str, str]:
        """Return what Alluxio needs to reach this store."""
        if driver == "oss":
            keys = {"fs.oss.accessKeyId": "id", "fs.oss.accessKeySecret": "secret"}
            return {"fs.oss.endpoint": self.url, **keys}
        return {
            "alluxio.underfs.s3.endpoint": self.url,
            "alluxio.underfs.s3.endpoint.region": "us-east-1",
            "alluxio.underfs.s3.disable.dns.buckets": "true",
            "alluxio.underfs.s3.inherit.acl": "false",
            "s3a.accessKeyId": "id",
            "s3a.secretKey": "secret",
        }

    def answer(self, request: "Request") -> "Answer | None":
        """Answer one request, as slowly as asked for; None: reset the connection."""
        if request.bucket == "-":
            return self._control(request)
        self._begin(request.kind)
        try:
            page = self._page(request) if request.kind == "LIST" else None
            names = [name for name, _ in page.keys] if page else []
            fault = self._faults.take(request.kind, request.bucket, request.name, self._number(request), names)
            self.closing.wait(self.slow if fault == "slow" else self.latency)
            if fault == "reset":
                return None
            if isinstance(fault, int):
                code = "NoSuchBucket" if fault == 404 and request.kind == "LIST" else ""
                return Answer(fault, dialects.error(request.dialect, fault, code))
            return self._serve(request, page)
        finally:
            with self._lock:
                self._in_flight -= 1

    def _begin(self, kind: Kind) -> None:
        with self._lock:
            self._in_flight += 1
            counts, listing = self._counts, kind == "LIST"
            most = max(counts.most_in_flight, self._in_flight)
            self._counts = Counts(counts.lists + listing, counts.heads + (not listing), most)

    def _serve(self, request: "Request", page: Page | None) -> "Answer":
        keys = self._buckets.get(request.bucket)
        if keys is None:
            return Answer(404, dialects.error(request.dialect, 404, "NoSuchBucket"))
        for question, body in (("acl", dialects.acl), ("location", dialects.location)):
            if question in request.query:
                return Answer(200, body())
        if "bucketInfo" in request.query:
            return Answer(200, dialects.bucket_info(request.bucket))
        if page is not None:
            token = base64.urlsafe_b64encode(page.last).decode()
            return Answer(200, dialects.listing(request.dialect, request.bucket, request.query, page, token))
        if not request.key:
            return Answer(200)
        size = keys.size(request.key)
        if size is None:
            return Answer(404, dialects.error(request.dialect, 404))
        return Answer(200, b"\0" * size if request.method == "GET" else b"", dialects.headers(size), size)

    def _page(self, request: "Request") -> Page:
        query = request.query
        delimiter, limit = query.get("delimiter", ""), min(int(query.get("max-keys", 1000)), 1000)
        keys = self._buckets.get(request.bucket, Keys())
        page = keys.page(request.name, delimiter.encode(), request.after, limit)
        if page.last:
            self._numbers[_place(request, page.last)] = (self._number(request) or 1) + 1
        return page

    def _number(self, request: "Request") -> int | None:
        return self._numbers.get(_place(request, request.after), 1) if request.kind == "LIST" else None

    def _control(self, request: "Request") -> "Answer":
        """What another process may ask: /-/counts, /-/reset, /-/latency?seconds=0.05."""
        if request.key == b"reset":
            self.reset_counts()
        elif request.key == b"latency":
            self.latency = float(request.query["seconds"])
        return Answer(200, json.dumps(asdict(self._counts)).encode(), {"Content-Type": "application/json"})


@dataclass(frozen=True)
class Request:
    """One request, path style."""

    method: str
    bucket: str
    key: bytes
    query: dict[str, str]
    dialect: Driver

    @property
    def kind(self) -> Kind:
        """Return what it counts as."""
        asks = self.query.keys() & {"acl", "location", "bucketInfo"}
        return "LIST" if self.method == "GET" and not self.key and not asks else "HEAD"

    @property
    def name(self) -> bytes:
        """Return the key, or the prefix of a listing."""
        return self.key or self.query.get("prefix", "").encode("utf-8", "surrogateescape")

    @property
    def after(self) -> bytes:
        """Return where a listing goes on."""
        if token := self.query.get("continuation-token"):
            return base64.urlsafe_b64decode(token)
        marker = self.query.get("marker", "") or self.query.get("start-after", "")
        return marker.encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Answer:
    """One answer. ``length`` is that of a body which is not sent, as for HEAD."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] | None = None
    length: int | None = None


def _place(request: Request, after: bytes) -> tuple[str, bytes, str, bytes]:
    return request.bucket, request.name, request.query.get("delimiter", ""), after


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, store: ObjectStore, port: int) -> None:
        self.store = store
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close; no shutdown before, which would end a connection in order that is to be reset."""
        self._open.discard(request)
        self.close_request(request)

    def server_close(self) -> None:
        super().server_close()
        for request in list(self._open):
            with contextlib.suppress(OSError):  # its own thread was faster
                request.shutdown(socket.SHUT_RDWR)


class _Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    rbufsize = 65536
    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # a client that gave up
            while request := self._read():
                answer = self.server.store.answer(request)
                if answer is None or self.server.store.closing.is_set():
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                    return
                self._write(request, answer)

    def _read(self) -> Request | None:
        line = self.rfile.readline(65536).decode("ascii", "replace").split()
        headers = {}
        while (header := self.rfile.readline(65536)) not in (b"\r\n", b"\n", b""):
            name, _, value = header.partition(b":")
            headers[name.strip().lower()] = value.strip()
        self.rfile.read(int(headers.get(b"content-length", 0)))
        if len(line) != 3:
            return None
        method, target, _ = line
        path, _, query = target.partition("?")
        bucket, _, key = path.lstrip("/").partition("/")
        values = dict(parse_qsl(query, keep_blank_values=True, errors="surrogateescape"))
        oss = headers.get(b"authorization", b"").startswith(b"OSS")
        return Request(method, bucket, unquote_to_bytes(key), values, "oss" if oss else "s3")

    def _write(self, request: Request, answer: Answer) -> None:
        length = len(answer.body) if answer.length is None else answer.length
        named = f"x-{'oss' if request.dialect == 'oss' else 'amz'}-request-id"
        headers = {"Content-Type": "application/xml", **(answer.headers or {}), named: "1", "Content-Length": length}
        lines = [f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}", *(f"{n}: {v}" for n, v in headers.items())]
        body = b"" if request.method == "HEAD" else answer.body
        self.wfile.write("\r\n".join([*lines, "", ""]).encode() + body)
