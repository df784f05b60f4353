"""Which resources are watched, and which key each change wakes."""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from controllers.api.dataset import parse_status
from controllers.config import ControllerConfig
from controllers.decision import ADMISSION, ORPHAN, Key
from controllers.jobs import BACKUP_UID, DATASET_UID, RUNTIME_UID, SCHEDULE_UID, SELECTOR
from controllers.jobview import runs
from controllers.kube.client import Cluster
from controllers.kube.errors import NotFound
from controllers.kube.reflector import Reflector
from controllers.kube.resources import (
    ALLUXIORUNTIMES,
    DATABACKUPS,
    DATASETS,
    JOBS,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SCHEDULEDDATABACKUPS,
    STATEFULSETS,
    Resource,
)
from controllers.kube.store import Change, ChangeKind
from controllers.metrics import Metrics
from controllers.stores import WATCHED, Stores, dataset_of, key_of
from controllers.volumes import volume_name
from workqueue import Clock, Lane

Enqueue = Callable[[Key, Lane], None]


class Wakes:
    """Turns changes into keys. Called by the reflectors' threads, so it only looks up and enqueues.

    ``only``: "namespace/name" of the one Dataset that is served, with its runtime, its backups and its schedules.
    """

    def __init__(self, stores: Stores, enqueue: Enqueue, only: str = "") -> None:
        self._stores, self._enqueue, self._only = stores, enqueue, only
        self.rows: dict[Resource, Callable[[Change], None]] = {
            DATASETS: self.dataset,
            JOBS: self.job,
            PODS: self.pod,
            PERSISTENTVOLUMES: self.volume,
            PERSISTENTVOLUMECLAIMS: self.child,
            ALLUXIORUNTIMES: self.runtime,
            STATEFULSETS: self.child,
            DATABACKUPS: self.backup,
            SCHEDULEDDATABACKUPS: self.schedule,
        }

    def dataset(self, change: Change) -> None:
        """A Dataset wakes itself and what is about it; one that is gone may have left a volume."""
        self._wake(change.obj, change)
        if _moved(change):
            key = key_of(change.obj)
            self._wake(self._stores.runtimes.get(key.namespace, key.name), change)
            for store in (self._stores.backups, self._stores.schedules):
                self._wake_all(store.by_index("about", str(key)), change)
        name = volume_name(change.obj["metadata"]["uid"])
        if not self._only and change.kind is ChangeKind.DELETED and self._stores.volumes.get("", name):
            self._enqueue(Key(ORPHAN, "", name), Lane.BULK)

    def runtime(self, change: Change) -> None:
        """A runtime wakes itself and its Dataset."""
        self._wake(change.obj, change)
        self._wake_dataset(change.obj, change)

    def backup(self, change: Change) -> None:
        """A backup wakes itself; where it is new, gone or another phase began, all who wait for it, too."""
        self._wake(change.obj, change)
        if _moved(change):
            dataset, meta = dataset_of(change.obj), change.obj["metadata"]
            self._wake_dataset(change.obj, change)
            self._wake_all(self._stores.datasets.by_index("restores", str(key_of(change.obj))), change)
            self._wake_all(self._stores.backups.by_index("about", str(dataset)), change)
            self._wake_all(self._stores.schedules.by_index("uid", meta.get("labels", {}).get(SCHEDULE_UID, "")), change)

    def schedule(self, change: Change) -> None:
        """A schedule wakes itself."""
        self._wake(change.obj, change)

    def child(self, change: Change) -> None:
        """A child wakes its owner, found by uid: the label with its name may be cut. A runtime's wakes its Dataset."""
        labels, stores = change.obj["metadata"].get("labels", {}), self._stores
        self._wake_all(stores.datasets.by_index("uid", labels.get(DATASET_UID, "")), change)
        self._wake_all(stores.backups.by_index("uid", labels.get(BACKUP_UID, "")), change)
        for runtime in stores.runtimes.by_index("uid", labels.get(RUNTIME_UID, "")):
            self.runtime(replace(change, obj=runtime))

    def volume(self, change: Change) -> None:
        """A volume whose Dataset is not known may be left over from one whose finalizer was torn off."""
        self.child(change)
        uid = change.obj["metadata"].get("labels", {}).get(DATASET_UID, "")
        if not self._only and change.kind is not ChangeKind.DELETED and not self._stores.datasets.by_index("uid", uid):
            self._enqueue(Key(ORPHAN, "", change.obj["metadata"]["name"]), Lane.BULK)

    def job(self, change: Change) -> None:
        """Any change of a Job may free a place or ask for one."""
        self.child(change)
        self._enqueue(ADMISSION, _lane(change))

    def pod(self, change: Change) -> None:
        """A pod that no longer runs may have been the last obstacle of a waiting Job."""
        self.child(change)
        if change.kind is ChangeKind.DELETED or not runs(change.obj):
            self._enqueue(ADMISSION, _lane(change))

    def everything(self) -> None:
        """Wake every object of ours: who has missed a change finds it then."""
        stores = self._stores
        for store in (stores.datasets, stores.runtimes, stores.backups, stores.schedules):
            self._wake_all(store.items(), Change(ChangeKind.INITIAL, {}))

    def _wake_dataset(self, obj: dict[str, Any], change: Change) -> None:
        key = dataset_of(obj)
        self._wake(self._stores.datasets.get(key.namespace, key.name), change)

    def _wake_all(self, found: Iterable[dict[str, Any]], change: Change) -> None:
        for obj in found:
            self._wake(obj, change)

    def _wake(self, obj: dict[str, Any] | None, change: Change) -> None:
        if obj and self._only in ("", str(dataset_of(obj))):
            self._enqueue(key_of(obj), _lane(change))


