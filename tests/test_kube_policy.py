"""What a reflector does after each outcome, as a table; and the times it waits."""

import random

import pytest

from controllers.kube import errors
from controllers.kube.policy import Action, Backoff, Step, after_list, after_watch
from controllers.kube.watch import Silent

AGAIN = Step(Action.WATCH)
LATER = Step(Action.WATCH, pause=True)
RELIST = Step(Action.LIST, pause=True)

EXPIRED = errors.Expired(410, "Expired", "too old")
BUSY = errors.TooManyRequests(429, "TooManyRequests", "busy", retry_after=7)
BROKEN = errors.ServerError(500, "InternalError", "broken")
DOWN = errors.ServerError(503, "ServiceUnavailable", "down", retry_after=9)
REFUSED = errors.NoAnswer("Unreachable", "refused", maybe_applied=False)
CUT = errors.NoAnswer("ConnectionLost", "cut")
FORBIDDEN = errors.Forbidden(403, "Forbidden", "no")
GONE = errors.NotFound(404, "NotFound", "no CRD")

WATCHES = [
    ("the server ended the stream in time", None, 5, 400.0, AGAIN),
    ("an idle stream ended in time", None, 0, 400.0, AGAIN),
    ("one event, then closed at once", None, 1, 0.1, AGAIN),
    ("closed at once, nothing seen", None, 0, 0.1, LATER),
    ("cut in the middle", CUT, 3, 60.0, AGAIN),
    ("cut at once", CUT, 0, 0.0, LATER),
    ("silent, perhaps half-open", Silent("Timeout", "silent"), 0, 120.0, AGAIN),
    ("refused after a long connect", REFUSED, 0, 3.0, LATER),
    ("too many requests", BUSY, 0, 0.0, Step(Action.WATCH, pause=True, retry_after=7)),
    ("too many requests in the stream", BUSY, 9, 50.0, Step(Action.WATCH, pause=True, retry_after=7)),
    ("version too old at the start", EXPIRED, 0, 0.0, RELIST),
    ("version too old in the stream", EXPIRED, 9, 50.0, RELIST),
    ("internal error", BROKEN, 0, 0.0, RELIST),
    ("unavailable", DOWN, 0, 0.0, Step(Action.LIST, pause=True, retry_after=9)),
    ("not allowed", FORBIDDEN, 0, 0.0, RELIST),
    ("CRD deleted", GONE, 2, 9.0, RELIST),
]


@pytest.mark.parametrize(
    ("error", "events", "seconds", "step"), [row[1:] for row in WATCHES], ids=[w[0] for w in WATCHES]
)
def test_after_a_watch(error: errors.KubeError | None, events: int, seconds: float, step: Step) -> None:
    assert after_watch(error, events=events, seconds=seconds) == step


def test_a_list_that_worked_is_followed_by_a_watch_at_once() -> None:
    assert after_list(None) == AGAIN


@pytest.mark.parametrize("error", [EXPIRED, BROKEN, REFUSED, CUT, FORBIDDEN, GONE])
def test_a_list_that_failed_is_repeated_after_a_pause(error: errors.KubeError) -> None:
    assert after_list(error) == RELIST


def test_a_list_waits_as_long_as_the_server_asks() -> None:
    assert after_list(BUSY).retry_after == 7


def test_no_outcome_repeats_a_failed_request_without_a_pause() -> None:
    """Else a server that is in trouble is asked as fast as the network allows."""
    for error in (EXPIRED, BUSY, BROKEN, DOWN, REFUSED, CUT, FORBIDDEN, GONE, None):
        assert after_watch(error, events=0, seconds=0.0).pause


def test_pauses_grow_from_under_two_seconds_to_thirty_and_stay_within() -> None:
    for seed in range(50):
        backoff, now = Backoff(random.Random(seed)), 0.0
        delays = []
        for _ in range(100):
            delays.append(backoff.next(now))
            now += delays[-1]
        assert 0.8 <= delays[0] <= 1.6
        assert all(0.8 <= delay <= 30 for delay in delays)
        assert all(15 <= delay <= 30 for delay in delays[6:])
        assert len(set(delays)) == len(delays), "without jitter all clients of a server come back together"


def test_two_quiet_minutes_reset_the_pauses() -> None:
    backoff = Backoff(random.Random(1))
    end = 0.0
    for _ in range(10):
        end += backoff.next(end)
    assert backoff.next(end + 119) >= 15
    assert backoff.next(end + 119 + 30 + 121) <= 1.6


def test_the_server_may_ask_for_more_but_not_for_ever() -> None:
    backoff = Backoff(random.Random(1))
    assert backoff.next(0.0, retry_after=20) == 20
    assert backoff.next(0.0, retry_after=86400) == 120
