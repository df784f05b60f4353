"""Asks the Alluxio masters over HTTP how they are: once per cluster, on threads of its own, with no write to anywhere.

    poller = MasterPoller(on_change=queue.add)            # DirectTransport, or ServiceProxyTransport from a laptop
    poller.start()
    cluster = ClusterAddress(("alluxio-master-0.alluxio:19998",), web_port=19999)
    poller.register(("ns", "name"), cluster)              # at every reconcile: idempotent
    poller.snapshot(cluster)                              # None until the first look has ended
    poller.shown(cluster)                                 # the same, without changes too small to be written
    poller.unregister(("ns", "name"))                     # the last one of a cluster ends its polling
    poller.stop()

``look(transport, cluster, now)`` is one look without any thread.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from controllers.master_http import DirectTransport, HttpError, HttpTransport, NotHttpError, split_address
from controllers.master_snapshot import (
    ClusterAddress,
    HitRatios,
    MasterSnapshot,
    NotAlluxioError,
    Reads,
    Reason,
    hit_ratios,
    parse_info,
    parse_metrics,
    shown_differs,
    supported,
    worth_showing,
)
from controllers.rounds import Rounds
from workqueue.clock import Clock, SystemClock

METRICS_PATH = "/metrics/json/"
INFO_PATH = "/api/v1/master/info"
MAX_BACKOFF_SECONDS = 300.0
#: Hit ratios are those of at least the last so many seconds, as in Fluid.
WINDOW_SECONDS = 60.0
#: A difference below every threshold is shown after so long.
SETTLE_SECONDS = 300.0
#: A cluster of many masters that all hang must not hold a thread for minutes.
LOOK_SECONDS = 30.0

logger = logging.getLogger(__name__)
K = TypeVar("K", bound=Hashable)


@dataclass
class _Watched(Generic[K]):
    """What is remembered of one cluster between two looks."""

    keys: set[K] = field(default_factory=set)
    last: MasterSnapshot | None = None
    shown: MasterSnapshot | None = None  # what on_change was last called for
    shown_at: float = 0.0
    base: tuple[float, Reads] | None = None  # where the window of the hit ratios begins
    failures: int = 0  # in a row, all with the same reason

    def take(self, found: MasterSnapshot, now: float) -> bool:
        """Take over a look; return whether it is worth a reconcile of every key."""
        answered = found.reason in (Reason.REACHABLE, Reason.UNSUPPORTED_VERSION)
        same = self.last is not None and self.last.reason == found.reason
        self.failures = 0 if answered else 1 + (self.failures if same else 0)
        found = replace(found, hit_ratios=self._ratios(found, now))
        self.last, shown = found, self.shown
        settled = shown is not None and now - self.shown_at >= SETTLE_SECONDS and shown_differs(shown, found)
        if not settled and not worth_showing(shown, found):
            return False
        self.shown, self.shown_at = found, now
        return True

    def _ratios(self, found: MasterSnapshot, now: float) -> HitRatios | None:
        """Return those of the last window in which anything was read; before there is one, since the master's start."""
        reads, last = found.reads, self.last
        if reads is None:
            return None
        if self.base is None or last is None or last.start_time_ms != found.start_time_ms:
            self.base = (now, reads)
            return hit_ratios(reads)
        ratios = None
        if now - self.base[0] >= WINDOW_SECONDS:
            ratios = hit_ratios(reads, self.base[1])
            self.base = (now, reads)
        return ratios or last.hit_ratios or hit_ratios(reads)


