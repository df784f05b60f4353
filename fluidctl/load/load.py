"""The load: make the master know a namespace with as few requests to its storage as the storage's driver allows."""

import logging
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from controllers.api.result import Changes, Totals
from controllers.api.spelling import encode
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import requests
from fluidctl.load.channel import Client
from fluidctl.load.session import Session
from fluidctl.load.split import Split
from fluidctl.load.sync import QUIET_SECONDS, Sync, Task
from fluidctl.load.verify import Rule
from fluidctl.load.walk import Outcome
from fluidctl.load.watch import Watch

log = logging.getLogger(__name__)
SYNC, LIST = "SyncMetadata", "ListStatus"
Runs = TypeVar("Runs", bound=Sync)


class WalkFrom(Protocol):
    """Makes a Walk and runs it."""

    def __call__(self, roots: Iterable[bytes], load: pb.LoadMetadataType, everywhere: bool = False) -> Outcome:
        """Walk from these directories."""
        ...


@dataclass
class Loaded:
    """How a load went. ``objects`` counts what one flat listing of the whole tree read; ``whole``: no task failed."""

    method: str
    objects: int = 0
    whole: bool = False
    failed: dict[bytes, str] = field(default_factory=dict)
    failed_count: int = 0
    denied: int = 0
    notes: list[str] = field(default_factory=list)
    changes: Changes | None = None  # of a refresh, where they are known one by one

    def add(self, outcome: "Outcome | Loaded") -> None:
        """Take over what could not be listed."""
        self.failed |= outcome.failed
        self.failed_count += outcome.failed_count
        self.denied += outcome.denied


class Loader:
    """Loads trees of one kind of storage, by at most ``in_flight`` tasks at once.

    ``walk`` is its way out: it completes a tree or names what fails.
    """

    def __init__(self, client: Client, watch: Watch, rule: Rule, walk: WalkFrom, in_flight: int) -> None:
        self._client = client
        self._watch = watch
        self._rule = rule
        self.walk = walk
        self._in_flight = in_flight

    def load(self, path: bytes) -> Loaded:
        """Load the tree at ``path``."""
        self._watch.message = "loading; files counts directories too"
        if self._rule.load == "listing" or not self._client.has_sync():
            return self.list_all(path)
        sync = self.tasks(Sync)
        if self._rule.load == "single":
            return self._single(sync, path)
        return self._complete(self.split(sync, path))

    def split(self, sync: Sync, path: bytes) -> list[Task]:
        """Run the tasks that pay for the tree at ``path``."""
        return Split(self._client, sync, self._in_flight).run(path)

    def tasks(self, kind: type[Runs]) -> Runs:
        """Return what runs tasks, with the patience that this storage needs."""
        half = self._watch.no_progress_seconds / 2
        silence = min(QUIET_SECONDS, half) if self._rule.streams else half
        return kind(self._client, self._watch, self._in_flight, silence, self._show)

    def load_again(self, directories: Iterable[bytes]) -> Loaded:
        """Load only these directories, by asking the storage for each of them once more."""
        loaded = Loaded(LIST)
        loaded.add(self.walk(directories, requests.ALWAYS))
        return loaded

    def list_all(self, path: bytes, *, sync: bool = False) -> Loaded:
        """Let the master load a tree by one recursive request, which answers nothing and hides errors.

        ``sync``: compare it with the storage, too.
        """
        loaded, abandoned = Loaded(LIST), threading.Event()
        request = requests.list_status(path, recursive=True, load_only=True, sync=sync)

        def listing(session: Session) -> None:
            for _ in () if abandoned.is_set() else self._client.list(session, request):
                self._watch.moved()  # 2.4 and older answer all the same

        with ThreadPoolExecutor(1, "listing") as pool:
            future = pool.submit(self._client.persist, listing)
            try:
                base = seen = self._client.metrics()
                moved = self._watch.clock()
                while not wait([future], timeout=1.0).done:
                    self._watch.tick()
                    now = self._client.metrics()
                    if (now.total_paths, now.prefetch_ops) != (seen.total_paths, seen.prefetch_ops):
                        seen, moved = now, self._watch.clock()
                        self._watch.moved()
                        self._show(now.total_paths - base.total_paths)
                    elif self._watch.clock() - moved > QUIET_SECONDS:
                        loaded.add(self._beside(path))
                        break
            finally:
                abandoned.set()
                self._client.cancel_streams()
            future.result()
        return loaded

    def _show(self, paths: int) -> None:
        self._watch.show(Totals(files=max(paths, 0)))

    def _single(self, sync: Sync, path: bytes) -> Loaded:
        tasks = sync.run([path])
        return self._complete(tasks, objects=tasks[0].objects)

    def _complete(self, tasks: list[Task], objects: int = 0) -> Loaded:
        """Walk where a task failed or stands still: the walk does its work, or says what is in the way."""
        left = [task for task in tasks if not task.ok]
        loaded = Loaded(SYNC, objects, whole=not left)
        for task in left:
            log.warning("walking %r: %s", task.path, task.reason)
            loaded.notes.append(f"{encode(task.path)}: {task.reason}")
        if left and not self._client.changed:  # a restarted master is loaded again as a whole
            loaded.add(self.walk([task.path for task in left], requests.ONCE))
        return loaded

    def _beside(self, path: bytes) -> Outcome:
        log.warning("the listing of %r stands still: walking beside it", path)
        return self.walk([path], requests.ONCE)
