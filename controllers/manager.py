"""The process: wires everything together, leads or stands by, and ends in order.

Start: ports, informers, caches, then the Lease, then workers. End: intake, workers, pollers, events, Lease, ports. A
replica that stands by has warm caches, so that a fail-over costs no list. Whoever loses the Lease exits at once.
"""

import gc
import logging
import os
import random
import secrets
import signal
import socket
import threading
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry

from controllers import logs
from controllers.apply import Applier
from controllers.config import ControllerConfig
from controllers.decision import Event, Key
from controllers.follower import Pollers
from controllers.health import Check, HealthServer, HttpServer, MetricsServer
from controllers.informers import Wakes, check_kinds, reflectors
from controllers.kube.client import Cluster
from controllers.kube.events import EventRecorder
from controllers.kube.lease import LeaderElector
from controllers.kube.reflector import Reflector
from controllers.master_http import DirectTransport, HttpTransport, ServiceProxyTransport
from controllers.master_snapshot import ClusterAddress
from controllers.masters import MasterPoller
from controllers.metrics import Metrics
from controllers.observe import Observer
from controllers.observe_backup import BackupObserver, ScheduleObserver
from controllers.observe_runtime import RuntimeHandler
from controllers.progress import ProgressReader
from controllers.reconciler import Handler, Reconciler
from controllers.stores import Stores
from controllers.worker import Workers
from workqueue import SystemClock, WorkQueue

logger = logging.getLogger(__name__)

COMPONENT = "data.fluid.io/fluidctl"
#: The namespace of manifests/.
INSTALLED_IN = "fluidctl-system"
SYNC_SECONDS = 120.0
#: An informer from which nothing was heard for so long is wedged: bookmarks and ends of streams come more often.
SILENT_SECONDS = 900.0


class SyncError(Exception):
    """The caches did not fill in time; ``str()`` says which, and why."""


def run(config: ControllerConfig) -> int:
    """Run until SIGTERM or SIGINT; a second signal ends the process at once. Return 0, or 1 where work had to stop.

    Raise, before anything is written: ConfigError (no cluster named), KubeError (it does not answer, or refuses),
    CrdsMissingError, CannotListenError (a port is taken), SyncError.
    """
    logs.configure(config.log_format, config.log_level)
    logs.dump_threads_on_signal()
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda number, frame: os._exit(128 + number) if stop.is_set() else stop.set())
    controller = Controller(config, stop)
    try:
        controller.start()
        stop.wait()
    finally:
        controller.stop()
    return 1 if controller.failed else 0


