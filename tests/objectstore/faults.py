"""Which request fails, and how. Thread-safe."""

import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

#: An answer of that status; "reset": the connection is reset; "slow": the answer comes after ``ObjectStore.slow``.
Fault = Literal[403, 404, 500, 503, "reset", "slow"]
Kind = Literal["LIST", "HEAD"]


@dataclass
class _Rule:
    bucket: str
    prefix: bytes
    how: Fault
    page: int | None
    left: int | None  # None: for ever
    kinds: Collection[Kind]

    def covers(self, bucket: str, name: bytes) -> bool:
        return bucket == self.bucket and (name + b"/").startswith(self.prefix)


class Faults:
    """The faults of a store; of several that fit a request, the one that was asked for first."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()

    def add(
        self, bucket: str, prefix: bytes, how: Fault, page: int | None, times: int | None, kinds: Collection[Kind]
    ) -> None:
        """See ObjectStore.fail."""
        with self._lock:
            self._rules.append(_Rule(bucket, prefix, how, page, times, kinds))

    def heal(self, bucket: str | None, prefix: bytes) -> None:
        """See ObjectStore.heal."""
        with self._lock:
            self._rules = [rule for rule in self._rules if bucket is not None and not _within(rule, bucket, prefix)]

    def take(self, kind: Kind, bucket: str, name: bytes, page: int | None = None) -> Fault | None:
        """Return how this request fails, and count it."""
        with self._lock:
            for rule in self._rules:
                fits = kind in rule.kinds and rule.left != 0 and rule.page in (None, page)
                if fits and rule.covers(bucket, name):
                    rule.left = None if rule.left is None else rule.left - 1
                    return rule.how
        return None


def _within(rule: _Rule, bucket: str, prefix: bytes) -> bool:
    return rule.bucket == bucket and rule.prefix.startswith(prefix)
