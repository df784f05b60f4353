"""Reads how far the running Jobs are, from the last lines of their pods' logs; on threads of its own, with no write.

reader = ProgressReader(cluster.pod_log, on_change=queue.add, total_paths=…)
reader.start()
reader.register(key, pod="name-1-load-1-1-abcde", cluster=cluster)   # at every reconcile while a pod runs
reader.sample(key)                                                   # None until a line was read
reader.unregister(key)
"""

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from controllers.api.model import INT64_MAX
from controllers.api.result import Progress
from controllers.decision import Key
from controllers.kube.errors import Forbidden, KubeError
from controllers.master_snapshot import ClusterAddress
from controllers.rounds import Rounds
from workqueue.clock import Clock, SystemClock

#: A difference below the threshold is told after so long.
SETTLE_SECONDS = 30.0
#: The right to read logs may be given later: it is tried again after so long.
FORBIDDEN_SECONDS = 600.0

logger = logging.getLogger(__name__)


class Sample(NamedTuple):
    """A progress line, and the wall time (seconds since the epoch) at which it was read."""

    progress: Progress
    time: float


@dataclass
class _Followed:
    """One running pod."""

    namespace: str
    pod: str
    cluster: ClusterAddress | None
    base: int | None = None  # the master's paths when it was registered, or first known
    sample: Sample | None = None
    told: Sample | None = None


class ProgressReader:
    """Keeps the last progress line of every registered pod.

    ``read_tail(namespace, pod)`` returns the end of the log, within a bounded time, or raises KubeError.
    ``total_paths(cluster)`` is what the master knows by now (``MasterPoller.snapshot``), or None: where logs may not be
    read (the role for pods/log is optional), the paths that appeared since the registration stand in for the files.
    That counts directories, and what other loads do in the same Alluxio: ``Progress.message`` says so.
    """

    def __init__(
        self,
        read_tail: Callable[[str, str], str],
        on_change: Callable[[Key], None],
        *,
        total_paths: Callable[[ClusterAddress], int | None] = lambda cluster: None,
        interval: float = 5.0,
        threads: int = 8,
        clock: Clock | None = None,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self._read_tail, self._on_change, self._total_paths = read_tail, on_change, total_paths
        self._interval, self._clock, self._rand = interval, clock or SystemClock(), rand
        self._lock = threading.Lock()
        self._followed: dict[Key, _Followed] = {}
        self._forbidden: dict[str, float] = {}  # namespace -> monotonic time of the next try
        self._rounds: Rounds[Key] = Rounds("progress", self._visit, threads=threads, clock=self._clock)
        self.start, self.stop, self.dead_thread = self._rounds.start, self._rounds.stop, self._rounds.dead_thread

    def register(self, key: Key, pod: str, cluster: ClusterAddress | None = None) -> None:
        """Follow this pod for the object; no-op where it is followed already, another pod begins anew."""
        with self._lock:
            followed = self._followed.get(key)
            if followed is None or followed.pod != pod:
                self._followed[key] = _Followed(key.namespace, pod, cluster)
            self._rounds.add(key)

    def unregister(self, key: Key) -> None:
        """Forget the object's pod and sample; no-op for one that is not here."""
        with self._lock:
            self._followed.pop(key, None)
            self._rounds.discard(key)

    def sample(self, key: Key) -> Sample | None:
        """Return the last progress of the registered pod, or None before there is any."""
        with self._lock:
            followed = self._followed.get(key)
            return followed.sample if followed else None

    def _visit(self, key: Key) -> float:
        with self._lock:
            followed = self._followed.get(key)
        if followed is not None:
            progress = self._progress(followed)
            if progress is not None and self._take(followed, Sample(progress, self._clock.now())):
                self._on_change(key)
        return self._interval * (1 + self._rand())

    def _progress(self, followed: _Followed) -> Progress | None:
        if self._forbidden.get(followed.namespace, 0.0) > self._clock.monotonic():
            return self._from_master(followed)
        try:
            return last_progress(self._read_tail(followed.namespace, followed.pod))
        except Forbidden as error:
            self._note_forbidden(followed.namespace, error)
            return self._from_master(followed)
        except KubeError as error:  # the container has not started, the pod is gone: the next look tells
            logger.debug("progress: the log of pod %s cannot be read: %s", followed.pod, error)
            return None

    def _note_forbidden(self, namespace: str, error: Forbidden) -> None:
        with self._lock:
            said = namespace in self._forbidden
            self._forbidden[namespace] = self._clock.monotonic() + FORBIDDEN_SECONDS
        if not said:
            text = "progress: logs in namespace %s may not be read, progress comes from the master's path count: %s"
            logger.warning(text, namespace, error)

    def _from_master(self, followed: _Followed) -> Progress | None:
        paths = self._total_paths(followed.cluster) if followed.cluster else None
        if paths is None:
            return None
        if followed.base is None or paths < followed.base:
            followed.base = paths
        return Progress(step="", files=paths - followed.base, message="new paths in the master, of all loads")

    def _take(self, followed: _Followed, sample: Sample) -> bool:
        """Keep the sample; return whether it is worth telling: files grew by more than 1 %, or 30 s have passed.

        What counts no files has its words alone: each new one is told.
        """
        with self._lock:
            followed.sample, told = sample, followed.told
            if told is not None and told.progress == sample.progress:
                return False
            grown = told is None or sample.progress.files > told.progress.files + 0.01 * max(told.progress.files, 1)
            grown = grown or not sample.progress.files
            if not grown and told is not None and sample.time - told.time < SETTLE_SECONDS:
                return False
            followed.told = sample
            return True


def last_progress(tail: str) -> Progress | None:
    """Return the last line that is a whole and sane progress line, or None; other lines are passed over."""
    for line in reversed(tail.splitlines()):
        if '"Progress"' in line and (progress := _parsed(line)) is not None:
            return progress
    return None


def _parsed(line: str) -> Progress | None:
    try:
        progress = Progress.from_json(line)
    except (ValueError, RecursionError):
        return None
    counts = (progress.files, progress.directories, progress.bytes, progress.total)
    sane = all(type(count) is int and 0 <= count <= INT64_MAX for count in counts)
    rates = (progress.files_per_second, progress.seconds)
    sane = sane and all(isinstance(rate, int | float) and 0 <= rate < INT64_MAX for rate in rates)
    return progress if sane and isinstance(progress.step, str) and isinstance(progress.message, str) else None
