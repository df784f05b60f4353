"""An HTTP server that answers from a script, to do to our client what real servers, proxies and networks do."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml

PATIENCE = 40.0  # real seconds after which a test gives up; what hangs does so for longer
_HANGS = 120.0


@dataclass(frozen=True)
class Seen:
    """A request as it came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case
    body: Any

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch") == "true"


class Exchange:
    """What an answer may do with one connection."""

    def __init__(self, handler: BaseHTTPRequestHandler, seen: Seen, closing: threading.Event) -> None:
        self.handler = handler
        self.seen = seen
        self.closing = closing

    def head(self, status: int, headers: dict[str, str]) -> None:
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name, value)
        self.handler.end_headers()

    def write(self, data: bytes) -> None:
        self.handler.wfile.write(data)
        self.handler.wfile.flush()

    def hang(self) -> None:
        self.closing.wait(_HANGS)
        self.cut()

    def cut(self) -> None:
        self.handler.close_connection = True


Answer = Callable[[Exchange], None]


def text(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    def answer(exchange: Exchange) -> None:
        exchange.head(status, {"Content-Length": str(len(body)), **(headers or {})})
        exchange.write(body)

    return answer


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    return text(json.dumps(body).encode(), status, {"Content-Type": "application/json", **(headers or {})})


def failure(status: int, reason: str, message: str = "because", headers: dict[str, str] | None = None) -> Answer:
    return reply(status_of(status, reason, message), status, headers)


def status_of(code: int, reason: str, message: str = "because") -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": message}


def hang(exchange: Exchange) -> None:
    """A half-open connection: the request was read, no byte ever comes back."""
    exchange.hang()


def reset(exchange: Exchange) -> None:
    exchange.cut()


def stream(*parts: dict[str, Any] | bytes | threading.Event, end: str = "eof") -> Answer:
    """Events (or raw bytes) as chunks; an Event is waited for. Then "eof", "hang", or "cut" within a chunk."""

    def answer(exchange: Exchange) -> None:
        exchange.head(200, {"Transfer-Encoding": "chunked", "Content-Type": "application/json"})
        for part in parts:
            if isinstance(part, threading.Event):
                part.wait(_HANGS)
                continue
            data = part if isinstance(part, bytes) else json.dumps(part).encode() + b"\n"
            exchange.write(b"%x\r\n%b\r\n" % (len(data), data))
        if end == "hang":
            exchange.hang()
        elif end == "cut":
            exchange.write(b'ffff\r\n{"type": "MODIF')
            exchange.cut()
        else:
            exchange.write(b"0\r\n\r\n")

    return answer


@dataclass
class ScriptedServer:
    """Answers the requests in order, or as ``answer`` says. Beyond the script a watch is silent, all else hangs."""

    url: str
    script: list[Answer] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    answer: Callable[[Seen], Answer] | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)

    def next(self, seen: Seen) -> Answer:
        with self.changed:
            self.seen.append(seen)
            self.changed.notify_all()
            if self.answer is not None:
                return self.answer(seen)
            if self.script:
                return self.script.pop(0)
            return stream(end="hang") if seen.is_watch else hang

    def wait_for_requests(self, count: int) -> Seen:
        """Return request number ``count``, once it is there."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.seen) >= count, PATIENCE), (
                f"only {len(self.seen)} requests came"
            )
            return self.seen[count - 1]


@contextlib.contextmanager
def serve(*script: Answer) -> Iterator[ScriptedServer]:
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            served.connections += 1

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            url = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen = Seen(self.command, url.path, dict(parse_qsl(url.query)), headers, body)
            try:
                served.next(seen)(Exchange(self, seen, closing))
            except ConnectionError:
                self.close_connection = True  # the client went away

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            """The tests look at ``seen`` instead."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 64

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that goes away in mid-answer is part of the script."""

    with Server(("127.0.0.1", 0), Handler) as server:
        served = ScriptedServer(f"http://127.0.0.1:{server.server_address[1]}", list(script))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            closing.set()
            server.shutdown()
            thread.join()


def kubeconfig(directory: Path, url: str, **user: str) -> str:
    """Write a kubeconfig whose context "test" points to the URL, and return its path."""
    path = directory / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "secret", **user}}],
        "contexts": [
            {"name": "test", "context": {"cluster": "c", "user": "u", "namespace": "team"}},
            {"name": "other", "context": {"cluster": "c", "user": "u"}},
        ],
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)
