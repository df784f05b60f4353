"""Masters are asked over real HTTP: what they say, how they fail, and that none holds up another."""

import itertools
import json
import queue
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controllers.kube.errors import NoAnswer, ServerError
from controllers.master_http import (
    DirectTransport,
    HttpError,
    NotHttpError,
    ServiceProxyTransport,
    service_of,
    split_address,
)
from controllers.master_snapshot import (
    ClusterAddress,
    HitRatios,
    MasterSnapshot,
    NotAlluxioError,
    Reads,
    Reason,
    cache_status,
    hit_ratios,
    parse_info,
    parse_metrics,
    supported,
    worth_showing,
)
from controllers.masters import MasterPoller, look
from devcluster.master import AlluxioMaster
from workqueue.clock import FakeClock

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


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def start(answer: Callable[[socket.socket, str], None]) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


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


# -- one look ---------------------------------------------------------------------------------------------------------


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


# -- parsing ----------------------------------------------------------------------------------------------------------

NO_COUNT: list[Any] = [None, True, "7", "NaN", float("nan"), float("inf"), -1, 2**63, 10**400, 1e300, [], {}]


@pytest.mark.parametrize("value", NO_COUNT, ids=[repr(value)[:12] for value in NO_COUNT])
@pytest.mark.parametrize("name", [*USUAL, "local", "remote", "ufs"])
def test_a_value_that_is_no_count_is_a_gap_and_no_crash(name: str, value: Any) -> None:
    whole = {**USUAL, "local": 1, "remote": 1, "ufs": 1}
    found = parse_metrics(metrics(**{**whole, name: value}), "m:1", 0.0)
    expected = parse_metrics(metrics(**{key: item for key, item in whole.items() if key != name}), "m:1", 0.0)
    assert found == expected


def test_reads_on_the_own_node_are_added_up_as_alluxio_does_and_throughput_is_read() -> None:
    counts = {"Local": 1, "Domain": 10, "Direct": 100, "Remote": 7, "UfsAll": 3}
    rates = {"Local": 2, "Remote": 5, "Ufs": 4}
    body = {
        "counters": {f"Cluster.BytesRead{name}": {"count": value} for name, value in counts.items()},
        "gauges": {f"Cluster.BytesRead{name}Throughput": {"value": value} for name, value in rates.items()},
    }
    found = parse_metrics(json.dumps(body).encode(), "m:1", 0.0)
    assert (found.reads, found.throughput) == (Reads(111, 7, 3), Reads(2, 5, 4))


def test_any_json_gives_a_snapshot_or_is_refused_and_never_nan() -> None:
    """A thousand random trees of JSON, some of them almost right."""
    rand = random.Random(7)
    names = [
        "gauges",
        "counters",
        "value",
        "count",
        "Cluster.CapacityUsed",
        "Cluster.CapacityTotal",
        "Master.StartTime",
    ]

    def tree(depth: int) -> Any:
        if depth and rand.random() < 0.7:
            return {rand.choice(names): tree(depth - 1) for _ in range(4)}
        return rand.choice([*NO_COUNT, 1, 5.5])

    understood = 0
    for _ in range(1000):
        body = json.dumps(tree(3)).encode()
        try:
            found = parse_metrics(body, "m:1", 0.0)
        except NotAlluxioError:
            continue
        understood += 1
        assert "nan" not in repr(cache_status(found, 3)).lower()
    assert understood > 10


@pytest.mark.parametrize("version", [None, 3, "<b>", "2.9 6", "", "x" * 41, "2.9\n6", "2.9.6é"])
def test_a_version_that_is_none_reads_as_unknown(version: Any) -> None:
    assert parse_info(json.dumps({"version": version, "startTimeMs": 5}).encode()) == ("", 5)


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":1", "host:x", "host:70000", "::1:19998", "[::1]", "a:b:c", "h:１"]
)
def test_what_is_not_host_and_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        split_address(text)


def test_host_and_port_are_split() -> None:
    assert [split_address("h.ns:19998"), split_address("[::1]:1")] == [("h.ns", 19998), ("::1", 1)]


# -- ratios and the status --------------------------------------------------------------------------------------------


def test_the_measured_reads_of_a_real_alluxio_give_its_own_hit_rate() -> None:
    """2.9.6, one worker, 22,034,497 bytes read twice: Cluster.CacheHitRate said 0.4985."""
    ratios = hit_ratios(Reads(22034497, 21903451, 22034497))
    assert ratios is not None
    assert (round(ratios.total, 4), round(ratios.local, 4), ratios.remote) == (0.4985, 0.4985, 0.0)


