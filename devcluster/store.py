"""The objects of a small Kubernetes and the rules of its API server, without HTTP, threads or a real clock.

Objects are JSON-like dicts. A stored one is never changed again: a write puts a new one in its place, so what is
returned here may be kept, and must not be changed. Namespaces and owner references are cleaned up within the write that
calls for it, where a real cluster's controllers take up to half a minute; foreground deletion is done as background.
"""

import base64
import copy
import json
import random
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from controllers.api.times import rfc3339
from controllers.kube.store import Key, key_of
from devcluster import kinds, refusals, schema
from devcluster.kinds import CRDS, Kind, Obj, Predicate, merged
from devcluster.refusals import ApiError, cause

#: The server's own: an update keeps them as they are, a creation drops them.
_KEPT = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion")


@dataclass(frozen=True)
class Change:
    """One write: ``old`` is None for a creation, ``new`` for a removal; ``shown`` is what a watch shows of it."""

    version: int
    old: Obj | None
    new: Obj | None
    shown: Obj


@dataclass(frozen=True)
class Page:
    """A part of a list as of ``version``; ``token`` asks for the rest and is empty where there is none."""

    items: list[Obj]
    version: int
    token: str = ""
    remaining: int = 0


def owners(obj: Obj | None) -> list[str]:
    """Return the uids of the object's owners."""
    return [ref["uid"] for ref in (obj or {}).get("metadata", {}).get("ownerReferences") or ()]


