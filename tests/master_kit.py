"""What the tests of masters share: servers on real sockets that answer as a master does, or as none does."""

import json
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from controllers.master_http import DirectTransport
from controllers.master_snapshot import ClusterAddress

WAIT = 40.0  # real seconds after which a test gives up
DIRECT = DirectTransport(connect_seconds=WAIT, total_seconds=WAIT, max_body_bytes=200_000)
HASTY = replace(DIRECT, total_seconds=0.4)  # for masters that never end their answer
GIB = 2**30


def metrics(**values: Any) -> bytes:
    """Return ``/metrics/json/`` of a master: gauges, and counters for the names of bytes read."""
    names = {
        "start": "Master.StartTime",
        "paths": "Master.TotalPaths",
        "capacity": "Cluster.CapacityTotal",
        "used": "Cluster.CapacityUsed",
        "workers": "Cluster.Workers",
        "lost": "Cluster.LostWorkers",
    }
    reads = {"local": "Cluster.BytesReadLocal", "remote": "Cluster.BytesReadRemote", "ufs": "Cluster.BytesReadUfsAll"}
    data = {
        "gauges": {names[name]: {"value": value} for name, value in values.items() if name in names},
        "counters": {reads[name]: {"count": value} for name, value in values.items() if name in reads},
    }
    return json.dumps(data).encode()


USUAL = {"start": 1000, "paths": 7, "capacity": 4 * GIB, "used": GIB, "workers": 2, "lost": 0}
INFO = b'{"version": "2.9.6", "startTimeMs": 1000, "configuration": {"secret": "s3cret"}}'


def reply(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


class Server:
    """A server on a loopback port, whose answer to each connection is a function of the request's path."""

    def __init__(self, answer: Callable[[socket.socket, str], None]) -> None:
        self.answer, self.paths = answer, queue.Queue[str]()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection = self.socket.accept()[0]
            except OSError:
                return
            self.threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            self.threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            request = connection.recv(65536).decode(errors="replace").split()
            if len(request) > 1:
                self.paths.put(request[1])
                try:
                    self.answer(connection, request[1])
                except OSError:
                    return  # the client has gone, as it should

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for thread in self.threads:
            thread.join(WAIT)


Serve = Callable[..., Server]


def sends(*parts: bytes) -> Callable[[socket.socket, str], None]:
    return lambda connection, path: connection.sendall(b"".join(parts))


def master(values: dict[str, Any], info: bytes = INFO) -> Callable[[socket.socket, str], None]:
    """Answer as a master; ``values`` may change between two requests."""

    def answer(connection: socket.socket, path: str) -> None:
        connection.sendall(reply(metrics(**values) if path == "/metrics/json/" else info))

    return answer


def address(server: Server) -> ClusterAddress:
    """Return a cluster whose RPC port is the web port: so that one server stands for both."""
    return ClusterAddress((f"127.0.0.1:{server.port}",), server.port)


@contextmanager
def closed_port(taken: socket.socket | None = None) -> Iterator[int]:
    """Give a port that refuses connections (until ``taken`` listens) and that nobody else can take."""
    with taken or socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