def test_ratios_are_shares_that_add_up_for_any_reads() -> None:
    for local, remote, ufs in itertools.product([0, 1, 7, 10**18], repeat=3):
        ratios = hit_ratios(Reads(local, remote, ufs))
        if local + remote == 0:
            assert ratios is None
            continue
        assert ratios is not None
        assert all(0 <= share <= 1 for share in ratios)
        assert ratios.local + ratios.remote == pytest.approx(ratios.total)


def test_reads_since_a_base_count_alone_and_a_base_from_before_a_restart_gives_none() -> None:
    assert hit_ratios(Reads(150, 100, 100), Reads(50, 100, 100)) == HitRatios(1.0, 1.0, 0.0)
    assert hit_ratios(Reads(5, 5, 5), Reads(50, 5, 5)) is None


def snapshot(**changes: Any) -> MasterSnapshot:
    usual = MasterSnapshot(
        True, Reason.REACHABLE, "", 0.0, capacity_bytes=4 * GIB, used_bytes=GIB, workers=2, lost_workers=1
    )
    return replace(usual, **changes)


def test_the_status_has_the_numbers_and_the_map_has_the_words_of_fluid() -> None:
    shown = cache_status(
        snapshot(hit_ratios=HitRatios(0.75, 0.5, 0.25), throughput=Reads(60, 40, 10), polled_at=60.0), 3 * GIB
    )
    assert shown is not None
    status, states = shown
    assert (status.capacity_bytes, status.used_bytes, status.workers, status.lost_workers) == (4 * GIB, GIB, 2, 1)
    assert (status.cached_percentage, status.update_time) == ("33.3", "1970-01-01T00:01:00Z")
    assert status.hit_ratios == {"total": "75.0", "local": "50.0", "remote": "25.0"}
    assert states == {
        "cached": "1.00GiB",
        "cacheCapacity": "4.00GiB",
        "cachedPercentage": "33.3%",
        "cacheHitRatio": "75.0%",
        "localHitRatio": "50.0%",
        "remoteHitRatio": "25.0%",
        "cacheThroughputRatio": "90.0%",
        "localThroughputRatio": "60.0%",
        "remoteThroughputRatio": "30.0%",
    }


@pytest.mark.parametrize(("file_bytes", "shown"), [(None, ""), (0, ""), (1, "100.0"), (2 * GIB, "50.0")])
def test_the_percentage_is_known_for_a_counted_size_only_and_ends_at_100(file_bytes: int | None, shown: str) -> None:
    found = cache_status(snapshot(), file_bytes)
    assert found is not None
    assert found[0].cached_percentage == shown
    assert found[1].get("cachedPercentage", "") == (f"{shown}%" if shown else "")


