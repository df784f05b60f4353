"""One GET of a master's web port, with limits that hold against a server that hangs, drips, floods or redirects."""

import http.client
import ipaddress
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from controllers.kube.errors import KubeError

CONNECT_SECONDS = 3.0
TOTAL_SECONDS = 10.0
MAX_BODY_BYTES = 4 * 1024 * 1024
#: What a client of HTTP/2 says first (RFC 9113, 3.4), with empty settings; a gRPC server answers with its own.
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


class HttpError(Exception):
    """No answer. ``str()`` is a short text of ours that quotes nothing of what the server sent."""


class NotHttpError(HttpError):
    """Something answers, but it does not speak HTTP within our limits."""


class HttpTransport(Protocol):
    """How requests reach the masters. Both methods return or raise within a bounded time."""

    def get(self, host: str, port: int, path: str) -> tuple[int, bytes]:
        """Return status and body as they came, a redirect too; raise HttpError."""

    def answers(self, host: str, port: int) -> bool | None:
        """Return whether anything answers there to who speaks gRPC, or None where that cannot be told from here."""


@dataclass(frozen=True)
class DirectTransport:
    """Plain sockets: no proxy of the environment, no redirect followed, a new connection for each request.

    The limits cover everything except the look-up of the name, which the resolver's own time-outs bound.
    """

    connect_seconds: float = CONNECT_SECONDS
    total_seconds: float = TOTAL_SECONDS
    max_body_bytes: int = MAX_BODY_BYTES

    def get(self, host: str, port: int, path: str) -> tuple[int, bytes]:
        """See HttpTransport."""
        try:
            deadline = time.monotonic() + self.total_seconds
            with _connect(host, port, self.connect_seconds) as sock:
                sock.deadline = deadline
                return self._exchange(sock, host, port, path)
        except TimeoutError as error:
            raise HttpError("no answer in time") from error
        except (ConnectionResetError, BrokenPipeError, http.client.IncompleteRead) as error:
            raise HttpError("it breaks off the connection") from error
        except OSError as error:
            raise HttpError((error.strerror or type(error).__name__).lower()) from error
        except (http.client.HTTPException, ValueError) as error:
            raise NotHttpError("it does not speak HTTP") from error

    def _exchange(self, sock: "_DeadlineSocket", host: str, port: int, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(host, port)
        connection.sock = sock
        connection.request("GET", path, headers={"Accept": "application/json", "Connection": "close"})
        with connection.getresponse() as response:
            body = response.read(self.max_body_bytes + 1)
            if len(body) > self.max_body_bytes:
                raise NotHttpError(f"its answer is larger than {self.max_body_bytes} bytes")
            if response.length:
                raise http.client.IncompleteRead(body)
            return response.status, body

    def answers(self, host: str, port: int) -> bool | None:
        """See HttpTransport. The kernel accepts connections for a process that hangs; only the process says a word."""
        try:
            sock = _connect(host, port, self.connect_seconds)
        except OSError:
            return False
        with sock:
            sock.deadline = time.monotonic() + self.connect_seconds
            try:
                sock.sendall(_GREETING)
                sock.recv_into(bytearray(1))
            except TimeoutError:
                return False
            except OSError:  # it breaks off the connection: somebody is there
                return True
        return True


@dataclass(frozen=True)
class ServiceProxyTransport:
    """Requests through the API server's service proxy, for a controller that runs outside of the cluster.

    ``service_get(namespace, service, port, path)`` is ``Cluster.service_proxy_get``. A name that is not one of the
    cluster's DNS (an address, localhost) goes to ``direct``.
    """

    service_get: Callable[[str, str, int, str], bytes]
    direct: HttpTransport = DirectTransport()

    def get(self, host: str, port: int, path: str) -> tuple[int, bytes]:
        """See HttpTransport."""
        service = service_of(host)
        if service is None:
            return self.direct.get(host, port, path)
        try:
            body = self.service_get(*service, port, path)
        except KubeError as error:  # its text may quote the service's own answer
            raise HttpError(f"not reached through the API server ({error.status or type(error).__name__})") from error
        if len(body) > MAX_BODY_BYTES:
            raise NotHttpError(f"its answer is larger than {MAX_BODY_BYTES} bytes")
        return 200, body

    def answers(self, host: str, port: int) -> bool | None:
        """See HttpTransport. The API server proxies HTTP alone: of another port nothing can be told."""
        return self.direct.answers(host, port) if service_of(host) is None else None


def service_of(host: str) -> tuple[str, str] | None:
    """Return namespace and service of a name of the cluster's DNS, or None where it is not one.

    ``[pod.]service.namespace.svc[.zone]`` and ``service.namespace`` (Kubernetes DNS specification 1.1).
    """
    labels = host.split(".")
    if ":" in host or all(label.isdecimal() for label in labels):
        return None
    for place in (2, 3):
        if labels[place : place + 1] == ["svc"]:
            return labels[place - 1], labels[place - 2]
    return (labels[1], labels[0]) if len(labels) == 2 else None


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``[v6]:port``; raise ValueError where it is neither."""
    host, _, port = address.rpartition(":")
    bare = str(ipaddress.IPv6Address(host[1:-1])) if host.startswith("[") and host.endswith("]") else host
    if not bare or (":" in bare and bare == host) or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{address!r} is not host:port")
    return bare, int(port)


class _DeadlineSocket(socket.socket):
    """A socket whose reads and writes together end at a deadline: a time-out alone begins anew with every byte."""

    deadline = 0.0

    def recv_into(self, *args: Any) -> int:
        self._restart()
        return super().recv_into(*args)

    def sendall(self, *args: Any) -> None:
        self._restart()
        super().sendall(*args)

    def _restart(self) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.settimeout(left)


def _connect(host: str, port: int, seconds: float) -> _DeadlineSocket:
    """Connect to the first of the host's addresses that accepts, all of them together within the seconds."""
    end, last = time.monotonic() + seconds, OSError("no address")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise OSError(0, "the name cannot be resolved") from error
    for family, kind, protocol, _, address in found:
        sock = _DeadlineSocket(family, kind, protocol)
        try:
            sock.settimeout(max(0.01, end - time.monotonic()))
            sock.connect(address)
            return sock
        except OSError as error:
            sock.close()
            last = error
    raise last