class Controller:
    """All parts of one process. ``start`` and ``stop`` once each, by one thread."""

    def __init__(self, config: ControllerConfig, stop: threading.Event) -> None:
        self._config, self._stop = config, stop
        self._clock, self._rng = SystemClock(), random.Random()
        self._metrics = Metrics(CollectorRegistry())
        self.failed = ""
        self._threads: dict[str, threading.Thread] = {}
        self._informers: dict[str, Reflector] = {}
        self._stop_informers = threading.Event()
        self._stop_election = threading.Event()
        self._stores = Stores.of(config.namespaces)
        self._metrics.backups.watch(self._stores.backups.items, self._stores.schedules.items)
        watches = len(self._stores.watched()) * max(1, len(config.namespaces))
        self._cluster = Cluster.connect(
            config.kubeconfig or None,
            config.context or None,
            pool_size=config.workers + watches + 8 + 4,
            user_agent="fluidctl-controller",
            observe=self._metrics.request,
        )
        self._wakes = Wakes(self._stores, lambda key, lane: self._queue.add(key, lane), config.only)
        counters = self._metrics.queue("dataset")
        self._queue: WorkQueue[Key] = WorkQueue(
            slow_limit=max(1, config.workers // 2), clock=self._clock, metrics=counters
        )
        counters.watch(self._queue.gauges)
        identity = config.identity or f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        self._events = EventRecorder(self._cluster, COMPONENT, identity, self._clock)
        self._masters: MasterPoller[Key] = MasterPoller(
            self._enqueue, transport=self._transport(), interval=config.cache_poll_seconds
        )
        self._progress = ProgressReader(
            lambda namespace, pod: self._cluster.pod_log(namespace, pod, tail_lines=5, limit_bytes=16_384),
            self._enqueue,
            total_paths=self._total_paths,
            interval=config.progress_seconds,
        )
        self._elector = self._make_elector(identity) if config.leader_elect else None
        self._reconciler = self._make_reconciler()
        self._workers = Workers(
            self._queue, self._reconciler.process, self._metrics.controller("dataset", config.workers), config.workers
        )
        self._servers: list[HttpServer] = []

    # --- start ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Bring everything up; return when this process leads, or stands by to lead."""
        self._serve()
        check_kinds(self._cluster, self._config)
        parts = (self._cluster, self._stores, self._wakes, self._config, self._metrics)
        for name, reflector in reflectors(*parts, self._clock, self._rng):
            self._informers[name] = reflector
            self._thread(f"informer-{name}", partial(reflector.run, self._stop_informers))
        self._wait_for_caches()
        # The caches live as long as the process: no full collection should walk through them again.
        gc.collect()
        gc.freeze()
        self._masters.start()
        self._progress.start()
        if self._elector is None:
            self._lead()
        else:
            self._metrics.leader(self._config.lease_name, False)
            elector = self._elector
            self._thread("elector", lambda: elector.run(self._stop_election))

    def _serve(self) -> None:
        live: dict[str, Check] = {"threads": self._dead_thread, "informers": self._silent, "queue": self._queue_dead}
        if self._elector is not None:
            live["elector"] = self._elector.check
        ready: dict[str, Check] = {"caches": self._not_synced}
        if self._config.metrics_bind:
            self._servers.append(MetricsServer(self._config.metrics_bind, self._metrics.registry))
        if self._config.health_bind:
            self._servers.append(HealthServer(self._config.health_bind, live, ready))
        for server in self._servers:
            server.start()

    def _wait_for_caches(self) -> None:
        deadline = self._clock.monotonic() + SYNC_SECONDS
        while not self._stores.synced() and not self._stop.is_set():
            if self._clock.monotonic() > deadline:
                problems = [reflector.problem for reflector in self._informers.values() if reflector.problem]
                text = "; ".join(problems) or "no answer"
                raise SyncError(f"the caches did not fill within {SYNC_SECONDS:.0f} s: {text}")
            self._stop.wait(0.1)
        logger.info("caches are filled: %d Datasets", len(self._stores.datasets))

    def _lead(self) -> None:
        logger.info("leading: %d workers", self._config.workers)
        self._metrics.leader(self._config.lease_name, True)
        self._workers.start()
        self._thread("resync", self._resync)

    def _stand_by(self, holder: str) -> None:
        logger.info(
            "standing by: %s holds the Lease %s and acts; to act from here, end it (scale its Deployment to 0)",
            holder,
            self._config.lease_name,
        )

    def _lost(self) -> None:
        """Exit without ceremony: somebody else may lead already, and every write of ours would be one too many."""
        self._metrics.leader(self._config.lease_name, False)
        self._fail("the Lease was lost")

    def _resync(self) -> None:
        while not self._stop.wait(self._config.resync_seconds * (0.9 + 0.2 * self._rng.random())):
            self._wakes.everything()

    # --- stop -------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End in order; the Lease goes last of what others wait for, when nothing of ours writes any more."""
        self._stop.set()
        self._stop_informers.set()
        finished = self._workers.stop(self._config.grace_seconds)
        self._masters.stop()
        self._progress.stop()
        self._events.stop()
        self._stop_election.set()
        if self._elector is not None and "elector" in self._threads:
            self._threads["elector"].join(5.0)
            if finished:
                self._elector.release()
        for server in self._servers:
            server.stop()
        self._cluster.close()
        logger.info("stopped%s", f": {self.failed}" if self.failed else "")

    # --- parts ------------------------------------------------------------------------------------------------------

    def _make_elector(self, identity: str) -> LeaderElector:
        return LeaderElector(
            self._cluster,
            self._lease_namespace(),
            self._config.lease_name,
            identity,
            clock=self._clock,
            rng=self._rng,
            on_started=self._lead,
            on_stopped=self._lost,
            on_other=self._stand_by,
        )

    def _lease_namespace(self) -> str:
        """A controller on a laptop must meet the one in the cluster at the same Lease, or two would lead."""
        own = self._cluster.default_namespace if self._cluster.in_cluster else INSTALLED_IN
        return self._config.lease_namespace or own

    def _make_reconciler(self) -> Reconciler:
        follower = Pollers(self._masters, self._progress, self._metrics.datasets, self._metrics.backups)
        observer = Observer(
            self._stores,
            self._cluster,
            self._config,
            now=self._clock.now,
            snapshot=self._masters.shown,
            line=lambda job: self._reconciler.line(job),
            follow=follower.follow,
        )
        return Reconciler(
            self._stores,
            self._handlers(observer, follower),
            Applier(self._cluster, self._stores, self._may_write),
            now=self._clock.now,
            follower=follower,
            enqueue=self._enqueue,
            send_event=self._send_event,
            per_master=self._config.loads_per_master,
            everywhere=self._config.global_loads,
            selected=bool(self._config.selector),
        )

    def _handlers(self, observer: Observer, follower: Pollers) -> tuple[Handler, ...]:
        stores, config, now = self._stores, self._config, self._clock.now
        return (
            observer,
            RuntimeHandler(stores, self._cluster, config, now=now, token=lambda: secrets.token_hex(32)),
            BackupObserver(
                stores,
                self._cluster,
                config,
                now=now,
                line=lambda job: self._reconciler.line(job),
                progress=follower.progress,
            ),
            ScheduleObserver(stores, now=now),
        )

    def _transport(self) -> HttpTransport:
        """Ask masters directly, or from a laptop through the API server, which alone can reach them."""
        if self._cluster.in_cluster:
            return DirectTransport()
        return ServiceProxyTransport(self._cluster.service_proxy_get)

    def _enqueue(self, key: Key) -> None:
        self._queue.add(key)

    def _send_event(self, obj: dict[str, Any], event: Event) -> None:
        self._events.event(obj, event.type, event.reason, event.action, event.message)

    def _may_write(self) -> bool:
        return self._elector is None or self._elector.is_leader()

    def _total_paths(self, address: ClusterAddress) -> int | None:
        found = self._masters.snapshot(address)
        return found.total_paths if found else None

    def _thread(self, name: str, target: Callable[[], None]) -> None:
        """Run it in a thread; one that dies ends the process, because half a controller is worse than none."""

        def guarded() -> None:
            try:
                target()
            except Exception:  # noqa: BLE001
                logger.exception("the thread %s died", name)
                self._fail(f"the thread {name} died")

        self._threads[name] = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads[name].start()

    def _fail(self, why: str) -> None:
        logger.error("stopping: %s", why)
        self.failed = self.failed or why
        self._stop.set()

    # --- health -----------------------------------------------------------------------------------------------------

    def _dead_thread(self) -> str:
        own = next((name for name, thread in self._threads.items() if not thread.is_alive()), "")
        return own or self._masters.dead_thread() or self._progress.dead_thread() or self._workers.dead_thread()

    def _silent(self) -> str:
        now = self._clock.monotonic()
        late = [name for name, found in self._informers.items() if now - found.last_activity() > SILENT_SECONDS]
        return f"nothing heard of {', '.join(late)} for {SILENT_SECONDS:.0f} s" if late else ""

    def _queue_dead(self) -> str:
        return "" if self._queue.alive else "its timer thread died"

    def _not_synced(self) -> str:
        return "" if self._stores.synced() else "the first lists are not complete"
