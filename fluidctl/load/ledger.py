"""What a master did for one run of a refresh: its sync tasks since the run began, with what each of them changed.

A master numbers its tasks and keeps the last thousand that ended, but not when they ended. So each run leaves a mark
among them: a task for a path that does not exist, named after the run. A later attempt that finds the mark knows what
was compared since, by whomever, and how much it changed. A restarted master has forgotten both.
"""

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass

from controllers.api.result import Changes
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import requests
from fluidctl.load.channel import Client, Gone
from fluidctl.load.methods import CANCEL_SYNC_METADATA, GET_SYNC_PROGRESS, SYNC_METADATA_ASYNC
from fluidctl.load.names import covers, parent
from fluidctl.load.verify import task_stats

HISTORY = 1_000  # about as many as 2.9.6 keeps
_MARK = b".fluidctl-refresh-"
_INFO = re.compile(rb".*AlluxioPath: (.*), Descendant Type: (\w+), Directory Load Type: ", re.DOTALL)
_OPERATIONS = re.compile(rb"Success op count=\{([^}]*)\}")
_OPERATION = re.compile(rb"\[(\w+):(\d+)\]")


@dataclass(frozen=True)
class Entry:
    """One task. ``deep``: of all that is below ``path``; ``seen``: entries that are in the master since, with it."""

    id: int
    path: bytes
    deep: bool = False
    running: bool = False
    succeeded: bool = False
    objects: int = 0
    seen: int = 0
    changes: Changes = Changes()

    @classmethod
    def of(cls, task: pb.SyncMetadataTask) -> "Entry | None":
        """Read what a master says of a task; None if it does not say of which path."""
        info = _INFO.match(task.taskInfoString)
        if info is None:
            return None
        listed = _OPERATIONS.search(task.taskStatString)
        count = {name: int(number) for name, number in _OPERATION.findall(listed[1] if listed else b"")}
        changes = Changes(
            added=count.get(b"CREATE", 0),
            removed=count.get(b"DELETE", 0),
            changed=count.get(b"RECREATE", 0) + count.get(b"UPDATE", 0),
        )
        seen = count.get(b"NOOP", 0) + changes.added + changes.changed
        running, succeeded = task.state == pb.RUNNING, task.state == pb.SUCCEEDED
        objects = task_stats(task.taskStatString)["objects"]
        return cls(task.id, info[1], info[2] == b"ALL", running, succeeded, objects, seen, changes)

    @property
    def mark(self) -> bool:
        """Whether it only says that a comparison of the run began."""
        return _MARK in self.path.rpartition(b"/")[2]


@dataclass(frozen=True)
class Balance:
    """What a run changed. ``restored``: entries that came back in it after they had been removed in it."""

    changes: Changes
    restored: int = 0


def balance(entries: Iterable[Entry], limit: float) -> Balance:
    """Return what these tasks changed in all.

    A comparison that begins while more than ``limit`` is missing first brings back what was never away.
    """
    added = removed = changed = restored = 0
    again = False
    for entry in entries:
        if entry.mark:
            again = removed > limit
        back = min(entry.changes.added, removed) if again else 0
        added += entry.changes.added - back
        removed += entry.changes.removed - back
        changed += entry.changes.changed
        restored += back
    return Balance(Changes(added, removed, changed), restored)


def seen(entries: Iterable[Entry]) -> int:
    """Return how many entries these tasks left below their paths, or less: listings of keys count no directories."""
    latest = {(entry.path, entry.deep): entry for entry in entries if entry.succeeded and not entry.mark}
    return sum(entry.seen - 1 for entry in latest.values() if not _within(entry, latest))


def _within(entry: Entry, others: Container[tuple[bytes, bool]]) -> bool:
    """Whether the task of a directory above, or a deeper one of the same, has seen all of it."""
    path, deep = entry.path, entry.deep
    while True:
        if deep is False and (path, True) in others:
            return True
        if path == b"/":
            return False
        path, deep = parent(path), False


class Ledger:
    """The tasks of one run for the tree at ``path``. ``since_ms`` names the run; 0: a run that nobody goes on with."""

    def __init__(self, client: Client, path: bytes, since_ms: int) -> None:
        self._client = client
        self._path = path
        self._since = since_ms
        self._marks: list[int] = []  # groups
        self._mark = path.rstrip(b"/") + b"/" + _MARK + b"%d" % since_ms

    def begin(self) -> list[Entry]:
        """Leave a mark; return what was left since the first mark of this run: each task once, in their order."""
        mark, last = self._submit()
        groups = range(max(0, last - HISTORY), last) if self._since else range(0)
        found: dict[int, Entry] = {}
        for group in groups:
            entries = self._group(group)
            if found or self._mark in (entry.path for entry in entries):
                found |= {entry.id: entry for entry in entries if covers(self._path, entry.path)}
        return [found[number] for number in sorted(found)] + [mark]

    def mark(self) -> Entry:
        """Leave a further mark: another comparison begins."""
        return self._submit()[0]

    def end(self) -> None:
        """Cancel marks that stand still, as they do where the storage hangs. Not earlier: see the top."""
        for group in self._marks:
            if any(entry.running for entry in self._group(group)):
                self._client.call(CANCEL_SYNC_METADATA, pb.CancelSyncMetadataRequest(taskGroupId=group))

    def _group(self, group: int) -> list[Entry]:
        """Return the tasks of a group, none where the master has forgotten it."""
        try:
            answer = self._client.call(GET_SYNC_PROGRESS, pb.GetSyncProgressRequest(taskGroupId=group))
        except Gone:
            return []
        return [entry for task in answer.task if (entry := Entry.of(task))]

    def _submit(self) -> tuple[Entry, int]:
        answer = self._client.call(SYNC_METADATA_ASYNC, requests.sync_metadata(self._mark, pb.ONE), 300.0)
        self._marks.append(answer.taskGroupId)
        return Entry(answer.taskIds[0], self._mark), answer.taskGroupId
