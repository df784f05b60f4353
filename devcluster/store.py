"""The objects of a small Kubernetes and the rules of its API server, without HTTP, threads or a real clock.

Objects are JSON-like dicts. A stored one is never changed again: a write puts a new one in its place, so what is
returned here may be kept, and must not be changed. Namespaces and owner references are cleaned up within the write that
calls for it, where a real cluster's controllers take up to half a minute.
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
from datetime import UTC, datetime
from typing import Any

from devcluster import kinds, schema
from devcluster.kinds import CRDS, Obj, Predicate, Resource, merged

Key = tuple[str, str]  # namespace, name
FOREGROUND = "foregroundDeletion"
#: The server's own: an update keeps them as they are.
_KEPT = ("uid", "name", "namespace", "creationTimestamp", "generation", "deletionTimestamp",
         "deletionGracePeriodSeconds", "resourceVersion")  # fmt: skip


class ApiError(Exception):
    """A refusal in the form of a metav1.Status: code, reason and message are the real server's."""

    def __init__(self, code: int, reason: str, message: str, details: Obj | None = None, token: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
                       "message": message, "details": details or {}, "metadata": {"continue": token}}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One write: ``old`` is None for a creation, ``new`` for a removal; ``shown`` is what a watch shows of it."""

    version: int
    old: Obj | None
    new: Obj | None
    shown: Obj


@dataclass(frozen=True)
class Page:
    """A part of a list, as of ``version``; ``token`` asks for the rest and is empty where there is none."""

    items: list[Obj]
    version: int
    token: str = ""
    remaining: int = 0


def stamp(seconds: float) -> str:
    """Return the time as the API writes it: RFC 3339, UTC, whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def key_of(obj: Obj) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


