"""The HTTP ports of the controller: /healthz and /readyz on one, /metrics on the other. Each request has a thread.

A check is a callable that returns "" or why it fails. It must not wait: it looks at a flag, a time, a thread.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

Check = Callable[[], str]
#: A client that does not send, or does not read, is cut off after so long.
CLIENT_SECONDS = 10.0

logger = logging.getLogger(__name__)


class CannotListenError(Exception):
    """The address is taken or not ours; ``str()`` is one line for a person."""


class Reply(NamedTuple):
    """What a route answers."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


#: From the query and the Accept header to a reply.
Route = Callable[[Mapping[str, list[str]], str], Reply]


class HttpServer:
    """Routes on one port; ``bind`` is ``host:port``, with port 0 for any free one."""

    def __init__(self, name: str, bind: str, routes: Mapping[str, Route]) -> None:
        host, _, port = bind.rpartition(":")
        try:
            self._server = _Server((host, int(port)), _handler(routes))
        except (OSError, OverflowError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise CannotListenError(f"cannot serve {name} on {bind}: {why}") from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name=f"http-{name}", daemon=True
        )

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Answer from now on; before, connections wait."""
        self._thread.start()

    def stop(self) -> None:
        """Close the port, within a second; requests under way are cut off at the end of the process."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(1.0)
        self._server.server_close()


class HealthServer(HttpServer):
    """``/healthz``: restart me where it fails. ``/readyz``: I do my work. ``?verbose`` names each check."""

    def __init__(self, bind: str, live: Mapping[str, Check], ready: Mapping[str, Check]) -> None:
        routes = {
            "/healthz": lambda query, _: _checked("healthz", live, "verbose" in query),
            "/readyz": lambda query, _: _checked("readyz", ready, "verbose" in query),
        }
        super().__init__("health", bind, routes)


class MetricsServer(HttpServer):
    """``/metrics`` in the format that the scraper asks for."""

    def __init__(self, bind: str, registry: CollectorRegistry) -> None:
        def metrics(query: Mapping[str, list[str]], accept: str) -> Reply:
            encode, content_type = choose_encoder(accept)
            return Reply(HTTPStatus.OK, encode(registry), content_type)

        super().__init__("metrics", bind, {"/metrics": metrics})


def _checked(name: str, checks: Mapping[str, Check], verbose: bool) -> Reply:
    results = {check: _result(check, run) for check, run in checks.items()}
    lines = [f"[-]{check} failed: {why}" if why else f"[+]{check} ok" for check, why in results.items()]
    if any(results.values()):
        text = "\n".join([*lines, f"{name} check failed"])
        return Reply(HTTPStatus.SERVICE_UNAVAILABLE, text.encode())
    return Reply(HTTPStatus.OK, "\n".join([*lines, f"{name} check passed"]).encode() if verbose else b"ok")


def _result(name: str, check: Check) -> str:
    try:
        return check()
    except Exception as error:  # a check with a bug must fail, not pass by breaking the answer
        logger.exception("health: the check %s broke", name)
        return f"the check itself broke: {type(error).__name__}"


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log one line: a client that went away is no traceback."""
        logger.debug("http: a request of %s ended early", client_address, exc_info=True)


def _handler(routes: Mapping[str, Route]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_SECONDS
        server_version, sys_version = "fluidctl", ""

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            route = routes.get(url.path)
            reply = Reply(HTTPStatus.NOT_FOUND, b"not found")
            if route:
                reply = route(parse_qs(url.query, keep_blank_values=True), self.headers.get("Accept", ""))
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(reply.body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: a probe every few seconds is no news."""

    return Handler
