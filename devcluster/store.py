"""The objects of a small Kubernetes and the rules of its API server, without HTTP, threads or a real clock.

Objects are JSON-like dicts. A stored one is never changed again: a write puts a new one in its place, so what is
returned here may be kept, and must not be changed. Every kind has a status of its own. Dependents go within the write
that takes their last owner, where a real garbage collector takes a while.

Not here: generateName, orphans and foreground deletion, the end of a namespace or of a CRD's service. An update
without a resourceVersion, which a real server takes of some kinds, is always refused; a finalizer that is added to what
is being deleted, which a real server refuses, is taken.
"""

import base64
import copy
import json
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from controllers.api.times import rfc3339
from controllers.kube.store import Key, key_of
from devcluster import kinds, refusals, schema
from devcluster.kinds import Obj, Predicate, merged
from devcluster.refusals import ApiError

#: The server's own: an update keeps them as they are, a creation drops them.
_KEPT = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion")
Clock = Callable[[], float]
_BEGIN_PENDING = ("pods", "persistentvolumes", "persistentvolumeclaims")


class Change(NamedTuple):
    """One write: ``old`` is None for a creation, ``new`` for a removal; ``shown`` is what a watch shows of it."""

    version: int
    resource: str
    old: Obj | None
    new: Obj | None
    shown: Obj


class Page(NamedTuple):
    """A part of a list as of ``version``; ``token`` asks for the rest and is empty where there is none."""

    items: list[Obj]
    version: int
    token: str


def owners(obj: Obj) -> list[str]:
    """Return the uids of the object's owners."""
    return [ref["uid"] for ref in obj["metadata"].get("ownerReferences") or ()]


