"""A node that runs pods as processes of this machine, for the API server of this package and for a real one.

It binds every pod that has no nodeSelector, starts its first container, and writes the status a kubelet would write.
A command that begins with "fluidctl" runs as this Python's ``-m fluidctl``. There are no mounts: in the arguments
``/dev/termination-log`` and the paths of volumeMounts (but /tmp) are replaced by places of the pod's own. An image
"missing/..." is never found. Images, limits, probes, init containers and restarts do not exist here.
"""

import atexit
import os
import random
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from controllers.api.times import rfc3339
from controllers.kube.client import Cluster
from controllers.kube.errors import AlreadyExists, Conflict, Forbidden, Invalid, KubeError, NotFound
from controllers.kube.reflector import Change, ChangeKind, Reflector
from controllers.kube.resources import LEASES, PODS, Resource
from controllers.kube.store import Store, key_of
from workqueue.clock import SystemClock

Obj = dict[str, Any]
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
BINDINGS = Resource("", "v1", "bindings", "Binding")
_BEAT_SECONDS = 10.0


class _Pod:
    """One pod that was started here; ``obj`` is the pod as it was last seen."""

    def __init__(self, obj: Obj, directory: Path) -> None:
        self.obj, self.directory, self.started = obj, directory, _now()
        self.ended, self.thread = threading.Event(), threading.Thread()
        self.process: subprocess.Popen[bytes] | None = None
        self.reaped = False
        directory.mkdir(parents=True)
        (directory / "termination").touch()
        container = obj["spec"]["containers"][0]
        env = os.environ | {each["name"]: each.get("value", "") for each in container.get("env", ())}
        with (directory / "log").open("wb") as log:
            null, args = subprocess.DEVNULL, self._argv(container)
            try:
                self.process = subprocess.Popen(args, stdin=null, stdout=log, stderr=log, env=env, process_group=0)
            except OSError as error:
                log.write(f"{error}\n".encode())

    def _argv(self, container: Obj) -> list[str]:
        args = [word.replace("$$", "$") for word in (*container.get("command", ()), *container.get("args", ()))]
        places = {each["mountPath"]: self.directory / each["name"] for each in container.get("volumeMounts", ())}
        places = {path: place for path, place in places.items() if path != "/tmp"}
        for place in places.values():
            place.mkdir(exist_ok=True)
        for path, place in (places | {"/dev/termination-log": self.directory / "termination"}).items():
            args = [arg.replace(path, str(place)) for arg in args]
        return [sys.executable, "-m", *args] if args[0] == "fluidctl" else args

    def signal(self, number: int) -> None:
        """Send a signal to the process and all its children, as far as they still run."""
        if self.process and not self.reaped:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def wait(self) -> Obj:
        """Return the state of the container when it has ended."""
        code = self.process.wait() if self.process else 128
        self.signal(signal.SIGKILL)  # children that it left behind
        self.reaped = True  # from now on the number may be another's
        code = code if code >= 0 else 128 - code
        reason = "StartError" if not self.process else "Error" if code else "Completed"
        message = (self.directory / "termination").read_bytes()[:4096].decode(errors="replace")
        return {"exitCode": code, "reason": reason, "message": message, "startedAt": self.started, "finishedAt": _now()}

    def log(self, query: dict[str, str]) -> Iterator[bytes]:
        with (self.directory / "log").open("rb") as log:
            lines = log.read().splitlines(keepends=True)
            first = max(0, len(lines) - int(query.get("tailLines") or len(lines)))
            yield b"".join(lines[first:])[: int(query.get("limitBytes") or sys.maxsize)]
            while query.get("follow") == "true":
                ended = self.ended.wait(0.1)  # files do not tell that they have grown
                yield (part := log.read())
                if ended and not part:
                    return


