"""The count: a one-level walk over a namespace, several listings in flight, exact totals, bounded memory.

A directory is counted as a whole or not at all: what its listing answered is added only when the stream ended well, so
a repeated listing counts nothing twice. One-level requests, not one recursive request: those hide a storage's errors,
and a backup that meets a long one stops every call to the master until its end.
"""

import logging
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import grpc

from controllers.api.result import Totals
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import requests
from fluidctl.load.channel import Client, Gone, why
from fluidctl.load.errors import Halted
from fluidctl.load.frontier import Batch, Frontier, Names, Spill
from fluidctl.load.names import parent
from fluidctl.load.session import Session
from fluidctl.load.watch import Watch

log = logging.getLogger(__name__)
MAX_NAMED = 1_000  # failed directories that are kept with their reason
TICK_SECONDS = 0.5


@dataclass
class Outcome:
    """What a walk found. ``failed`` is cut at MAX_NAMED, ``failed_count`` is not; ``denied`` counts those refused.

    ``vanished`` counts the roots that do not exist any more.
    """

    empty: Names  # directories that answered with nothing
    totals: Totals = Totals()
    failed: dict[bytes, str] = field(default_factory=dict)
    failed_count: int = 0
    denied: int = 0
    vanished: int = 0


@dataclass
class _Found:
    batch: Batch
    entries: int = 0
    files: int = 0
    bytes: int = 0


class Walk:
    """One walk. The roots themselves are not counted.

    They are listed with ``load``; what they lead to with ONCE, or ``everywhere`` with ``load`` too. ``sync``: every
    directory is compared with the storage. A directory that vanished is none that failed, but for ``top``.
    """

    def __init__(
        self,
        client: Client,
        watch: Watch,
        spill: Spill,
        parallelism: int,
        load: pb.LoadMetadataType = requests.ONCE,
        everywhere: bool = False,
        sync: bool = False,
        top: bytes = b"/",
    ) -> None:
        self._client = client
        self._watch = watch
        self._spill = spill
        self._parallelism = parallelism
        self._load = load
        self._everywhere = everywhere
        self._sync = sync
        self._top = top
        self._frontier = Frontier(spill)
        self._roots: frozenset[bytes] = frozenset()
        self._outcome = Outcome(Names(spill))
        self._busy = 0
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def run(self, roots: Iterable[bytes]) -> Outcome:
        """Walk; raise StepError where the step must end, or what a thread could not handle."""
        self._roots = frozenset(roots)
        batch = Batch(self._spill)
        for root in sorted(self._roots):
            batch.add(root)
        self._frontier.push(batch)
        threads = [threading.Thread(target=self._work, name=f"walk-{n}") for n in range(self._parallelism)]
        for thread in threads:
            thread.start()
        try:
            self._supervise()
        finally:
            self._stop(threads)
        if self._error is not None:
            raise self._error
        return self._outcome

    def _supervise(self) -> None:
        while True:
            with self._changed:
                if self._done() or self._changed.wait_for(self._done, TICK_SECONDS):
                    return
            self._watch.tick()

    def _done(self) -> bool:
        return self._error is not None or (self._busy == 0 and len(self._frontier) == 0)

    def _stop(self, threads: list[threading.Thread]) -> None:
        """Send the threads home, also out of a listing or a pause."""
        with self._changed:
            finished = self._done() and self._error is None
            self._error = self._error or (None if finished else Halted())
            self._changed.notify_all()
        if not finished:
            self._watch.halt.set()
            self._client.cancel_streams()
        for thread in threads:
            thread.join()

    def _work(self) -> None:
        try:
            for path in iter(self._next, None):
                try:
                    self._visit(path)
                finally:
                    with self._changed:
                        self._busy -= 1
                        self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that called run
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _next(self) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._done() or len(self._frontier) > 0)
            if self._done():
                return None
            self._busy += 1
            return self._frontier.pop()

    def _visit(self, path: bytes) -> None:
        load = self._load if self._everywhere or path in self._roots else requests.ONCE
        try:
            found = self._client.persist(lambda session: self._list(session, path, load))
        except Gone:
            self._gone(path)
        except grpc.RpcError as error:
            self._fail(path, why(error), denied=error.code() is grpc.StatusCode.PERMISSION_DENIED)
        else:
            self._count(path, found)

    def _list(self, session: Session, path: bytes, load: pb.LoadMetadataType) -> _Found:
        found = _Found(Batch(self._spill))
        try:
            for info in self._client.list(session, requests.list_status(path, load, sync=self._sync)):
                found.entries += 1
                if info.folder:
                    found.batch.add(info.path)
                else:
                    found.files += 1
                    found.bytes += info.length
                if found.entries % 10_000 == 0:
                    self._watch.moved()
        except BaseException:
            found.batch.discard()
            raise
        return found

    def _count(self, path: bytes, found: _Found) -> None:
        if found.entries == 0:
            self._outcome.empty.add(path)
        directories = found.batch.count
        with self._changed:
            self._frontier.push(found.batch)
            self._add(Totals(found.files, directories, found.bytes))

    def _add(self, more: Totals) -> None:
        old = self._outcome.totals
        self._outcome.totals = Totals(
            old.files + more.files, old.directories + more.directories, old.bytes + more.bytes
        )
        self._watch.add(more.files, more.directories, more.bytes)

    def _gone(self, path: bytes) -> None:
        """A directory vanished since its parent was listed: it no longer counts, if its parent agrees."""
        if path == self._top:
            self._fail(path, "does not exist")
            return
        try:
            siblings = self._client.persist(lambda session: path in self._folders(session, parent(path)))
        except (Gone, grpc.RpcError):
            siblings = False  # the parent vanished as well, or speaks for itself
        if siblings:
            self._fail(path, "its parent lists it, the master does not know it")
            return
        with self._changed:
            if path in self._roots:
                self._outcome.vanished += 1
            else:
                self._add(Totals(directories=-1))

    def _folders(self, session: Session, path: bytes) -> Iterator[bytes]:
        load = self._load if self._everywhere else requests.ONCE
        return (info.path for info in self._client.list(session, requests.list_status(path, load)) if info.folder)

    def _fail(self, path: bytes, reason: str, *, denied: bool = False) -> None:
        self._watch.moved()
        with self._changed:
            self._outcome.failed_count += 1
            self._outcome.denied += denied
            if len(self._outcome.failed) < MAX_NAMED:
                log.warning("could not list %r: %s", path, reason)
                self._outcome.failed[path] = reason
