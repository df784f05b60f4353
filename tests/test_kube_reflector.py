"""The reflector over real HTTP, through what servers and networks do; time is a fake clock."""

import contextlib
import json
import queue
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controllers.kube import connect
from controllers.kube.client import Cluster
from controllers.kube.reflector import Change, ChangeKind, Reflector
from controllers.kube.resources import JOBS
from controllers.kube.store import Store, key_of
from tests import kube_script as script
from tests.kube_script import (
    PATIENCE,
    Answer,
    ScriptedServer,
    Seen,
    failure,
    kubeconfig,
    reply,
    serve,
    status_of,
    stream,
)
from workqueue.clock import FakeClock

INITIAL, A, M, D = ChangeKind.INITIAL, ChangeKind.ADDED, ChangeKind.MODIFIED, ChangeKind.DELETED


def job(name: str, version: int, uid: str = "") -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata}


def event(kind: str, obj: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": obj}


def bookmark(version: int) -> dict[str, Any]:
    return event("BOOKMARK", {"kind": "Job", "metadata": {"resourceVersion": str(version)}})


def listing(version: int, *items: dict[str, Any], token: str = "") -> Answer:
    return reply({"metadata": {"resourceVersion": str(version), "continue": token}, "items": list(items)})


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serve() as served:
        yield served


@pytest.fixture
def cluster(server: ScriptedServer, tmp_path: Path) -> Iterator[Cluster]:
    connection = connect.load(kubeconfig(tmp_path, server.url), None)
    made = Cluster(connection, pool_size=4, user_agent="test", sleep=lambda seconds: None)
    yield made
    made.close()


class WaitClock(FakeClock):
    """A fake clock that counts the waits whose time is up."""

    ended = 0

    def wait(self, condition: threading.Condition, timeout: float | None) -> bool:
        early = super().wait(condition, timeout)
        self.ended += not early
        return early


class Running:
    """A reflector at work, and what it announced."""

    def __init__(self, cluster: Cluster, namespace: str | None) -> None:
        self.clock = WaitClock()
        self.store = Store({"name": lambda obj: [obj["metadata"]["name"]]})
        self.changes: queue.Queue[Change] = queue.Queue()
        self.stop = threading.Event()
        self.reflector = Reflector(
            cluster,
            JOBS,
            self.store,
            self._on_change,
            namespace=namespace,
            label_selector="app=x",
            clock=self.clock,
            rng=random.Random(1),
        )
        self.thread = threading.Thread(target=self.reflector.run, args=(self.stop,))
        self.others = set(threading.enumerate())

    def _on_change(self, change: Change) -> None:
        stored = self.store.get(*key_of(change.obj))
        assert self.store.synced.is_set()
        assert change.kind is D or stored is change.obj, "the store must be changed before the handler is called"
        self.changes.put(change)

    def take(self, count: int) -> list[tuple[ChangeKind, str, str]]:
        """Return the next announcements: kind, name, resourceVersion."""
        return [self._short(self.changes.get(timeout=PATIENCE)) for _ in range(count)]

    @staticmethod
    def _short(change: Change) -> tuple[ChangeKind, str, str]:
        return change.kind, change.obj["metadata"]["name"], change.obj["metadata"]["resourceVersion"]

    def pass_pause(self) -> None:
        """Wait until the reflector pauses, and let time pass until it goes on."""
        self.clock.block_until(1)
        ended = self.clock.ended
        while self.clock.ended == ended:
            self.clock.advance(0.2)


def wait_for_the_end_of_its_thread(others: set[threading.Thread]) -> None:
    """Others: the threads that were there before, such as those of earlier tests whose servers hang."""
    for thread in set(threading.enumerate()) - others:
        if thread.name == f"reflector-{JOBS}":
            thread.join(PATIENCE)
            assert not thread.is_alive(), "the thread that reads was left behind"


@contextlib.contextmanager
def running(cluster: Cluster, namespace: str | None = None) -> Iterator[Running]:
    made = Running(cluster, namespace)
    made.thread.start()
    try:
        yield made
    finally:
        made.stop.set()
        made.thread.join(PATIENCE)
        assert not made.thread.is_alive()


def test_it_lists_in_pages_and_watches_from_the_version_of_the_list(cluster: Cluster, server: ScriptedServer) -> None:
    server.script = [listing(7, job("a", 3), token="more"), listing(7, job("b", 5))]
    with running(cluster, "ns") as r:
        assert r.take(2) == [(INITIAL, "a", "3"), (INITIAL, "b", "5")]
        first, second, watch = (server.wait_for_requests(n) for n in (1, 2, 3))
        assert first.path == "/apis/batch/v1/namespaces/ns/jobs"
        assert first.query == {"labelSelector": "app=x", "limit": "500"}
        assert second.query["continue"] == "more"
        assert watch.query["resourceVersion"] == "7"
        assert watch.query["labelSelector"] == "app=x"
        assert watch.query["allowWatchBookmarks"] == "true"
        assert 300 <= int(watch.query["timeoutSeconds"]) <= 600
        assert (r.reflector.lists, r.reflector.watches, r.reflector.restarts) == (1, 1, 0)


def test_an_empty_resource_is_synced_too(cluster: Cluster, server: ScriptedServer) -> None:
    server.script = [listing(7)]
    with running(cluster) as r:
        assert r.store.synced.wait(PATIENCE)
        assert r.changes.empty()


def test_events_change_the_store_and_are_announced_in_order(cluster: Cluster, server: ScriptedServer) -> None:
    a, b = event("ADDED", job("b", 8)), event("MODIFIED", job("a", 9))
    server.script = [listing(7, job("a", 3)), stream(a, b, event("DELETED", job("b", 10)), end="hang")]
    with running(cluster) as r:
        assert r.take(4) == [(INITIAL, "a", "3"), (A, "b", "8"), (M, "a", "9"), (D, "b", "10")]
        assert r.store.keys() == [("ns", "a")]
        assert r.store.by_index("name", "b") == []


def test_after_an_ordinary_end_it_watches_from_the_last_version_without_a_list(
    cluster: Cluster, server: ScriptedServer
) -> None:
    server.script = [
        listing(7),
        stream(event("ADDED", job("a", 8)), bookmark(20)),
        stream(event("MODIFIED", job("a", 21))),
    ]
    with running(cluster) as r:
        assert r.take(2) == [(A, "a", "8"), (M, "a", "21")]
        assert server.wait_for_requests(3).query["resourceVersion"] == "20"
        assert server.wait_for_requests(4).query["resourceVersion"] == "21"
        assert r.reflector.lists == 1


def test_a_stream_cut_within_a_line_goes_on_after_the_last_whole_event(
    cluster: Cluster, server: ScriptedServer
) -> None:
    server.script = [listing(7), stream(event("ADDED", job("a", 8)), end="cut"), stream(event("ADDED", job("b", 9)))]
    with running(cluster) as r:
        assert r.take(2) == [(A, "a", "8"), (A, "b", "9")]
        assert server.wait_for_requests(3).query["resourceVersion"] == "8"


@pytest.mark.parametrize("how", ["in the stream", "at its start"])
def test_a_version_too_old_is_answered_by_a_fresh_list_that_finds_what_was_missed(
    cluster: Cluster, server: ScriptedServer, how: str
) -> None:
    expired = status_of(410, "Expired")
    refusal = stream(event("ERROR", expired)) if how == "in the stream" else reply(expired, 410)
    again = listing(50, job("kept", 3), job("changed", 40), job("new", 41), job("reborn", 42, uid="second"))
    server.script = [listing(7, *(job(n, 3) for n in ("kept", "changed", "gone", "reborn"))), refusal, again]
    with running(cluster) as r:
        r.take(4)
        r.pass_pause()
        assert r.take(5) == [
            (D, "gone", "3"),
            (M, "changed", "40"),
            (A, "new", "41"),
            (D, "reborn", "3"),
            (A, "reborn", "42"),
        ]
        relist = server.wait_for_requests(3)
        assert not relist.is_watch
        assert "resourceVersion" not in relist.query
        assert server.wait_for_requests(4).query["resourceVersion"] == "50"
        assert r.changes.empty()


def test_another_uid_in_one_event_is_a_deletion_and_an_addition(cluster: Cluster, server: ScriptedServer) -> None:
    reborn = event("MODIFIED", job("a", 9, uid="second"))
    server.script = [listing(7, job("a", 3)), stream(reborn, end="hang")]
    with running(cluster) as r:
        assert r.take(3) == [(INITIAL, "a", "3"), (D, "a", "3"), (A, "a", "9")]


def test_pages_that_expire_are_read_again_from_the_first(cluster: Cluster, server: ScriptedServer) -> None:
    server.script = [
        listing(7, job("a", 3), token="old"),
        failure(410, "Expired"),
        listing(9, job("b", 8), token="fresh"),
        listing(9, job("c", 9)),
    ]
    with running(cluster) as r:
        r.pass_pause()
        assert r.take(2) == [(INITIAL, "b", "8"), (INITIAL, "c", "9")], "nothing of the broken list may be announced"
        assert "continue" not in server.seen[2].query


def test_too_many_requests_waits_as_asked_and_goes_on_without_a_list(cluster: Cluster, server: ScriptedServer) -> None:
    server.script = [listing(7), failure(429, "TooManyRequests", headers={"Retry-After": "17"})]
    with running(cluster) as r:
        r.clock.block_until(1)
        r.clock.advance(16.9)
        r.clock.block_until(1)
        assert len(server.seen) == 2
        r.clock.advance(0.2)
        third = server.wait_for_requests(3)
        assert third.is_watch
        assert third.query["resourceVersion"] == "7"


@pytest.mark.parametrize("status", [500, 503, 403])
def test_a_watch_that_is_refused_begins_again_with_a_list(
    cluster: Cluster, server: ScriptedServer, status: int
) -> None:
    server.script = [listing(7), failure(status, "Because", "no watch for you"), listing(8, job("a", 8))]
    with running(cluster) as r:
        r.clock.block_until(1)
        assert "no watch for you" in r.reflector.problem
        r.clock.advance(30)
        assert r.take(1) == [(A, "a", "8")]
        server.wait_for_requests(4)


def test_a_server_that_closes_at_once_is_not_asked_in_a_hot_loop(cluster: Cluster, server: ScriptedServer) -> None:
    server.script = [listing(7), *[stream()] * 5]
    with running(cluster) as r:
        for count in range(2, 7):
            r.clock.block_until(1)
            assert len(server.seen) == count
            r.pass_pause()
        assert all(seen.is_watch for seen in server.seen[1:])
        assert r.reflector.restarts >= 4


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (script.text(b"404 page not found\n", 404), "CRD"),
        (failure(403, "Forbidden", 'User "x" cannot list resource "jobs"'), "cannot list"),
        (failure(401, "Unauthorized", "who are you"), "who are you"),
    ],
)
def test_what_keeps_it_from_reading_is_one_clear_line_until_it_is_over(
    cluster: Cluster, server: ScriptedServer, answer: Answer, words: str
) -> None:
    server.script = [answer, answer, listing(7, job("a", 3))]
    with running(cluster) as r:
        for _ in range(2):
            r.clock.block_until(1)
            assert words in r.reflector.problem
            assert "jobs.batch" in r.reflector.problem
            assert "\n" not in r.reflector.problem
            assert not r.store.synced.is_set()
            r.pass_pause()
        assert r.take(1) == [(INITIAL, "a", "3")]


