"""Masters are asked over real HTTP: what they say, and how they fail."""

import json
import socket
import struct
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controllers.kube.errors import NoAnswer, ServerError
from controllers.master_http import DirectTransport, HttpError, NotHttpError, ServiceProxyTransport, service_of
from controllers.master_snapshot import ClusterAddress, MasterSnapshot, Reads, Reason, cache_status, supported
from controllers.masters import look
from devcluster.master import AlluxioMaster
from tests.master_kit import (
    DIRECT,
    GIB,
    HASTY,
    INFO,
    USUAL,
    WAIT,
    Serve,
    address,
    closed_port,
    master,
    metrics,
    reply,
    sends,
)
from workqueue.clock import FakeClock


def test_a_look_finds_what_the_master_says(serve: Serve) -> None:
    server = serve(master({**USUAL, "local": 300, "remote": 100, "ufs": 100}))
    found = look(DIRECT, address(server), 5.0)
    where = f"127.0.0.1:{server.port}"
    assert found == MasterSnapshot(
        reachable=True,
        reason=Reason.REACHABLE,
        message=f"the master {where} answers",
        polled_at=5.0,
        address=where,
        version="2.9.6",
        start_time_ms=1000,
        total_paths=7,
        capacity_bytes=4 * GIB,
        used_bytes=GIB,
        workers=2,
        lost_workers=0,
        reads=Reads(300, 100, 100),
    )


