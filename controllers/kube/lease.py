"""Leader election by a Lease, by the rules of client-go (tools/leaderelection).

A lease has run out when its record has not changed for its duration *as seen by our own clock*; times written by
others are never compared, so clocks may differ as they like. There is no fencing in Kubernetes: a leader therefore
stops believing in itself ``renew_deadline`` after it *sent* its last good renewal, before anybody else may take over.
"""

import logging
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from controllers.kube.errors import Conflict, KubeError, NotFound
from controllers.kube.resources import LEASES, Resource
from workqueue.clock import Clock

logger = logging.getLogger(__name__)

_JITTER = 1.2
_LONGEST_REQUEST = 5.0


class Leases(Protocol):
    """The part of Cluster that an election needs."""

    def get(self, res: Resource, namespace: str, name: str, *, timeout: float) -> dict[str, Any]:
        """Return the object."""
        ...

    def create(self, res: Resource, namespace: str, body: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        """Create the object and return it."""
        ...

    def replace(self, res: Resource, body: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        """Replace the object of that resourceVersion and return it."""
        ...


class LeaderElector:
    """Acquires and renews one Lease. ``identity`` must be unique to this process, across restarts too.

    ``run`` in one thread; everything else from any. Lease 15 s, deadline 10 s, retry 2 s are client-go's figures.
    """

    def __init__(
        self,
        cluster: Leases,
        namespace: str,
        name: str,
        identity: str,
        *,
        lease_seconds: int = 15,
        renew_deadline: float = 10.0,
        retry: float = 2.0,
        clock: Clock,
        rng: random.Random,
        on_started: Callable[[], None],
        on_stopped: Callable[[], None],
        on_other: Callable[[str], None] = lambda holder: None,
    ) -> None:
        if not (namespace and name and identity):
            raise ValueError("an election needs a namespace, a name and an identity")
        if lease_seconds != int(lease_seconds) or not lease_seconds > renew_deadline > retry * _JITTER > 0:
            raise ValueError("an election needs whole lease seconds > renew deadline > 1.2 x retry > 0")
        self._cluster = cluster
        self._namespace, self._name, self._identity = namespace, name, identity
        self._lease_seconds, self._renew_deadline, self._retry = int(lease_seconds), renew_deadline, retry
        self._clock = clock
        self._rng = rng
        self._on_started, self._on_stopped, self._on_other = on_started, on_stopped, on_other
        self._lease: dict[str, Any] = {}  # as last seen
        self._seen_at = 0.0  # when that spec was first seen, by our monotonic clock
        self._said = ""
        self._renewed: tuple[float, float] | None = None  # when the last good renewal was sent: monotonic, wall

    @property
    def holder(self) -> str:
        """Who held the lease when it was last seen; empty for nobody."""
        return str(self._lease.get("spec", {}).get("holderIdentity") or "")

    def is_leader(self) -> bool:
        """Return whether a write may be sent now: False from the moment the own deadline has passed.

        The wall clock counts as well, because the monotonic clock of Linux stands still while a machine sleeps. A wall
        clock that is set forward costs the time until the next renewal, no more.
        """
        renewed = self._renewed
        if renewed is None:
            return False
        passed = max(self._clock.monotonic() - renewed[0], self._clock.now() - renewed[1])
        return passed < self._renew_deadline

    def check(self, tolerance: float = 20.0) -> str:
        """Return what is wrong, for /healthz: we lead, but the thread that renews has not done so for far too long."""
        renewed = self._renewed
        late = self._clock.monotonic() - renewed[0] - self._lease_seconds if renewed else 0.0
        return f"the lease ran out {late:.0f} s ago and was not given up" if late > tolerance else ""

    def run(self, stop: threading.Event) -> None:
        """Acquire, call ``on_started``, renew; call ``on_stopped`` and return once the lease is lost.

        Whenever another holder than before is seen, ``on_other`` is told its identity.
        Also returns when ``stop`` is set. A leader whose work still runs must go on renewing: stop the work first, then
        set ``stop``, then call ``release``.
        """
        told = self._identity
        while not stop.is_set():
            led = self._renewed is not None
            leads = self.step()
            if leads and not led:
                self._on_started()
            elif led and not leads:
                self._on_stopped()
                return
            if self.holder not in ("", self._identity, told):
                told = self.holder
                self._on_other(told)
            stop.wait(self._retry if leads else self._retry * (1 + _JITTER * self._rng.random()))

    def step(self) -> bool:
        """Try once to acquire or renew; return whether we lead, or have failed to renew and not given up yet."""
        try:
            held = self._renew() or self._acquire()
        except KubeError as error:
            # Nothing is known: go on until the deadline.
            self._say(f"the Lease {self._namespace}/{self._name} cannot be had: {error.message}")
            held = self._renewed is not None and self._clock.monotonic() - self._renewed[0] < self._renew_deadline
        if not held:
            self._renewed = None
        return held

    def release(self) -> bool:
        """Give the lease up, so that another need not wait for its end; return whether that was written.

        Only when no guarded work runs any more: from here on ``is_leader`` is False.
        """
        if self._renewed is None:
            return False
        end = self._renewed[0] + self._renew_deadline
        self._renewed = None
        spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._now(), "acquireTime": self._now()}
        while self.holder == self._identity and self._clock.monotonic() < end:
            try:
                self._write(spec)
                return True
            except Conflict:
                try:
                    self._look()
                except KubeError:
                    return False
            except KubeError:
                return False
        return False

    def _say(self, text: str) -> None:
        """Log what went wrong; the same again, every two seconds, is no news."""
        if text != self._said:
            logger.warning("%s", text)
        self._said = text

    def _renew(self) -> bool:
        """The fast path: we hold it, so write over the version that we know."""
        if self._renewed is None or self.holder != self._identity:
            return False
        sent = self._clock.monotonic(), self._clock.now()
        try:
            self._write({"renewTime": self._now(), "leaseDurationSeconds": self._lease_seconds})
        except KubeError:
            return False  # a lost answer may have changed the version: look
        self._renewed = sent
        return True

    def _acquire(self) -> bool:
        now = self._now()
        spec: dict[str, Any] = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._lease_seconds,
            "renewTime": now,
        }
        try:
            self._look()
        except NotFound:
            return self._create({**spec, "acquireTime": now, "leaseTransitions": 0})
        if self.holder != self._identity:
            if self.holder and self._clock.monotonic() < self._seen_at + self._duration():
                return False
            transitions = self._lease["spec"].get("leaseTransitions") or 0
            spec |= {"acquireTime": now, "leaseTransitions": transitions + 1}
        sent = self._clock.monotonic(), self._clock.now()
        self._write(spec)
        self._renewed = sent
        return True

    def _create(self, spec: dict[str, Any]) -> bool:
        metadata = {"name": self._name, "namespace": self._namespace}
        sent = self._clock.monotonic(), self._clock.now()
        body = {"metadata": metadata, "spec": spec}
        self._remember(self._cluster.create(LEASES, self._namespace, body, timeout=self._timeout()))
        self._renewed = sent
        return True

    def _look(self) -> None:
        self._remember(self._cluster.get(LEASES, self._namespace, self._name, timeout=self._timeout()))

    def _write(self, spec: dict[str, Any]) -> None:
        body = {**self._lease, "spec": {**self._lease["spec"], **spec}}
        self._remember(self._cluster.replace(LEASES, body, timeout=self._timeout()))

    def _remember(self, lease: dict[str, Any]) -> None:
        lease["spec"] = lease.get("spec") or {}
        if lease["spec"] != self._lease.get("spec"):
            self._seen_at = self._clock.monotonic()
        self._lease = lease

    def _duration(self) -> float:
        return float(self._lease["spec"].get("leaseDurationSeconds") or self._lease_seconds)

    def _timeout(self) -> float:
        longest = min(_LONGEST_REQUEST, self._renew_deadline / 2)
        if self._renewed is None:
            return longest
        left = self._renewed[0] + self._renew_deadline - self._clock.monotonic()
        return min(longest, max(left, self._retry / 2))  # a loss should be noticed when it happens

    def _now(self) -> str:
        return micro_time(self._clock.now())


def micro_time(seconds: float) -> str:
    """Return the form of metav1.MicroTime for seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
