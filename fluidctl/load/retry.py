"""What to do after a failed call, by gRPC code and text. Pure; the table is what a real 2.9.6 was seen to answer.

A master that starts or stands by answers UNIMPLEMENTED "Method not found" to everything but authentication, so that
code never means "old version". UNAVAILABLE is three things: a broken connection, safe mode, an overloaded storage.
"""

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass


class Do(enum.Enum):
    """The kinds of answer to a failure."""

    WAIT = "wait"  # the master or its storage needs time: the same connection again
    RECONNECT = "reconnect"  # look for the leader again, authenticate again, repeat
    GONE = "gone"  # the path does not exist
    GIVE_UP = "give up"  # the same call would fail in the same way


@dataclass(frozen=True)
class Rule:
    """``tries`` counts the first call; 0 means until the step itself ends. Delays are seconds and double."""

    do: Do
    tries: int = 1
    first: float = 1.0
    most: float = 30.0

    def delay(self, failures: int, random: Callable[[], float]) -> float:
        """Return the pause after that many failures (1 or more), spread over its upper half."""
        return min(self.most, self.first * 2.0 ** min(failures - 1, 10)) * (0.5 + random() / 2)


SAFE_MODE = Rule(Do.WAIT, tries=0, first=0.5, most=5.0)
STORAGE_BUSY = Rule(Do.WAIT, tries=7)
SERVER_ERROR = Rule(Do.WAIT, tries=5)
DENIED = Rule(Do.WAIT, tries=3)  # a storage answers 403 also for a moment, while credentials rotate
RECONNECT = Rule(Do.RECONNECT, tries=0, first=0.2, most=3.0)
_CONNECTION = re.compile(
    r"socket|connect|stream removed|goaway|transport|keepalive|ping|dns|resolving|broken pipe", re.I
)

_BY_CODE = {
    "CANCELLED": RECONNECT,
    "UNAUTHENTICATED": RECONNECT,
    "UNIMPLEMENTED": RECONNECT,
    "DEADLINE_EXCEEDED": RECONNECT,
    "INTERNAL": SERVER_ERROR,
    "UNKNOWN": SERVER_ERROR,
    "ABORTED": SERVER_ERROR,
    "RESOURCE_EXHAUSTED": SERVER_ERROR,
    "PERMISSION_DENIED": DENIED,
    "NOT_FOUND": Rule(Do.GONE),
}


def rule_for(code: str, details: str) -> Rule:
    """Return the rule for a gRPC status, ``code`` by its name ("UNAVAILABLE")."""
    if code == "UNAVAILABLE":
        if "safe mode" in details:
            return SAFE_MODE
        return RECONNECT if _CONNECTION.search(details) else STORAGE_BUSY
    return _BY_CODE.get(code, Rule(Do.GIVE_UP))
