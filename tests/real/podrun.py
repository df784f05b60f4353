"""One pod as it runs: init containers one after the other, then all containers, restarted as its spec says.

Probes: readiness by tcpSocket and httpGet, asked five times a second. Startup and liveness probes, limits, lifecycle
hooks and sidecar containers do not exist here.
"""

import http.client
import itertools
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from controllers.kube.client import Cluster
from devcluster.kinds import Obj
from tests.real import images
from tests.real.podvolumes import NotYet, Volumes, environment, expand
from tests.real.sandbox import Bind, Box, Contained

_POLL_SECONDS = 0.2  # nobody tells when a port opens, a claim is bound, a Secret appears
_MAX_BACKOFF_SECONDS = 5.0  # a kubelet's grows to five minutes


class PodRun:
    """A pod with an address of its own.

    Attributes:
        obj: as it was when it came here. ended: no process is left. told: its last status is written.
    """

    def __init__(
        self, obj: Obj, directory: Path, cluster: Cluster, address: str, changed: Callable[["PodRun"], None]
    ) -> None:
        """``changed`` is called after every change, in the order of the changes, by one thread at a time."""
        self.obj, self.directory, self.address = obj, directory, address
        self.ended, self.told, self.ending = threading.Event(), threading.Event(), threading.Event()
        directory.mkdir(parents=True)
        self.names = directory / "names"
        self._volumes, self._changed = Volumes(cluster, obj, directory / "volumes"), changed
        self._lock = threading.RLock()
        self._running: dict[str, Contained] = {}
        self._phase, self._began = "Pending", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._inits = [_Seen(container) for container in obj["spec"].get("initContainers", ())]
        self._mains = [_Seen(container) for container in obj["spec"]["containers"]]

    def run(self) -> None:
        """Run it to its end."""
        try:
            good = self._made() and all(self._repeat(seen, init=True) == 0 for seen in self._inits)
            if good and not self.ending.is_set():
                self._show(lambda: setattr(self, "_phase", "Running"))
                threads = [threading.Thread(target=self._repeat, args=(seen,), daemon=True) for seen in self._mains]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                good = all(seen.code == 0 for seen in self._mains)
            good = good and not self.ending.is_set()
        finally:
            self.ended.set()
        self._show(lambda: setattr(self, "_phase", "Succeeded" if good else "Failed"))
        self.told.set()

    def signal(self, number: int) -> None:
        """Send a signal to every container, none of which starts again."""
        self.ending.set()
        with self._lock:
            for process in self._running.values():
                process.signal(number)

    def hit(self, container: str, number: int) -> None:
        """Send a signal to one container, which the pod may start again."""
        self._running[container].signal(number)

    @property
    def ready(self) -> bool:
        """Whether all containers run and are ready."""
        return self._phase == "Running" and not self.ending.is_set() and all(seen.ready for seen in self._mains)

    def status(self) -> Obj:
        """Return its status, but for conditions of others."""
        truth = "True" if self.ready else "False"
        return {
            "phase": self._phase,
            "conditions": [{"type": kind, "status": truth} for kind in ("Ready", "ContainersReady")],
            "hostIP": "127.0.0.1",
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "startTime": self._began,
            "initContainerStatuses": [seen.status() for seen in self._inits],
            "containerStatuses": [seen.status() for seen in self._mains],
        }

    def _made(self) -> bool:
        while not self.ending.is_set():
            try:
                self._volumes.make()
                return True
            except NotYet:
                self.ending.wait(_POLL_SECONDS)
        return False

    def _repeat(self, seen: "_Seen", init: bool = False) -> int:
        policy = self.obj["spec"].get("restartPolicy", "Always")
        for count in itertools.count():
            code = self._once(seen, init)
            again = (policy == "Always" and not init) or (code != 0 and policy != "Never")
            if self.ending.is_set() or not again:
                return code
            self._show(seen.wait_to_restart)
            self.ending.wait(min(0.25 * 2**count, _MAX_BACKOFF_SECONDS))
        raise AssertionError

    def _once(self, seen: "_Seen", init: bool) -> int:
        with self._lock:
            if self.ending.is_set():
                return 137
            process = self._running[seen.name] = self._start(seen.container)
        probe = seen.container.get("readinessProbe")
        self._show(lambda: seen.run(ready=probe is None and not init))
        while (code := _wait(process, None if probe is None else _POLL_SECONDS)) is None:
            answer = probe is not None and self._answers(probe, seen.container)
            if answer != seen.ready:
                self._show(lambda: setattr(seen, "ready", answer))  # noqa: B023 it is called at once
        message = self._message(seen.name).read_bytes()[:4096].decode(errors="replace")
        self._show(lambda: seen.end(code, message, ready=init and code == 0))
        return code

    def _start(self, container: Obj) -> Contained:
        name, image = container["name"], container["image"]
        fields = {"status.podIP": self.address, "status.hostIP": "127.0.0.1"}
        fields |= {f"metadata.{field}": self.obj["metadata"][field] for field in ("name", "namespace", "uid")}
        variables = environment(container, fields)
        words = [[expand(word, variables) for word in container.get(part, ())] for part in ("command", "args")]
        rights = self.obj["spec"].get("securityContext", {}) | container.get("securityContext", {})
        root = rights.get("readOnlyRootFilesystem", False)
        self._message(name).write_bytes(b"")
        result = container.get("terminationMessagePath", "/dev/termination-log")
        box = Box(
            [
                *self._volumes.binds(container),
                *images.files(image, self._place(name)),
                Bind(self._message(name), result),
            ],
            self.names,
            self.obj["metadata"]["name"],
            rights.get("runAsUser", 0),
            rights.get("runAsGroup", 0),
            container.get("workingDir", "/"),
            temporary=not root,
        )
        path = "/opt/alluxio/bin:" * images.is_alluxio(image) + "/usr/local/bin:/usr/bin:/bin"
        usual = {"PATH": path, "HOME": "/", "RIG_ADDRESS": self.address}
        return Contained(box, images.argv(image, *words), usual | variables, self.log(name))

    def log(self, container: str) -> Path:
        """Return the file with all that a container has said."""
        return self._place(container) / "log"

    def _message(self, container: str) -> Path:
        return self._place(container) / "termination"

    def _place(self, container: str) -> Path:
        place = self.directory / "containers" / container
        place.mkdir(parents=True, exist_ok=True)
        return place

    def _answers(self, probe: Obj, container: Obj) -> bool:
        asked = probe.get("tcpSocket") or probe.get("httpGet")
        if asked is None:
            raise ValueError(f"a probe of this kind does not exist in the rig: {probe}")
        named = {port.get("name"): port["containerPort"] for port in container.get("ports", ())}
        port = named.get(asked["port"], asked["port"])
        with suppress(OSError, http.client.HTTPException):
            if "tcpSocket" in probe:
                socket.create_connection((self.address, port), 1.0).close()
                return True
            connection = http.client.HTTPConnection(self.address, port, timeout=probe.get("timeoutSeconds", 1.0))
            try:
                connection.request("GET", asked.get("path", "/"))
                answer = connection.getresponse()
                answer.read()  # else a server that is still writing logs a broken connection, at length
                return 200 <= answer.status < 400
            finally:
                connection.close()
        return False

    def _show(self, change: Callable[[], object]) -> None:
        with self._lock:
            change()
            self._changed(self)


class _Seen:
    """What is known of one container."""

    def __init__(self, container: Obj) -> None:
        self.container, self.name = container, container["name"]
        self.ready, self.code = False, -1
        self._restarts = -1
        self._state: Obj = {"waiting": {"reason": "PodInitializing"}}
        self._last: Obj = {}

    def run(self, ready: bool) -> None:
        self.ready, self._restarts, self._state = ready, self._restarts + 1, {"running": {}}

    def end(self, code: int, message: str, ready: bool) -> None:
        reason = "Error" if code else "Completed"
        self._state = {"terminated": {"exitCode": code, "reason": reason, "message": message}}
        self.ready, self.code = ready, code

    def wait_to_restart(self) -> None:
        self._last, self._state = self._state, {"waiting": {"reason": "CrashLoopBackOff"}}

    def status(self) -> Obj:
        return {
            "name": self.name,
            "image": self.container["image"],
            "imageID": "",
            "ready": self.ready,
            "restartCount": max(0, self._restarts),
            "state": self._state,
            "lastState": self._last,
        }


def _wait(process: Contained, seconds: float | None) -> int | None:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
