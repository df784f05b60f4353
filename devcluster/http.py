"""What the HTTP servers of this package share: loopback, threads, silence, a connection for each request."""

import ssl
import sys
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from typing import Any


class Server(ThreadingHTTPServer):
    """Calls ``serve`` for every request, from now until ``stop``; by TLS where a context is given."""

    request_queue_size = 128

    def __init__(self, serve: Callable[["Call"], None], context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Call)
        self.serve, self.port = serve, self.server_address[1]
        self.socket = context.wrap_socket(self.socket, server_side=True) if context else self.socket
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away, as they do in the middle of watches."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Call(BaseHTTPRequestHandler):
    """One request; whoever does not ``answer`` it ends the connection without a word."""

    server: Server
    protocol_version = "HTTP/1.1"  # whose chunks a client reads as they come

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        self.close_connection = True
        self.server.serve(self)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def answer(self, code: int, parts: Iterable[bytes], retry_after: int = 0) -> None:
        """Send an answer in parts, as they come."""
        self.send_response(code)
        self.send_header("Connection", "close")
        self.send_header("Transfer-Encoding", "chunked")
        if retry_after:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        for part in chain(filter(None, parts), [b""]):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
