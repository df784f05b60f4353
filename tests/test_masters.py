"""The poller of masters: whom it asks when, whom it tells, and that no master holds up another."""

import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from controllers.master_http import DirectTransport
from controllers.master_snapshot import ClusterAddress
from controllers.masters import MasterPoller
from tests.master_kit import DIRECT, GIB, USUAL, WAIT, Serve, address, closed_port, master
from workqueue.clock import FakeClock


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