class Store:
    """What the API server keeps. Not thread-safe: the server holds its lock around every call.

    ``clock`` gives seconds since 1970, ``rng`` uids; ``window`` is how many changes a watch or a list's token may lie
    behind before it gets 410.
    """

    def __init__(
        self, crds: Iterable[Obj] = (), clock: Clock = time.time, rng: random.Random | None = None, window: int = 10_000
    ) -> None:
        self.clock, self._rng, self._window = clock, rng or random.Random(), window
        self.resources, self._schemas = dict(kinds.BUILTIN), dict[str, Obj]()
        self.version = self._floor = 100  # so that a watch from 1 is too old, as it always is on a real server
        self._history: list[Change] = []  # all since _floor
        self._objects: dict[str, dict[Key, Obj]] = defaultdict(dict)
        self._uids: set[str] = set()
        self.create("namespaces", "", {"metadata": {"name": "default"}})
        for crd in crds:
            self.create(str(kinds.CRDS), "", crd)

    def find(self, resource: str, namespace: str, name: str) -> Obj | None:
        return self._objects[resource].get((namespace, name))

    def get(self, resource: str, namespace: str, name: str) -> Obj:
        """Return the object, or raise 404."""
        if found := self.find(resource, namespace, name):
            return found
        raise ApiError(404, "NotFound", f'{resource} "{name}" not found', name=name, kind=resource.partition(".")[0])

    def page(self, resource: str, selected: Predicate = bool, limit: int = 0, token: str = "") -> Page:
        """Return the selected objects by namespace and name; the pages of one list all show the state of the first."""
        version, start = json.loads(base64.b64decode(token)) if token else (self.version, ["", ""])
        state: dict[Key, Obj | None] = dict(self._objects[resource])
        for change in reversed(self.changes(resource, version)):
            state[key_of(change.shown)] = change.old
        found = sorted((key, obj) for key, obj in state.items() if key > tuple(start) and obj and selected(obj))
        shown = found[: limit or None]
        after = base64.b64encode(json.dumps([version, shown[-1][0]]).encode()).decode() if found[len(shown) :] else ""
        return Page([obj for _, obj in shown if obj], version, after)

    def changes(self, resource: str, since: int) -> list[Change]:
        """Return what happened after that resourceVersion, oldest first; raise 410 where that is no longer known."""
        if since < self._floor:
            raise ApiError(410, "Expired", f"too old resource version: {since} ({self._floor})")
        return [change for change in self._history[since - self._floor :] if change.resource == resource]

    def create(self, resource: str, namespace: str, obj: Obj) -> Obj:
        """Store a new object; 409 AlreadyExists, 404 for its namespace, 422 by its schema."""
        kind, new, name = self.resources[resource], copy.deepcopy(obj), obj["metadata"]["name"]
        if kind.namespaced:
            self.get("namespaces", "", namespace)
        if self.find(resource, namespace, name):
            raise ApiError(409, "AlreadyExists", f'{resource} "{name}" already exists')
        meta = {field: value for field, value in new["metadata"].items() if field not in _KEPT}
        meta |= {"uid": str(uuid.UUID(int=self._rng.getrandbits(128), version=4)), "generation": 1}
        meta |= {"creationTimestamp": rfc3339(self.clock())} | ({"namespace": namespace} if kind.namespaced else {})
        new |= {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta}
        new.pop("status", None)
        new |= {"status": {"phase": "Pending"}} if resource in _BEGIN_PENDING else {}
        written = self._write(resource, None, self._valid(resource, new))
        if kind == kinds.CRDS:
            self.resources[name], self._schemas[name] = kinds.served(written)
        return written

    def update(self, resource: str, namespace: str, name: str, obj: Obj, subresource: str = "") -> Obj:
        """Replace the object, or its status alone; 409 for another uid or resourceVersion, or none (really 422)."""
        old = self.get(resource, namespace, name)
        _check(resource, old, {"resourceVersion": "none"} | obj["metadata"])
        return self._replace(resource, old, obj, subresource)

    def patch(self, resource: str, namespace: str, name: str, patch: Obj, subresource: str = "") -> Obj:
        """Apply a merge patch; uid and resourceVersion in it are preconditions (409; a real server: 422 for a uid)."""
        old = self.get(resource, namespace, name)
        return self._replace(resource, old, merged(old, patch), subresource)

    def bind(self, namespace: str, name: str, binding: Obj) -> Obj:
        """Assign a pod to a node; a second time is 409."""
        if taken := self.get("pods", namespace, name)["spec"].get("nodeName"):
            raise refusals.conflict("pods/binding", name, f'pod {name} is already assigned to node "{taken}"')
        meta, spec = {"uid": binding["metadata"].get("uid")}, {"nodeName": binding["target"]["name"]}
        return self.patch("pods", namespace, name, {"metadata": meta, "spec": spec})

    def delete(self, resource: str, namespace: str, name: str, options: Obj | None = None) -> Obj:
        """Delete by DeleteOptions; return the object, which still exists where something holds it."""
        options, old = options or {}, self.get(resource, namespace, name)
        _check(resource, old, options.get("preconditions") or {})
        grace, meta = _grace(resource, old, options.get("gracePeriodSeconds")), old["metadata"]
        if "deletionTimestamp" not in meta:
            meta = meta | {"deletionTimestamp": rfc3339(self.clock() + grace), "generation": meta["generation"] + 1}
        meta = meta | ({"deletionGracePeriodSeconds": grace} if resource == "pods" else {})
        new = old | {"metadata": meta}
        return self._settle(resource, old, new) if new != old else old

    def _replace(self, resource: str, old: Obj, wanted: Obj, subresource: str) -> Obj:
        _check(resource, old, wanted["metadata"])
        had = old["metadata"]
        meta = wanted["metadata"] | {field: had[field] for field in (*_KEPT, "name", "namespace") if field in had}
        fixed = {"apiVersion": old["apiVersion"], "kind": old["kind"], "metadata": meta, "status": old.get("status")}
        new = old | {"status": wanted.get("status")} if subresource else wanted | fixed
        new = self._valid(resource, {field: value for field, value in copy.deepcopy(new).items() if value is not None})
        if new == old:
            return old
        if any(old.get(field) != new.get(field) for field in (old | new).keys() - {"metadata", "status"}):
            new["metadata"]["generation"] += 1
        return self._settle(resource, old, new)

    def _settle(self, resource: str, old: Obj, new: Obj) -> Obj:
        """Write the object, or remove it where it is being deleted and nothing holds it any more."""
        meta = new["metadata"]
        held = meta.get("finalizers") or meta.get("deletionGracePeriodSeconds")
        return self._write(resource, old, new if held or "deletionTimestamp" not in meta else None)

    def _write(self, resource: str, old: Obj | None, new: Obj | None) -> Obj:
        """Make one change under the next resourceVersion: the only place that touches the objects."""
        self.version += 1
        source: Obj = new or old or {}
        shown = source | {"metadata": source["metadata"] | {"resourceVersion": str(self.version)}}
        key, uid = key_of(shown), shown["metadata"]["uid"]
        self._history.append(Change(self.version, resource, old, shown if new else None, shown))
        if len(self._history) > self._window:
            self._floor = self._history.pop(0).version
        if new:
            self._objects[resource][key] = shown
            self._uids.add(uid)
            self._collect([(resource, shown)])
        else:
            del self._objects[resource][key]
            self._uids.discard(uid)
            everything = [(kind, obj) for kind, objects in self._objects.items() for obj in objects.values()]
            self._collect([(kind, obj) for kind, obj in everything if uid in owners(obj)])
        return shown

    def _collect(self, candidates: Iterable[tuple[str, Obj]]) -> None:
        """Delete those which have no owner left, as the garbage collector does."""
        for resource, obj in candidates:
            if owners(obj) and self._uids.isdisjoint(owners(obj)) and "deletionTimestamp" not in obj["metadata"]:
                self.delete(resource, *key_of(obj))

    def _valid(self, resource: str, obj: Obj) -> Obj:
        if resource not in self._schemas:
            return obj
        untouched = {field: obj[field] for field in ("apiVersion", "kind", "metadata")}
        obj = dict(schema.admitted(self._schemas[resource], obj)) | untouched
        if wrong := schema.errors(self._schemas[resource], obj):
            raise refusals.invalid(self.resources[resource], obj["metadata"]["name"], *wrong)
        return obj


def _check(resource: str, obj: Obj, wanted: Obj) -> None:
    """Raise 409 where uid or resourceVersion are wanted to be others than they are."""
    for field in ("uid", "resourceVersion"):
        if wanted.get(field) not in (None, "", obj["metadata"][field]):
            text = f"its {field} is not {wanted[field]}: the object has been modified; please apply your changes to the"
            raise refusals.conflict(resource, obj["metadata"]["name"], f"{text} latest version and try again")


def _grace(resource: str, obj: Obj, asked: int | None) -> int:
    """Return the seconds that a pod is given to end: none where it has no node or has ended."""
    spec, meta = obj.get("spec", {}), obj["metadata"]
    if resource != "pods" or not spec.get("nodeName") or obj["status"]["phase"] in ("Succeeded", "Failed"):
        return 0
    usual = meta.get("deletionGracePeriodSeconds", spec.get("terminationGracePeriodSeconds", 30))
    return int(usual if asked is None else min(asked, usual) if "deletionTimestamp" in meta else asked)
