"""The namespace of the Alluxio double: which entries of a directory are known, and what it takes to learn them."""

import os
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from stat import S_ISDIR

import grpc

from fluidctl.load import alluxio_pb2 as pb


@dataclass
class Behaviour:
    """What a test may set, at any time. Directories are paths in Alluxio."""

    version: str = "2.9.6"
    latency: float = 0.0  # seconds for a request to the storage, which lists at most 1,000 entries
    files_per_second: float = 0.0  # of the whole master; 0: as fast as it can
    #: One-level answers fail with this, recursive ones hide it.
    failing: dict[bytes, grpc.StatusCode] = field(default_factory=dict)
    hidden: set[bytes] = field(default_factory=set)  # "empty, OK", as with one dangling link in it
    unreadable: set[bytes] = field(default_factory=set)  # "empty, OK", counted as absent, then taken as loaded
    asynchronous: bool = True  # SyncMetadataAsync exists (2.9.4 and later)
    standby: bool = False
    safe_mode_seconds: float = 0.0  # after each start
    stall_after: int = -1  # a task stands still after so many entries, until a listing loads something
    capacity_bytes: int = 0
    used_bytes: int = 0


class Task:
    """One asynchronous metadata sync."""

    def __init__(self, number: int, path: bytes) -> None:
        self.id, self.path, self.state = number, path, pb.RUNNING
        self.operations = self.objects = self.batches = 0
        self.failure, self.begun, self.ended = b"", time.monotonic(), 0.0
        self.cancelled = threading.Event()

    def message(self) -> pb.SyncMetadataTask:
        stats = b"TaskStats{Success op count={[CREATE:%d]}, # of batches=%d, # of objects loaded from UFS=%d, "
        stats = stats % (self.operations, self.batches, self.objects) + b"# of load errors=%d}" % bool(self.failure)
        shown = pb.SyncMetadataTask(id=self.id, state=self.state, successOpCount=self.operations, taskStatString=stats)
        shown.taskInfoString = b"TaskInfo{AlluxioPath: %s, Id: %d}" % (self.path, self.id)
        shown.syncDurationMs = int(1000 * ((self.ended or time.monotonic()) - self.begun))
        if self.failure:
            shown.exception.exceptionMessage = self.failure
        return shown


class Failed(Exception):
    """What a call is refused with: code and text."""


class Tree:
    """The part of a master that knows files. ``counters`` has the metrics that count, without their "Master."."""

    def __init__(self, root: bytes, behaviour: Behaviour) -> None:
        self._root, self.behaviour, self.counters = root, behaviour, Counter[str]()
        self._lock, self._woken, self._stopped = threading.Lock(), threading.Event(), threading.Event()
        self._free_at = 0.0
        self._forget()

    def _forget(self) -> None:
        """Become the master of an empty journal."""
        self.cluster_id = str(uuid.uuid4())
        self._loaded, self._absent = set[bytes](), set[bytes]()
        self._inodes: dict[bytes, dict[bytes, pb.FileInfo]] = {b"/": {}}  # children by directory

    def _know(self, path: bytes) -> pb.FileInfo:
        """Return the entry, known from now on; OSError where the storage has none."""
        parent, _, name = path.rpartition(b"/")
        if not name:
            return pb.FileInfo(path=b"/", folder=True)
        self._know(parent or b"/")
        with self._lock:
            siblings = self._inodes.setdefault(parent or b"/", {})
            return siblings.get(name) or siblings.setdefault(name, self._stat(path))

    def _stat(self, path: bytes) -> pb.FileInfo:
        stat = os.stat(self._root + path)
        folder = S_ISDIR(stat.st_mode)
        return pb.FileInfo(path=path, folder=folder, completed=True, length=0 if folder else stat.st_size)

    def _children(self, path: bytes, kind: int) -> list[pb.FileInfo]:
        """Answer for one directory; ``kind`` says whether the storage is asked."""
        if kind == pb.ALWAYS or (kind == pb.ONCE and path not in self._loaded):
            self.counters.update(["MetadataSyncPrefetchOpsCount", "MetadataSyncSuccess"])
            self._load(path)
            self._woken.set()
        with self._lock:
            return list(self._inodes.get(path, {}).values())

    def _tree(self, path: bytes, kind: int) -> list[pb.FileInfo]:
        """Walk as a recursive request does: what fails is counted, and silently left out of the answer."""
        entries, todo, failed = [], [path], 0
        while todo:
            try:
                children = self._children(todo.pop(), kind)
            except Failed:
                failed += 1
                continue
            entries += children
            todo += [child.path for child in children if child.folder]
        self.counters.update(MetadataSyncFail=failed > 0, MetadataSyncPathsFail=failed, MetadataSyncPrefetchFail=failed)
        return entries

    def _load(self, path: bytes, task: Task | None = None) -> None:
        """Read one directory of the storage into the inodes, page by page."""
        if code := self.behaviour.failing.get(path):
            raise Failed(code, f"{code.name}:{path.decode(errors='replace')}")
        prefix = path.rstrip(b"/") + b"/"
        try:
            names = sorted(os.listdir(self._root + path))
            found = [(name, self._stat(prefix + name)) for name in names if name.decode()]
        except (OSError, UnicodeDecodeError):
            return  # one dangling link or odd name empties the directory: status OK, and every ONCE lists it again
        if path in self.behaviour.unreadable - self._absent:
            self.counters["AbsentCacheSize"] += 1
            self._absent.add(path)
            return
        if path in self.behaviour.hidden:
            return
        found = [] if path in self.behaviour.unreadable else found
        for start in range(0, len(found) or 1, 1000):
            page = dict(found[start : start + 1000])
            self._take_time(len(page), task)
            with self._lock:
                self._inodes[path] = page | self._inodes.get(path, {})
        self._loaded.add(path)

    def _take_time(self, entries: int, task: Task | None) -> None:
        """Wait as long as the storage and the master need, and count for the task, whose pages span directories."""
        rate, now, latency = self.behaviour.files_per_second, time.monotonic(), self.behaviour.latency
        with self._lock:
            ready = self._free_at = max(self._free_at, now) + (entries / rate if rate else 0.0)
        if task:
            pages = (task.objects + entries) // 1000 - task.objects // 1000
            task.operations, task.objects = task.operations + entries, task.objects + entries
            latency, task.batches = latency * pages, task.batches + 1
        (task.cancelled if task else self._stopped).wait(max(ready - now, latency))

    def _sync(self, task: Task) -> None:
        """Do an asynchronous sync to its end."""
        todo = [self._know(task.path).path] if os.path.isdir(self._root + task.path) else []
        task.objects = len(todo)
        while todo and not task.cancelled.is_set():
            path = todo.pop()
            if 0 <= self.behaviour.stall_after <= task.operations:
                self._woken.clear()
                if not task.cancelled.is_set():
                    self._woken.wait()
            try:
                self._load(path, task)
            except Failed as error:
                task.failure = error.args[1].encode()
            with self._lock:
                todo += [child.path for child in self._inodes.get(path, {}).values() if child.folder]
        task.ended = time.monotonic()
        task.state = pb.CANCELED if task.cancelled.is_set() else pb.FAILED if task.failure else pb.SUCCEEDED
