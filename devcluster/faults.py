"""Faults that a test orders from the API server."""

import re
import threading
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """What happens to one request, or to one event of a watch (there only ``latency``, ``hang`` and ``cut``)."""

    latency: float = 0.0  # seconds before anything else
    status: int = 0  # answered in place of handling the request
    retry_after: int = 0  # seconds, header of that answer
    hang: bool = False  # nothing is ever sent again: a half-open connection
    cut: bool = False  # the connection ends, in a watch in the middle of a line
    lost: bool = False  # the request is handled, then the connection ends without an answer


class Faults:
    """Orders by regular expression over "METHOD /path?query" or, of an event, "ADDED /path?query"."""

    def __init__(self) -> None:
        self._lock, self._orders = threading.Lock(), list[tuple[str, list[Fault]]]()

    def add(self, match: str, do: Fault, times: int = 1) -> None:
        """Do that to the next ``times`` requests that match and for which nothing was ordered before."""
        with self._lock:
            self._orders.append((match, [do] * times))

    def clear(self) -> None:
        """Forget every order."""
        with self._lock:
            self._orders.clear()

    def take(self, line: str, stopping: threading.Event) -> Fault:
        """Return what is ordered for this request, after its latency; one that hangs returns when the server stops."""
        with self._lock:
            found = next((left.pop() for match, left in self._orders if left and re.search(match, line)), Fault())
        stopping.wait(None if found.hang else found.latency)
        return found
