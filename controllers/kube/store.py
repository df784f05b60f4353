"""The local copy of one resource: thread-safe, indexed, and never going back in time.

Objects are plain dicts that everybody shares: who wants to change one copies it first.

Resource versions are compared as numbers where both are numbers. The API conventions long called them opaque; since
Kubernetes 1.35 (KEP-5504) clients may rely on their order within one resource, etcd has always ordered them, and here
nothing but "older" is read out of them. Where one is not a number the reflector's word is taken and a write's is not.
"""

import enum
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

Key = tuple[str, str]  # namespace ("" where there is none), name
Indexer = Callable[[dict[str, Any]], Iterable[str]]


class ChangeKind(enum.Enum):
    """What happened to an object."""

    INITIAL = "INITIAL"  # was there when the store was filled for the first time
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True)
class Change:
    """One change. ``obj`` is the last known state (of a deleted object too), ``old`` what was announced before it."""

    kind: ChangeKind
    obj: dict[str, Any]
    old: dict[str, Any] | None = None


def strip(obj: dict[str, Any]) -> dict[str, Any]:
    """Return the object without managedFields and kubectl's copy of it, which are half of the memory and never read."""
    metadata = {name: value for name, value in obj.get("metadata", {}).items() if name != "managedFields"}
    annotations = metadata.get("annotations")
    if annotations and LAST_APPLIED in annotations:
        metadata["annotations"] = {name: value for name, value in annotations.items() if name != LAST_APPLIED}
    return {**obj, "metadata": metadata}


