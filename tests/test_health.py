"""The probes tell what fails, the metrics are served, and no client holds up another."""

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from controllers.health import CLIENT_SECONDS, CannotListenError, HealthServer, HttpServer, MetricsServer

BIND = "127.0.0.1:0"
WAIT = 40.0  # real seconds after which a test gives up
Start = Callable[[HttpServer], HttpServer]


@pytest.fixture
def start() -> Iterator[Start]:
    servers: list[HttpServer] = []

    def begin(server: HttpServer) -> HttpServer:
        servers.append(server)
        server.start()
        return server

    yield begin
    for server in servers:
        server.stop()


def get(server: HttpServer, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT)
    connection.request(method, path)
    with connection.getresponse() as response:
        found = response.status, response.read().decode()
    connection.close()
    return found


def test_each_probe_runs_its_own_checks(start: Start) -> None:
    server = start(HealthServer(BIND, {"threads": lambda: ""}, {"caches": lambda: "datasets are not listed yet"}))
    assert get(server, "/healthz") == (200, "ok")
    status, body = get(server, "/readyz")
    assert status == 503
    assert "[-]caches failed: datasets are not listed yet" in body


def test_verbose_names_every_check(start: Start) -> None:
    server = start(HealthServer(BIND, {"threads": lambda: "", "lease": lambda: ""}, {}))
    assert get(server, "/healthz?verbose") == (200, "[+]threads ok\n[+]lease ok\nhealthz check passed")
    assert get(server, "/readyz?verbose=1") == (200, "readyz check passed")


def test_a_check_that_breaks_fails(start: Start) -> None:
    def broken() -> str:
        raise RuntimeError("s3cret")

    status, body = get(start(HealthServer(BIND, {"broken": broken}, {})), "/healthz")
    assert status == 503
    assert "RuntimeError" in body
    assert "s3cret" not in body


def test_a_check_is_asked_anew_each_time(start: Start) -> None:
    state = ["down"]
    server = start(HealthServer(BIND, {"state": lambda: state[0]}, {}))
    assert get(server, "/healthz")[0] == 503
    state[0] = ""
    assert get(server, "/healthz")[0] == 200


def test_metrics_are_served_and_other_paths_are_not(start: Start) -> None:
    registry = CollectorRegistry()
    Counter("things_total", "Things.", registry=registry).inc(3)
    server = start(MetricsServer(BIND, registry))
    status, body = get(server, "/metrics")
    assert status == 200
    assert "things_total 3.0" in body
    assert get(server, "/")[0] == 404
    assert get(server, "/healthz")[0] == 404


def test_head_has_no_body(start: Start) -> None:
    assert get(start(HealthServer(BIND, {}, {})), "/healthz", "HEAD") == (200, "")


def test_a_client_that_says_nothing_and_a_slow_scrape_hold_up_no_probe(start: Start) -> None:
    begun, release = threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        release.wait(WAIT)
        return ""

    server = start(HealthServer(BIND, {}, {"slow": slow}))
    with socket.create_connection(("127.0.0.1", server.port)):
        asker = threading.Thread(target=get, args=(server, "/readyz"))
        asker.start()
        assert begun.wait(WAIT)
        assert get(server, "/healthz") == (200, "ok")
        release.set()
        asker.join()


def test_a_client_that_says_nothing_is_cut_off(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controllers.health.CLIENT_SECONDS", 0.05)
    server = start(HealthServer(BIND, {}, {}))
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT) as client:
        assert client.recv(1) == b""


def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        bind = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(CannotListenError) as caught:
            MetricsServer(bind, CollectorRegistry())
    assert str(caught.value) == f"cannot serve metrics on {bind}: Address already in use"


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.0.0.1:http", "127.0.0.1:99999", "192.0.2.1:8080"])
def test_an_address_that_makes_no_sense_is_one_clear_line(bind: str) -> None:
    with pytest.raises(CannotListenError, match="cannot serve health on"):
        HealthServer(bind, {}, {})


def test_stop_closes_the_port_also_with_a_client_that_hangs(start: Start) -> None:
    server = start(HealthServer(BIND, {}, {}))
    with socket.create_connection(("127.0.0.1", server.port)):
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < CLIENT_SECONDS, "it waits for no client"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=1)


def test_a_server_that_was_never_started_stops() -> None:
    HealthServer(BIND, {}, {}).stop()