class ProcessNode:
    """Runs pods until ``stop``, which kills those that still run; it is also called when the interpreter ends.

    ``log_port``: None to be asked for logs through ``logs`` alone; a number (0: any) to serve them by HTTPS, as a real
    API server wants to have them, with a certificate that openssl makes.
    """

    def __init__(
        self, cluster: Cluster, directory: str | Path, name: str = "process-node", log_port: int | None = None
    ) -> None:
        self.name, self._cluster, self.directory = name, cluster, Path(directory)
        self._pods: dict[str, _Pod] = {}  # by uid
        self._stopping, self._worker = threading.Event(), ThreadPoolExecutor(1)
        self._http = None if log_port is None else self._https(log_port)
        pods = Reflector(cluster, PODS, Store(), self._see, clock=SystemClock(), rng=random.Random())
        self._threads = [threading.Thread(target=pods.run, args=(self._stopping,), daemon=True)]
        self._threads += [threading.Thread(target=self._beat, daemon=True)]

    def start(self) -> Self:
        """Register the node, and begin to take pods."""
        port = self._http.server_address[1] if self._http else 10250
        status: Obj = {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}
        status |= {
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "conditions": _with({}, "Ready", "KubeletReady"),
        }
        with suppress(AlreadyExists):
            self._cluster.create(NODES, "", {"metadata": {"name": self.name}})
        self._cluster.merge_patch(NODES, "", self.name, {"status": status}, "status")
        atexit.register(self.stop)
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """Kill every process that was started here, and wait until all are gone."""
        atexit.unregister(self.stop)
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._worker.shutdown()
        for pod in self._pods.values():
            pod.signal(signal.SIGKILL)
            pod.thread.join()
        if self._http:
            self._http.shutdown()
            self._http.server_close()

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.stop()

    def evict(self, namespace: str, name: str) -> None:
        """Do what an eviction does: mark the pod as disrupted, then delete it."""
        pod = self._cluster.get(PODS, namespace, name)
        self._report(pod, {"conditions": _with(pod["status"], "DisruptionTarget", "EvictionByEvictionAPI")})
        self._cluster.delete(PODS, namespace, name, uid=pod["metadata"]["uid"])

    def logs(self, namespace: str, name: str, container: str, query: dict[str, str]) -> Iterator[bytes]:
        """Return a pod's log by parts, with tailLines, limitBytes and follow as the kubelet has them."""
        pods = [pod for pod in self._pods.values() if key_of(pod.obj) == (namespace, name)]
        return pods[-1].log(query) if pods else iter(())

    def _see(self, change: Change) -> None:
        if pod := self._pods.get(change.obj["metadata"]["uid"]):
            pod.obj = change.obj
        if not self._stopping.is_set():
            done = self._worker.submit(self._handle, change.obj, change.kind is ChangeKind.DELETED)
            done.add_done_callback(Future.result)  # an exception there is a bug, and is logged

    def _handle(self, obj: Obj, deleted: bool) -> None:
        meta, spec, pod = obj["metadata"], obj["spec"], self._pods.get(obj["metadata"]["uid"])
        mine, going = spec.get("nodeName") == self.name, "deletionTimestamp" in meta
        if deleted:
            pod.signal(signal.SIGKILL) if pod else None
        elif not spec.get("nodeName") and not going and not spec.get("nodeSelector"):
            target = {"kind": "Node", "apiVersion": "v1", "name": self.name}
            body = {"metadata": {"name": meta["name"], "uid": meta["uid"]}, "target": target}
            self._insist(lambda: self._cluster.create(BINDINGS, meta["namespace"], body))
        elif mine and going:
            self._end(obj, pod)
        elif mine and not pod and obj["status"]["phase"] == "Pending":
            self._begin(obj)

    def _begin(self, obj: Obj) -> None:
        image, uid = obj["spec"]["containers"][0]["image"], obj["metadata"]["uid"]
        if image.startswith("missing/"):
            waiting = {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{image}"'}
            self._report(obj, _status(obj, "Pending", "waiting", waiting))
            return
        pod = self._pods[uid] = _Pod(obj, self.directory / uid)
        pod.thread = threading.Thread(target=self._attend, args=(pod,), daemon=True)
        pod.thread.start()

    def _attend(self, pod: _Pod) -> None:
        self._report(pod.obj, _status(pod.obj, "Running", "running", {"startedAt": pod.started}))
        ended = pod.wait()
        phase = "Failed" if ended["exitCode"] else "Succeeded"
        self._report(pod.obj, _status(pod.obj, phase, "terminated", ended))
        pod.ended.set()
        if "deletionTimestamp" in pod.obj["metadata"]:
            self._remove(pod.obj)

    def _end(self, obj: Obj, pod: _Pod | None) -> None:
        """End a pod that is being deleted: SIGTERM, after its grace SIGKILL; ``_attend`` does the rest."""
        if pod and not pod.ended.is_set():
            pod.signal(signal.SIGTERM)
            killer = threading.Timer(obj["metadata"]["deletionGracePeriodSeconds"], pod.signal, (signal.SIGKILL,))
            killer.daemon = True
            killer.start()
            return
        if not pod:
            self._report(obj, {"phase": "Failed"})
        self._remove(obj)

    def _remove(self, obj: Obj) -> None:
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

    def _beat(self) -> None:
        spec: Obj = {"holderIdentity": self.name, "leaseDurationSeconds": int(4 * _BEAT_SECONDS)}
        lease = {"metadata": {"name": self.name, "namespace": "kube-node-lease"}, "spec": spec}
        self._insist(lambda: self._cluster.create(LEASES, "kube-node-lease", lease))
        while not self._stopping.wait(_BEAT_SECONDS):
            spec["renewTime"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            self._insist(lambda: self._cluster.merge_patch(LEASES, "kube-node-lease", self.name, {"spec": spec}))

    def _https(self, port: int) -> ThreadingHTTPServer:
        self.directory.mkdir(parents=True, exist_ok=True)
        key, certificate = str(self.directory / "key.pem"), str(self.directory / "certificate.pem")
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=process-node"]
        subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server = ThreadingHTTPServer(("127.0.0.1", port), type("_Bound", (_Logs,), {"node": self}))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server


class _Logs(BaseHTTPRequestHandler):
    node: ProcessNode

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        _, _, namespace, pod, container = url.path.split("/")
        self.send_response(200)
        self.end_headers()
        for part in self.node.logs(namespace, pod, container, dict(parse_qsl(url.query))):
            self.wfile.write(part)


def _now() -> str:
    return rfc3339(time.time())


def _with(status: Obj, kind: str, reason: str, value: str = "True") -> list[Obj]:
    """Return the conditions with this one in place: a merge patch replaces the whole list."""
    new = {"type": kind, "status": value, "reason": reason, "message": "", "lastTransitionTime": _now()}
    return [*(each for each in status.get("conditions", ()) if each["type"] != kind), new]


def _status(pod: Obj, phase: str, state: str, details: Obj) -> Obj:
    container, runs = pod["spec"]["containers"][0], phase == "Running"
    status = {"name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0, "ready": runs}
    conditions = _with(pod["status"], "Ready", "" if runs else "PodCompleted", str(runs))
    started = {"startTime": pod["status"].get("startTime") or _now(), "hostIP": "127.0.0.1", "podIP": "127.0.0.1"}
    return {
        "phase": phase,
        "conditions": conditions,
        "containerStatuses": [status | {"state": {state: details}}],
    } | started
