"""Carries out a Decision: finalizer, status, children, in this order; events are sent by the caller, last.

Every write is safe to repeat and safe to come late: a status names the resourceVersion that it was decided from, a
Job and a volume have deterministic names and are created, never taken over, and a deletion names the uid.
"""

import contextlib
from collections.abc import Callable
from typing import Any

from controllers.api.dataset import status_dict
from controllers.api.times import rfc3339
from controllers.dataset import Problem
from controllers.decision import Child, CreateJob, CreateVolume, Decision, DeleteJob, DeleteVolume
from controllers.jobs import DATASET_UID, PARKED, RELEASED
from controllers.kube.client import Cluster
from controllers.kube.errors import AlreadyExists, Conflict, Forbidden, Invalid, NotFound
from controllers.kube.resources import DATASETS, JOBS, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, Resource
from controllers.observe import Stores
from controllers.volumes import CLAIM, VOLUME


class Refused(Exception):
    """The API server, or another owner of the name, stands in the way; a person has to see ``problem``."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Applier:
    """Writes decisions. ``may_write`` is asked before each write; False ends the pass with LostLease."""

    def __init__(self, cluster: Cluster, stores: Stores, may_write: Callable[[], bool]) -> None:
        self._cluster, self._stores, self._may_write = cluster, stores, may_write

    def apply(self, dataset: dict[str, Any], decision: Decision) -> None:
        """Carry out a decision on this Dataset; raise KubeError, Refused or LostLease where that stops half way."""
        if decision.release:
            self._finalizers(dataset, decision)
            return
        dataset = self._finalizers(dataset, decision)
        written = self._status(dataset, decision)
        if written is None and decision.children:
            self._still_current(dataset)
        for child in decision.children:
            self._child(dataset, child)

    def delete_orphan(self, volume: dict[str, Any]) -> bool:
        """Delete a PV and its claim, if the Dataset that they are labelled with does not exist; return whether so.

        The API server is asked, not the cache: a selector, or a cache that is behind, may hide the Dataset.
        """
        uid = volume["metadata"]["labels"][DATASET_UID]
        claim = volume["spec"].get("claimRef") or {}
        namespace, name = claim.get("namespace", ""), claim.get("name", "")
        if self._knows(namespace, name, uid):
            return False
        found = self._stores.claims.get(namespace, name)
        if found and found["metadata"]["labels"].get(DATASET_UID) == uid:  # not a copy, which has the label too
            self._delete(PERSISTENTVOLUMECLAIMS, namespace, name, found["metadata"]["uid"])
        self._delete(PERSISTENTVOLUMES, "", volume["metadata"]["name"], volume["metadata"]["uid"])
        return True

    def _knows(self, namespace: str, name: str, uid: str) -> bool:
        try:
            return bool(self._cluster.get(DATASETS, namespace, name)["metadata"]["uid"] == uid)
        except NotFound:
            return False

    def release(self, job: dict[str, Any], now: float) -> None:
        """Unsuspend a Job, in the version that was seen, and note when that was done first."""
        known = (job["metadata"].get("annotations") or {}).get(RELEASED)
        self._turn(job, {RELEASED: known or rfc3339(now)}, suspend=False)

    def park(self, job: dict[str, Any], now: float) -> None:
        """Suspend a Job whose pod does not start, and send it to the end of the line."""
        self._turn(job, {PARKED: rfc3339(now)}, suspend=True)

    def _turn(self, job: dict[str, Any], notes: dict[str, str], *, suspend: bool) -> None:
        self._guard()
        meta = job["metadata"]
        about = {"resourceVersion": meta["resourceVersion"], "annotations": notes}
        body = {"metadata": about, "spec": {"suspend": suspend}}
        self._stores.jobs.observe_write(self._cluster.merge_patch(JOBS, meta["namespace"], meta["name"], body))

    def _finalizers(self, dataset: dict[str, Any], decision: Decision) -> dict[str, Any]:
        if decision.finalizers is None:
            return dataset
        self._guard()
        meta = dataset["metadata"]
        names = list(decision.finalizers.finalizers)
        body = {"metadata": {"resourceVersion": meta["resourceVersion"], "finalizers": names}}
        written = self._cluster.merge_patch(DATASETS, meta["namespace"], meta["name"], body)
        # The last finalizer gone, the object is too: the watch says so, and a ghost must not stay in the store.
        if not decision.release:
            self._stores.datasets.observe_write(written)
        return written

    def _status(self, dataset: dict[str, Any], decision: Decision) -> dict[str, Any] | None:
        if decision.status is None:
            return None
        status = status_dict(decision.status)
        if status == dataset.get("status"):
            return None
        self._guard()
        written = self._cluster.replace_status(DATASETS, {**dataset, "status": status})
        self._stores.datasets.observe_write(written)
        return written

    def _still_current(self, dataset: dict[str, Any]) -> None:
        """Raise Conflict where the cached Dataset is an old one: what was done long ago must not be done again.

        A status write would have found out by its resourceVersion; where the status did not change, this look-up does.
        """
        meta = dataset["metadata"]
        found = self._cluster.get(DATASETS, meta["namespace"], meta["name"])["metadata"]
        if (found["uid"], found["resourceVersion"]) != (meta["uid"], meta["resourceVersion"]):
            raise Conflict(
                409, "Conflict", f"dataset {meta['namespace']}/{meta['name']}: the cache is behind; read again"
            )

    def _child(self, dataset: dict[str, Any], child: Child) -> None:
        self._guard()
        namespace = dataset["metadata"]["namespace"]
        try:
            match child:
                case CreateJob(body):
                    self._create_job(dataset, body)
                case CreateVolume(kind, body):
                    self._create_volume(dataset, kind, body)
                case DeleteJob(name, uid):
                    self._delete(JOBS, namespace, name, uid)
                case DeleteVolume(kind, name, uid) if kind == VOLUME:
                    self._delete(PERSISTENTVOLUMES, "", name, uid)
                case DeleteVolume(_, name, uid):
                    self._delete(PERSISTENTVOLUMECLAIMS, namespace, name, uid)
        except Forbidden as error:
            if not error.namespace_terminating:
                raise Refused(Problem("Forbidden", error.message)) from error
        except Invalid as error:
            raise Refused(Problem("Refused", error.message)) from error

    def _delete(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        self._guard()
        with contextlib.suppress(NotFound):  # gone is what was wanted
            self._cluster.delete(resource, namespace, name, uid=uid)

    def _create_job(self, dataset: dict[str, Any], body: dict[str, Any]) -> None:
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        try:
            made = self._cluster.create(JOBS, namespace, body)
        except AlreadyExists:
            made = self._cluster.get(JOBS, namespace, name)
            owners = {owner.get("uid") for owner in made["metadata"].get("ownerReferences", ())}
            if dataset["metadata"]["uid"] not in owners:
                text = f"a Job {name} exists that is not ours; it is left alone: delete it, or rename the Dataset"
                raise Refused(Problem("JobConflict", text)) from None
        self._stores.jobs.observe_write(made)

    def _create_volume(self, dataset: dict[str, Any], kind: str, body: dict[str, Any]) -> None:
        resource = PERSISTENTVOLUMES if kind == VOLUME else PERSISTENTVOLUMECLAIMS
        store = self._stores.volumes if kind == VOLUME else self._stores.claims
        namespace, name = body["metadata"].get("namespace", ""), body["metadata"]["name"]
        if kind == VOLUME:
            self._no_other_claim(dataset, body["spec"]["claimRef"])
        try:
            made = self._cluster.create(resource, namespace, body)
        except AlreadyExists:
            made = self._cluster.get(resource, namespace, name)
            _must_be_ours(dataset, kind, made)
        store.observe_write(made)

    def _no_other_claim(self, dataset: dict[str, Any], claim: dict[str, Any]) -> None:
        """Raise Refused where somebody else has the claim's name: Kubernetes would bind our volume to that claim.

        The cache holds claims of ours alone, so the API server is asked.
        """
        with contextlib.suppress(NotFound):  # as it should be
            found = self._cluster.get(PERSISTENTVOLUMECLAIMS, claim["namespace"], claim["name"])
            _must_be_ours(dataset, CLAIM, found)

    def _guard(self) -> None:
        if not self._may_write():
            raise LostLease


def _must_be_ours(dataset: dict[str, Any], kind: str, found: dict[str, Any]) -> None:
    meta = found["metadata"]
    if meta.get("labels", {}).get(DATASET_UID) != dataset["metadata"]["uid"]:
        reason = "VolumeConflict" if kind == VOLUME else "ClaimConflict"
        text = f"a {kind} {meta['name']} exists that is not ours; it is left alone: delete it, or rename the Dataset"
        raise Refused(Problem(reason, text))


class LostLease(Exception):
    """This process is not, or no longer, the leader; it writes nothing."""
