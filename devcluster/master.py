"""A double of an Alluxio 2.9 master over a local directory: its gRPC and HTTP as far as we speak them.

It answers, counts and hides failures as a real master over a local storage was measured to. No workers, no safe mode, a
listing in one message. A request without ``ttl: -1`` is refused; a real master would take it and delete the files.
"""

import json
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, Self

import grpc
from grpc import unary_stream_rpc_method_handler as to_stream
from grpc import unary_unary_rpc_method_handler as to_one

from devcluster.http import Call, Server
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import methods

_ZEROS = dict.fromkeys(("Cluster.CapacityTotal", "Cluster.CapacityUsed", "Cluster.Workers", "Cluster.LostWorkers"), 0)


@dataclass
class Behaviour:
    """What a test may set, at any time. Directories are paths in Alluxio."""

    version: str = "2.9.6"
    files_per_second: float = 0.0  # of the whole master; 0: as fast as it can
    failing: dict[bytes, grpc.StatusCode] = field(default_factory=dict)  # of one level; recursive answers hide it
    asynchronous: bool = True  # SyncMetadataAsync exists (2.9.4 and later)
    standby: bool = False


class Task:
    """One asynchronous metadata sync."""

    def __init__(self, number: int, path: bytes, deep: bool) -> None:
        self.id, self.path, self.deep, self.state = number, path, deep, pb.RUNNING
        self.objects = self.batches = 0  # the directory itself is an object too
        self.failure, self.cancelled, self.done = b"", threading.Event(), Counter[str]()

    def message(self) -> pb.SyncMetadataTask:
        counts = "".join(f"[{name}:{count}]" for name, count in self.done.items()).encode()
        stats = b"TaskStats{Success op count={%s}, # of batches=%d, # of objects loaded from UFS=%d, }"
        info = b"TaskInfo{AlluxioPath: %s, Descendant Type: %s, Directory Load Type: SINGLE_LISTING, Id: %d}"
        seen = pb.SyncMetadataTask(id=self.id, state=self.state, exception={"exceptionMessage": self.failure})
        seen.taskInfoString = info % (self.path, b"ALL" if self.deep else b"ONE", self.id)
        seen.successOpCount, seen.taskStatString = self.done.total(), stats % (counts, self.batches, self.objects)
        return seen


class Failed(Exception):
    """What a call is refused with: code and text."""


class Tree:
    """The part of a master that knows files. ``counters``: the metrics that count, without their "Master."."""

    def __init__(self, root: bytes, behaviour: Behaviour) -> None:
        self._root, self.behaviour, self.counters = root, behaviour, Counter[str]()
        self._lock, self._stopped, self._free_at = threading.Lock(), threading.Event(), 0.0
        self._forget()

    def _forget(self) -> None:
        self.cluster_id, self._loaded = str(uuid.uuid4()), set[bytes]()
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
        folder, file = S_ISDIR(stat.st_mode), S_ISREG(stat.st_mode)
        return pb.FileInfo(path=path, folder=folder, length=file * stat.st_size, creationTimeMs=file * stat.st_mtime_ns)

    def _remove(self, path: bytes) -> int:
        """Forget an entry and what is below it; return how many that were."""
        parent, _, name = path.rpartition(b"/")
        below = sum(self._remove(child.path) for child in [*self._inodes.get(path, {}).values()])
        self._inodes.pop(path, None)
        return below + (self._inodes.get(parent or b"/", {}).pop(name, None) is not None)

    def _children(self, path: bytes, kind: int | None) -> list[pb.FileInfo]:
        if kind in (pb.ALWAYS, None) or (kind == pb.ONCE and not (path in self._loaded and path in self._inodes)):
            self.counters["MetadataSyncPrefetchOpsCount"] += 1
            self._load(path, removing=kind is None)
        return list(self._inodes.get(path, {}).values())

    def _tree(self, path: bytes, kind: int | None) -> list[pb.FileInfo]:
        """Walk as a recursive request does: what fails is counted, and silently left out of the answer."""
        try:
            children = self._children(path, kind)
        except Failed:
            self.counters.update(MetadataSyncPathsFail=1, MetadataSyncPrefetchFail=1)
            return []
        return children + [entry for child in children if child.folder for entry in self._tree(child.path, kind)]

    def _load(self, path: bytes, task: Task | None = None, removing: bool = True) -> None:
        if code := self.behaviour.failing.get(path):
            raise Failed(code, f"{code.name}:{path.decode(errors='replace')}")
        try:
            names = sorted(os.listdir(self._root + path))
            found = [(name, self._stat(path.rstrip(b"/") + b"/" + name)) for name in names if name.decode()]
        except (OSError, UnicodeDecodeError):
            return  # one dangling link or odd name empties the directory: status OK, and every ONCE lists it again
        self.counters["MetadataSyncPrefetchPaths"] += 0 if task else len(found)
        task = task or Task(-1, path, False)
        for name in self._inodes.get(path, {}).keys() - dict(found) if removing else ():
            task.done["DELETE"] += self._remove(path.rstrip(b"/") + b"/" + name)
        for start in range(0, len(found) or 1, 1000):
            page, old = dict(found[start : start + 1000]), self._inodes.get(path, {})
            task.objects, task.batches = task.objects + len(page), task.batches + 1
            task.done.update("NOOP" if old.get(n) == page[n] else "RECREATE" if n in old else "CREATE" for n in page)
            if rate := self.behaviour.files_per_second:
                with self._lock:
                    self._free_at = ready = max(self._free_at, time.monotonic()) + len(page) / rate
                (task.cancelled if task.id >= 0 else self._stopped).wait(ready - time.monotonic())
            with self._lock:
                old = self._inodes.get(path, {})
                self._inodes[path] = old | page if removing else page | old
        self._loaded.add(path)

    def _sync(self, task: Task) -> None:
        todo = [self._know(task.path).path] if os.path.isdir(self._root + task.path) else []
        task.objects = len(todo)
        task.done["DELETE"] = 0 if todo else self._remove(task.path)
        while todo and not task.cancelled.is_set():
            path = todo.pop()
            try:
                self._load(path, task)
            except Failed as error:
                task.failure = error.args[1].encode()
            with self._lock:
                todo += [child.path for child in self._inodes.get(path, {}).values() if child.folder and task.deep]
        task.state = pb.CANCELED if task.cancelled.is_set() else pb.FAILED if task.failure else pb.SUCCEEDED


