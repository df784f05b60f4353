"""The local copies of all that is watched, and the indexes by which one object finds another."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

from controllers.decision import Key
from controllers.jobs import BACKUP_UID, DATASET_UID, RUNTIME_UID, SCHEDULE_UID
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
from controllers.kube.store import Store

Obj = dict[str, Any]
#: In the order of the fields of Stores.
WATCHED = (
    DATASETS,
    JOBS,
    PODS,
    PERSISTENTVOLUMES,
    PERSISTENTVOLUMECLAIMS,
    ALLUXIORUNTIMES,
    STATEFULSETS,
    DATABACKUPS,
    SCHEDULEDDATABACKUPS,
)


@dataclass(frozen=True)
class Stores:
    """What the informers fill.

    Indexes. "uid": of our own kinds, by their uid. "dataset", "backup", "runtime": of children (Jobs, pods, claims,
    StatefulSets), by the uid of their owner, as labelled. "about": of backups and schedules, by "namespace/name" of
    the Dataset that they are about. "schedule": of backups, by the uid of the schedule that made them. "restores": of
    Datasets, by "namespace/name" of the DataBackup from which they start.
    """

    datasets: Store
    jobs: Store
    pods: Store
    volumes: Store
    claims: Store
    runtimes: Store
    statefulsets: Store
    backups: Store
    schedules: Store

    @classmethod
    def of(cls, namespaces: tuple[str, ...]) -> Self:
        """Return empty stores for these namespaces, or for all where there are none."""
        children = {"dataset": _label(DATASET_UID), "backup": _label(BACKUP_UID), "runtime": _label(RUNTIME_UID)}
        about = {"uid": _uid, "about": lambda obj: (str(dataset_of(obj)),)}
        return cls(
            datasets=Store({"uid": _uid, "restores": _restores}, namespaces),
            jobs=Store(children, namespaces),
            pods=Store(children, namespaces),
            volumes=Store(children),
            claims=Store(children, namespaces),
            runtimes=Store({"uid": _uid}, namespaces),
            statefulsets=Store(children, namespaces),
            backups=Store({**about, "schedule": _label(SCHEDULE_UID)}, namespaces),
            schedules=Store(about, namespaces),
        )

    def watched(self) -> dict[Resource, Store]:
        """Return the store of every resource that is watched."""
        return dict(zip(WATCHED, vars(self).values(), strict=True))

    def synced(self) -> bool:
        """Return whether every store has its first list."""
        return all(store.synced.is_set() for store in self.watched().values())


def key_of(obj: Obj) -> Key:
    """Return the queue's key of an object of ours."""
    return Key(obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


def dataset_of(obj: Obj) -> Key:
    """Return the key of the Dataset that an object of ours is about: itself, of the same name, or the one it names.

    A Dataset of another namespace is never meant: whose namespace it is decides who may ask.
    """
    key, spec = key_of(obj), obj.get("spec") or {}
    if key.kind == SCHEDULEDDATABACKUPS.kind:
        spec = (spec.get("template") or {}).get("spec") or {}
    named = key.kind in (DATABACKUPS.kind, SCHEDULEDDATABACKUPS.kind)
    return Key(DATASETS.kind, key.namespace, (spec.get("dataset") or {}).get("name", "") if named else key.name)


def _uid(obj: Obj) -> tuple[str, ...]:
    return (obj["metadata"]["uid"],)


def _label(name: str) -> Callable[[Obj], Iterable[str]]:
    def values(obj: Obj) -> tuple[str, ...]:
        uid = obj["metadata"].get("labels", {}).get(name)
        return (uid,) if uid else ()

    return values


def _restores(obj: Obj) -> tuple[str, ...]:
    name = ((obj.get("spec") or {}).get("dataRestoreLocation") or {}).get("backupName")
    return (f"{obj['metadata'].get('namespace', '')}/{name}",) if name else ()
