"""A double of an Alluxio 2.9 master over a local directory: its gRPC and HTTP as far as we speak them.

It answers, counts and hides failures as a real master over a local storage was measured to. A file request without
``ttl: -1`` is refused; a real master would take it, and then delete the files.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any, Self

import grpc
from grpc import unary_stream_rpc_method_handler as to_stream
from grpc import unary_unary_rpc_method_handler as to_one

from devcluster.tree import Behaviour, Failed, Task, Tree
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import methods

#: How many entries one message of a listing has at most, as in every Alluxio 2.x.
MESSAGE_ENTRIES = 10_000
_ASYNC = [methods.SYNC_METADATA_ASYNC.path, methods.GET_SYNC_PROGRESS.path, methods.CANCEL_SYNC_METADATA.path]
_COUNTERS = ("AbsentCacheSize", "MetadataSyncFail", "MetadataSyncSuccess", "MetadataSyncPathsFail",
             "MetadataSyncPrefetchFail", "MetadataSyncPrefetchOpsCount")  # fmt: skip


class AlluxioMaster(Tree, grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Serves ``directory`` as the root of its namespace, on loopback. ``behaviour`` may be changed while it runs."""

    def __init__(self, directory: str | Path, port: int = 0, web_port: int = 0, **behaviour: Any) -> None:
        super().__init__(os.fsencode(str(directory)).rstrip(b"/"), Behaviour(**behaviour))
        self.port, self.start_ms = port, 0
        self._channels, self._groups = set[str](), list[Task]()
        self._web = ThreadingHTTPServer(("127.0.0.1", web_port), type("_Bound", (_Web,), {"master": self}))
        self.web_port = self._web.server_address[1]
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

    def start(self) -> Self:
        threading.Thread(target=self._web.serve_forever, args=(0.05,), daemon=True).start()
        self._listen()
        return self

    def stop(self) -> None:
        self._close()
        self._web.shutdown()
        self._web.server_close()

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.stop()

    def restart(self) -> None:
        """Stop and start on the same port: channels, tasks and counters are gone, the inodes stay."""
        self._close()
        self._groups = []
        self.counters.clear()
        self._listen()

    def format(self) -> None:
        """Restart with an empty journal: another cluster id, and nothing known."""
        self._close()
        self._forget()
        self.restart()

    def _listen(self) -> None:
        self.start_ms = max(int(time.time() * 1000), self.start_ms + 1)
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(256)  # an authenticated channel keeps one for its life
        self._server = grpc.server(self._pool, handlers=[self], options=[("grpc.so_reuseport", 0)])
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def _close(self) -> None:
        for task in self._groups:
            task.cancelled.set()
        self._woken.set()
        self._stopped.set()
        self._server.stop(0).wait()
        self._pool.shutdown(wait=False)

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        path = details.method
        if path == methods.AUTHENTICATE.path:
            return grpc.stream_stream_rpc_method_handler(self._authenticate, pb.SaslMessage.FromString, _bytes)
        hidden = self.behaviour.standby or (path in _ASYNC and not self.behaviour.asynchronous)
        if hidden or path not in self._calls:
            return None  # UNIMPLEMENTED "Method not found!", as of the real one
        method, call = self._calls[path]
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
        return make(run, method.request.FromString, _bytes)

    def _authenticate(self, messages: Iterator[Any], _: grpc.ServicerContext) -> Iterator[pb.SaslMessage]:
        channel = next(messages).clientId
        self._channels.add(channel)
        try:
            yield pb.SaslMessage(messageType=pb.SUCCESS, clientId=channel)
            for _more in messages:  # until the client closes the stream, which ends the registration
                continue
        finally:
            self._channels.discard(channel)

    def is_safe(self) -> bool:
        """Whether it is still in safe mode, in which nothing is answered about files."""
        return time.time() * 1000 < self.start_ms + 1000 * self.behaviour.safe_mode_seconds

    def _info(self, _: Any) -> pb.GetMasterInfoResponse:
        info = pb.MasterInfo(leaderMasterAddress=f"127.0.0.1:{self.port}", rpcPort=self.port, webPort=self.web_port)
        info.safeMode, info.startTimeMs, info.clusterId = self.is_safe(), self.start_ms, self.cluster_id
        info.version = self.behaviour.version
        return pb.GetMasterInfoResponse(masterInfo=info)

    def gauges(self) -> dict[str, int]:
        """Return the metrics that are states, by name."""
        total, used = self.behaviour.capacity_bytes, self.behaviour.used_bytes
        states = {"CapacityTotal": total, "CapacityUsed": used, "CapacityFree": total - used, "LostWorkers": 0}
        states = {f"Cluster.{name}": value for name, value in states.items()} | {"Cluster.Workers": int(total > 0)}
        with self._lock:
            paths = 1 + sum(map(len, self._inodes.values()))
        return states | {"Master.TotalPaths": paths, "Master.StartTime": self.start_ms}

    def counts(self) -> dict[str, int]:
        """Return the metrics that count since the start, by name."""
        return {f"Master.{name}": self.counters[name] for name in _COUNTERS}

    def _metrics(self, _: Any) -> pb.GetMetricsResponse:
        values = (self.gauges() | self.counts()).items()
        return pb.GetMetricsResponse(metrics={name: pb.MetricValue(doubleValue=value) for name, value in values})

    def _mounts(self, _: Any) -> pb.GetMountTableResponse:
        point = pb.MountPointInfo(ufsUri=self._root or b"/", ufsType="local", readOnly=True)
        return pb.GetMountTableResponse(mountPoints=[pb.MountEntry(key=b"/", value=point)])

    def _list(self, request: Any) -> Iterator[pb.ListStatusResponse]:
        options, found = request.options, self._look_up(request)
        read = self._tree if options.recursive else self._children
        entries = read(found.path, options.loadMetadataType) if found.folder else [found]
        if self.is_safe() and not all(entry.folder for entry in entries):
            raise Failed(grpc.StatusCode.UNAVAILABLE, "Alluxio master is in safe mode. Please try again later.")
        parts = iter([] if options.loadMetadataOnly else entries)
        messages = iter(lambda: list(islice(parts, MESSAGE_ENTRIES)), [])
        return (pb.ListStatusResponse(fileInfos=part) for part in messages)

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
        path = request.path.rstrip(b"/") or b"/"
        with self._lock:
            task = next((task for task in self._groups if task.path == path and task.state == pb.RUNNING), None)
            new = task or Task(len({task.id for task in self._groups}), path)
            self._groups.append(new)
            group = len(self._groups) - 1
        if not task:
            threading.Thread(target=self._sync, args=(new,), daemon=True).start()
        return pb.SyncMetadataAsyncResponse(submitted=True, taskGroupId=group, taskIds=[new.id])

    def _task(self, request: Any) -> Task:
        if request.taskGroupId >= len(self._groups):
            raise Failed(grpc.StatusCode.NOT_FOUND, f"Task group id {request.taskGroupId} not found")
        task: Task = self._groups[request.taskGroupId]
        return task

    def _cancel(self, request: Any) -> pb.CancelSyncMetadataResponse:
        task = self._task(request)
        if task.state != pb.RUNNING:
            raise Failed(grpc.StatusCode.NOT_FOUND, f"Task {task.id} not found or has already been canceled.")
        task.state = pb.CANCELED
        task.cancelled.set()
        self._woken.set()
        return pb.CancelSyncMetadataResponse()


def _bytes(message: Any) -> bytes:
    return message.SerializeToString()  # type: ignore[no-any-return]


class _Web(BaseHTTPRequestHandler):
    master: AlluxioMaster

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        master, capacity = self.master, {"total": self.master.behaviour.capacity_bytes}
        gauges = {name: {"value": value} for name, value in master.gauges().items()}
        counters = {name: {"count": value} for name, value in master.counts().items()}
        info = {"startTimeMs": master.start_ms, "version": master.behaviour.version, "capacity": capacity}
        pages = {"/metrics/json/": {"gauges": gauges, "counters": counters}, "/api/v1/master/info": info}
        data = json.dumps(pages.get(self.path)).encode()
        self.send_response(200 if self.path in pages else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