class Store:
    """What the API server keeps. Not thread-safe: the server holds its lock around every call.

    ``clock`` gives seconds since 1970, ``rng`` uids and generated names; ``window`` is how many changes of a resource
    a watch or a list's token may lie behind before it gets 410.
    """

    def __init__(
        self,
        crds: Iterable[Obj] = (),
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
        window: int = 1000,
    ) -> None:
        self.clock, self._rng = clock, rng or random.Random()
        self.resources = {resource.name: resource for resource in kinds.BUILTIN}
        self.version = 100  # so that a watch from 1 is too old, as it always is on a real server
        self._floor: dict[str, int] = defaultdict(lambda: 100)
        self._history: dict[str, deque[Change]] = defaultdict(lambda: deque(maxlen=window))
        self._objects: dict[str, dict[Key, Obj]] = defaultdict(dict)
        self._uids: dict[str, tuple[str, Key]] = {}
        self._owned: dict[str, set[tuple[str, Key]]] = defaultdict(set)
        self._validators: dict[str, Any] = {}
        for name in ("default", "kube-system", "kube-node-lease"):
            self.create("namespaces", "", {"metadata": {"name": name}})
        for crd in crds:
            self.create(CRDS, "", crd)

    # Reading

    def find(self, resource: str, namespace: str, name: str) -> Obj | None:
        return self._objects[resource].get((namespace, name))

    def get(self, resource: str, namespace: str, name: str) -> Obj:
        """Return the object, or raise 404."""
        found = self.find(resource, namespace, name)
        if found is None:
            raise self._error(404, "NotFound", resource, name, "not found")
        return found

    def page(self, resource: str, selected: Predicate = kinds.ALL, limit: int = 0, token: str = "") -> Page:
        """Return the selected objects by namespace and name; the pages of one list all show the state of the first."""
        version, start = json.loads(base64.b64decode(token)) if token else (self.version, ["", ""])
        if version < self._floor[resource]:
            fresh = base64.b64encode(json.dumps([self.version, start]).encode()).decode()
            text = "The provided continue parameter is too old to display a consistent list result."
            raise ApiError(410, "Expired", text, token=fresh)
        state = dict(self._objects[resource])
        for change in reversed(self.changes(resource, version)):
            if change.old is None:
                state.pop(key_of(change.shown), None)
            else:
                state[key_of(change.old)] = change.old
        keys = sorted(key for key, obj in state.items() if key > tuple(start) and selected(obj))
        page = keys[: limit or None]
        rest = len(keys) - len(page)
        after = base64.b64encode(json.dumps([version, page[-1]]).encode()).decode() if rest else ""
        return Page([state[key] for key in page], version, after, rest)

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
        self._history.clear()
        self._floor = defaultdict(lambda version=self.version: version)  # type: ignore[misc]

    # Writing

    def create(self, resource: str, namespace: str, obj: Obj) -> Obj:
        """Store a new object; 409 AlreadyExists, 404 or 403 for its namespace, 422 by its schema."""
        kind = self.resources[resource]
        self._check_namespace(kind, namespace, obj)
        new = copy.deepcopy(merged(kinds.DEFAULTS.get(resource, {}), obj))
        meta = new.setdefault("metadata", {})
        for name in _KEPT[3:]:
            meta.pop(name, None)
        if not meta.get("name") and (prefix := meta.get("generateName")):
            meta["name"] = prefix + "".join(self._rng.choices("bcdfghjklmnpqrstvwxz2456789", k=5))
        if not meta.get("name"):
            raise self._invalid(
                resource, "", "metadata.name", "FieldValueRequired", "Required value: name or generateName is required"
            )
        if self.find(resource, namespace, meta["name"]):
            raise self._error(409, "AlreadyExists", resource, meta["name"], "already exists")
        meta |= {"uid": str(uuid.UUID(int=self._rng.getrandbits(128), version=4)), "generation": 1}
        meta |= {"creationTimestamp": stamp(self.clock())} | ({"namespace": namespace} if kind.namespaced else {})
        new |= {"apiVersion": kind.api_version, "kind": kind.kind}
        if kind.has_status and resource != "nodes":
            new.pop("status", None)
            new |= {"status": kinds.FIRST_STATUS[resource]} if resource in kinds.FIRST_STATUS else {}
        if resource == "jobs.batch":
            kinds.label_job(new)
        return self._write(resource, None, self._validated(kind, new))

    def update(self, resource: str, namespace: str, name: str, obj: Obj, subresource: str = "") -> Obj:
        """Replace the object, or its status alone; 409 Conflict for another uid or resourceVersion."""
        old = self.get(resource, namespace, name)
        if not obj.get("metadata", {}).get("resourceVersion") and resource not in kinds.UNCONDITIONAL:
            text = "Invalid value: 0: must be specified for an update"
            raise self._invalid(resource, name, "metadata.resourceVersion", "FieldValueInvalid", text)
        return self._replace(resource, old, obj, subresource)

    def patch(self, resource: str, namespace: str, name: str, patch: Obj, subresource: str = "") -> Obj:
        """Apply a merge patch; a uid or resourceVersion in it is a precondition (409)."""
        old = self.get(resource, namespace, name)
        return self._replace(resource, old, merged(old, patch), subresource)

    def apply(self, resource: str, namespace: str, name: str, config: Obj, manager: str) -> Obj:
        """Server-side apply without ownership: create, or merge. Fields that a later apply leaves out stay."""
        entry = {"manager": manager, "operation": "Apply", "apiVersion": self.resources[resource].api_version}
        old = self.find(resource, namespace, name)
        managers = [] if old is None else old["metadata"].get("managedFields", [])
        managers = [*managers, *([] if entry in managers else [entry])]
        config = merged(config, {"metadata": {"name": name, "managedFields": managers}})
        return (
            self.create(resource, namespace, config) if old is None else self.patch(resource, namespace, name, config)
        )

    def bind(self, namespace: str, name: str, binding: Obj) -> None:
        """Assign a pod to a node (pods/binding); a second time is 409."""
        pod, node = self.get("pods", namespace, name), binding["target"]["name"]
        if taken := pod["spec"].get("nodeName"):
            text = f'pod {name} is already assigned to node "{taken}"'
            raise self._conflict("pods/binding", name, text)
        scheduled = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(self.clock())}]
        meta = {"uid": binding.get("metadata", {}).get("uid") or pod["metadata"]["uid"]}
        self._replace("pods", pod, merged(pod, {"metadata": meta, "spec": {"nodeName": node}}), "")
        self.patch("pods", namespace, name, {"status": {"conditions": scheduled}}, "status")

    def delete(self, resource: str, namespace: str, name: str, options: Obj | None = None) -> Obj:
        """Delete by DeleteOptions; return the object, which still exists where something holds it."""
        options, old = options or {}, self.get(resource, namespace, name)
        self._guard(resource, old, options.get("preconditions") or {})
        # Jobs alone default to Orphan, for the sake of clients from before garbage collection.
        policy = options.get("propagationPolicy") or ("Orphan" if resource == "jobs.batch" else "Background")
        new = copy.deepcopy(old)
        meta, dependents = new["metadata"], sorted(self._owned[old["metadata"]["uid"]])
        if policy == "Orphan":
            for kind, key in dependents:
                self._disown(kind, self._objects[kind][key], meta["uid"])
        if policy == "Foreground" and dependents and FOREGROUND not in meta.get("finalizers", []):
            meta["finalizers"] = [*meta.get("finalizers", []), FOREGROUND]
        grace = self._grace(resource, old, options.get("gracePeriodSeconds"))
        if "deletionTimestamp" not in meta:
            meta["deletionTimestamp"] = stamp(self.clock() + grace)
            meta["generation"] += 1
        if resource in ("pods", "namespaces"):
            meta["deletionGracePeriodSeconds"] = min(grace, meta.get("deletionGracePeriodSeconds", grace))
        if resource == "namespaces":
            new["status"] = {"phase": "Terminating"}
        if new == old:
            return old
        self._settle(resource, old, new)
        if policy == "Foreground":
            self._collect(dependents)
        elif resource == "namespaces":
            self._collect(
                (kind, key)
                for kind, objects in list(self._objects.items())
                for key in sorted(objects)
                if key[0] == name
            )
        return self.find(resource, namespace, name) or new

    # Inside

    def _replace(self, resource: str, old: Obj, wanted: Obj, subresource: str) -> Obj:
        kind, name = self.resources[resource], old["metadata"]["name"]
        self._guard(resource, old, wanted.get("metadata") or {})
        new = copy.deepcopy(old | {"status": wanted.get("status")} if subresource == "status" else wanted)
        if kind.has_status and not subresource:
            new["status"] = old.get("status")
        if new.get("status") is None:
            new.pop("status", None)
        new["metadata"] |= {field: old["metadata"][field] for field in _KEPT if field in old["metadata"]}
        new = self._validated(kind, new | {"apiVersion": kind.api_version, "kind": kind.kind})
        if new == old:
            return old
        added = set(new["metadata"].get("finalizers") or ()) - set(old["metadata"].get("finalizers") or ())
        if "deletionTimestamp" in old["metadata"] and added:
            text = "Forbidden: no new finalizers can be added if the object is being deleted, "
            text += f"found new finalizers {sorted(added)}"
            raise self._invalid(resource, name, "metadata.finalizers", "FieldValueForbidden", text)
        for field in kinds.IMMUTABLE.get(resource, ()):
            before, after = old.get("spec", {}).get(field), new.get("spec", {}).get(field)
            if before and before != after:
                text = f"Invalid value: {json.dumps(after)}: field is immutable"
                raise self._invalid(resource, name, f"spec.{field}", "FieldValueInvalid", text)
        apart = {"metadata", "status"} if kind.has_status else {"metadata"}
        if any(old.get(field) != new.get(field) for field in (old.keys() | new.keys()) - apart):
            new["metadata"]["generation"] += 1
        return self._settle(resource, old, new)

    def _settle(self, resource: str, old: Obj, new: Obj) -> Obj:
        """Write the object, or remove it where it is being deleted and nothing holds it any more."""
        meta = new["metadata"]
        held = meta.get("finalizers") or meta.get("deletionGracePeriodSeconds")
        if resource == "namespaces":
            held = any(key[0] == meta["name"] for objects in self._objects.values() for key in objects)
        gone = "deletionTimestamp" in meta and not held
        return self._write(resource, old, None if gone else new)

    def _write(self, resource: str, old: Obj | None, new: Obj | None) -> Obj:
        """Make one change under the next resourceVersion: the only place that touches the objects."""
        self.version += 1
        source = new or old or {}
        shown = source | {"metadata": source["metadata"] | {"resourceVersion": str(self.version)}}
        history, key, uid = self._history[resource], key_of(shown), shown["metadata"]["uid"]
        if len(history) == history.maxlen:
            self._floor[resource] = history[0].version
        history.append(Change(self.version, old, shown if new else None, shown))
        for owner in _owners(old):
            self._owned[owner].discard((resource, key))
        if new:
            self._objects[resource][key] = shown
            self._uids[uid] = (resource, key)
            for owner in _owners(new):
                self._owned[owner].add((resource, key))
        else:
            del self._objects[resource][key], self._uids[uid]
        if resource == CRDS:
            self._serve(old, new)
        self._clean_up(resource, key, shown, removed=new is None)
        return shown

    def _serve(self, old: Obj | None, new: Obj | None) -> None:
        if old and not new:
            gone = kinds.served(old).name
            self._collect((gone, key) for key in sorted(self._objects[gone]))
            self.resources.pop(gone, None)
        if new:
            kind = kinds.served(new)
            self.resources[kind.name] = kind
            self._validators[kind.name] = schema.validator(kind.schema or {})

    def _clean_up(self, resource: str, key: Key, obj: Obj, removed: bool) -> None:
        """Do what the garbage collector and the namespace controller do after a change."""
        if not removed:
            owners = _owners(obj)
            if owners and not any(owner in self._uids for owner in owners):
                self._collect([(resource, key)])
            return
        self._collect(sorted(self._owned.pop(obj["metadata"]["uid"], ())))
        for uid in _owners(obj):
            if uid in self._uids and not self._owned[uid]:
                kind, owner = self._uids[uid][0], self._objects[self._uids[uid][0]][self._uids[uid][1]]
                left = [name for name in owner["metadata"].get("finalizers", ()) if name != FOREGROUND]
                self._replace(kind, owner, merged(owner, {"metadata": {"finalizers": left}}), "")
        space = self.find("namespaces", "", key[0])
        if space and "deletionTimestamp" in space["metadata"]:
            self._settle("namespaces", space, space)

    def _collect(self, dependents: Iterable[tuple[str, Key]]) -> None:
        for resource, key in list(dependents):
            obj = self._objects[resource].get(key)
            going = obj and ("deletionTimestamp" in obj["metadata"] or not all(map(self._is_going, _owners(obj))))
            if obj and not going:
                self.delete(resource, *key, {"propagationPolicy": "Background"})

    def _is_going(self, uid: str) -> bool:
        if uid not in self._uids:
            return True
        resource, key = self._uids[uid]
        return FOREGROUND in self._objects[resource][key]["metadata"].get("finalizers", ())

    def _disown(self, resource: str, obj: Obj, owner: str) -> None:
        left = [ref for ref in obj["metadata"]["ownerReferences"] if ref["uid"] != owner]
        self._replace(resource, obj, merged(obj, {"metadata": {"ownerReferences": left}}), "")

    def _grace(self, resource: str, obj: Obj, asked: int | None) -> int:
        running = obj.get("spec", {}).get("nodeName") and obj.get("status", {}).get("phase") not in (
            "Succeeded",
            "Failed",
        )
        if resource != "pods" or not running:
            return 0
        usual = obj["metadata"].get("deletionGracePeriodSeconds", obj["spec"].get("terminationGracePeriodSeconds", 30))
        return int(usual if asked is None else asked)

    def _check_namespace(self, kind: Resource, namespace: str, obj: Obj) -> None:
        if not kind.namespaced:
            return
        space = self.get("namespaces", "", namespace)
        if "deletionTimestamp" in space["metadata"]:
            text = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
            name = obj.get("metadata", {}).get("name", "")
            raise self._error(403, "Forbidden", kind.name, name, f"is forbidden: {text}", [cause])

    def _guard(self, resource: str, old: Obj, wanted: Obj) -> None:
        have, name = old["metadata"], old["metadata"]["name"]
        if (uid := wanted.get("uid")) and uid != have["uid"]:
            text = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {have['uid']}"
            raise self._conflict(resource, name, text)
        if (version := wanted.get("resourceVersion")) and version != have["resourceVersion"]:
            text = "the object has been modified; please apply your changes to the latest version and try again"
            raise self._conflict(resource, name, text)

    def _validated(self, kind: Resource, obj: Obj) -> Obj:
        if kind.schema is None:
            return obj
        obj = schema.admitted(kind.schema, obj)
        if causes := schema.errors(self._validators[kind.name], obj):
            raise self._invalid_by(kind.name, obj["metadata"]["name"], causes)
        return obj

    def _invalid(self, resource: str, name: str, field: str, reason: str, message: str) -> ApiError:
        return self._invalid_by(resource, name, [{"reason": reason, "field": field, "message": message}])

    def _invalid_by(self, resource: str, name: str, causes: list[dict[str, str]]) -> ApiError:
        kind, texts = self.resources[resource], [f"{cause['field']}: {cause['message']}" for cause in causes]
        text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
        who = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
        details = {"name": name, "group": kind.group, "kind": kind.kind, "causes": causes}
        return ApiError(422, "Invalid", f'{who} "{name}" is invalid: {text}', details)

    def _conflict(self, resource: str, name: str, text: str) -> ApiError:
        message = f'Operation cannot be fulfilled on {resource} "{name}": {text}'
        return ApiError(409, "Conflict", message, {"name": name, "kind": resource.partition(".")[0]})

    def _error(self, code: int, reason: str, resource: str, name: str, text: str, causes: Any = ()) -> ApiError:
        kind = self.resources[resource]
        details = {"name": name, "group": kind.group, "kind": kind.plural, "causes": list(causes)}
        return ApiError(code, reason, f'{resource} "{name}" {text}', details)


def _owners(obj: Obj | None) -> list[str]:
    return [ref["uid"] for ref in (obj or {}).get("metadata", {}).get("ownerReferences") or ()]