def key_of(obj: dict[str, Any]) -> Key:
    """Return the key of an object."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def uid_of(obj: dict[str, Any]) -> str:
    """Return the uid, empty where there is none."""
    return str(obj["metadata"].get("uid", ""))


def version_of(obj: dict[str, Any]) -> str:
    """Return the resourceVersion, empty where there is none."""
    return str(obj["metadata"].get("resourceVersion", ""))


def older(one: str, other: str) -> bool:
    """Return whether resource version ``one`` is known to be older than ``other``."""
    return one.isdecimal() and other.isdecimal() and int(one) < int(other)


class Store:
    """The last known state of every object of one resource, with indexes.

    One reflector writes it, or one for each of ``namespaces``: ``replace``, ``upsert``, ``remove`` (they return what to
    announce) and ``advance``. Workers read it, and hand it what the server answered to their own writes
    (``observe_write``), so that the next look already shows them.
    """

    def __init__(self, indexers: Mapping[str, Indexer] | None = None, namespaces: Iterable[str] = ()) -> None:
        self.synced = threading.Event()
        self._lock = threading.Lock()
        self._indexers = dict(indexers or {})
        self._objects: dict[Key, dict[str, Any]] = {}
        self._indexes: dict[str, dict[str, set[Key]]] = {name: {} for name in self._indexers}
        # What was announced last for the keys that observe_write has changed since.
        self._unannounced: dict[Key, dict[str, Any] | None] = {}
        # Up to here the watch has told us everything, by namespace (None: of the whole resource).
        self._versions: dict[str | None, str] = dict.fromkeys(namespaces or (None,), "")

    def __len__(self) -> int:
        with self._lock:
            return len(self._objects)

    def get(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Return the object, or None."""
        with self._lock:
            return self._objects.get((namespace, name))

    def by_index(self, index: str, value: str, namespace: str | None = None) -> list[dict[str, Any]]:
        """Return the objects for which the indexer gave that value, by key.

        ``namespace``: none of another one, where anybody may have forged the labels that an indexer reads.
        """
        with self._lock:
            keys = sorted(self._indexes[index].get(value, ()))
            return [self._objects[key] for key in keys if namespace in (None, key[0])]

    def keys(self) -> list[Key]:
        """Return the keys of the moment."""
        with self._lock:
            return list(self._objects)

    def items(self) -> list[dict[str, Any]]:
        """Return the objects of the moment."""
        with self._lock:
            return list(self._objects.values())

    def replace(
        self, items: Iterable[dict[str, Any]], version: str, namespace: str | None = None
    ) -> tuple[Change, ...]:
        """Take over a complete list of that resourceVersion; what it lacks is deleted.

        ``synced`` is set with the first list, of every namespace where there are several.
        """
        listed = {key_of(obj): strip(obj) for obj in items}
        with self._lock:
            scope = self._scope(namespace)
            mine = [key for key in self._objects if scope is None or key[0] == scope]
            gone = [key for key in mine if key not in listed and not self._written_after(key, version)]
            changes = [change for key in gone for change in self._take_out(key, None)]
            kind = ChangeKind.ADDED if self._versions[scope] else ChangeKind.INITIAL
            for key, obj in listed.items():
                changes += self._put(key, obj, kind)
            self._versions[scope] = version
            if all(self._versions.values()):
                self.synced.set()
        return tuple(changes)

    def upsert(self, obj: dict[str, Any]) -> tuple[Change, ...]:
        """Take over an object that the watch shows. Another uid under the same name is a deletion and an addition."""
        obj = strip(obj)
        with self._lock:
            self._advance(key_of(obj)[0], version_of(obj))
            return tuple(self._put(key_of(obj), obj, ChangeKind.ADDED))

    def remove(self, obj: dict[str, Any]) -> tuple[Change, ...]:
        """Take out an object that the watch shows as deleted; ``obj`` is its last state."""
        obj = strip(obj)
        with self._lock:
            self._advance(key_of(obj)[0], version_of(obj))
            return tuple(self._take_out(key_of(obj), obj))

    def advance(self, version: str, namespace: str | None = None) -> None:
        """Note that nothing else has happened up to that resourceVersion (a bookmark)."""
        with self._lock:
            self._advance(namespace, version)

    def observe_write(self, obj: dict[str, Any]) -> None:
        """Take over what the server answered to a write of an object that is watched, unless the watch is past it.

        What the watch has passed may since have been deleted: taking it over would bring back a ghost that no event
        ever takes away. The change itself is announced when the watch shows it.
        """
        obj = strip(obj)
        key, version = key_of(obj), version_of(obj)
        with self._lock:
            current = self._objects.get(key)
            if not older(self._versions.get(self._scope(key[0]), ""), version):
                return
            if current is not None and not older(version_of(current), version):
                return
            self._unannounced.setdefault(key, current)
            self._set(key, obj)

    def _put(self, key: Key, obj: dict[str, Any], kind: ChangeKind) -> list[Change]:
        current = self._objects.get(key)
        if current is not None and older(version_of(obj), version_of(current)):
            return []
        if current is not None and (uid_of(current), version_of(current)) == (uid_of(obj), version_of(obj)):
            obj = current  # the same state keeps its object
        announced = self._unannounced.pop(key, current)
        self._set(key, obj)
        if announced is None:
            return [Change(kind, obj)]
        if uid_of(announced) != uid_of(obj):
            return [Change(ChangeKind.DELETED, announced, announced), Change(kind, obj)]
        if version_of(announced) == version_of(obj):
            return []
        return [Change(ChangeKind.MODIFIED, obj, announced)]

    def _take_out(self, key: Key, last: dict[str, Any] | None) -> list[Change]:
        current = self._objects.get(key)
        announced = self._unannounced.pop(key, current)
        if current is not None and last is not None and uid_of(current) != uid_of(last):
            # We have already seen the answer to our creation of its successor.
            self._unannounced[key] = None
        elif current is not None:
            self._set(key, None)
        if announced is None:
            return []
        return [Change(ChangeKind.DELETED, last or current or announced, announced)]

    def _written_after(self, key: Key, version: str) -> bool:
        return key in self._unannounced and older(version, version_of(self._objects[key]))

    def _scope(self, namespace: str | None) -> str | None:
        return None if None in self._versions else namespace

    def _advance(self, namespace: str | None, version: str) -> None:
        scope = self._scope(namespace)
        if not older(version, self._versions[scope]):
            self._versions[scope] = version

    def _set(self, key: Key, obj: dict[str, Any] | None) -> None:
        before = self._objects.pop(key, None) if obj is None else self._objects.get(key)
        for name, indexer in self._indexers.items():
            index = self._indexes[name]
            for value in set(indexer(before)) if before is not None else ():
                index[value].discard(key)
                if not index[value]:
                    del index[value]
            for value in indexer(obj) if obj is not None else ():
                index.setdefault(value, set()).add(key)
        if obj is not None:
            self._objects[key] = obj
