"""A node for a real API server that runs pods in boxes: real volumes, several containers, an address and names each.

All is on the host's loopback. Headless Services are names in every pod's /etc/hosts. A claim without a volume gets a
directory of the host as its volume, which goes with the claim.
"""

import itertools
import random
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Self

from controllers.kube.client import Cluster
from controllers.kube.reflector import Change, ChangeKind, Reflector
from controllers.kube.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, Resource
from controllers.kube.store import Store, key_of
from devcluster.kinds import Obj
from devcluster.node import NAME
from tests.real.kubelet import LoggingNode
from tests.real.podrun import PodRun
from tests.real.sandbox import write_hosts
from workqueue.clock import SystemClock

SERVICES = Resource("", "v1", "services", "Service")


class PodNode(LoggingNode):
    """Context manager; see ProcessNode. ``names`` is for boxes of others on the same network."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        super().__init__(cluster, directory)
        self.names = directory / "names"
        self._runs: dict[str, PodRun] = {}  # by uid
        self._lost, self._unheard = "", list[Obj]()
        self._base, self._numbers = [random.randrange(1, 255) for _ in range(2)], itertools.count(1)
        self._services, self._naming = Store(), threading.Lock()
        self._watchers = [
            self._watching(cluster, SERVICES, self._services, lambda _: self._name()),
            self._watching(cluster, PERSISTENTVOLUMECLAIMS, Store(), self._provide),
        ]

    def __enter__(self) -> Self:
        write_hosts(self.names, [])
        super().__enter__()
        for watcher in self._watchers:
            watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for watcher in (self._watcher, *self._watchers):
            watcher.join()
        for run in self._runs.values():
            run.signal(signal.SIGKILL)
        super().__exit__()

    def claimed(self, namespace: str, claim: str) -> Path:
        """Return the directory of a claim that is bound."""
        name = self._cluster.get(PERSISTENTVOLUMECLAIMS, namespace, claim)["spec"]["volumeName"]
        return Path(self._cluster.get(PERSISTENTVOLUMES, "", name)["spec"]["hostPath"]["path"])

    def provide(self, namespace: str, claim: str) -> Path:
        """Give a claim the volume that it names; return its directory."""
        found = self._cluster.get(PERSISTENTVOLUMECLAIMS, namespace, claim)
        place: Path = self.directory / "claims" / found["metadata"]["uid"]
        place.mkdir(parents=True)
        self._cluster.create(PERSISTENTVOLUMES, "", _volume(found["spec"]["volumeName"], found, place))
        return place

    def lose(self, prefix: str) -> None:
        """Be lost for pods whose names begin so: they run on, but nobody hears of them, nor do they of their end."""
        self._lost = prefix

    def find(self) -> None:
        """Be lost no more: what should have ended ends."""
        self._lost, unheard = "", self._unheard
        for obj in unheard:
            self._do(self._end, obj, self._runs.get(obj["metadata"]["uid"]))

    def until_ended(self, namespace: str, pod: str, seconds: float) -> None:
        """Wait until no process of a pod is left, whoever hears of it."""
        assert self._run(namespace, pod).told.wait(seconds), f"{pod} has not ended"

    def hit(self, namespace: str, pod: str, container: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a container of a pod that runs."""
        self._run(namespace, pod).hit(container, number)

    def until_said(self, namespace: str, pod: str, container: str, words: str, seconds: float) -> None:
        """Wait until a container of a pod, which may still be to come, has said these words."""
        end = time.monotonic() + seconds
        while words.encode() not in self.logs(namespace, pod, {"container": container}):
            assert time.monotonic() < end, f"{pod} has not said {words!r}"
            time.sleep(0.01)  # nobody tells that a file has grown

    def logs(self, namespace: str, name: str, query: dict[str, str]) -> bytes:
        """See ProcessNode; of the container that is asked for."""
        try:
            lines = self._run(namespace, name).log(query["container"]).read_bytes().splitlines(keepends=True)
        except (LookupError, FileNotFoundError):
            return b""  # it has not said anything yet
        first = max(0, len(lines) - int(query.get("tailLines") or len(lines)))
        return b"".join(lines[first:])[: int(query.get("limitBytes") or sys.maxsize)]

    def _run(self, namespace: str, pod: str) -> PodRun:
        return [run for run in list(self._runs.values()) if key_of(run.obj) == (namespace, pod)][-1]

    def _see(self, change: Change) -> None:
        obj, meta, spec = change.obj, change.obj["metadata"], change.obj["spec"]
        run, mine = self._runs.get(meta["uid"]), spec.get("nodeName") == NAME
        if change.kind is ChangeKind.DELETED:
            run.signal(signal.SIGKILL) if run else None
        elif "deletionTimestamp" in meta:
            if mine and self._is_lost(obj):
                self._unheard.append(obj)
            elif mine:
                self._do(self._end, obj, run)
        elif not spec.get("nodeName") and not spec.get("nodeSelector"):
            self._do(self._bind, obj)
        elif mine and not run and obj["status"]["phase"] == "Pending":
            self._runs[meta["uid"]] = run = self._begin(obj, self.directory / "pods" / meta["uid"])
            self._do(run.run)

    def _is_lost(self, obj: Obj) -> bool:
        return bool(self._lost) and obj["metadata"]["name"].startswith(self._lost)

    def _begin(self, obj: Obj, directory: Path) -> PodRun:
        number = next(self._numbers)
        address = f"127.{self._base[0]}.{(self._base[1] + number // 250) % 256}.{number % 250 + 1}"
        run = PodRun(obj, directory, self._cluster, address, self._show)
        with self._naming:
            write_hosts(run.names, self._hosts(run))
        return run

    def _show(self, run: PodRun) -> None:
        if not self._is_lost(run.obj):
            self._report(run.obj, run.status())
        self._name()

    def _name(self) -> None:
        """Write anew which Service is whom."""
        with self._naming:
            write_hosts(self.names, self._hosts(None))
            for run in list(self._runs.values()):
                if not run.ended.is_set():
                    write_hosts(run.names, self._hosts(run))

    def _hosts(self, run: PodRun | None) -> list[str]:
        own = [f"{run.address} {run.obj['metadata']['name']}"] if run else []
        named = [line for service in self._services.items() for line in self._lines(service)]
        return own + named

    def _lines(self, service: Obj) -> list[str]:
        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        spec = service["spec"]
        wanted = (spec.get("selector") or {}).items()
        if spec.get("clusterIP") != "None" or not wanted:
            return []  # nobody routes the others' addresses here
        names = [f"{name}.{namespace}.{zone}" for zone in ("svc.cluster.local", "svc")] + [f"{name}.{namespace}"]
        return [
            f"{run.address} {' '.join(names)}"
            for run in list(self._runs.values())
            if run.obj["metadata"]["namespace"] == namespace
            and wanted <= run.obj["metadata"].get("labels", {}).items()
            and not run.ending.is_set()
            and (run.ready or spec.get("publishNotReadyAddresses"))
        ]

    def _watching(self, cluster: Cluster, kind: Resource, store: Store, see: object) -> threading.Thread:
        reflector = Reflector(cluster, kind, store, see, clock=SystemClock(), rng=random.Random())  # type: ignore[arg-type]
        return threading.Thread(target=reflector.run, args=(self._stopping,), daemon=True)

    def _provide(self, change: Change) -> None:
        claim = change.obj
        meta, spec = claim["metadata"], claim["spec"]
        name = f"rig-{meta['uid']}"
        place = self.directory / "claims" / meta["uid"]
        if change.kind is ChangeKind.DELETED:
            if place.exists():
                self._insist(lambda: self._cluster.delete(PERSISTENTVOLUMES, "", name))
                shutil.rmtree(place)
        elif not spec.get("volumeName") and not place.exists() and "deletionTimestamp" not in meta:
            place.mkdir(parents=True)
            self._insist(lambda: self._cluster.create(PERSISTENTVOLUMES, "", _volume(name, claim, place)))


def _volume(name: str, claim: Obj, place: Path) -> Obj:
    meta, spec = claim["metadata"], claim["spec"]
    return {
        "metadata": {"name": name},
        "spec": {
            "capacity": spec["resources"]["requests"],
            "accessModes": spec["accessModes"],
            "storageClassName": spec.get("storageClassName", ""),
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(place)},
            "claimRef": {"namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]},
        },
    }
