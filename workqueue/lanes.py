"""The waiting line: three lanes, each first in, first out, and the rule which of them is next.

A key stands in one lane at most. Not safe for threads by itself: the queue's lock guards it.
"""

import enum
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Lane(enum.IntEnum):
    """How urgent a key is; the lower the sooner."""

    FRESH = 0  # something happened: a watch event, a due timer
    BULK = 1  # nothing need have happened: the initial list, a resync
    SLOW = 2  # the key took long when it was last processed


@dataclass(slots=True)
class Entry:
    """A waiting key's request: ``asked`` is the most urgent lane that was asked for, ``since`` monotonic seconds."""

    asked: Lane
    since: float


class Lanes(Generic[K]):
    """Three first-in-first-out lanes with this order between them:

    1. FRESH and the *aged*: a key at the head of BULK or SLOW that has waited over ``age_after`` seconds, the oldest
       first. Where both wait they take turns, one and one. So no steady stream of events starves a lane for ever, and
       ten thousand keys that aged together (a long initial list) do not hold up an event by more than one key each.
    2. BULK.
    3. SLOW.
    """

    def __init__(self, age_after: float) -> None:
        self._age_after = age_after
        self._lanes: dict[Lane, OrderedDict[K, Entry]] = {lane: OrderedDict() for lane in Lane}
        self._aged_is_next = False

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    def count(self, lane: Lane) -> int:
        """Return how many keys wait in a lane."""
        return len(self._lanes[lane])

    def put(self, key: K, lane: Lane, entry: Entry) -> bool:
        """Place a key at the tail of a lane and return True; of one that waits already, only ever raise the lane.

        A raised key goes to the tail of its new lane, and its waiting time counts from the first time it was put.
        """
        for current, line in self._lanes.items():
            if (waiting := line.get(key)) is not None:
                waiting.asked = min(waiting.asked, entry.asked)
                if lane < current:
                    del line[key]
                    self._lanes[lane][key] = waiting
                return False
        self._lanes[lane][key] = entry
        return True

    def take(self, now: float, *, slow_allowed: bool) -> tuple[K, Lane, Entry] | None:
        """Remove and return the next key, the lane in which it stood and its entry; None if there is none to give."""
        lane = self._next(now, slow_allowed)
        if lane is None:
            return None
        key, entry = self._lanes[lane].popitem(last=False)
        return key, lane, entry

    def _next(self, now: float, slow_allowed: bool) -> Lane | None:
        open_lanes = [lane for lane in Lane if self._lanes[lane] and (lane is not Lane.SLOW or slow_allowed)]
        aged = [lane for lane in open_lanes if lane is not Lane.FRESH and now - self._since(lane) > self._age_after]
        if aged and (self._aged_is_next or Lane.FRESH not in open_lanes):
            self._aged_is_next = False
            return min(aged, key=self._since)
        self._aged_is_next = bool(aged)
        return open_lanes[0] if open_lanes else None

    def _since(self, lane: Lane) -> float:
        return next(iter(self._lanes[lane].values())).since
