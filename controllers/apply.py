"""Carries out a Decision: finalizer, status, children, in this order; events are sent by the caller, last.

Every write is safe to repeat and safe to come late: a status names the resourceVersion that it was decided from, a
child has a deterministic name and is created, never taken over, and a deletion names the uid.
"""

import contextlib
from collections.abc import Callable
from typing import Any

from controllers.api.dataset import status_dict
from controllers.api.times import rfc3339
from controllers.decision import Child, Create, Decision, Delete, Key, Patch, Problem
from controllers.jobs import DATASET_UID, PARKED, RELEASED, SCHEDULE_UID
from controllers.kube.client import Cluster
from controllers.kube.errors import AlreadyExists, Conflict, Forbidden, Invalid, NotFound
from controllers.kube.resources import (
    ALLUXIORUNTIMES,
    CONFIGMAPS,
    DATABACKUPS,
    DATASETS,
    JOBS,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    SCHEDULEDDATABACKUPS,
    SECRETS,
    SERVICES,
    STATEFULSETS,
    Resource,
)
from controllers.stores import Stores
from controllers.volumes import CLAIM, VOLUME

Obj = dict[str, Any]


def _by_kind(*resources: Resource) -> dict[str, Resource]:
    return {resource.kind: resource for resource in resources}


#: What is written, by kind; the controller's rights are read from these tables.
OURS = _by_kind(DATASETS, ALLUXIORUNTIMES, DATABACKUPS, SCHEDULEDDATABACKUPS)
CREATED = _by_kind(JOBS, PERSISTENTVOLUMES, PERSISTENTVOLUMECLAIMS, STATEFULSETS, SERVICES, CONFIGMAPS, DATABACKUPS)
PATCHED = _by_kind(STATEFULSETS, ALLUXIORUNTIMES)
DELETED = _by_kind(JOBS, PERSISTENTVOLUMES, PERSISTENTVOLUMECLAIMS, STATEFULSETS, DATABACKUPS)
#: Which label with the owner's uid says whose a child is that has no owner reference, by the kinds of both: what the
#: garbage collector must not take along. Of all others the owner reference says it.
LABELS = {
    (DATASETS.kind, VOLUME): DATASET_UID,
    (DATASETS.kind, CLAIM): DATASET_UID,
    (SCHEDULEDDATABACKUPS.kind, DATABACKUPS.kind): SCHEDULE_UID,
}


