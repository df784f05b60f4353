"""Laws of the election: never two leaders, whatever is late, lost or set to another time; and one in the end."""

import random
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from controllers.kube.errors import AlreadyExists, Conflict, NoAnswer, NotFound, ServerError
from controllers.kube.lease import LeaderElector
from controllers.kube.resources import LEASES, Resource
from workqueue.clock import FakeClock


@dataclass
class World:
    """One time for all, and a server that keeps Leases and their versions."""

    now: float = 0.0
    version: int = 0
    lease: dict[str, Any] | None = None
    writes: list[dict[str, Any]] = field(default_factory=list)

    def get(self) -> dict[str, Any]:
        if self.lease is None:
            raise NotFound(404, "NotFound", "no such lease")
        return {**self.lease, "spec": dict(self.lease["spec"])}

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.lease is not None:
            raise AlreadyExists(409, "AlreadyExists", "exists")
        return self._store(body)

    def replace(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.lease is None:
            raise NotFound(404, "NotFound", "no such lease")
        if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", "the object has been modified")
        return self._store(body)

    def _store(self, body: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        metadata = {**body["metadata"], "resourceVersion": str(self.version)}
        self.lease = {**body, "metadata": metadata, "spec": dict(body["spec"])}
        self.writes.append(self.lease["spec"])
        return self.get()


class Leases:
    """The way of one candidate to the server; a test makes it fail or lose answers."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.before: list[Exception] = []  # raised instead of sending
        self.after: list[Exception] = []  # raised although it was applied

    def _do(self, action: Any) -> dict[str, Any]:
        if self.before:
            raise self.before.pop(0)
        answer: dict[str, Any] = action()
        if self.after:
            raise self.after.pop(0)
        return answer

    def get(self, res: Resource, namespace: str, name: str, *, timeout: float) -> dict[str, Any]:
        assert (res, namespace, name) == (LEASES, "ns", "lock")
        assert 0 < timeout <= 5
        return self._do(self.world.get)

    def create(self, res: Resource, namespace: str, body: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        assert 0 < timeout <= 5
        return self._do(lambda: self.world.create(body))

    def replace(self, res: Resource, body: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        assert 0 < timeout <= 5
        return self._do(lambda: self.world.replace(body))


class Candidate:
    def __init__(self, world: World, name: str, **numbers: Any) -> None:
        self.clock = FakeClock()
        self.leases = Leases(world)
        self.told: list[str] = []
        self.elector = LeaderElector(
            self.leases,
            "ns",
            "lock",
            name,
            clock=self.clock,
            rng=random.Random(name),
            on_started=lambda: self.told.append("started"),
            on_stopped=lambda: self.told.append("stopped"),
            on_other=lambda holder: self.told.append(f"stands by: {holder}"),
            **numbers,
        )

    def step(self) -> bool:
        return self.elector.step()


LOST = NoAnswer("Timeout", "no answer")


def test_the_first_creates_the_lease_and_the_second_waits() -> None:
    world = World()
    a, b = Candidate(world, "a"), Candidate(world, "b")
    assert a.step()
    assert not b.step()
    assert (a.elector.is_leader(), b.elector.is_leader()) == (True, False)
    assert a.elector.holder == b.elector.holder == "a"
    assert world.lease is not None
    assert world.lease["spec"]["leaseDurationSeconds"] == 15
    assert world.lease["spec"]["leaseTransitions"] == 0


def test_a_renewal_keeps_acquire_time_and_transitions_and_others_fields() -> None:
    world = World()
    a = Candidate(world, "a")
    a.step()
    assert world.lease is not None
    before = dict(world.lease["spec"])
    world.lease["metadata"]["labels"] = {"team": "x"}
    a.clock.advance(2)
    a.leases.before = [Conflict(409, "Conflict", "")]  # the slow path, which reads the labels
    assert a.step()
    after = world.lease["spec"]
    assert (after["acquireTime"], after["leaseTransitions"]) == (before["acquireTime"], 0)
    assert after["renewTime"] > before["renewTime"]
    assert world.lease["metadata"]["labels"] == {"team": "x"}


def test_a_lease_that_does_not_change_for_its_duration_is_taken_over() -> None:
    world = World()
    a, b = Candidate(world, "a"), Candidate(world, "b")
    a.step()
    b.step()
    b.clock.advance(14.9)
    assert not b.step()
    b.clock.advance(0.2)
    assert b.step()
    assert world.lease is not None
    assert world.lease["spec"]["leaseTransitions"] == 1
    assert world.lease["spec"]["holderIdentity"] == "b"
    assert not a.step(), "a former leader that sees another holder is out at once"
    assert not a.elector.is_leader()


def test_only_the_own_clock_decides_whatever_times_the_record_carries() -> None:
    world = World()
    a, b = Candidate(world, "a"), Candidate(world, "b")
    a.clock.jump(-10_000_000)  # a's renewTime lies months back
    a.step()
    assert not b.step()
    for clock in (a.clock, b.clock):
        clock.advance(9)
    a.step()
    assert not b.step(), "it has just been renewed"
    b.clock.advance(14.9)
    assert not b.step()


def test_the_duration_that_counts_is_the_holders() -> None:
    world = World()
    a, b = Candidate(world, "a", lease_seconds=60), Candidate(world, "b")
    a.step()
    b.step()
    b.clock.advance(59)
    assert not b.step()
    b.clock.advance(2)
    assert b.step()


def test_is_leader_ends_with_the_deadline_even_if_nobody_calls_step() -> None:
    a = Candidate(World(), "a")
    a.step()
    a.clock.advance(9.9)
    assert a.elector.is_leader()
    a.clock.advance(0.2)
    assert not a.elector.is_leader()


def test_the_deadline_counts_from_when_the_renewal_was_sent() -> None:
    a = Candidate(World(), "a")
    slow = a.leases.world.create

    def create(body: dict[str, Any]) -> dict[str, Any]:
        answer = slow(body)
        a.clock.advance(4)
        return answer

    a.leases.world.create = create
    a.step()
    a.clock.advance(6.1)
    assert not a.elector.is_leader()


def test_the_deadline_of_a_renewal_too_counts_from_when_it_was_sent() -> None:
    a = Candidate(World(), "a")
    a.step()
    fast = a.leases.world.replace

    def replace(body: dict[str, Any]) -> dict[str, Any]:
        a.clock.advance(4)
        return fast(body)

    a.leases.world.replace = replace
    for before in ([], [LOST]):  # the fast path, the slow path
        a.leases.before = list(before)
        assert a.step()
        a.clock.advance(5.9)
        assert a.elector.is_leader()
        a.clock.advance(0.2)
        assert not a.elector.is_leader()


def test_the_last_renewal_before_the_deadline_is_not_waited_for_beyond_it() -> None:
    a = Candidate(World(), "a")
    a.step()
    a.clock.advance(8)
    limits: list[float] = []

    def replace(res: Resource, body: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        limits.append(timeout)
        raise LOST

    a.leases.replace = replace
    a.step()
    assert limits[0] == 2.0


def test_a_machine_that_slept_does_not_lead_when_it_wakes() -> None:
    """Linux stops the monotonic clock in a suspend; only the wall clock shows it."""
    a = Candidate(World(), "a")
    a.step()
    a.clock.jump(3600)
    assert not a.elector.is_leader()
    assert a.step()
    assert a.elector.is_leader()
    a.clock.jump(-3600)
    assert a.elector.is_leader()


def test_failures_are_forgiven_until_the_deadline_and_not_beyond() -> None:
    a = Candidate(World(), "a")
    a.step()
    a.clock.advance(9)
    a.leases.before = [LOST, ServerError(500, "E", "down")]
    assert a.step()
    a.clock.advance(1.1)
    a.leases.before = [LOST, LOST]
    assert not a.step()


def test_a_renewal_whose_answer_was_lost_is_found_by_looking() -> None:
    world = World()
    a = Candidate(world, "a")
    a.step()
    a.clock.advance(5)
    a.leases.after = [LOST]
    assert a.step()
    a.clock.advance(9)
    assert a.elector.is_leader()
    assert world.lease is not None
    assert world.lease["spec"]["leaseTransitions"] == 0


def test_a_release_lets_the_next_one_in_at_once() -> None:
    world = World()
    a, b = Candidate(world, "a"), Candidate(world, "b")
    a.step()
    b.step()
    assert a.elector.release()
    assert not a.elector.is_leader()
    assert world.lease is not None
    assert (world.lease["spec"]["holderIdentity"], world.lease["spec"]["leaseDurationSeconds"]) == ("", 1)
    assert b.step()
    assert world.lease["spec"]["leaseTransitions"] == 1


def test_a_release_after_a_conflict_looks_again_and_never_takes_another_ones_lease() -> None:
    world = World()
    a, b = Candidate(world, "a"), Candidate(world, "b")
    a.step()
    world.get()
    assert world.lease is not None
    world.replace({**world.lease, "spec": {**world.lease["spec"], "note": 1}})
    assert a.elector.release()
    a.step()
    b.step()
    b.clock.advance(16)
    assert b.step()
    assert not a.elector.release()
    assert world.lease["spec"]["holderIdentity"] == "b"


def test_a_release_by_one_that_does_not_lead_writes_nothing() -> None:
    world = World()
    assert not Candidate(world, "a").elector.release()
    assert world.writes == []


def test_the_health_check_fails_only_for_a_leader_that_should_long_have_given_up() -> None:
    a = Candidate(World(), "a")
    assert a.elector.check() == ""
    a.step()
    a.clock.advance(34)
    assert a.elector.check() == ""
    a.clock.advance(2)
    assert "21 s" in a.elector.check()


@pytest.mark.parametrize(
    "numbers",
    [
        {"lease_seconds": 10, "renew_deadline": 10.0},
        {"renew_deadline": 2.0, "retry": 2.0},
        {"renew_deadline": 2.3, "retry": 2.0},
        {"retry": 0.0},
        {"lease_seconds": 15.5},
    ],
)
def test_numbers_that_cannot_work_are_refused(numbers: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="an election needs"):
        Candidate(World(), "a", **numbers)


def test_an_identity_is_needed() -> None:
    with pytest.raises(ValueError, match="identity"):
        Candidate(World(), "")


def test_run_starts_renews_and_stops_once_the_lease_is_lost() -> None:
    world = World()
    a = Candidate(world, "a", lease_seconds=1, renew_deadline=0.5, retry=0.01)
    renew = a.leases.replace

    def replace(res: Resource, body: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        if world.lease and world.version == 4:  # renewals went on; the fourth finds another's
            taken = {**world.lease["spec"], "holderIdentity": "thief"}
            world.lease = {"metadata": {"name": "lock", "resourceVersion": "999"}, "spec": taken}
        return renew(res, body, timeout=timeout)

    a.leases.replace = replace
    a.elector.run(threading.Event())
    assert world.version == 4
    assert a.told == ["started", "stopped"]
    assert not a.elector.is_leader()


class ThreeLooks(threading.Event):
    """Is set at the fourth question, and never makes anybody wait."""

    looks = 0

    def is_set(self) -> bool:
        self.looks += 1
        return self.looks > 3

    def wait(self, timeout: float | None = None) -> bool:
        return False


def test_run_says_once_who_leads_instead() -> None:
    world = World()
    a, b = Candidate(world, "a"), Candidate(world, "b")
    a.elector.run(ThreeLooks())
    b.elector.run(ThreeLooks())
    assert (a.told, b.told) == (["started"], ["stands by: a"])


def test_run_ends_by_stop_and_leaves_the_lease_to_release() -> None:
    a = Candidate(World(), "a")
    stop = threading.Event()
    thread = threading.Thread(target=a.elector.run, args=(stop,))
    thread.start()
    while not a.elector.is_leader():
        stop.wait(0.005)
    stop.set()
    thread.join(40)
    assert not thread.is_alive()
    assert a.told == ["started"]
    assert a.elector.release()


@dataclass
class Delayed:
    """A bad way to the server: answers late or lost, requests that arrive long after their sender gave up."""

    world: World
    clocks: list[FakeClock]
    rng: random.Random
    trouble: float = 1.0  # 0 to 1
    in_flight: list[tuple[float, Any]] = field(default_factory=list)

    def pass_time(self, seconds: float) -> None:
        self.world.now += seconds
        for clock in self.clocks:
            clock.advance(seconds)
        due = [entry for entry in self.in_flight if entry[0] <= self.world.now]
        self.in_flight = [entry for entry in self.in_flight if entry[0] > self.world.now]
        for _, action in due:
            try:
                action()
            except (Conflict, NotFound, AlreadyExists):
                continue  # nobody waits for this answer any more

    def _do(self, action: Any, timeout: float) -> dict[str, Any]:
        fate = self.rng.random() / self.trouble if self.trouble else 1.0
        if fate < 0.15:
            self.pass_time(timeout)
            raise LOST
        if fate < 0.3:  # applied, but long after
            self.in_flight.append((self.world.now + self.rng.uniform(0, 40), action))
            self.pass_time(timeout)
            raise LOST
        if fate < 0.4:
            raise ServerError(500, "E", "broken")
        self.pass_time(self.rng.uniform(0, timeout / 2 * self.trouble))
        answer: dict[str, Any] = action()
        if fate < 0.5:
            self.pass_time(timeout / 2)
            raise LOST
        self.pass_time(self.rng.uniform(0, timeout / 2 * self.trouble))
        return answer

    def get(self, res: Resource, namespace: str, name: str, *, timeout: float) -> dict[str, Any]:
        return self._do(self.world.get, timeout)

    def create(self, res: Resource, namespace: str, body: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        return self._do(lambda: self.world.create(body), timeout)

    def replace(self, res: Resource, body: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        return self._do(lambda: self.world.replace(body), timeout)


@pytest.mark.parametrize("seed", range(60))
def test_never_two_leaders_at_one_time_and_one_again_once_it_is_calm(seed: int) -> None:
    """Three candidates; late, lost and late-applied requests, wall clock jumps, releases and long sleeps."""
    rng = random.Random(seed)
    world = World()
    server = Delayed(world, [FakeClock() for _ in range(3)], rng, trouble=seed % 3 / 2)
    electors = [
        LeaderElector(
            server,
            "ns",
            "lock",
            f"c{number}",
            clock=clock,
            rng=rng,
            on_started=lambda: None,
            on_stopped=lambda: None,
        )
        for number, clock in enumerate(server.clocks)
    ]
    led = 0

    def check() -> None:
        nonlocal led
        leaders = [elector for elector in electors if elector.is_leader()]
        assert len(leaders) <= 1
        led += len(leaders)

    passing = server.pass_time

    def watched(seconds: float) -> None:
        """Also within a request, which takes its time, there is one leader at most."""
        for _ in range(4):
            passing(seconds / 4)
            check()

    server.pass_time = watched
    for _ in range(100):
        act = rng.random()
        if act < 0.1:  # the leader sleeps longer than a lease, the others try all the time
            asleep = next((elector for elector in electors if elector.is_leader()), electors[0])
            for _ in range(25):
                rng.choice([elector for elector in electors if elector is not asleep]).step()
                server.pass_time(1)
        elif act < 0.75:
            rng.choice(electors).step()
        elif act < 0.85:
            server.pass_time(rng.choice([0.5, 2.0, 6.0, 20.0]))
        elif act < 0.95:
            rng.choice(server.clocks).jump(rng.uniform(-100, 100))
        else:
            rng.choice(electors).release()
        check()
    server.trouble = 0
    server.pass_time(60)
    for _ in range(12):
        for elector in electors:
            elector.step()
        server.pass_time(2)
    assert sum(elector.is_leader() for elector in electors) == 1
    assert led > 0
