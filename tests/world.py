"""A whole small world for one test: embedded cluster, Alluxio double, controller; and eyes that wait by events."""

import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from controllers.api.crd import KINDS, definition
from controllers.config import ControllerConfig
from controllers.jobs import DATASET
from controllers.kube.client import Cluster
from controllers.kube.errors import NotFound
from controllers.kube.reflector import Reflector
from controllers.kube.resources import (
    DATASETS,
    JOBS,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    Resource,
)
from controllers.kube.store import Change, Store
from controllers.manager import Controller
from devcluster import DevCluster
from workqueue import SystemClock

Obj = dict[str, Any]
CRDS = [definition(kind) for kind in KINDS]
PATIENCE = 50.0  # real seconds after which a test gives up
WATCHED = (DATASETS, JOBS, PODS, PERSISTENTVOLUMES, PERSISTENTVOLUMECLAIMS)


class Eyes:
    """Watches a cluster and waits for what a test expects to see; no polling, no sleeping."""

    def __init__(self, cluster: Cluster, watched: Iterable[Resource] = WATCHED) -> None:
        self._stop, self._news = threading.Event(), threading.Condition()
        self._stores = {resource: Store() for resource in watched}
        self.phases: dict[str, list[str]] = {}
        self.reasons: dict[str, list[str]] = {}
        self.runs: dict[str, list[int]] = {}
        self.jobs_seen: set[str] = set()
        for resource, store in self._stores.items():
            clock, rng = SystemClock(), random.Random(1)
            watcher = Reflector(cluster, resource, store, self._see, clock=clock, rng=rng)
            threading.Thread(target=watcher.run, args=(self._stop,), daemon=True).start()
        for store in self._stores.values():  # before anything happens that they are to see
            assert store.synced.wait(PATIENCE), "a resource cannot be listed"

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()

    def all(self, resource: Resource) -> list[Obj]:
        """Return the objects of the moment."""
        return self._stores[resource].items()

    def until(self, seen: Callable[[], Any], seconds: float = PATIENCE, why: Callable[[], Any] | None = None) -> Any:
        """Wait for an event after which ``seen`` is true, and return what it returned."""
        deadline = time.monotonic() + seconds
        with self._news:
            while not (found := seen()):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"not seen within {seconds:.0f} s; last: {why() if why else ''}")
                self._news.wait(min(left, 1.0))
            return found

    def _see(self, change: Change) -> None:
        with self._news:
            meta = change.obj["metadata"]
            if change.obj.get("kind") == "Job":
                self.jobs_seen.add(f"{meta['name']} {meta['uid']}")
            phase = change.obj.get("status", {}).get("phase")
            if change.obj.get("kind") == "Dataset" and phase:
                line = self.phases.setdefault(meta["name"], [])
                if not line or line[-1] != phase:
                    line.append(phase)
                self.runs.setdefault(meta["name"], []).append(change.obj["status"].get("run", {}).get("number", 0))
                reasons = self.reasons.setdefault(meta["name"], [])
                ready = condition(change.obj, "Ready").get("reason", "")
                if not reasons or reasons[-1] != ready:
                    reasons.append(ready)
            self._news.notify_all()


class Sight(ABC):
    """A cluster, eyes on it, and what a person does and waits for there. Datasets are in the namespace default."""

    cluster: Cluster
    eyes: Eyes

    @abstractmethod
    def spec(self, path: str = "/", **changes: Any) -> Obj:
        """The spec of a Dataset at the Alluxio of this cluster."""

    def apply(self, name: str = "one", spec: Obj | None = None, **meta: Any) -> Obj:
        """Create a Dataset."""
        body = {"metadata": {"name": name, "namespace": "default", **meta}, "spec": spec or self.spec()}
        return self.cluster.create(DATASETS, "default", body)

    def get(self, name: str = "one") -> Obj | None:
        """Return the Dataset as it is, or None."""
        try:
            return self.cluster.get(DATASETS, "default", name)
        except NotFound:
            return None

    def until(
        self, name: str, kind: str, value: str, reason: str = "", message: str = "", seconds: float = PATIENCE
    ) -> Obj:
        """Wait until a condition of the Dataset has that status, and that reason and words where they are given."""

        def seen() -> Obj | None:
            obj = next((found for found in self.eyes.all(DATASETS) if found["metadata"]["name"] == name), None)
            found = condition(obj, kind) if obj else {}
            right = found.get("status") == value and reason in ("", found.get("reason"))
            return obj if right and message in found.get("message", "") else None

        def last() -> Any:
            obj = self.get(name)
            return self.children(name), obj and obj.get("status")

        return dict(self.eyes.until(seen, seconds, last))

    def ready(self, name: str = "one", seconds: float = PATIENCE) -> Obj:
        """Wait until the Dataset is Ready."""
        return self.until(name, "Ready", "True", seconds=seconds)

    def gone(self, name: str = "one") -> None:
        """Wait until the Dataset and all its children are gone."""

        def seen() -> bool:
            names = {obj["metadata"]["name"] for obj in self.eyes.all(DATASETS)}
            return name not in names and not self.children(name)

        self.eyes.until(seen, why=lambda: self.children(name))

    def children(self, name: str) -> list[str]:
        """Return kinds, names and phases of what is left of a Dataset."""
        found = [obj for resource in WATCHED[1:] for obj in self.eyes.all(resource)]
        mine = [obj for obj in found if obj["metadata"].get("labels", {}).get(DATASET) == name]
        return [f"{obj.get('kind')} {obj['metadata']['name']} {obj.get('status', {}).get('phase', '')}" for obj in mine]