def test_the_double_of_devcluster_is_read_like_a_master(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    with AlluxioMaster(tmp_path) as double:
        found = look(DirectTransport(), ClusterAddress((f"127.0.0.1:{double.port}",), double.web_port), 0.0)
    assert (found.reason, found.version) == (Reason.REACHABLE, "2.9.6")
    assert (found.capacity_bytes, found.used_bytes, found.total_paths) == (0, 0, 1)
    assert found.start_time_ms


def test_the_version_is_asked_for_once_per_start_of_the_master(serve: Serve) -> None:
    values: dict[str, Any] = {**USUAL}
    server = serve(master(values))
    first = look(DIRECT, address(server), 0.0)
    second = look(DIRECT, address(server), 1.0, first)
    assert replace(second, polled_at=0.0) == first
    values["start"] = 2000
    look(DIRECT, address(server), 2.0, second)
    asked = [server.paths.get(timeout=WAIT) for _ in range(5)]
    assert [path for path in asked if "info" in path] == ["/api/v1/master/info"] * 2


def test_a_master_that_hides_its_version_is_usable_all_the_same(serve: Serve) -> None:
    def answer(connection: socket.socket, path: str) -> None:
        ok = path == "/metrics/json/"
        connection.sendall(reply(metrics(**USUAL)) if ok else reply(b"", "403 Forbidden"))

    found = look(DIRECT, address(serve(answer)), 0.0)
    assert (found.reachable, found.version, found.used_bytes) == (True, "", GIB)


@pytest.mark.parametrize("version", ["304", "300-SNAPSHOT", "3.1.0", "1.8.2", "2.4.1", "AI-3.5"])
def test_another_major_version_is_reachable_and_said_to_be_unsupported(serve: Serve, version: str) -> None:
    server = serve(master(USUAL, json.dumps({"version": version, "startTimeMs": 1000}).encode()))
    found = look(DIRECT, address(server), 0.0)
    assert (found.reachable, found.reason, found.version) == (True, Reason.UNSUPPORTED_VERSION, version)
    again = look(DIRECT, address(server), 1.0, found)
    assert again.reason is Reason.UNSUPPORTED_VERSION


@pytest.mark.parametrize("version", ["2.5.0", "2.9.6", "2.10.0-SNAPSHOT", "2.x", ""])
def test_every_2x_from_2_5_is_supported(version: str) -> None:
    assert supported(version)


def test_the_leader_is_the_one_that_answers_and_is_asked_first_the_next_time(serve: Serve) -> None:
    """Standby masters keep their web port closed. The addresses of this machine stand for three masters."""
    server = serve(master(USUAL))
    names = ("127.0.0.3:1", "127.0.0.1:1", "127.0.0.2:1")  # only 127.0.0.1 listens on the web port
    found = look(DIRECT, ClusterAddress(names, server.port), 0.0)
    assert (found.reachable, found.address) == (True, "127.0.0.1:1")
    tried = []

    class Recorder(DirectTransport):
        def get(self, host: str, port: int, path: str) -> tuple[int, bytes]:
            tried.append(host)
            return super().get(host, port, path)

    look(Recorder(), ClusterAddress(("127.0.0.0:1", *names), server.port), 0.0, found)
    assert tried == ["127.0.0.1"]


SECRET = b"s3cret"


def _reset(connection: socket.socket, path: str) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _drip(connection: socket.socket, path: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        connection.sendall(b"1")
        threading.Event().wait(0.02)


def _drip_headers(connection: socket.socket, path: str) -> None:
    while True:
        connection.sendall(b"X")
        threading.Event().wait(0.02)


def _flood(connection: socket.socket, path: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(SECRET * 10_000)


HOSTILE = {
    "closes": (lambda connection, path: None, Reason.WEB_PORT_UNREACHABLE),
    "resets": (_reset, Reason.WEB_PORT_UNREACHABLE),
    "cut off": (sends(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + SECRET), Reason.WEB_PORT_UNREACHABLE),
    "cut chunk": (sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n99\r\nx"), Reason.WEB_PORT_UNREACHABLE),
    "drips": (_drip, Reason.WEB_PORT_UNREACHABLE),
    "drips headers": (_drip_headers, Reason.WEB_PORT_UNREACHABLE),
    "floods": (_flood, Reason.NOT_ALLUXIO),
    "not http": (sends(b"\x00\x00\x12\x04 s3cret\r\n\r\n"), Reason.NOT_ALLUXIO),
    "redirects": (sends(reply(SECRET, "302 Found", "Location: http://127.0.0.1:1/s3cret\r\n")), Reason.NOT_ALLUXIO),
    "404": (sends(reply(SECRET, "404 s3cret")), Reason.NOT_ALLUXIO),
    "html": (sends(reply(b"<html>s3cret</html>")), Reason.NOT_ALLUXIO),
    "json list": (sends(reply(b'["s3cret"]')), Reason.NOT_ALLUXIO),
    "a worker": (sends(reply(b'{"gauges": {"Worker.CapacityTotal": {"value": 1}}}')), Reason.NOT_ALLUXIO),
    "deep json": (sends(reply(b"[" * 150_000)), Reason.NOT_ALLUXIO),
    "not utf-8": (sends(reply(b'{"\xff": 1}')), Reason.NOT_ALLUXIO),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_server_ends_in_a_reason_and_no_byte_of_its_answer_is_told(serve: Serve, name: str) -> None:
    """The RPC port (here the same one) answers, so a load may go on, but the cache is not known."""
    answer, reason = HOSTILE[name]
    found = look(HASTY if "drips" in name else DIRECT, address(serve(answer)), 1.0)
    assert (found.reachable, found.reason) == (True, reason)
    assert SECRET.decode() not in repr(found)
    assert found.used_bytes is None
    assert cache_status(found, 100) is None


def test_a_dead_host_is_unreachable() -> None:
    with closed_port() as port:
        found = look(DIRECT, ClusterAddress((f"127.0.0.1:{port}",), port), 1.0)
    assert (found.reachable, found.reason) == (False, Reason.UNREACHABLE)
    assert "connection refused" in found.message


def test_a_name_that_does_not_exist_is_unreachable() -> None:
    found = look(DIRECT, ClusterAddress(("master.invalid:19998",)), 1.0)
    assert (found.reachable, found.reason) == (False, Reason.UNREACHABLE)
    assert "cannot be resolved" in found.message


def test_without_the_web_port_the_rpc_port_decides(serve: Serve) -> None:
    rpc = serve(sends(b""))
    with closed_port() as web:
        found = look(DIRECT, ClusterAddress((f"127.0.0.1:{rpc.port}",), web), 1.0)
    assert (found.reachable, found.reason) == (True, Reason.WEB_PORT_UNREACHABLE)


def test_a_master_that_accepts_connections_and_says_nothing_is_not_reachable() -> None:
    """As one that is stopped, or stands still in a long collection of garbage: the kernel accepts for it."""
    with socket.create_server(("127.0.0.1", 0)) as stopped:
        port = stopped.getsockname()[1]
        found = look(replace(HASTY, connect_seconds=0.4), ClusterAddress((f"127.0.0.1:{port}",), port), 1.0)
    assert (found.reachable, found.reason) == (False, Reason.UNREACHABLE)
    assert "no RPC port answers" in found.message


def test_a_cluster_of_many_masters_that_hang_is_given_up_and_not_called_dead() -> None:
    """16 masters, each of which costs 10 s: after 30 s no further one is tried."""
    clock, tried = FakeClock(), []

    class Hanging(DirectTransport):
        def get(self, host: str, port: int, path: str) -> tuple[int, bytes]:
            tried.append(host)
            clock.advance(10)
            raise HttpError("no answer in time")

        def answers(self, host: str, port: int) -> bool | None:
            clock.advance(3)
            return False

    cluster = ClusterAddress(tuple(f"m{number}:1" for number in range(16)))
    found = look(Hanging(), cluster, 0.0, monotonic=clock.monotonic)
    assert len(tried) == 3
    assert clock.monotonic() == 33
    assert (found.reachable, found.reason) == (None, Reason.UNKNOWN)


def test_something_else_on_the_web_port_without_an_rpc_port_is_not_reachable(serve: Serve) -> None:
    web = serve(sends(reply(b"hello")))
    with closed_port() as rpc:
        found = look(DIRECT, ClusterAddress((f"127.0.0.1:{rpc}",), web.port), 1.0)
    assert (found.reachable, found.reason) == (False, Reason.NOT_ALLUXIO)


def test_no_proxy_of_the_environment_is_used(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert look(DIRECT, address(serve(master(USUAL))), 0.0).reachable


def test_no_more_of_an_answer_is_read_than_the_limit_allows(serve: Serve) -> None:
    with pytest.raises(NotHttpError, match="larger than 200000 bytes"):
        DIRECT.get("127.0.0.1", serve(_flood).port, "/")


# -- through the API server -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("m-0.ns", ("ns", "m-0")),
        ("m.ns.svc", ("ns", "m")),
        ("m.ns.svc.cluster.local", ("ns", "m")),
        ("m-0.m.ns.svc.cluster.local", ("ns", "m")),
        ("m-0", None),
        ("localhost", None),
        ("10.0.0.1", None),
        ("::1", None),
        ("alluxio.example.com", None),
    ],
)
def test_a_name_of_the_cluster_is_a_service_and_any_other_is_not(host: str, service: tuple[str, str] | None) -> None:
    assert service_of(host) == service


def test_from_outside_of_the_cluster_the_same_is_read_through_the_api_server() -> None:
    asked = []

    def service_get(*call: Any) -> bytes:
        asked.append(call)
        return INFO if call[-1].endswith("info") else metrics(**USUAL)

    found = look(ServiceProxyTransport(service_get), ClusterAddress(("m-0.ns:19998",)), 0.0)
    assert (found.reachable, found.version, found.used_bytes) == (True, "2.9.6", GIB)
    assert asked[0] == ("ns", "m-0", 19999, "/metrics/json/")


@pytest.mark.parametrize("error", [ServerError(503, "s3cret", "s3cret"), NoAnswer("Timeout", "s3cret")], ids=repr)
def test_from_outside_of_the_cluster_a_silent_master_is_unknown_not_dead(error: Exception) -> None:
    def service_get(*call: Any) -> bytes:
        raise error

    found = look(ServiceProxyTransport(service_get), ClusterAddress(("m-0.ns:19998",)), 0.0)
    assert (found.reachable, found.reason) == (None, Reason.UNKNOWN)
    assert "s3cret" not in found.message


def test_from_outside_of_the_cluster_an_endless_answer_is_refused() -> None:
    found = look(ServiceProxyTransport(lambda *call: b" " * 5_000_000), ClusterAddress(("m-0.ns:19998",)), 0.0)
    assert (found.reachable, found.reason) == (False, Reason.NOT_ALLUXIO)


def test_from_outside_of_the_cluster_an_address_is_asked_directly(serve: Serve) -> None:
    transport = ServiceProxyTransport(lambda *call: b"")
    assert look(transport, address(serve(master(USUAL))), 0.0).reachable
    with closed_port() as port:
        assert look(transport, ClusterAddress((f"127.0.0.1:{port}",), port), 0.0).reachable is False