@pytest.mark.parametrize(
    ("change", "worth"),
    [
        ({}, False),
        ({"polled_at": 9.0, "total_paths": 9}, False),
        ({"used_bytes": GIB + GIB // 26}, False),
        ({"used_bytes": GIB + GIB // 24}, True),
        ({"used_bytes": GIB - GIB // 24}, True),
        ({"used_bytes": None}, True),
        ({"hit_ratios": HitRatios(0.509, 0.509, 0.0)}, False),
        ({"hit_ratios": HitRatios(0.511, 0.511, 0.0)}, True),
        ({"hit_ratios": None}, True),
        ({"workers": 3}, True),
        ({"lost_workers": 2}, True),
        ({"capacity_bytes": 5 * GIB}, True),
        ({"reachable": False}, True),
        ({"reason": Reason.WEB_PORT_UNREACHABLE}, True),
        ({"version": "2.9.5"}, True),
        ({"start_time_ms": 7}, True),
    ],
    ids=str,
)
def test_only_a_change_beyond_its_threshold_is_worth_a_reconcile(change: dict[str, Any], worth: bool) -> None:
    old = snapshot(hit_ratios=HitRatios(0.5, 0.5, 0.0))
    assert worth_showing(old, replace(old, **change)) is worth


# -- the poller -------------------------------------------------------------------------------------------------------


class Scene:
    """A poller on a fake clock, over real sockets; without another ``rand`` its intervals are exact."""

    def __init__(self, rand: float = 0.5) -> None:
        self.clock = FakeClock()
        self.told: queue.Queue[str] = queue.Queue()
        self.others = set(threading.enumerate())  # such as those of an earlier test that took long to end
        self.poller: MasterPoller[str] = MasterPoller(
            self.told.put, transport=DIRECT, clock=self.clock, rand=lambda: rand, threads=4
        )
        self.poller.start()

    def rest(self) -> None:
        """Return once every thread waits; what began a visit must have been seen before."""
        threads = set(threading.enumerate()) - self.others
        self.clock.block_until(sum(thread.name.startswith("masters-") for thread in threads))

    def tick(self, seconds: float = 20.0) -> None:
        """Let every thread come to rest, and move time."""
        self.rest()
        self.clock.advance(seconds)


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.poller.stop()


def test_datasets_that_share_a_cluster_share_a_poll_and_are_all_told(scene: Scene, serve: Serve) -> None:
    values: dict[str, Any] = {**USUAL}
    server = serve(master(values))
    names = [f"127.0.0.1:{server.port}", f"LOCALHOST:{server.port}"]
    one, other = ClusterAddress(tuple(names), server.port), ClusterAddress(tuple(reversed(names)), server.port)
    for key in "abc":
        scene.poller.register(key, one)
        scene.poller.register(key, other)
    scene.told.get(timeout=WAIT)
    scene.rest()
    while not scene.told.empty():
        scene.told.get()
    values["workers"] = 3
    scene.tick()
    assert {scene.told.get(timeout=WAIT) for _ in range(3)} == {"a", "b", "c"}
    scene.rest()
    asked = [server.paths.get(timeout=WAIT) for _ in range(server.paths.qsize())]
    assert asked == ["/metrics/json/", "/api/v1/master/info", "/metrics/json/"]
    found = scene.poller.snapshot(other)
    assert found is not None
    assert found.workers == 3


def test_nothing_is_told_while_nothing_that_is_shown_moves(scene: Scene, serve: Serve) -> None:
    values: dict[str, Any] = {**USUAL}
    server = serve(master(values))
    scene.poller.register("a", address(server))
    scene.told.get(timeout=WAIT)
    for _ in range(5):
        values["paths"] += 1
        values["used"] += 1
        scene.tick()
    scene.rest()
    assert scene.told.empty()
    found = scene.poller.snapshot(address(server))
    assert found is not None
    assert found.used_bytes == GIB + 5


def test_a_small_difference_is_told_after_five_minutes(scene: Scene, serve: Serve) -> None:
    values: dict[str, Any] = {**USUAL}
    scene.poller.register("a", address(serve(master(values))))
    scene.told.get(timeout=WAIT)
    values["used"] += 1
    for _ in range(14):
        scene.tick()
    scene.rest()
    assert scene.told.empty()
    scene.tick()
    assert scene.told.get(timeout=WAIT) == "a"


def test_a_dead_master_is_asked_ever_more_rarely_and_its_return_is_told(scene: Scene) -> None:
    listener = socket.socket()
    with closed_port(listener) as port:
        cluster = ClusterAddress((f"127.0.0.1:{port}",), port)
        scene.poller.register("a", cluster)
        assert scene.told.get(timeout=WAIT) == "a"
        asked = []
        for wait in (40.0, 80.0, 160.0, 300.0, 300.0):
            scene.tick(wait - 0.1)
            scene.rest()
            before = scene.poller.snapshot(cluster)
            scene.tick(0.1)
            scene.rest()
            after = scene.poller.snapshot(cluster)
            assert before is not None
            assert after is not None
            asked.append(round(after.polled_at - before.polled_at, 3))
        assert asked == [40.0, 80.0, 160.0, 300.0, 300.0]
        assert scene.told.empty()
        listener.listen()
        for _ in range(4):  # connections of the next two looks: it answers by breaking them off
            threading.Thread(target=lambda: listener.accept()[0].close()).start()
        scene.tick(300.0)
        assert scene.told.get(timeout=WAIT) == "a"
        scene.rest()
        before = scene.poller.snapshot(cluster)
        scene.tick(40.0)  # another failure begins its own back-off
        scene.rest()
        assert scene.poller.snapshot(cluster) != before


@pytest.mark.parametrize(("rand", "seconds"), [(0.0, 18.0), (1.0, 22.0)])
def test_polls_are_spread_by_ten_percent(serve: Serve, rand: float, seconds: float) -> None:
    scene, server = Scene(rand), serve(master(USUAL))
    scene.poller.register("a", address(server))
    scene.told.get(timeout=WAIT)
    scene.tick(seconds - 0.01)
    scene.rest()
    assert server.paths.qsize() == 2  # numbers and version of the first look
    scene.tick(0.02)
    scene.rest()
    assert server.paths.qsize() == 3
    scene.poller.stop()


def test_a_restart_of_the_master_is_told(scene: Scene, serve: Serve) -> None:
    values: dict[str, Any] = {**USUAL}
    scene.poller.register("a", address(serve(master(values))))
    scene.told.get(timeout=WAIT)
    values["start"] = 2000
    scene.tick()
    assert scene.told.get(timeout=WAIT) == "a"


def test_hit_ratios_are_of_the_last_minute_in_which_anything_was_read(scene: Scene, serve: Serve) -> None:
    values: dict[str, Any] = {**USUAL, "local": 100, "remote": 100, "ufs": 200}
    cluster = address(serve(master(values)))
    scene.poller.register("a", cluster)
    scene.told.get(timeout=WAIT)

    def ratio() -> float:
        scene.rest()
        found = scene.poller.snapshot(cluster)
        assert found is not None
        assert found.hit_ratios is not None
        return found.hit_ratios.total

    assert ratio() == 0.0  # all that was read since the master's start
    values["local"] += 1000  # from now on everything comes from the cache
    scene.tick()
    scene.tick()
    assert ratio() == 0.0
    scene.tick()
    assert ratio() == 1.0  # a minute has passed
    for _ in range(4):
        scene.tick()
    assert ratio() == 1.0  # nothing was read since
    values |= {"start": 3000, "local": 5000, "remote": 0, "ufs": 2500}
    scene.tick()
    assert ratio() == 0.5  # a new master counts anew


def test_an_unregistered_cluster_is_polled_no_more(scene: Scene, serve: Serve) -> None:
    server = serve(master(USUAL))
    for key in "ab":
        scene.poller.register(key, address(server))
    scene.told.get(timeout=WAIT)
    scene.rest()
    scene.poller.unregister("a")
    assert scene.poller.snapshot(address(server)) is not None
    scene.poller.unregister("b")
    scene.poller.unregister("b")
    assert scene.poller.snapshot(address(server)) is None
    while not server.paths.empty():
        server.paths.get()
    scene.clock.advance(1000)
    assert server.paths.empty()


def test_a_key_that_moves_to_another_cluster_leaves_the_former(scene: Scene, serve: Serve) -> None:
    first, second = address(serve(master(USUAL))), address(serve(master(USUAL)))
    scene.poller.register("a", first)
    scene.told.get(timeout=WAIT)
    scene.poller.register("a", second)
    assert scene.told.get(timeout=WAIT) == "a"
    assert scene.poller.snapshot(first) is None
    assert scene.poller.snapshot(second) is not None


def test_what_is_shown_stays_until_something_is_worth_telling(scene: Scene, serve: Serve) -> None:
    values: dict[str, Any] = {**USUAL}
    cluster = address(serve(master(values)))
    assert scene.poller.shown(cluster) is None
    scene.poller.register("a", cluster)
    scene.told.get(timeout=WAIT)
    first = scene.poller.shown(cluster)
    values["used"] += 1
    scene.tick()
    scene.rest()
    assert scene.poller.shown(cluster) == first != scene.poller.snapshot(cluster)
    values["used"] += GIB
    scene.tick()
    scene.told.get(timeout=WAIT)
    assert scene.poller.shown(cluster) == scene.poller.snapshot(cluster) != first


def test_a_bad_address_is_refused_at_once(scene: Scene) -> None:
    with pytest.raises(ValueError, match="not host:port"):
        scene.poller.register("a", ClusterAddress(("nonsense",)))


def test_masters_that_hang_delay_no_other(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """More hanging masters than threads; a good one that is known is read as if they were not there."""
    monkeypatch.setattr("controllers.rounds.SLOW_SECONDS", WAIT / 2)  # on a busy machine the good one is quick, too
    good = serve(master(USUAL))
    release = threading.Event()
    bad = serve(lambda connection, path: release.wait(WAIT) and None)
    told: queue.Queue[str] = queue.Queue()
    poller: MasterPoller[str] = MasterPoller(
        told.put, transport=DirectTransport(total_seconds=WAIT), interval=0.01, threads=4
    )
    poller.start()
    poller.register("good", address(good))
    assert told.get(timeout=WAIT) == "good"
    for number in range(1, 9):
        poller.register(
            f"bad{number}", ClusterAddress((f"127.0.0.{number}:{bad.port}", f"127.0.0.1:{bad.port}"), bad.port)
        )
    bad.paths.get(timeout=WAIT)
    while not good.paths.empty():
        good.paths.get()
    for _ in range(10):
        good.paths.get(timeout=WAIT / 4)
    assert told.empty()
    release.set()
    poller.stop()
