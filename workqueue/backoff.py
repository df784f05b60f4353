"""How long a key that failed has to wait: exponential, per key, with jitter.

There is on purpose no bucket shared by all keys. client-go's default adds one (10 a second, burst 100) whose
reservations are never given back: the ten-thousandth key of an outage waits 16 minutes behind keys that have nothing
to do with it (kubernetes/kubernetes#104554), which is just what this queue exists to prevent. Load on a server is
limited where the requests are made.
"""

import math
import random
import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class ExponentialBackoff(Generic[K]):
    """``base * 2**failures`` seconds up to ``maximum``, then spread by ``jitter`` either way. Safe to share by threads.

    The spread comes last: keys that failed together part, also at the maximum (whose waits are thus
    ``maximum * (1 - jitter)`` to ``maximum * (1 + jitter)``).
    """

    def __init__(self, rng: random.Random, *, base: float = 0.005, maximum: float = 300.0, jitter: float = 0.2) -> None:
        if not (0 < base <= maximum < math.inf and 0 <= jitter < 1):
            raise ValueError("a back-off needs 0 < base <= maximum < inf and 0 <= jitter < 1")
        self._rng = rng
        self._base = base
        self._maximum = maximum
        self._jitter = jitter
        # Beyond this exponent the maximum counts anyhow: a key that fails for years must not overflow a float.
        self._last_exponent = math.ceil(math.log2(maximum / base))
        self._failures: dict[K, int] = {}
        self._lock = threading.Lock()

    def when(self, key: K) -> float:
        """Count one more failure of the key and return the seconds to wait."""
        with self._lock:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            spread = self._rng.uniform(1 - self._jitter, 1 + self._jitter)
        return spread * min(self._maximum, math.ldexp(self._base, min(failures, self._last_exponent)))

    def forget(self, key: K) -> None:
        """Start again at ``base``: the key succeeded, or is gone."""
        with self._lock:
            self._failures.pop(key, None)

    def num_requeues(self, key: K) -> int:
        """Return how often ``when`` was asked since the key was last forgotten."""
        with self._lock:
            return self._failures.get(key, 0)
