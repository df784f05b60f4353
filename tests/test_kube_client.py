"""The client against a real HTTP server that does what servers, proxies and networks do."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controllers.kube import connect, errors
from controllers.kube.client import Cluster, ConfigError
from controllers.kube.resources import DATASETS, JOBS, PERSISTENTVOLUMES, PODS
from controllers.kube.watch import Silent
from tests import kube_script as script
from tests.kube_script import PATIENCE, ScriptedServer, failure, kubeconfig, reply, serve, status_of, stream, text

Observed = list[tuple[str, str, str, float]]

DATASET = {"metadata": {"namespace": "a", "name": "b", "resourceVersion": "7"}, "spec": {}}
OK: dict[str, Any] = {"metadata": {"name": "b"}}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serve() as served:
        yield served


@pytest.fixture
def observed() -> Observed:
    return []


@pytest.fixture
def sleeps() -> list[float]:
    return []


@pytest.fixture
def cluster(server: ScriptedServer, tmp_path: Path, observed: Observed, sleeps: list[float]) -> Iterator[Cluster]:
    connection = connect.load(kubeconfig(tmp_path, server.url), None)
    made = Cluster(
        connection,
        pool_size=4,
        user_agent="fluidctl/test",
        observe=lambda *seen: observed.append(seen),
        sleep=sleeps.append,
    )
    yield made
    made.close()


JSON, MERGE = "application/json", "application/merge-patch+json"
FLUID = "/apis/data.fluid.io/v1alpha1"
TYPED = {"apiVersion": "data.fluid.io/v1alpha1", "kind": "Dataset"}
VERBS: list[tuple[Callable[[Cluster], Any], str, str, dict[str, str], str, Any]] = [
    (lambda c: c.get(DATASETS, "a", "b"), "GET", f"{FLUID}/namespaces/a/datasets/b", {}, "", None),
    (lambda c: c.get(PERSISTENTVOLUMES, "", "p"), "GET", "/api/v1/persistentvolumes/p", {}, "", None),
    (
        lambda c: c.list_page(JOBS, None, "app=x,run in (1,2)", 10, "to/k+n"),
        "GET",
        "/apis/batch/v1/jobs",
        {"labelSelector": "app=x,run in (1,2)", "limit": "10", "continue": "to/k+n"},
        "",
        None,
    ),
    (
        lambda c: c.create(DATASETS, "a", {"metadata": {"name": "b"}}),
        "POST",
        f"{FLUID}/namespaces/a/datasets",
        {},
        JSON,
        {**TYPED, "metadata": {"name": "b"}},
    ),
    (
        lambda c: c.replace(DATASETS, DATASET),
        "PUT",
        f"{FLUID}/namespaces/a/datasets/b",
        {},
        JSON,
        {**TYPED, **DATASET},
    ),
    (
        lambda c: c.replace_status(DATASETS, DATASET),
        "PUT",
        f"{FLUID}/namespaces/a/datasets/b/status",
        {},
        JSON,
        {**TYPED, **DATASET},
    ),
    (
        lambda c: c.merge_patch(DATASETS, "a", "b", {"metadata": {"finalizers": None}}),
        "PATCH",
        f"{FLUID}/namespaces/a/datasets/b",
        {},
        MERGE,
        {"metadata": {"finalizers": None}},
    ),
    (
        lambda c: c.delete(JOBS, "a", "b", uid="u1", resource_version="9"),
        "DELETE",
        "/apis/batch/v1/namespaces/a/jobs/b",
        {},
        JSON,
        {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": "u1", "resourceVersion": "9"},
        },
    ),
    (lambda c: c.server_version(), "GET", "/version", {}, "", None),
]


@pytest.mark.parametrize(("call", "method", "path", "query", "content_type", "body"), VERBS)
def test_each_verb_sends_exactly_its_request(
    cluster: Cluster,
    server: ScriptedServer,
    call: Callable[[Cluster], Any],
    method: str,
    path: str,
    query: dict[str, str],
    content_type: str,
    body: Any,
) -> None:
    server.script = [reply(OK, 201 if method == "POST" else 200)]
    call(cluster)
    seen = server.seen[0]
    assert (seen.method, seen.path, seen.query, seen.body) == (method, path, query, body)
    assert seen.headers.get("content-type", "") == content_type
    assert seen.headers["authorization"] == "Bearer secret"
    assert seen.headers["user-agent"] == "fluidctl/test"


def test_names_cannot_change_the_path(cluster: Cluster, server: ScriptedServer) -> None:
    server.script = [reply(OK)]
    cluster.get(DATASETS, "a/../b", "x?y=1#z")
    assert server.seen[0].path == f"{FLUID}/namespaces/a%2F..%2Fb/datasets/x%3Fy%3D1%23z"
    assert server.seen[0].query == {}


def test_a_list_is_read_page_by_page_and_its_objects_know_their_kind(cluster: Cluster, server: ScriptedServer) -> None:
    server.script = [
        reply({"metadata": {"resourceVersion": "5", "continue": "more"}, "items": [{"metadata": {"name": "a"}}]}),
        reply({"metadata": {"resourceVersion": "5"}, "items": [{"metadata": {"name": "b"}}]}),
    ]
    items, version = cluster.list_all(JOBS, "ns")
    assert [item["metadata"]["name"] for item in items] == ["a", "b"]
    assert {(item["apiVersion"], item["kind"]) for item in items} == {("batch/v1", "Job")}
    assert version == "5"
    assert [seen.query.get("continue") for seen in server.seen] == [None, "more"]
    assert {seen.query["limit"] for seen in server.seen} == {"500"}


def test_an_empty_list_with_null_items_is_empty(cluster: Cluster, server: ScriptedServer) -> None:
    server.script = [reply({"metadata": {"resourceVersion": "5"}, "items": None})]
    assert cluster.list_all(JOBS) == ([], "5")


def test_a_log_is_text_whatever_its_bytes(cluster: Cluster, server: ScriptedServer) -> None:
    server.script = [text(b"one\n\xfftwo\n")]
    assert cluster.pod_log("a", "p", "main", tail_lines=2, limit_bytes=100) == "one\n\ufffdtwo\n"
    assert server.seen[0].path == "/api/v1/namespaces/a/pods/p/log"
    assert server.seen[0].query == {"container": "main", "tailLines": "2", "limitBytes": "100"}


def test_a_service_is_reached_through_the_api_server(cluster: Cluster, server: ScriptedServer) -> None:
    server.script = [text(b"metrics")]
    assert cluster.service_proxy_get("ns", "alluxio-master-0", 19999, "/api/v1/master/info?x=1", 2.0) == b"metrics"
    assert server.seen[0].path == "/api/v1/namespaces/ns/services/alluxio-master-0:19999/proxy/api/v1/master/info"
    assert server.seen[0].query == {"x": "1"}


WRITES: list[Callable[[Cluster], Any]] = [row[0] for row in VERBS if row[1] != "GET"]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("answer", [failure(503, "Unavailable"), failure(429, "TooMany"), script.reset])
def test_a_write_is_sent_once_whatever_the_answer(
    cluster: Cluster, server: ScriptedServer, write: Callable[[Cluster], Any], answer: script.Answer
) -> None:
    """Whether the first one was applied is not known; whoever wants to write again must look first."""
    server.script = [answer, reply(OK)]
    with pytest.raises(errors.KubeError):
        write(cluster)
    assert len(server.seen) == 1


@pytest.mark.parametrize("answer", [failure(503, "Unavailable"), failure(429, "TooMany"), script.reset])
def test_a_read_is_repeated_after_a_failure_that_may_pass(
    cluster: Cluster, server: ScriptedServer, answer: script.Answer
) -> None:
    server.script = [answer, answer, reply(OK)]
    assert cluster.get(JOBS, "a", "b") == OK
    assert len(server.seen) == 3


def test_a_read_gives_up_after_three_tries(cluster: Cluster, server: ScriptedServer) -> None:
    server.script = [failure(503, "Unavailable")] * 5
    with pytest.raises(errors.ServerError):
        cluster.get(JOBS, "a", "b")
    assert len(server.seen) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422])
def test_a_read_is_not_repeated_where_the_answer_would_be_the_same(
    cluster: Cluster, server: ScriptedServer, status: int
) -> None:
    server.script = [failure(status, "Because"), reply(OK)]
    with pytest.raises(errors.KubeError):
        cluster.get(JOBS, "a", "b")
    assert len(server.seen) == 1


def test_a_read_waits_as_long_as_the_server_asks(cluster: Cluster, server: ScriptedServer, sleeps: list[float]) -> None:
    server.script = [failure(429, "TooMany", headers={"Retry-After": "4"}), reply(OK)]
    cluster.get(JOBS, "a", "b")
    assert sleeps == [4.0]


def test_a_read_does_not_wait_beyond_its_own_limit(
    cluster: Cluster, server: ScriptedServer, sleeps: list[float]
) -> None:
    server.script = [failure(429, "TooMany", headers={"Retry-After": "4"}), reply(OK)]
    with pytest.raises(errors.TooManyRequests) as caught:
        cluster.get(JOBS, "a", "b", timeout=3.0)
    assert caught.value.retry_after == 4.0
    assert sleeps == []


def _trickle(exchange: script.Exchange) -> None:
    exchange.head(200, {"Transfer-Encoding": "chunked"})
    while not exchange.closing.wait(0.05):
        exchange.write(b"1\r\n \r\n")


@pytest.mark.parametrize("answer", [script.hang, _trickle, stream(b'{"half', end="hang")])
def test_no_server_can_hold_a_call_beyond_its_limit(
    cluster: Cluster, server: ScriptedServer, answer: script.Answer
) -> None:
    server.script = [answer]
    begin = time.monotonic()
    with pytest.raises(errors.NoAnswer) as caught:
        cluster.replace_status(DATASETS, DATASET, timeout=0.3)
    assert caught.value.reason == "Timeout"
    assert caught.value.maybe_applied
    assert time.monotonic() - begin < PATIENCE


def test_a_connection_whose_answer_is_given_up_is_closed(cluster: Cluster, server: ScriptedServer) -> None:
    left = threading.Event()

    def trickle(exchange: script.Exchange) -> None:
        try:
            _trickle(exchange)
        except ConnectionError:
            left.set()
            raise

    server.script = [trickle]
    with pytest.raises(errors.NoAnswer):
        cluster.replace(DATASETS, DATASET, timeout=0.1)
    assert left.wait(PATIENCE)


def test_a_refused_connection_was_certainly_not_applied(tmp_path: Path) -> None:
    with serve() as served:
        url = served.url
    gone = Cluster.connect(kubeconfig(tmp_path, url), None, pool_size=1, user_agent="t")
    with pytest.raises(errors.NoAnswer) as caught:
        gone.create(JOBS, "a", DATASET)
    assert not caught.value.maybe_applied
    assert "Connection refused" in caught.value.message
    gone.close()


def test_a_tls_failure_is_no_answer_and_says_so(server: ScriptedServer, tmp_path: Path) -> None:
    """Here the port speaks plain HTTP."""
    https = server.url.replace("http:", "https:")
    cluster = Cluster.connect(kubeconfig(tmp_path, https), None, pool_size=1, user_agent="t")
    with pytest.raises(errors.NoAnswer) as caught:
        cluster.create(JOBS, "a", DATASET)
    assert caught.value.reason == "TLS"
    assert "\n" not in caught.value.message
    cluster.close()


@pytest.mark.parametrize("body", [b"<html>login</html>", b"[]", b"", b'{"cut'])
def test_a_success_that_is_not_an_object_is_a_server_error(
    cluster: Cluster, server: ScriptedServer, body: bytes
) -> None:
    server.script = [text(body)]
    with pytest.raises(errors.ServerError):
        cluster.replace(DATASETS, DATASET)


def test_a_redirect_is_not_followed_with_our_token(cluster: Cluster, server: ScriptedServer) -> None:
    server.script = [text(b"", 302, {"Location": f"{server.url}/elsewhere"})]
    with pytest.raises(errors.KubeError) as caught:
        cluster.get(JOBS, "a", "b")
    assert caught.value.status == 302
    assert len(server.seen) == 1


def test_one_connection_serves_many_calls_also_after_errors(cluster: Cluster, server: ScriptedServer) -> None:
    server.script = [reply(OK), failure(404, "NotFound"), reply(OK), failure(409, "Conflict"), reply(OK)]
    for _ in range(2):
        cluster.get(JOBS, "a", "b")
        with pytest.raises(errors.KubeError):
            cluster.replace(DATASETS, DATASET)
    cluster.get(JOBS, "a", "b")
    assert server.connections == 1


def test_every_answer_and_every_missing_one_is_observed(
    cluster: Cluster, server: ScriptedServer, observed: Observed
) -> None:
    server.script = [reply(OK), failure(409, "Conflict"), script.reset]
    cluster.get(JOBS, "a", "b")
    for _ in range(2):
        with pytest.raises(errors.KubeError):
            cluster.replace(DATASETS, DATASET)
    host = server.url.removeprefix("http://")
    assert [seen[:3] for seen in observed] == [("GET", host, "200"), ("PUT", host, "409"), ("PUT", host, "<error>")]
    assert all(0 <= seen[3] < PATIENCE for seen in observed)


def _event(kind: str, version: str) -> dict[str, Any]:
    return {"type": kind, "object": {"kind": "Job", "metadata": {"name": "j", "resourceVersion": version}}}


def test_a_watch_yields_events_however_the_bytes_are_split(cluster: Cluster, server: ScriptedServer) -> None:
    server.script = [
        stream(b'{"type":"ADDED","object":{"metad', b'ata":{"resourceVersion":"1"}}}\n\n', _event("MODIFIED", "2"))
    ]
    events = list(cluster.watch(PODS, "ns", "app=x", "0", timeout_seconds=333))
    assert [(e["type"], e["object"]["metadata"]["resourceVersion"]) for e in events] == [
        ("ADDED", "1"),
        ("MODIFIED", "2"),
    ]
    assert server.seen[0].query == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "labelSelector": "app=x",
        "resourceVersion": "0",
        "timeoutSeconds": "333",
    }


WATCH_ENDS = [
    (stream(_event("ADDED", "1"), end="cut"), errors.NoAnswer),
    (stream(_event("ADDED", "1"), b'{"type":"ADD'), errors.NoAnswer),
    (stream(_event("ADDED", "1"), {"type": "ERROR", "object": status_of(410, "Expired")}), errors.Expired),
    (stream(_event("ADDED", "1"), b"not json\n"), errors.ServerError),
    (stream(_event("ADDED", "1"), b'{"type":"ADDED","object":{}}\n'), errors.ServerError),
    (stream(_event("ADDED", "1"), end="hang"), Silent),
]


@pytest.mark.parametrize(("answer", "kind"), WATCH_ENDS)
def test_a_watch_that_breaks_raises_after_the_whole_events(
    cluster: Cluster, server: ScriptedServer, answer: script.Answer, kind: type[errors.KubeError]
) -> None:
    server.script = [answer]
    begin = time.monotonic()
    events = iter(cluster.watch(JOBS, silence=0.3))
    assert next(events) == _event("ADDED", "1")
    with pytest.raises(kind):
        next(events)
    assert time.monotonic() - begin < PATIENCE


def test_a_watch_that_is_refused_raises_before_it_begins(cluster: Cluster, server: ScriptedServer) -> None:
    server.script = [failure(410, "Expired")]
    with pytest.raises(errors.Expired):
        cluster.watch(JOBS, resource_version="1")
    assert len(server.seen) == 1


def test_stop_from_another_thread_ends_a_silent_watch_quietly(cluster: Cluster, server: ScriptedServer) -> None:
    server.script = [stream(_event("ADDED", "1"), end="hang")]
    watch = cluster.watch(JOBS)
    got: list[Any] = []
    first = threading.Event()

    def read() -> None:
        for event in watch:
            got.append(event)
            first.set()
        got.append("ended")

    thread = threading.Thread(target=read)
    thread.start()
    assert first.wait(PATIENCE)
    watch.stop()
    thread.join(PATIENCE)  # what is not stopped is silent for longer
    assert got == [_event("ADDED", "1"), "ended"]
    watch.stop()  # again, and after the end: nothing happens


def test_the_namespace_of_the_context_is_the_default(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, "http://127.0.0.1:1")
    for context, namespace in ((None, "team"), ("test", "team"), ("other", "default")):
        cluster = Cluster.connect(path, context, pool_size=1, user_agent="t")
        assert (cluster.default_namespace, cluster.in_cluster, cluster.host) == (namespace, False, "http://127.0.0.1:1")
        cluster.close()


def test_kubeconfig_comes_from_the_environment_where_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path, "http://127.0.0.1:2"))
    assert connect.load(None, None).configuration.host == "http://127.0.0.1:2"


@pytest.mark.parametrize(
    ("content", "context"),
    [(None, None), ("", None), ("a: [", None), ("text", None), ("kind: Config", None), ("ok", "unknown")],
)
def test_an_unusable_kubeconfig_is_one_clear_line(tmp_path: Path, content: str | None, context: str | None) -> None:
    path = tmp_path / "kubeconfig"
    if content == "ok":
        kubeconfig(tmp_path, "http://127.0.0.1:1")
    elif content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        Cluster.connect(str(path), context, pool_size=1, user_agent="t")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_any_configuration_the_error_says_what_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigError, match=r"no --kubeconfig, no KUBECONFIG, no ~/\.kube/config, and not in a pod"):
        connect.load(None, None)


def test_in_a_pod_without_its_token_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(ConfigError, match="service account"):
        connect.load(None, None)
