"""Long random histories on the queue and on a naive model of it, which must agree after every step."""

import random
from dataclasses import dataclass, field

import pytest

from workqueue import ExponentialBackoff, FakeClock, Lane, ShutDown, WorkQueue

STEPS = 4000
KEYS = 12


@dataclass
class ThreeSets:
    """client-go's queue: a list and two sets, with a delay for each key. No lanes."""

    queue: list[int] = field(default_factory=list)
    dirty: set[int] = field(default_factory=set)
    processing: set[int] = field(default_factory=set)
    delayed: dict[int, tuple[float, int]] = field(default_factory=dict)
    failures: dict[int, int] = field(default_factory=dict)
    requests: int = 0
    shut_down: bool = False

    def add(self, key: int) -> None:
        if self.shut_down or key in self.dirty:
            return
        self.dirty.add(key)
        if key not in self.processing:
            self.queue.append(key)

    def add_at(self, key: int, ready_at: float) -> None:
        self.requests += 1
        if not self.shut_down and (key not in self.delayed or ready_at < self.delayed[key][0]):
            self.delayed[key] = (ready_at, self.requests)

    def advance(self, now: float) -> None:
        due = sorted((when, key) for key, when in self.delayed.items() if when[0] <= now)
        for _, key in due:
            del self.delayed[key]
            self.add(key)

    def get(self) -> int:
        key = self.queue.pop(0)
        self.processing.add(key)
        self.dirty.remove(key)
        return key

    def done(self, key: int) -> None:
        self.processing.remove(key)
        if key in self.dirty:
            self.queue.append(key)

    def stop(self) -> None:
        self.shut_down = True
        self.delayed.clear()


@pytest.mark.parametrize("seed", range(6))
def test_the_queue_does_what_client_gos_three_sets_do(seed: int) -> None:
    rng, clock, model = random.Random(seed), FakeClock(), ThreeSets()
    backoff = ExponentialBackoff[int](random.Random(0), base=0.25, jitter=0.0)
    queue: WorkQueue[int] = WorkQueue(slow_limit=1, slow_after=1e9, clock=clock, backoff=backoff)

    def add(key: int) -> None:
        queue.add(key)
        model.add(key)

    def add_after(key: int) -> None:
        seconds = rng.choice([0.25, 0.5, 1.0, 3.0, 60.0])
        queue.add_after(key, seconds)
        model.add_at(key, clock.monotonic() + seconds)

    def add_rate_limited(key: int) -> None:
        model.add_at(key, clock.monotonic() + min(300, 0.25 * 2 ** model.failures.get(key, 0)))
        model.failures[key] = model.failures.get(key, 0) + 1
        queue.add_rate_limited(key)

    def forget(key: int) -> None:
        queue.forget(key)
        model.failures.pop(key, None)

    def get(_: int) -> None:
        if model.queue:
            assert queue.get() == model.get()
        elif model.shut_down:
            with pytest.raises(ShutDown):
                queue.get()

    def done(_: int) -> None:
        if model.processing:
            key = rng.choice(sorted(model.processing))
            queue.done(key)
            model.done(key)

    def advance(_: int) -> None:
        clock.advance(rng.choice([0.25, 0.25, 1.0, 10.0]))
        model.advance(clock.monotonic())

    operations = [add, add, add_after, add_rate_limited, forget, get, get, get, done, done, done, advance]
    for step in range(STEPS):
        if step == STEPS - 100:
            assert queue.shut_down() is not bool(model.queue or model.processing)
            model.stop()
        key = rng.randrange(KEYS)
        rng.choice(operations)(key)
        gauges = queue.gauges()
        assert len(queue) == len(model.queue)
        assert sum(gauges.depth.values()) == len(model.dirty)
        assert (gauges.processing, gauges.delayed) == (len(model.processing), len(model.delayed))
        assert queue.num_requeues(key) == model.failures.get(key, 0)


@dataclass
class Waiting:
    key: int
    lane: Lane
    asked: Lane
    since: float


@dataclass
class Run:
    started: float
    from_slow: bool
    again: Waiting | None = None


@dataclass
class OneLine:
    """The lanes as one list, searched from its head for each question."""

    limit: int
    line: list[Waiting] = field(default_factory=list)
    running: dict[int, Run] = field(default_factory=dict)
    slow: set[int] = field(default_factory=set)
    aged_turn: bool = False

    def add(self, key: int, asked: Lane, now: float) -> None:
        wanted = Waiting(key, Lane.SLOW if key in self.slow else asked, asked, now)
        if key in self.running:
            again = self.running[key].again
            if again is None:
                self.running[key].again = wanted
            else:
                again.asked = min(again.asked, asked)
            return
        for known in self.line:
            if known.key == key:
                known.asked = min(known.asked, asked)
                if wanted.lane < known.lane:
                    self.line.remove(known)
                    self.line.append(Waiting(key, wanted.lane, known.asked, known.since))
                return
        self.line.append(wanted)

    def next(self, now: float) -> Waiting | None:
        """The rule, word for word: the aged take turns with FRESH; then BULK; then SLOW, within its limit."""
        holders = sum(run.from_slow or now - run.started > 1 for run in self.running.values())
        heads: dict[Lane, Waiting] = {}
        for waiting in self.line:
            if waiting.lane is not Lane.SLOW or holders < self.limit:
                heads.setdefault(waiting.lane, waiting)
        aged = [head for lane, head in sorted(heads.items()) if lane is not Lane.FRESH and now - head.since > 30]
        if aged and (self.aged_turn or Lane.FRESH not in heads):
            self.aged_turn = False
            return min(aged, key=lambda head: head.since)
        self.aged_turn = bool(aged)
        return heads[min(heads)] if heads else None

    def take(self, waiting: Waiting, now: float) -> None:
        self.line.remove(waiting)
        self.running[waiting.key] = Run(now, waiting.lane is Lane.SLOW)

    def done(self, key: int, now: float) -> None:
        run = self.running.pop(key)
        (self.slow.add if now - run.started > 1 else self.slow.discard)(key)
        if run.again is not None:
            run.again.lane = Lane.SLOW if key in self.slow else run.again.asked
            self.line.append(run.again)


@pytest.mark.parametrize("seed", range(10))
def test_the_lanes_do_what_their_rule_says(seed: int) -> None:
    rng, clock, model = random.Random(seed), FakeClock(), OneLine(limit=3)
    queue: WorkQueue[int] = WorkQueue(slow_limit=3, clock=clock)
    served: set[Lane] = set()
    most_slow = 0
    for _ in range(STEPS):
        now, choice = clock.monotonic(), rng.random()
        if choice < 0.4:
            key, lane = rng.randrange(KEYS), rng.choice(list(Lane))
            queue.add(key, lane)
            model.add(key, lane, now)
        elif choice < 0.65:
            if (expected := model.next(now)) is not None:
                assert queue.get() == expected.key
                model.take(expected, now)
                served.add(expected.lane)
        elif choice < 0.85 and model.running:
            key = rng.choice(sorted(model.running))
            queue.done(key)
            model.done(key, now)
        else:
            clock.advance(rng.choice([0.25, 0.25, 2.0, 8.0]))
        depth = {lane: sum(waiting.lane is lane for waiting in model.line) for lane in Lane}
        for key, run in model.running.items():
            if run.again is not None:
                depth[Lane.SLOW if key in model.slow else run.again.asked] += 1
        assert queue.gauges().depth == depth
        most_slow = max(most_slow, sum(run.from_slow for run in model.running.values()))
    queue.shut_down()
    assert served == set(Lane), "the history was long enough to mean something"
    assert most_slow == 3