class Store:
    """What the API server keeps. Not thread-safe: the server holds its lock around every call.

    ``clock`` gives seconds since 1970, ``rng`` uids and generated names; ``window`` is how many changes of a resource
    a watch or a list's token may lie behind before it gets 410.
    """

    def __init__(
        self, crds: Iterable[Obj] = (), clock: Callable[[], float] = time.time,
        rng: random.Random | None = None, window: int = 1000,
    ) -> None:  # fmt: skip
        self.clock, self._rng = clock, rng or random.Random()
        self.resources = {str(kind): kind for kind in kinds.BUILTIN}
        self.version = 100  # so that a watch from 1 is too old, as it always is on a real server
        self._floor: dict[str, int] = defaultdict(lambda: 100)
        self._history: dict[str, deque[Change]] = defaultdict(lambda: deque(maxlen=window))
        self._objects: dict[str, dict[Key, Obj]] = defaultdict(dict)
        self._uids: set[str] = set()
        self._owned: dict[str, set[tuple[str, Key]]] = defaultdict(set)
        self._validators: dict[str, Any] = {}
        for name in ("default", "kube-system", "kube-node-lease"):
            self.create("namespaces", "", {"metadata": {"name": name}})
        for crd in crds:
            self.create(CRDS, "", crd)

    def find(self, resource: str, namespace: str, name: str) -> Obj | None:
        return self._objects[resource].get((namespace, name))

    def get(self, resource: str, namespace: str, name: str) -> Obj:
        """Return the object, or raise 404."""
        found = self.find(resource, namespace, name)
        if found is None:
            raise refusals.error(404, "NotFound", self.resources[resource], name, "not found")
        return found

    def page(self, resource: str, selected: Predicate = kinds.ALL, limit: int = 0, token: str = "") -> Page:
        """Return the selected objects by namespace and name; the pages of one list all show the state of the first."""
        version, start = json.loads(base64.b64decode(token)) if token else (self.version, ["", ""])
        if version < self._floor[resource]:
            text = "The provided continue parameter is too old to display a consistent list result."
            raise ApiError(410, "Expired", text, token=_token(self.version, start))
        state: dict[Key, Obj | None] = dict(self._objects[resource])
        for change in reversed(self.changes(resource, version)):
            state[key_of(change.shown)] = change.old
        found = sorted((key, obj) for key, obj in state.items() if key > tuple(start) and obj and selected(obj))
        shown, rest = found[: limit or None], found[limit:] if limit else []
        after = _token(version, shown[-1][0]) if rest else ""
        return Page([obj for _, obj in shown if obj], version, after, len(rest))

    def changes(self, resource: str, since: int) -> list[Change]:
        """Return what happened after that resourceVersion, oldest first; raise 410 where that is no longer known."""
        if since < self._floor[resource]:
            raise ApiError(410, "Expired", f"too old resource version: {since} ({self._floor[resource]})")
        newer: list[Change] = []
        for change in reversed(self._history[resource]):
            if change.version <= since:
                break
            newer.append(change)
        return newer[::-1]

    def compact(self) -> None:
        """Forget all changes: every watch and token from before now gets 410."""
        now = self.version
        self._history.clear()
        self._floor = defaultdict(lambda: now)

    def create(self, resource: str, namespace: str, obj: Obj) -> Obj:
        """Store a new object; 409 AlreadyExists, 404 or 403 for its namespace, 422 by its schema."""
        kind, new = self.resources[resource], copy.deepcopy(obj)
        if kind.namespaced and "deletionTimestamp" in self.get("namespaces", "", namespace)["metadata"]:
            raise refusals.terminating(kind, obj["metadata"].get("name", ""), namespace)
        meta = {name: value for name, value in new.get("metadata", {}).items() if name not in _KEPT}
        if "name" not in meta:
            meta["name"] = meta["generateName"] + "".join(self._rng.choices("bcdfghjklmnpqrstvwxz2456789", k=5))
        if self.find(resource, namespace, meta["name"]):
            raise refusals.error(409, "AlreadyExists", kind, meta["name"], "already exists")
        meta |= {"uid": str(uuid.UUID(int=self._rng.getrandbits(128), version=4)), "generation": 1}
        meta |= {"creationTimestamp": rfc3339(self.clock())} | ({"namespace": namespace} if kind.namespaced else {})
        new |= {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta}
        if resource in kinds.DEFAULTS:
            new["spec"] = merged(kinds.DEFAULTS[resource], new["spec"])
        if kind.has_status:
            new.pop("status", None)
            new |= {"status": {"phase": kinds.FIRST_PHASE[resource]}} if resource in kinds.FIRST_PHASE else {}
        return self._write(resource, None, self._valid(kind, kinds.label_job(new) if resource == "jobs.batch" else new))

    def update(self, resource: str, namespace: str, name: str, obj: Obj, subresource: str = "") -> Obj:
        """Replace the object, or its status alone; 409 Conflict for another uid or resourceVersion."""
        old = self.get(resource, namespace, name)
        if not obj.get("metadata", {}).get("resourceVersion") and resource not in kinds.UNCONDITIONAL:
            why = cause("metadata.resourceVersion", "Invalid value: 0: must be specified for an update")
            raise refusals.invalid(self.resources[resource], name, why)
        return self._replace(resource, old, obj, subresource)

    def patch(self, resource: str, namespace: str, name: str, patch: Obj, subresource: str = "") -> Obj:
        """Apply a merge patch; a resourceVersion in it is a precondition (409), another uid is refused (422)."""
        old = self.get(resource, namespace, name)
        return self._replace(resource, old, merged(old, patch), subresource)

    def apply(self, resource: str, namespace: str, name: str, config: Obj, manager: str) -> Obj:
        """Server-side apply without ownership: create, or merge. Fields that a later apply leaves out stay."""
        old = self.find(resource, namespace, name)
        managers = old["metadata"].get("managedFields", []) if old else []
        entry = {"manager": manager, "operation": "Apply"}
        managers = managers if entry in managers else [*managers, entry]
        config = merged(config, {"metadata": {"name": name, "managedFields": managers}})
        return self.patch(resource, namespace, name, config) if old else self.create(resource, namespace, config)

    def bind(self, namespace: str, name: str, binding: Obj) -> None:
        """Assign a pod to a node (pods/binding); a second time is 409."""
        pod = self.get("pods", namespace, name)
        if taken := pod["spec"].get("nodeName"):
            raise refusals.conflict("pods/binding", name, f'pod {name} is already assigned to node "{taken}"')
        scheduled = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": rfc3339(self.clock())}]
        wanted = {"uid": binding["metadata"].get("uid")}
        self.patch("pods", namespace, name, {"metadata": wanted, "spec": {"nodeName": binding["target"]["name"]}})
        self.patch("pods", namespace, name, {"status": {"conditions": scheduled}}, "status")

    def delete(self, resource: str, namespace: str, name: str, options: Obj | None = None) -> Obj:
        """Delete by DeleteOptions; return the object, which still exists where something holds it."""
        options, old = options or {}, self.get(resource, namespace, name)
        self._guard(resource, old, options.get("preconditions") or {})
        # Jobs alone default to Orphan, for the sake of clients from before garbage collection.
        if options.get("propagationPolicy", "Orphan" if resource == "jobs.batch" else "") == "Orphan":
            for kind, key in sorted(self._owned[old["metadata"]["uid"]]):
                refs = self._objects[kind][key]["metadata"]["ownerReferences"]
                left = [ref for ref in refs if ref["uid"] != old["metadata"]["uid"]]
                self.patch(kind, *key, {"metadata": {"ownerReferences": left}})
        grace, new = _grace(resource, old, options.get("gracePeriodSeconds")), copy.deepcopy(old)
        if "deletionTimestamp" not in new["metadata"]:
            new["metadata"]["deletionTimestamp"] = rfc3339(self.clock() + grace)
            new["metadata"]["generation"] += 1
        new["metadata"] |= {"deletionGracePeriodSeconds": grace} if resource == "pods" else {}
        new |= {"status": {"phase": "Terminating"}} if resource == "namespaces" else {}
        written = self._settle(resource, old, new) if new != old else old
        if resource == "namespaces":
            self._delete_all(self._content(name))
        return written

    def _replace(self, resource: str, old: Obj, wanted: Obj, subresource: str) -> Obj:
        kind, name, had, asked = self.resources[resource], old["metadata"]["name"], old["metadata"], wanted["metadata"]
        if asked.get("resourceVersion") not in (None, "", had["resourceVersion"]):
            text = "the object has been modified; please apply your changes to the latest version and try again"
            raise refusals.conflict(resource, name, text)
        if asked.get("uid") not in (None, "", had["uid"]):
            why = cause("metadata.uid", f'Invalid value: "{asked["uid"]}": field is immutable')
            raise refusals.invalid(kind, name, why)
        new = old | {"status": wanted.get("status")} if subresource == "status" else dict(wanted)
        if kind.has_status and not subresource:
            new["status"] = old.get("status")
        kept = {field: had[field] for field in (*_KEPT, "name", "namespace") if field in had}
        new |= {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": new["metadata"] | kept}
        new = self._valid(kind, copy.deepcopy({field: value for field, value in new.items() if value is not None}))
        if new == old:
            return old
        added = set(new["metadata"].get("finalizers") or ()) - set(had.get("finalizers") or ())
        if "deletionTimestamp" in had and added:
            text = "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers "
            raise refusals.invalid(
                kind, name, cause("metadata.finalizers", f"{text}{sorted(added)}", "FieldValueForbidden")
            )
        apart = {"metadata", "status"} if kind.has_status else {"metadata"}
        if any(old.get(field) != new.get(field) for field in (old.keys() | new.keys()) - apart):
            new["metadata"]["generation"] += 1
        return self._settle(resource, old, new)

    def _settle(self, resource: str, old: Obj, new: Obj) -> Obj:
        """Write the object, or remove it where it is being deleted and nothing holds it any more."""
        meta, content = new["metadata"], self._content(new["metadata"]["name"]) if resource == "namespaces" else []
        held = content or meta.get("finalizers") or meta.get("deletionGracePeriodSeconds")
        return self._write(resource, old, new if held or "deletionTimestamp" not in meta else None)

    def _write(self, resource: str, old: Obj | None, new: Obj | None) -> Obj:
        """Make one change under the next resourceVersion: the only place that touches the objects."""
        self.version += 1
        source: Obj = new or old or {}
        shown = source | {"metadata": source["metadata"] | {"resourceVersion": str(self.version)}}
        history, key, uid = self._history[resource], key_of(shown), shown["metadata"]["uid"]
        if len(history) == history.maxlen:
            self._floor[resource] = history[0].version
        history.append(Change(self.version, old, shown if new else None, shown))
        for owner in owners(old):
            self._owned[owner].discard((resource, key))
        if new:
            self._objects[resource][key] = shown
            self._uids.add(uid)
            for owner in owners(new):
                self._owned[owner].add((resource, key))
            self._collect([(resource, key)] if owners(new) else [])
        else:
            del self._objects[resource][key]
            self._uids.discard(uid)
            self._collect(self._owned.pop(uid, ()))
            space = self.find("namespaces", "", key[0])
            if space and "deletionTimestamp" in space["metadata"] and not self._content(key[0]):
                self._write("namespaces", space, None)
        if resource == CRDS:
            self._serve(kinds.served(source), removed=new is None)
        return shown

    def _serve(self, kind: Kind, removed: bool) -> None:
        self.resources[str(kind)] = kind
        self._validators[str(kind)] = schema.validator(kind.schema or {})
        if removed:
            self._delete_all((str(kind), key) for key in self._objects[str(kind)])
            del self.resources[str(kind)]

    def _content(self, namespace: str) -> list[tuple[str, Key]]:
        return [(kind, key) for kind, objects in self._objects.items() for key in objects if key[0] == namespace]

    def _collect(self, candidates: Iterable[tuple[str, Key]]) -> None:
        """Delete those which have no owner left, as the garbage collector does."""
        self._delete_all(each for each in candidates if self._uids.isdisjoint(owners(self.find(each[0], *each[1]))))

    def _delete_all(self, candidates: Iterable[tuple[str, Key]]) -> None:
        for resource, key in sorted(candidates):
            obj = self.find(resource, *key)
            if obj and "deletionTimestamp" not in obj["metadata"]:
                self.delete(resource, *key, {"propagationPolicy": "Background"})

    def _guard(self, resource: str, old: Obj, wanted: Obj) -> None:
        have, name = old["metadata"], old["metadata"]["name"]
        for field, text in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            if wanted.get(field) and wanted[field] != have[field]:
                why = f"the {text} in the precondition ({wanted[field]}) does not match the {text} in record"
                raise refusals.conflict(resource, name, f"{why} ({have[field]}). The object might have been modified")

    def _valid(self, kind: Kind, obj: Obj) -> Obj:
        if kind.schema is None:
            return obj
        obj = schema.admitted(kind.schema, obj)
        if causes := schema.errors(self._validators[str(kind)], obj):
            raise refusals.invalid(kind, obj["metadata"]["name"], *causes)
        return obj


def _token(version: int, start: Any) -> str:
    return base64.b64encode(json.dumps([version, start]).encode()).decode()


def _grace(resource: str, obj: Obj, asked: int | None) -> int:
    """Return the seconds that a pod is given to end: none where it has no node or has ended."""
    spec, meta = obj.get("spec", {}), obj["metadata"]
    if resource != "pods" or not spec.get("nodeName") or obj["status"]["phase"] in ("Succeeded", "Failed"):
        return 0
    usual = meta.get("deletionGracePeriodSeconds", spec["terminationGracePeriodSeconds"])
    return int(usual if asked is None else min(asked, usual) if "deletionTimestamp" in meta else asked)