class AlluxioMaster(Tree, grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Serves ``directory`` as the root of its namespace, on loopback. ``behaviour`` may be changed while it runs."""

    def __init__(self, directory: str | Path, **behaviour: Any) -> None:
        super().__init__(os.fsencode(str(directory)).rstrip(b"/"), Behaviour(**behaviour))
        self.port = self.start_ms = 0
        self._channels, self._groups, self._web = set[str](), list[Task](), Server(self._page)
        self.web_port = self._web.port
        calls: dict[methods.Method[Any, Any], Callable[[Any], Any]] = {
            methods.GET_SERVICE_VERSION: lambda _: pb.GetServiceVersionResponse(version=2),
            methods.GET_MASTER_INFO: self._info,
            methods.GET_METRICS: self._metrics,
            methods.GET_STATUS: lambda request: pb.GetStatusResponse(fileInfo=self._look_up(request)),
            methods.GET_MOUNT_TABLE: self._mounts,
            methods.LIST_STATUS: self._list,
            methods.SYNC_METADATA_ASYNC: self._submit,
            methods.GET_SYNC_PROGRESS: lambda request: pb.GetSyncProgressResponse(task=[self._task(request).message()]),
            methods.CANCEL_SYNC_METADATA: self._cancel,
        }
        self._calls = {method.path: (method, call) for method, call in calls.items()}

    def stop(self, *_: object) -> None:
        self._close()
        self._web.stop()

    __exit__ = stop

    def restart(self) -> None:
        """Stop and start on the same port: channels, tasks and counters are gone, the inodes stay."""
        self._close()
        self._groups, self.counters = [], Counter()
        self._listen()

    def format(self) -> None:
        """Restart with an empty journal: another cluster id, and nothing known."""
        self._close()
        self._forget()
        self.restart()

    def _listen(self) -> Self:
        self.start_ms, self._stopped = max(int(time.time() * 1000), self.start_ms + 1), threading.Event()
        self._pool = ThreadPoolExecutor(256)  # an authenticated channel keeps one for its life
        self._server = grpc.server(self._pool, handlers=[self], options=[("grpc.so_reuseport", 0)])
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()
        return self

    __enter__ = _listen

    def _close(self) -> None:
        for task in self._groups:
            task.cancelled.set()
        self._stopped.set()
        self._server.stop(0).wait()
        self._pool.shutdown(wait=False)

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        if details.method == methods.AUTHENTICATE.path:
            one = pb.SaslMessage
            return grpc.stream_stream_rpc_method_handler(self._authenticate, one.FromString, one.SerializeToString)
        method, call = self._calls.get(details.method, (None, None))
        if not (method and call) or self.behaviour.standby or "Sync" in method.path and not self.behaviour.asynchronous:
            return None  # UNIMPLEMENTED "Method not found!", as of the real one
        channel = dict(details.invocation_metadata).get("channel-id")
        known = channel in self._channels or method is methods.GET_SERVICE_VERSION

        def run(request: Any, context: grpc.ServicerContext) -> Any:
            if not known:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, f"Channel: {channel!r} is not authenticated for call")
            try:
                return call(request)
            except Failed as error:
                context.abort(*error.args)

        make = to_stream if method is methods.LIST_STATUS else to_one
        return make(run, method.request.FromString, method.response.SerializeToString)

    def _authenticate(self, messages: Iterator[Any], _: grpc.ServicerContext) -> Iterator[pb.SaslMessage]:
        channel = next(messages).clientId
        self._channels.add(channel)
        try:
            yield pb.SaslMessage(messageType=pb.SUCCESS, clientId=channel)
            all(messages)  # until the client closes the stream, which ends the registration
        finally:
            self._channels.discard(channel)

    def metrics(self) -> dict[str, int]:
        """Return states, and what was counted since the start, by name."""
        with self._lock:
            states = {"Master.TotalPaths": 1 + sum(map(len, self._inodes.values())), "Master.StartTime": self.start_ms}
        return _ZEROS | states | {f"Master.{name}": count for name, count in self.counters.items()}

    def _metrics(self, _: Any) -> pb.GetMetricsResponse:
        values = {name: pb.MetricValue(doubleValue=value) for name, value in self.metrics().items()}
        return pb.GetMetricsResponse(metrics=values)

    def _page(self, call: Call) -> None:
        info = {"startTimeMs": self.start_ms, "version": self.behaviour.version}
        gauges = {name: {"value": value} for name, value in self.metrics().items()}
        pages = {"/metrics/json/": {"gauges": gauges}, "/api/v1/master/info": info}
        call.answer(200 if call.path in pages else 404, [json.dumps(pages.get(call.path)).encode()])

    def _info(self, _: Any) -> pb.GetMasterInfoResponse:
        info = {"startTimeMs": self.start_ms, "clusterId": self.cluster_id, "version": self.behaviour.version}
        return pb.GetMasterInfoResponse(masterInfo=info)

    def _mounts(self, _: Any) -> pb.GetMountTableResponse:
        root = {"key": b"/", "value": {"ufsUri": self._root or b"/", "ufsType": "local"}}
        return pb.GetMountTableResponse(mountPoints=[root])

    def _list(self, request: Any) -> Iterator[pb.ListStatusResponse]:
        options, found = request.options, self._look_up(request)
        read = self._tree if options.recursive else self._children
        kind = options.loadMetadataType if options.commonOptions.syncIntervalMs else None  # compare with the storage
        entries = read(found.path, kind) if found.folder else [found]
        return iter([pb.ListStatusResponse(fileInfos=[] if options.loadMetadataOnly else entries)])

    def _look_up(self, request: Any) -> pb.FileInfo:
        """Return the entry, known from now on; refuse what a real master refuses, and the ttl that it would obey."""
        path, shown = request.path.rstrip(b"/") or b"/", request.path.decode(errors="replace")
        if not path.startswith(b"/") or request.options.commonOptions.ttl != -1:
            raise Failed(grpc.StatusCode.INVALID_ARGUMENT, f"Path {shown} is invalid, or a ttl would delete its files")
        try:
            return self._know(path)
        except OSError as error:
            self.counters["MetadataSyncPathsFail"] += 1
            raise Failed(grpc.StatusCode.NOT_FOUND, f'Path "{shown}" does not exist.') from error

    def _submit(self, request: Any) -> pb.SyncMetadataAsyncResponse:
        path, deep = request.path.rstrip(b"/") or b"/", request.options.loadDescendantType == pb.ALL
        with self._lock:
            running = [task for task in self._groups if (task.path, task.deep, task.state) == (path, deep, pb.RUNNING)]
            group, number = len(self._groups), len({task.id for task in self._groups})
            task = running[0] if running else Task(number, path, deep)
            self._groups.append(task)
        if not running:
            threading.Thread(target=self._sync, args=(task,), daemon=True).start()
        return pb.SyncMetadataAsyncResponse(submitted=True, taskGroupId=group, taskIds=[task.id])

    def _task(self, request: Any) -> Task:
        if request.taskGroupId >= len(self._groups):
            raise Failed(grpc.StatusCode.NOT_FOUND, f"Task group id {request.taskGroupId} not found")
        return self._groups[int(request.taskGroupId)]

    def _cancel(self, request: Any) -> pb.CancelSyncMetadataResponse:
        task = self._task(request)
        if task.state != pb.RUNNING:
            raise Failed(grpc.StatusCode.NOT_FOUND, f"Task {task.id} not found or has already been canceled.")
        task.state = pb.CANCELED
        task.cancelled.set()
        return pb.CancelSyncMetadataResponse()