class MasterPoller(Generic[K]):
    """Keeps one snapshot per distinct cluster; ``K`` is what ``on_change`` is called with, once per registered key.

    A cluster that hangs holds a thread for at most LOOK_SECONDS and one request, and is asked ever more rarely, down to
    every 5 minutes; ``Rounds`` says why the others do not wait for it.
    """

    def __init__(
        self,
        on_change: Callable[[K], None],
        *,
        transport: HttpTransport | None = None,
        interval: float = 20.0,
        threads: int = 32,
        clock: Clock | None = None,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self._on_change, self._transport, self._interval = on_change, transport or DirectTransport(), interval
        self._clock, self._rand = clock or SystemClock(), rand
        self._lock = threading.Lock()
        self._clusters: dict[K, ClusterAddress] = {}
        self._watched: dict[ClusterAddress, _Watched[K]] = {}
        self._rounds: Rounds[ClusterAddress] = Rounds("masters", self._visit, threads=threads, clock=self._clock)
        self.start, self.stop, self.dead_thread = self._rounds.start, self._rounds.stop, self._rounds.dead_thread

    def register(self, key: K, cluster: ClusterAddress) -> None:
        """Poll this cluster for the key, in place of its former one; raise ValueError for a bad address."""
        for master in cluster.masters:
            split_address(master)
        with self._lock:
            if self._clusters.get(key) == cluster:
                return
            self._leave(key)
            self._clusters[key] = cluster
            self._watched.setdefault(cluster, _Watched()).keys.add(key)
            self._rounds.add(cluster)

    def unregister(self, key: K) -> None:
        """Forget the key; no-op for one that is not here."""
        with self._lock:
            self._leave(key)

    def snapshot(self, cluster: ClusterAddress) -> MasterSnapshot | None:
        """Return the last look at a registered cluster, or None before the first has ended."""
        with self._lock:
            watched = self._watched.get(cluster)
            return watched.last if watched else None

    def shown(self, cluster: ClusterAddress) -> MasterSnapshot | None:
        """Return the last look that ``on_change`` was called for: a status is not written for less."""
        with self._lock:
            watched = self._watched.get(cluster)
            return watched.shown if watched else None

    def _leave(self, key: K) -> None:
        cluster = self._clusters.pop(key, None)
        if cluster is None:
            return
        self._watched[cluster].keys.discard(key)
        if not self._watched[cluster].keys:
            del self._watched[cluster]
            self._rounds.discard(cluster)

    def _visit(self, cluster: ClusterAddress) -> float:
        last = self.snapshot(cluster)
        found = look(self._transport, cluster, self._clock.now(), last)
        if last is None or last.reason != found.reason:
            logger.info("masters: %s", found.message, extra={"reason": found.reason.value})
        with self._lock:
            watched = self._watched.get(cluster)
            if watched is None:
                return self._interval
            keys = tuple(watched.keys) if watched.take(found, self._clock.monotonic()) else ()
            seconds = min(self._interval * 2.0**watched.failures, max(MAX_BACKOFF_SECONDS, self._interval))
        for key in keys:
            self._on_change(key)
        return seconds * (0.9 + 0.2 * self._rand())


def look(
    transport: HttpTransport,
    cluster: ClusterAddress,
    now: float,
    last: MasterSnapshot | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> MasterSnapshot:
    """Ask the masters in turn, the former leader first, until one answers: standby masters keep their web port closed.

    ``last`` saves the request for the version, which changes with a restart alone. Raises nothing for any behaviour of
    the masters, and tries no further one after LOOK_SECONDS.
    """
    end = monotonic() + LOOK_SECONDS
    troubles: list[tuple[str, Exception]] = []
    for master in sorted(cluster.masters, key=lambda master: last is None or master != last.address):
        if monotonic() >= end:
            break
        try:
            return _ask(transport, master, cluster.web_port, now, last)
        except (HttpError, NotAlluxioError) as error:
            troubles.append((master, error))
    return _silent(cluster, troubles, _answers(transport, cluster, lambda: monotonic() >= end), now)


def _ask(transport: HttpTransport, master: str, port: int, now: float, last: MasterSnapshot | None) -> MasterSnapshot:
    host = split_address(master)[0]
    found = parse_metrics(_body(transport, host, port, METRICS_PATH), master, now)
    if last and last.version and found.start_time_ms == last.start_time_ms is not None:
        return _judged(replace(found, version=last.version))
    try:
        version, started = parse_info(_body(transport, host, port, INFO_PATH))
    except (HttpError, NotAlluxioError) as error:  # the version comes with a later look
        logger.debug("masters: %s does not say its version: %s", master, error)
        return found
    return _judged(replace(found, version=version, start_time_ms=found.start_time_ms or started))


def _body(transport: HttpTransport, host: str, port: int, path: str) -> bytes:
    status, body = transport.get(host, port, path)
    if status != 200:
        raise NotAlluxioError(f"it answers HTTP {status} for {path}")
    return body


def _judged(found: MasterSnapshot) -> MasterSnapshot:
    if supported(found.version):
        return found
    message = f"the master {found.address} has version {found.version}; Alluxio 2.5 to 2.9 is needed"
    return replace(found, reason=Reason.UNSUPPORTED_VERSION, message=message)


def _answers(transport: HttpTransport, cluster: ClusterAddress, late: Callable[[], bool]) -> bool | None:
    """Return whether any RPC port answers; None where none did and not all could be tried."""
    answers: list[bool | None] = []
    for master in cluster.masters:
        answers.append(None if answers and late() else transport.answers(*split_address(master)))
        if answers[-1]:
            return True
    return None if None in answers else False


def _silent(
    cluster: ClusterAddress, troubles: list[tuple[str, Exception]], answers: bool | None, now: float
) -> MasterSnapshot:
    """Judge a cluster none of whose web ports gave an answer."""
    foreign = any(isinstance(error, NotAlluxioError | NotHttpError) for _, error in troubles)
    told = "; ".join(f"{master}: {error}" for master, error in troubles[:3])
    web = f"web port {cluster.web_port} of {told}" if told else "there is no address of a master"
    if answers:
        reason = Reason.NOT_ALLUXIO if foreign else Reason.WEB_PORT_UNREACHABLE
        return MasterSnapshot(True, reason, f"{web}; the RPC port answers, the cache is unknown", now)
    if foreign:
        return MasterSnapshot(False, Reason.NOT_ALLUXIO, web, now)
    if answers is None:
        return MasterSnapshot(None, Reason.UNKNOWN, f"{web}; not every RPC port could be tried from here", now)
    return MasterSnapshot(False, Reason.UNREACHABLE, f"{web}; no RPC port answers", now)