def test_the_problem_is_gone_once_a_watch_is_open(cluster: Cluster, server: ScriptedServer) -> None:
    server.script = [failure(403, "Forbidden"), listing(7), stream(event("ADDED", job("b", 9)), end="hang")]
    with running(cluster) as r:
        r.pass_pause()
        r.take(1)
        assert r.reflector.problem == ""
        assert r.clock.monotonic() - r.reflector.last_activity() < 0.5  # the pause before it was longer


@pytest.mark.parametrize(
    "answers",
    [
        [script.hang],
        [listing(7, job("a", 3), token="more"), script.hang],
        [listing(7), script.hang],
        [listing(7), stream(event("ADDED", job("a", 8)), end="hang")],
        [listing(7), stream(event("ADDED", job("a", 8)), b'{"type":"ADD', end="hang")],
        [failure(403, "Forbidden")],
        [listing(7), stream()],
    ],
    ids=["list hangs", "page hangs", "watch hangs", "watch silent", "half a line", "pause of list", "pause of watch"],
)
def test_it_stops_within_a_second_whatever_it_is_doing(
    cluster: Cluster, server: ScriptedServer, answers: list[Answer], request: pytest.FixtureRequest
) -> None:
    server.script = list(answers)
    with running(cluster) as r:
        server.wait_for_requests(len(answers))
        if "pause" in request.node.callspec.id:
            r.clock.block_until(1)
        elif script.hang not in answers:
            r.take(1)
        r.stop.set()
        r.thread.join(9)  # a busy machine; a request that is waited for takes ten seconds or more
        assert not r.thread.is_alive()
        if script.hang not in answers:
            wait_for_the_end_of_its_thread(r.others)


