"""A node that runs pods as processes of this machine, for the API server of this package and for a real one.

It binds every pod that has no nodeSelector, starts its first container, and writes of the status what our controller
reads. A command that begins with "fluidctl" runs as this Python's ``-m fluidctl``. There are no mounts: in the
arguments ``/dev/termination-log`` and the paths of volumeMounts (but /tmp) are replaced by places of the pod's own. An
image "missing/..." is never found. Images, limits, probes, init containers, restarts and heartbeats do not exist here.
"""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from controllers.kube.client import Cluster
from controllers.kube.errors import AlreadyExists, Conflict, Forbidden, Invalid, KubeError, NotFound
from controllers.kube.reflector import Change, ChangeKind, Reflector
from controllers.kube.resources import PODS
from controllers.kube.store import Store, key_of
from devcluster.kinds import BINDINGS, NODES, Obj
from workqueue.clock import SystemClock

NAME = "process-node"


class _Pod:
    """One pod that was started here."""

    def __init__(self, obj: Obj, directory: Path) -> None:
        self.obj, self.directory = obj, directory
        self.ended, self.told = threading.Event(), threading.Event()  # the process is gone; and its status is written
        directory.mkdir(parents=True)
        (directory / "termination").touch()
        container = obj["spec"]["containers"][0]
        env = os.environ | {each["name"]: each.get("value", "") for each in container.get("env", ())}
        with (directory / "log").open("wb") as log:
            args, null = self._argv(container), subprocess.DEVNULL
            self.process = subprocess.Popen(args, stdin=null, stdout=log, stderr=log, env=env, process_group=0)

    def _argv(self, container: Obj) -> list[str]:
        args = [word.replace("$$", "$") for word in (*container.get("command", ()), *container.get("args", ()))]
        places = {each["mountPath"]: self.directory / each["name"] for each in container.get("volumeMounts", ())}
        places.pop("/tmp", None)
        for place in places.values():
            place.mkdir(exist_ok=True)
        for path, place in (places | {"/dev/termination-log": self.directory / "termination"}).items():
            args = [arg.replace(path, str(place)) for arg in args]
        program = [sys.executable, "-m"] if args[0] == "fluidctl" else []
        return ["sh", "-c", 'exec "$@"', "sh", *program, *args]  # which ends with 127 where there is no such program

    def signal(self, number: int) -> None:
        """Send a signal to the process and all its children, as far as they still run."""
        if not self.ended.is_set():
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def wait(self) -> Obj:
        """Return the state of the container when it has ended."""
        code = self.process.wait()
        self.signal(signal.SIGKILL)  # children that it left behind
        self.ended.set()  # from now on the number may be another's
        code = code if code >= 0 else 128 - code
        message = (self.directory / "termination").read_bytes()[:4096].decode(errors="replace")
        return {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}


