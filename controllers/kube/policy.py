"""What a reflector does next, after each way in which a list or a watch can end. Pure.

The rules are client-go's (tools/cache/reflector.go) with one simplification: a list always asks for the newest state,
that is, names no resourceVersion. So it never shows an older state than we have seen, and no version that it names can
be expired or in the future.
"""

import enum
import random
from dataclasses import dataclass

from controllers.kube.errors import KubeError, NoAnswer, TooManyRequests

_SHORT = 1.0


class Action(enum.Enum):
    """The next request."""

    LIST = "list"
    WATCH = "watch"


@dataclass(frozen=True)
class Step:
    """The next request, whether to wait before it, and how long at least (seconds)."""

    action: Action
    pause: bool = False
    retry_after: float = 0.0


def after_list(error: KubeError | None) -> Step:
    """A list that worked is followed by a watch; one that failed, or whose next page expired, by another list."""
    if error is None:
        return Step(Action.WATCH)
    return Step(Action.LIST, pause=True, retry_after=getattr(error, "retry_after", 0.0))


def after_watch(error: KubeError | None, *, events: int, seconds: float) -> Step:
    """A stream that only ended goes on from the last version seen; one that was refused begins again with a list.

    A server that closes at once would be asked thousands of times a second: a stream that ends in its first second,
    without an event, counts as a failure.
    """
    short = seconds < _SHORT and events == 0
    if error is None:
        return Step(Action.WATCH, pause=short)
    if isinstance(error, NoAnswer):
        return Step(Action.WATCH, pause=short or not error.maybe_applied)
    retry_after = getattr(error, "retry_after", 0.0)
    if isinstance(error, TooManyRequests):
        return Step(Action.WATCH, pause=True, retry_after=retry_after)
    return Step(Action.LIST, pause=True, retry_after=retry_after)


class Backoff:
    """0.8 to 30 seconds, doubling, each with its own random half; from the start again after two quiet minutes."""

    BASE, MAXIMUM, RESET, LONGEST_ASKED = 0.8, 30.0, 120.0, 120.0

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._failures = 0
        self._until = 0.0

    def next(self, now: float, retry_after: float = 0.0) -> float:
        """Return the seconds to wait from ``now`` (monotonic); what the server asks for counts up to two minutes."""
        if now - self._until > self.RESET:
            self._failures = 0
        half = min(self.MAXIMUM / 2, self.BASE * 2.0 ** min(self._failures, 16))
        self._failures += 1
        delay = max(half * (1 + self._rng.random()), min(retry_after, self.LONGEST_ASKED))
        self._until = now + delay
        return delay