class Refused(Exception):
    """The API server, or another owner of the name, stands in the way; a person has to see ``problem``."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Applier:
    """Writes decisions. ``may_write`` is asked before each write; False ends the pass with LostLease."""

    def __init__(self, cluster: Cluster, stores: Stores, may_write: Callable[[], bool]) -> None:
        self._cluster, self._stores, self._may_write = cluster, stores, may_write
        self._watched = stores.watched()

    def apply(self, obj: Obj, decision: Decision) -> None:
        """Carry out a decision on this object; raise KubeError, Refused or LostLease where that stops half way."""
        if decision.release:
            self._finalizers(obj, decision)
            return
        obj = self._finalizers(obj, decision)
        written = self._status(obj, decision)
        if written is None and decision.children:
            self._still_current(obj)
        for child in decision.children:
            self._child(obj, child)

    def delete_orphan(self, volume: Obj) -> bool:
        """Delete a PV and its claim, if the Dataset that they are labelled with does not exist; return whether so.

        The API server is asked, not the cache: a selector, or a cache that is behind, may hide the Dataset.
        """
        uid = volume["metadata"]["labels"][DATASET_UID]
        claim = volume["spec"].get("claimRef") or {}
        namespace, name = claim.get("namespace", ""), claim.get("name", "")
        if self.knows(Key(DATASETS.kind, namespace, name), uid):
            return False
        found = self._stores.claims.get(namespace, name)
        if found and found["metadata"]["labels"].get(DATASET_UID) == uid:  # not a copy, which has the label too
            self._delete(PERSISTENTVOLUMECLAIMS, namespace, name, found["metadata"]["uid"])
        self._delete(PERSISTENTVOLUMES, "", volume["metadata"]["name"], volume["metadata"]["uid"])
        return True

    def knows(self, dataset: Key, uid: str = "") -> bool:
        """Whether the API server has the Dataset, with that uid where one is given."""
        try:
            found = self._cluster.get(DATASETS, dataset.namespace, dataset.name)
        except NotFound:
            return False
        return uid in ("", found["metadata"]["uid"])

    def release(self, job: Obj, now: float) -> None:
        """Unsuspend a Job, in the version that was seen, and note when that was done first."""
        known = (job["metadata"].get("annotations") or {}).get(RELEASED)
        self._turn(job, {RELEASED: known or rfc3339(now)}, suspend=False)

    def park(self, job: Obj, now: float) -> None:
        """Suspend a Job whose pod does not start, and send it to the end of the line."""
        self._turn(job, {PARKED: rfc3339(now)}, suspend=True)

    def _turn(self, job: Obj, notes: dict[str, str], *, suspend: bool) -> None:
        self._guard()
        meta = job["metadata"]
        about = {"resourceVersion": meta["resourceVersion"], "annotations": notes}
        body = {"metadata": about, "spec": {"suspend": suspend}}
        self._stores.jobs.observe_write(self._cluster.merge_patch(JOBS, meta["namespace"], meta["name"], body))

    def _finalizers(self, obj: Obj, decision: Decision) -> Obj:
        if decision.finalizers is None:
            return obj
        self._guard()
        resource, meta = OURS[obj["kind"]], obj["metadata"]
        names = list(decision.finalizers.finalizers)
        body = {"metadata": {"resourceVersion": meta["resourceVersion"], "finalizers": names}}
        written = self._cluster.merge_patch(resource, meta["namespace"], meta["name"], body)
        # The last finalizer gone, the object is too: the watch says so, and a ghost must not stay in the store.
        if not decision.release:
            self._seen(resource, written)
        return written

    def _status(self, obj: Obj, decision: Decision) -> Obj | None:
        if decision.status is None:
            return None
        status = status_dict(decision.status)
        if status == obj.get("status"):
            return None
        self._guard()
        resource = OURS[obj["kind"]]
        written = self._cluster.replace_status(resource, {**obj, "status": status})
        self._seen(resource, written)
        return written

    def _still_current(self, obj: Obj) -> None:
        """Raise Conflict where the cached object is an old one: what was done long ago must not be done again.

        A status write would have found out by its resourceVersion; where the status did not change, this look-up does.
        """
        resource, meta = OURS[obj["kind"]], obj["metadata"]
        found = self._cluster.get(resource, meta["namespace"], meta["name"])["metadata"]
        if (found["uid"], found["resourceVersion"]) != (meta["uid"], meta["resourceVersion"]):
            text = f"{resource.kind} {meta['namespace']}/{meta['name']}: the cache is behind; read again"
            raise Conflict(409, "Conflict", text)

    def _child(self, obj: Obj, child: Child) -> None:
        self._guard()
        namespace = obj["metadata"]["namespace"]
        try:
            match child:
                case Create(SECRETS.kind, body):
                    self._create_secret(obj, body)
                case Create(kind, body):
                    self._create(obj, CREATED[kind], body)
                case Patch(kind, name, uid, body):
                    self._patch(obj, PATCHED[kind], name, uid, body)
                case Delete(kind, name, uid):
                    self._delete(DELETED[kind], namespace if DELETED[kind].namespaced else "", name, uid)
        except Forbidden as error:
            reason = "NamespaceTerminating" if error.namespace_terminating else "Forbidden"
            raise Refused(Problem(reason, error.message)) from error
        except Invalid as error:
            raise Refused(Problem("Refused", error.message)) from error

    def _delete(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        self._guard()
        with contextlib.suppress(NotFound):  # gone is what was wanted
            self._cluster.delete(resource, namespace, name, uid=uid)

    def _create(self, owner: Obj, resource: Resource, body: Obj) -> None:
        namespace, name = owner["metadata"]["namespace"] if resource.namespaced else "", body["metadata"]["name"]
        if resource is PERSISTENTVOLUMES:
            self._no_other_claim(owner, body["spec"]["claimRef"])
        try:
            made = self._cluster.create(resource, namespace, body)
        except AlreadyExists:
            made = self._cluster.get(resource, namespace, name)
            _must_own(owner, resource.kind, made)
        self._seen(resource, made)

    def _create_secret(self, owner: Obj, body: Obj) -> None:
        """Create it, or take one of its name for ours: nobody here may read a Secret."""
        with contextlib.suppress(AlreadyExists):
            self._cluster.create(SECRETS, owner["metadata"]["namespace"], body)

    def _patch(self, owner: Obj, resource: Resource, name: str, uid: str, body: Obj) -> None:
        namespace = owner["metadata"]["namespace"]
        found = self._cluster.get(resource, namespace, name)
        _must_own(owner, resource.kind, found)
        meta = found["metadata"]
        if uid not in ("", meta["uid"]):
            raise Conflict(409, "Conflict", f"{resource.kind} {namespace}/{name} is another one now; read again")
        exactly = {**body.get("metadata", {}), "resourceVersion": meta["resourceVersion"]}
        self._seen(resource, self._cluster.merge_patch(resource, namespace, name, {**body, "metadata": exactly}))

    def _no_other_claim(self, dataset: Obj, claim: Obj) -> None:
        """Raise Refused where somebody else has the claim's name: Kubernetes would bind our volume to that claim.

        The cache holds claims of ours alone, so the API server is asked.
        """
        with contextlib.suppress(NotFound):  # as it should be
            found = self._cluster.get(PERSISTENTVOLUMECLAIMS, claim["namespace"], claim["name"])
            _must_own(dataset, CLAIM, found)

    def _seen(self, resource: Resource, written: Obj) -> None:
        if resource in self._watched:
            self._watched[resource].observe_write(written)

    def _guard(self) -> None:
        if not self._may_write():
            raise LostLease


def _must_own(owner: Obj, kind: str, found: Obj) -> None:
    """Raise Refused where the object is another's. Everything owns itself."""
    meta, label = found["metadata"], LABELS.get((owner["kind"], kind))
    owners = {meta["uid"], *(ref.get("uid") for ref in meta.get("ownerReferences") or ())}
    if label:
        owners = {(meta.get("labels") or {}).get(label)}
    if owner["metadata"]["uid"] not in owners:
        raise _conflict(owner, kind, found)


def _conflict(owner: Obj, kind: str, found: Obj) -> Refused:
    name, reason = found["metadata"]["name"], {VOLUME: "VolumeConflict", CLAIM: "ClaimConflict"}.get(kind)
    text = f"a {kind} {name} exists that is not ours; it is left alone: delete it, or rename the {owner['kind']}"
    return Refused(Problem(reason or f"{kind}Conflict", text))


class LostLease(Exception):
    """This process is not, or no longer, the leader; it writes nothing."""