class ProcessNode:
    """A context manager: runs pods until its end, which kills those that still run. Who wants logs asks ``logs``."""

    def __init__(self, cluster: Cluster, directory: str | Path) -> None:
        self._cluster, self.directory = cluster, Path(directory)
        self._pods: dict[str, _Pod] = {}  # by uid
        self._stopping, self._pool = threading.Event(), ThreadPoolExecutor(512)
        pods = Reflector(cluster, PODS, Store(), self._see, clock=SystemClock(), rng=random.Random())
        self._watcher = threading.Thread(target=pods.run, args=(self._stopping,), daemon=True)

    def __enter__(self) -> Self:
        """Register the node, and begin to take pods."""
        self._insist(lambda: self._cluster.create(NODES, "", {"metadata": {"name": NAME}}))
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill every process that was started here, and wait until all are gone."""
        self._stopping.set()
        self._watcher.join()
        for pod in self._pods.values():
            pod.signal(signal.SIGKILL)
        self._pool.shutdown()

    def logs(self, namespace: str, name: str, query: dict[str, str]) -> bytes:
        """Return a pod's log, with tailLines and limitBytes as the kubelet has them."""
        directories = [pod.directory for pod in self._pods.values() if key_of(pod.obj) == (namespace, name)]
        lines = (directories[-1] / "log").read_bytes().splitlines(keepends=True) if directories else []
        first = max(0, len(lines) - int(query.get("tailLines") or len(lines)))
        return b"".join(lines[first:])[: int(query.get("limitBytes") or sys.maxsize)]

    def _see(self, change: Change) -> None:
        obj, meta, spec = change.obj, change.obj["metadata"], change.obj["spec"]
        pod, mine, image = self._pods.get(meta["uid"]), spec.get("nodeName") == NAME, spec["containers"][0].get("image")
        if change.kind is ChangeKind.DELETED:
            pod.signal(signal.SIGKILL) if pod else None
        elif "deletionTimestamp" in meta:
            self._do(self._end, obj, pod) if mine else None
        elif not spec.get("nodeName") and not spec.get("nodeSelector"):
            self._do(self._bind, obj)
        elif mine and not pod and obj["status"]["phase"] == "Pending" and str(image).startswith("missing/"):
            waiting = {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{image}"'}
            self._do(self._report, obj, _status(obj, "Pending", "waiting", waiting))
        elif mine and not pod and obj["status"]["phase"] == "Pending":
            self._pods[meta["uid"]] = _Pod(obj, self.directory / meta["uid"])
            self._do(self._attend, self._pods[meta["uid"]])

    def _do(self, task: Callable[..., None], *args: Any) -> None:
        """Do that in another thread: whoever sees changes must not wait."""
        if not self._stopping.is_set():
            self._pool.submit(task, *args).add_done_callback(Future.result)  # an exception is a bug, and is logged

    def _bind(self, obj: Obj) -> None:
        target = {"kind": "Node", "apiVersion": "v1", "name": NAME}
        body = {"metadata": {"name": obj["metadata"]["name"], "uid": obj["metadata"]["uid"]}, "target": target}
        self._insist(lambda: self._cluster.create(BINDINGS, obj["metadata"]["namespace"], body))

    def _attend(self, pod: _Pod) -> None:
        self._report(pod.obj, _status(pod.obj, "Running", "running", {}))
        ended = pod.wait()
        phase = "Failed" if ended["exitCode"] else "Succeeded"
        self._report(pod.obj, _status(pod.obj, phase, "terminated", ended))
        pod.told.set()

    def _end(self, obj: Obj, pod: _Pod | None) -> None:
        """End a pod that is being deleted: SIGTERM, after its grace SIGKILL; when its status is written it may go."""
        if pod:
            pod.signal(signal.SIGTERM)
            if not pod.ended.wait(obj["metadata"]["deletionGracePeriodSeconds"]):
                pod.signal(signal.SIGKILL)
            pod.told.wait()
        else:
            self._report(obj, {"phase": "Failed"})
        self._insist(lambda: self._cluster.delete(PODS, *key_of(obj), uid=obj["metadata"]["uid"], grace_seconds=0))

    def _report(self, obj: Obj, status: Obj) -> None:
        body = {"metadata": {"uid": obj["metadata"]["uid"]}, "status": status}
        self._insist(lambda: self._cluster.merge_patch(PODS, *key_of(obj), body, "status"))

    def _insist(self, call: Callable[[], object]) -> None:
        """Call until it is done, until it makes no sense any more, or until the node stops."""
        while not self._stopping.is_set():
            try:
                call()
                return
            except (NotFound, Conflict, AlreadyExists, Invalid, Forbidden):
                return  # the pod is not there any more, or is another
            except KubeError:
                self._stopping.wait(0.2)


def _status(pod: Obj, phase: str, state: str, details: Obj) -> Obj:
    seen = {"name": pod["spec"]["containers"][0]["name"], "ready": phase == "Running", "state": {state: details}}
    return {"phase": phase, "containerStatuses": [seen]}