def test_a_watch_that_opens_after_stop_is_not_read(cluster: Cluster, server: ScriptedServer) -> None:
    begun: queue.Queue[Running] = queue.Queue()

    def late(exchange: script.Exchange) -> None:
        r = begun.get(timeout=PATIENCE)
        r.stop.set()
        r.thread.join(PATIENCE)
        stream(end="hang")(exchange)

    server.script = [listing(7), late]
    with running(cluster) as r:
        begun.put(r)
        r.thread.join(PATIENCE)
        wait_for_the_end_of_its_thread(r.others)


def test_a_stop_that_comes_just_after_a_look_at_it_is_no_death_of_the_thread(
    cluster: Cluster, server: ScriptedServer
) -> None:
    others = set(threading.enumerate())

    class Late(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            seen = self.is_set()
            self.set()
            wait_for_the_end_of_its_thread(others)
            return seen

    server.answer = lambda seen: failure(503, "Unavailable")
    Reflector(cluster, JOBS, Store(), lambda change: None, clock=FakeClock(), rng=random.Random(1)).run(Late())


def test_after_stop_no_handler_is_called(cluster: Cluster, server: ScriptedServer) -> None:
    server.script = [listing(7, job("a", 3), job("b", 4))]
    told, stop, others = [], threading.Event(), set(threading.enumerate())

    def on_change(change: Change) -> None:
        told.append(change)
        stop.set()

    Reflector(cluster, JOBS, Store(), on_change, clock=FakeClock(), rng=random.Random(1)).run(stop)
    wait_for_the_end_of_its_thread(others)
    assert len(told) == 1


def test_every_page_is_a_sign_of_life(cluster: Cluster, server: ScriptedServer) -> None:
    server.script = [failure(500, "E"), failure(500, "E"), failure(500, "E"), listing(7, token="more")]
    with running(cluster) as r:
        r.pass_pause()
        server.wait_for_requests(5)
        assert r.reflector.last_activity() > 0, "the page counts although the watch has not begun"


def test_a_bookmark_tells_the_store_that_late_answers_to_writes_are_old(
    cluster: Cluster, server: ScriptedServer
) -> None:
    server.script = [listing(7), stream(event("ADDED", job("b", 8)), bookmark(20))]
    with running(cluster) as r:
        server.wait_for_requests(3)
        r.store.observe_write(job("a", 15))
        assert r.store.get("ns", "a") is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_handler_that_raises_is_a_bug_that_run_reports(cluster: Cluster, server: ScriptedServer) -> None:
    def broken(change: Change) -> None:
        raise ZeroDivisionError

    server.script = [listing(7, job("a", 3))]
    clock, rng = FakeClock(), random.Random(1)
    with pytest.raises(RuntimeError, match=r"jobs\.batch"):
        Reflector(cluster, JOBS, Store(), broken, clock=clock, rng=rng).run(threading.Event())


class Storm:
    """A server that changes, forgets, cuts, refuses and closes as its random numbers say, until it calms down."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.version = 1
        self.objects: dict[str, dict[str, Any]] = {}
        self.history: list[tuple[int, dict[str, Any]]] = []
        self.oldest = 0  # versions before it are forgotten
        self.requests = 0
        self.pages: dict[str, list[dict[str, Any]]] = {}

    @property
    def calm(self) -> bool:
        return self.requests > 25

    def change(self) -> None:
        self.version += 1
        name = self.rng.choice("abcdef")
        old = self.objects.get(name)
        if old is not None and self.rng.random() < 0.4:
            del self.objects[name]
            gone = {**old, "metadata": {**old["metadata"], "resourceVersion": str(self.version)}}
            self.history.append((self.version, event("DELETED", gone)))
            return
        uid = old["metadata"]["uid"] if old else f"{name}-{self.version}"
        self.objects[name] = job(name, self.version, uid)
        self.history.append((self.version, event("MODIFIED" if old else "ADDED", self.objects[name])))

    def answer(self, seen: Seen) -> Answer:
        self.requests += 1
        token = seen.query.get("continue", "")
        if self.calm:
            events = [e for version, e in self.history if version > int(seen.query.get("resourceVersion", 0))]
            return stream(*events, bookmark(10_000), end="hang") if seen.is_watch else self.list(token)
        for _ in range(self.rng.randrange(5)):
            self.change()
        if self.rng.random() < 0.3:
            return self.rng.choice([failure(500, "E"), failure(429, "E"), failure(410, "E"), script.reset, stream()])
        return self.watch(int(seen.query["resourceVersion"])) if seen.is_watch else self.list(token)

    def list(self, token: str) -> Answer:
        """One page of two objects of the state at the first page, as a real server pages."""
        if token and not self.calm and self.rng.random() < 0.3:
            return failure(410, "Expired")
        if not token:
            token = f"{self.version}/0"
            self.pages[str(self.version)] = list(self.objects.values())
        version, begin = token.split("/")
        end = int(begin) + 2
        more = end < len(self.pages[version])
        return listing(int(version), *self.pages[version][end - 2 : end], token=f"{version}/{end}" if more else "")

    def watch(self, since: int) -> Answer:
        if since < self.oldest:
            return stream(event("ERROR", status_of(410, "Expired")))
        if self.rng.random() < 0.3:
            self.oldest = self.version
        events = [e for version, e in self.history if version > since]
        data = b"".join(json.dumps(e).encode() + b"\n" for e in [*events, bookmark(self.version)])
        return stream(data[: self.rng.randrange(1, len(data))], end="cut") if self.rng.random() < 0.5 else stream(data)


@pytest.mark.parametrize("seed", range(15))
def test_after_any_storm_the_store_and_all_that_was_announced_equal_the_server(
    cluster: Cluster, server: ScriptedServer, seed: int
) -> None:
    storm = Storm(seed)
    server.answer = storm.answer
    told: dict[str, dict[str, Any]] = {}
    with running(cluster) as r:
        deadline = time.monotonic() + PATIENCE
        while r.reflector._version != "10000":  # the bookmark that ends the storm
            assert time.monotonic() < deadline
            r.clock.advance(1)
            r.stop.wait(0.001)
        for change in r.changes.queue:
            name = change.obj["metadata"]["name"]
            assert change.old is told.get(name)
            assert (change.kind in (M, D)) == (name in told)
            if change.kind is M and change.old:
                assert change.old["metadata"]["uid"] == change.obj["metadata"]["uid"]
            told[name] = change.obj
            if change.kind is D:
                del told[name]
        assert told == storm.objects
        assert {obj["metadata"]["name"]: obj for obj in r.store.items()} == storm.objects
        assert r.reflector.restarts > 0
