"""Asynchronous metadata sync (2.9.4 and later): the master loads a tree by flat listings, keys/1000 requests each.

A task goes on when its client ends, and a task that is submitted again for a path joins the one that runs. So a step
that is told to stop leaves its tasks to the next attempt: a master whose task ends while it is cancelled may deadlock
(2.9.6, TaskTracker.cancelTaskById), and only a task that never listed anything is worth that. A task can also stand
still for ever: before its first listing (its path could not be looked up), or later (a lost wake-up in the master's
journal writer, which any new file wakes). SUCCEEDED alone proves nothing: a missing path does, with 0 objects.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import grpc

from controllers.api.spelling import encode
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import requests
from fluidctl.load.channel import Client, Gone
from fluidctl.load.methods import CANCEL_SYNC_METADATA, GET_SYNC_PROGRESS, SYNC_METADATA_ASYNC
from fluidctl.load.verify import task_stats
from fluidctl.load.watch import Watch

log = logging.getLogger(__name__)
POLL_SECONDS = (0.05, 1.0)  # between two questions for one task: they grow rare with its age
QUIET_SECONDS = 60.0


@dataclass
class Task:
    """The sync of one path. ``ok``: it succeeded and read something; ``nothing``: it succeeded and read nothing.

    ``reason`` says why it is not ok.
    """

    path: bytes
    group: int
    life: int
    submitted: float
    moved: float
    due: float = 0.0
    running: bool = True
    stalled: bool = False
    ok: bool = False
    nothing: bool = False
    reason: str = ""
    operations: int = 0
    objects: int = 0
    batches: int = 0


class Sync:
    """Runs tasks from the step's own thread.

    At most ``in_flight`` of them run at once. ``listing_seconds``: how long a storage may take before its first batch
    arrives. Drivers that read a whole tree into one array first (all but s3) are silent for keys/1000 requests.
    ``report`` is told the operations of all tasks so far.
    """

    def __init__(
        self,
        client: Client,
        watch: Watch,
        in_flight: int,
        listing_seconds: float,
        report: Callable[[int], None] = lambda operations: None,
    ) -> None:
        self._client = client
        self._watch = watch
        self._listing_seconds = listing_seconds
        self._report = report
        self._in_flight = in_flight
        self._active: list[Task] = []
        self._finished_operations = 0

    def run(self, paths: Iterable[bytes], *, shallow: bool = False) -> list[Task]:
        """Sync these paths with all that is below, or if ``shallow`` with what is directly below.

        Returns when each has ended or stands still; the latter are left running, because whoever loads their paths now
        may well wake them. So are those not begun when all places are taken by such.
        """
        waiting, tasks = deque(paths), list[Task]()
        while waiting or any(not task.stalled for task in self._active):
            while waiting and len(self._active) < self._in_flight:
                tasks.append(self._submit(waiting.popleft(), shallow))
            if all(task.stalled for task in self._active):
                return tasks + [_not_begun(path) for path in waiting]
            pause = min(task.due for task in self._active) - self._watch.clock()
            self._watch.tick(max(POLL_SECONDS[0], pause))
            self._look()
        return tasks

    def supersede(self, tasks: Iterable[Task]) -> None:
        """Count these no longer: what they loaded will be counted again."""
        self._finished_operations -= sum(task.operations for task in tasks)

    def note(self, ended: Iterable[pb.SyncMetadataTask]) -> None:
        """Hear of the last words of a task that ended; for those who need more than a Task says."""

    def _submit(self, path: bytes, shallow: bool) -> Task:
        request = requests.sync_metadata(path, pb.ONE if shallow else pb.ALL)
        group = self._client.call(SYNC_METADATA_ASYNC, request, 300.0).taskGroupId
        now = self._watch.clock()
        self._active.append(Task(path, group, self._client.life, now, now))
        return self._active[-1]

    def _look(self) -> None:
        now = self._watch.clock()
        for task in [task for task in self._active if task.due <= now]:
            self._poll(task)
            task.due = now + min(POLL_SECONDS[1], max(POLL_SECONDS[0], (now - task.submitted) / 10))
            if not task.running:
                self._active.remove(task)
                self._finished_operations += task.operations
        self._report(self._finished_operations + sum(task.operations for task in self._active))

    def _poll(self, task: Task) -> None:
        try:
            answer = self._client.call(GET_SYNC_PROGRESS, pb.GetSyncProgressRequest(taskGroupId=task.group))
        except Gone:
            answer = None
        if answer is None or self._client.life != task.life:  # by now the number may be of another's task
            task.running, task.reason = False, "the master forgot the task: it was restarted"
            return
        now = self._watch.clock()
        stats = [task_stats(part.taskStatString) for part in answer.task]
        operations = sum(part.successOpCount for part in answer.task)
        batches = sum(part["batches"] for part in stats)
        if (operations, batches) != (task.operations, task.batches):
            task.operations, task.batches, task.moved, task.stalled = operations, batches, now, False
            self._watch.moved()
        task.objects = sum(part["objects"] for part in stats)
        if any(part.state == pb.RUNNING for part in answer.task):
            self._judge_silence(task, now)
            return
        task.running = False
        self.note(answer.task)
        bad = [part for part in answer.task if part.state != pb.SUCCEEDED]
        task.ok, task.nothing = not bad and task.objects > 0, not bad and task.objects == 0
        task.reason = _reason(bad[0]) if bad else "" if task.ok else "the storage has nothing at this path"

    def _judge_silence(self, task: Task, now: float) -> None:
        allowed = self._listing_seconds
        if task.batches:  # one more batch may take as long as those before it took each
            allowed = QUIET_SECONDS + (task.moved - task.submitted) / task.batches
        if now - task.moved <= allowed or task.stalled:
            return
        log.warning("the sync of %r stands still after %d operations", task.path, task.operations)
        task.stalled, task.reason = True, f"nothing moved for {now - task.moved:.0f} s"
        if task.batches == 0:
            self._cancel(task)
            task.running = False

    def _cancel(self, task: Task) -> None:
        """Ask once: a task that cannot be looked up would be joined by every later one for its path."""
        request = pb.CancelSyncMetadataRequest(taskGroupId=task.group)
        try:
            self._client.once(lambda session: session.call(CANCEL_SYNC_METADATA, request, 5.0))
        except grpc.RpcError as error:
            log.info("could not cancel the sync of %r: %s", task.path, error.code().name)


def _not_begun(path: bytes) -> Task:
    return Task(path, 0, 0, 0.0, 0.0, running=False, reason="not begun: the tasks before it stand still")


def _reason(task: pb.SyncMetadataTask) -> str:
    state = pb.SyncMetadataState.Name(task.state).lower()
    message = encode(task.exception.exceptionMessage.partition(b"\n")[0][:300])
    kind = task.exception.exceptionType.decode("ascii", "replace").rpartition(".")[2]
    return f"the sync {state}: {kind} {message}".rstrip(": ") if kind or message else f"the sync {state}"
