"""Which request fails, and how. Thread-safe."""

import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

#: An answer of that status; "reset": the connection is reset; "slow": the answer comes after ``ObjectStore.slow``.
Fault = Literal[403, 404, 500, 503, "reset", "slow"]
Kind = Literal["LIST", "HEAD"]


@dataclass
class Rule:
    """One fault, as ObjectStore.fail describes it. ``left``: how often it still strikes, None for ever."""

    bucket: str
    prefix: bytes
    how: Fault
    page: int | None
    left: int | None
    kinds: Collection[Kind]
    shown: bool

    def fits(self, kind: Kind, bucket: str, name: bytes, page: int | None, names: Collection[bytes]) -> bool:
        """Whether this request fails; ``names`` are the keys that its page would show."""
        if bucket != self.bucket or kind not in self.kinds or self.left == 0 or self.page not in (None, page):
            return False
        asked = (name + b"/").startswith(self.prefix)
        return asked or (self.shown and any(each.startswith(self.prefix) for each in names))


class Faults:
    """The faults of a store; of several that fit a request, the one that was asked for first."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def add(self, rule: Rule) -> None:
        """Add one."""
        with self._lock:
            self._rules.append(rule)

    def heal(self, bucket: str | None, prefix: bytes) -> None:
        """See ObjectStore.heal."""
        with self._lock:
            self._rules = [rule for rule in self._rules if bucket is not None and not _within(rule, bucket, prefix)]

    def take(self, kind: Kind, bucket: str, name: bytes, page: int | None, names: Collection[bytes]) -> Fault | None:
        """Return how this request fails, and count it."""
        with self._lock:
            for rule in self._rules:
                if rule.fits(kind, bucket, name, page, names):
                    rule.left = None if rule.left is None else rule.left - 1
                    return rule.how
        return None


def _within(rule: Rule, bucket: str, prefix: bytes) -> bool:
    return rule.bucket == bucket and rule.prefix.startswith(prefix)