def _moved(change: Change) -> bool:
    """Whether others than the object itself care: progress and the like are written every few seconds."""
    return change.kind is not ChangeKind.MODIFIED or change.old is None or _told(change.old) != _told(change.obj)


def _told(obj: dict[str, Any]) -> tuple[Any, ...]:
    meta, status = obj["metadata"], obj.get("status") or {}
    shown = (status.get(name) for name in ("phase", "restore", "run", "stage", "observedGeneration"))
    conditions = [(each.type, each.status) for each in parse_status(obj).conditions]
    return meta.get("generation"), meta.get("deletionTimestamp"), conditions, *shown


def _lane(change: Change) -> Lane:
    return Lane.BULK if change.kind is ChangeKind.INITIAL else Lane.FRESH


class CrdsMissingError(Exception):
    """The cluster does not know one of our kinds; ``str()`` says which, and what to do."""


def check_kinds(cluster: Cluster, config: ControllerConfig) -> None:
    """Raise CrdsMissingError, or the KubeError of who may not list. Nothing is served by halves.

    In an upgrade the new pod does not get ready then, and the one of the release before goes on.
    """
    missing = []
    for resource in (DATASETS, ALLUXIORUNTIMES, DATABACKUPS, SCHEDULEDDATABACKUPS):
        try:
            for namespace in config.namespaces or (None,):
                cluster.list_page(resource, namespace, config.selector if resource == DATASETS else "", limit=1)
        except NotFound:
            missing.append(resource.kind)
    if missing:
        kinds = ", ".join(missing)
        raise CrdsMissingError(f"the cluster {cluster.host} does not know {kinds}: install the CRDs first")


def reflectors(
    cluster: Cluster,
    stores: Stores,
    wakes: Wakes,
    config: ControllerConfig,
    metrics: Metrics,
    clock: Clock,
    rng: random.Random,
) -> Iterator[tuple[str, Reflector]]:
    """Yield a name and a reflector for every resource and namespace that is watched.

    Children are watched by our label alone, Datasets by the configured selector. Volumes have no namespace.
    """
    filled = stores.watched()
    for resource in WATCHED:
        selector = config.selector if resource == DATASETS else "" if resource.group == DATASETS.group else SELECTOR
        for namespace in (config.namespaces if resource.namespaced else ()) or (None,):
            name = resource.plural if namespace is None else f"{resource.plural}/{namespace}"
            report = metrics.reflector(resource.plural)
            scope: dict[str, Any] = {"namespace": namespace, "label_selector": selector, "report": report}
            what = (cluster, resource, filled[resource], wakes.rows[resource])
            yield name, Reflector(*what, **scope, clock=clock, rng=rng)