class World(Sight, AbstractContextManager["World"]):
    """One embedded cluster with a controller. ``behaviour`` is the Alluxio double's (devcluster.master.Behaviour)."""

    def __init__(self, directory: Path, work: Path, config: ControllerConfig | None = None, **behaviour: Any) -> None:
        work.mkdir(exist_ok=True)
        self.data, self.dev = directory, DevCluster(directory, CRDS, work, **behaviour)
        self._config = replace(
            config or ControllerConfig(),
            kubeconfig=str(self.dev.kubeconfig),
            allow_local_ufs=True,
            workers=8,
            lease_namespace="default",
            metrics_bind="",
            health_bind="",
            cache_poll_seconds=0.5,
            progress_seconds=0.2,
        )
        self._controllers: list[Controller] = []

    def __enter__(self) -> Self:
        self.dev.__enter__()
        self.cluster = self.dev.cluster
        self.eyes = Eyes(self.cluster)
        self.start_controller()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_controller()
        self.eyes.close()
        self.dev.__exit__(None, None, None)

    def start_controller(self, **changes: Any) -> Controller:
        """Start a controller, beside others if there are any."""
        controller = Controller(replace(self._config, **changes), threading.Event())
        controller.start()
        self._controllers.append(controller)
        return controller

    def stop_controller(self) -> None:
        """Stop all controllers in order."""
        while self._controllers:
            self._controllers.pop().stop()

    def spec(self, path: str = "/", **changes: Any) -> Obj:
        """The spec of a Dataset at the double."""
        return {
            "mounts": [{"mountPoint": f"local://{self.data}", "path": "/"}] if path == "/" else [],
            "alluxio": {"masters": self.dev.masters, "webPort": self.dev.web_port, "datasetPath": path},
            **changes,
        }


def evict(cluster: Cluster, pod: Obj) -> None:
    """Do what an eviction does: mark the pod as disrupted, then delete it."""
    meta, moment = pod["metadata"], "2026-01-01T00:00:00Z"
    disrupted = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    conditions = [*pod["status"].get("conditions", ()), disrupted | {"lastTransitionTime": moment}]
    cluster.merge_patch(PODS, meta["namespace"], meta["name"], {"status": {"conditions": conditions}}, "status")
    cluster.delete(PODS, meta["namespace"], meta["name"], uid=meta["uid"])


def condition(obj: Obj | None, kind: str) -> Obj:
    """Return the condition of that type, or {}."""
    conditions = (obj or {}).get("status", {}).get("conditions", ())
    return next((dict(found) for found in conditions if found["type"] == kind), {})


def tree(root: Path, files: int = 30, per_directory: int = 10) -> Path:
    """Make a small tree and return its root."""
    for index in range(files):
        directory = root / f"d{index // per_directory:03}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{index:05}").write_bytes(b"x" * (index % 7))
    root.mkdir(exist_ok=True)
    return root


def found_by_walk(root: Path) -> tuple[int, int, int]:
    """Return files, directories and bytes below a directory, as find says."""
    everything = list(root.rglob("*"))
    files = [path for path in everything if path.is_file()]
    return len(files), len(everything) - len(files), sum(path.stat().st_size for path in files)
