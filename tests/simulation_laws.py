"""What must hold at every write and at every start of a container of a simulated history, and at its end.

Not judged here: whether a claim was still true at the very moment of a write. The controllers see the past, so "bound"
means that it has been bound, and "counted" that a container of this run has counted these very inputs.
"""

import hashlib
import json
from typing import TYPE_CHECKING, Any

from controllers.admission import overlap
from controllers.api.conditions import AVAILABLE, READY
from controllers.api.dataset import Phase, SpecError, parse_spec, parse_status
from controllers.api.result import Totals
from controllers.api.runs import inputs_hash
from controllers.api.validation import Limits, validate
from controllers.dataset import FINALIZER
from controllers.dataset.refresh import under_way
from controllers.jobs import ATTEMPT, DATASET_UID, RUN, STEP
from controllers.kube.resources import DATASETS, JOBS, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from tests.test_dataset_laws import EDGES, SHORTCUTS
from tests.world import condition

if TYPE_CHECKING:
    from tests.simulation import Container, Process, World

Obj = dict[str, Any]
MAX_STATUS = 16 * 1024
PER_MASTER = 2
_DATASETS, _JOBS, _CLAIMS, _VOLUMES = map(str, (DATASETS, JOBS, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES))


class Violation(BaseException):  # noqa: N818  no except Exception may hide it
    """A law does not hold."""


def holds(fact: object, law: str) -> None:
    """Raise Violation with the law in words where the fact is false."""
    if not fact:
        raise Violation(law)


class Laws:
    """Watches one world; what people and nodes did is told to it, so that it need not believe the controllers."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.foreign: set[str] = set()  # uids
        self._specs: dict[tuple[str, int], Obj] = {}
        self._deleting: dict[str, int] = {}  # uid of a Dataset -> the store's version
        self._counted: set[tuple[str, str, Totals]] = set()
        self._loaded: set[tuple[str, str]] = set()
        self._proved: set[tuple[str, str]] = set()
        self._unproved: set[tuple[str, str]] = set()

    # Told by the world.

    def saw(self, dataset: Obj) -> None:
        """A person wrote this Dataset."""
        self._specs[dataset["metadata"]["uid"], dataset["metadata"]["generation"]] = dataset["spec"]

    def deleting(self, dataset: Obj) -> None:
        """A person deleted this Dataset."""
        self.saw(dataset)
        self._deleting.setdefault(dataset["metadata"]["uid"], self._world.store.version)

    def specs_of(self, uid: str) -> list[Obj]:
        """Return every spec that this Dataset has had."""
        return [spec for (found, _), spec in self._specs.items() if found == uid]

    def succeeded(self, container: "Container", totals: Totals, proved: bool) -> None:
        """This container ended well, and said so."""
        uid, run = container.labels[DATASET_UID], container.labels[RUN]
        if container.labels[STEP] == "load":
            self._loaded.add((uid, run))
        else:
            self._counted.add((uid, run, totals))
            (self._proved if proved else self._unproved).add((uid, run))

    def started(self, container: "Container") -> None:
        """A container begins to run."""
        others = [other for other in self._world.containers.values() if other is not container and not other.ended]
        here = [other for other in others if other.cluster == container.cluster]
        for other in here:
            text = f"{other.pod} on {other.path} and {container.pod} on {container.path}"
            holds(not overlap(other.path, container.path), f"two containers run on overlapping paths: {text}")
        holds(len(here) < PER_MASTER, f"{len(here) + 1} containers run at one cluster: {[o.pod for o in here]}")

    def wrote(self, process: "Process", verb: str, resource: str, old: Obj | None, new: Obj) -> None:
        """A controller wrote: ``old`` is what was there, ``new`` what the API server answered."""
        target = new if verb == "create" else old
        assert target is not None
        holds(target["metadata"]["uid"] not in self.foreign, f"a foreign object was written: {verb} {resource}")
        if verb == "status":
            self._status(old or {}, new)
        elif verb == "patch" and resource == _DATASETS:
            self._finalized(old or {}, new)
        elif verb == "create":
            self._created(process, resource, new)
        elif verb == "delete" and resource == _JOBS:
            self._job_deleted(target)
        elif verb == "delete":
            self._volume_deleted(resource, target)

    def writes(self, process: "Process", verb: str, precise: bool) -> None:
        """A controller is about to write."""
        holds(self._world.leader is process, f"a {verb} is sent by a controller that does not hold the Lease")
        holds(precise, "a deletion names no uid")

    def _finalized(self, old: Obj, new: Obj) -> None:
        if FINALIZER in (old["metadata"].get("finalizers") or ()) and FINALIZER not in (
            new["metadata"].get("finalizers") or ()
        ):
            uid = old["metadata"]["uid"]
            left = [name for name in self.children() if name.endswith(uid)]
            holds(not left, f"the finalizer goes although there is still {left}")

    def _status(self, old: Obj, new: Obj) -> None:
        uid, status = new["metadata"]["uid"], new["status"]
        holds(old.get("status") != status, "a status was written although nothing differs")
        holds(len(json.dumps(status)) <= MAX_STATUS, "a status is larger than 16 KiB")
        before, after = parse_status(old), parse_status(new)
        edge = (before.phase or "", after.phase or "")
        holds(edge[0] == edge[1] or edge in EDGES | SHORTCUTS, f"the phase moved along an edge not drawn: {edge}")
        holds(0 <= after.run.number - before.run.number <= 1, "the run number moved by more than one step forward")
        left_ready = before.phase == Phase.READY != after.phase
        lost = after.run.number > before.run.number and after.run.reason in ("InputsChanged", "MasterReset")
        holds(not left_ready or lost, f"the phase left Ready by {after.run.reason}, run {after.run.number}")
        masters = {cluster_of(found["alluxio"]["masters"]) for found in self.specs_of(uid) if found.get("alluxio")}
        restarted = any(self._world.masters[name].start_ms > 1_000 for name in masters)
        holds(after.run.reason != "MasterReset" or restarted, "a master was reset that never restarted")
        if before.run.number == after.run.number:
            grown = after.load.attempt >= before.load.attempt and after.size.attempt >= before.size.attempt
            holds(grown, "an attempt number went back")
        spec = self._spec(uid, new["metadata"]["generation"])
        if condition(new, READY).get("status") == "True":
            self._ready(uid, new, spec)
        if condition(new, AVAILABLE).get("status") == "True" and spec and spec.volume.enabled:
            claim = self._world.store.find(_CLAIMS, new["metadata"]["namespace"], new["metadata"]["name"])
            volume = self._world.store.find(_VOLUMES, "", f"dataset-{uid}")
            fits = volume is None or volume["spec"]["csi"]["volumeAttributes"]["alluxioPath"] == spec.dataset_path
            holds(fits or claim is None, "Available is claimed for a volume of another path")
            holds(status.get("volume", {}).get("persistentVolumeClaim"), "Available is claimed without a claim")

    def _spec(self, uid: str, generation: int) -> Any:
        try:
            spec = parse_spec({"spec": self._specs[uid, generation]})
            validate(spec, Limits(), runtime_exists=False)
        except SpecError:
            return None
        return spec

    def _ready(self, uid: str, new: Obj, spec: Any) -> None:
        status = parse_status(new)
        holds(spec is not None, "Ready is claimed for a spec that cannot be served")
        holds(status.run.inputs == inputs_hash(spec), "Ready is claimed for other inputs than the spec's")
        # While a refresh is under way, what an earlier run found is true.
        first = 1 if under_way(status) else status.run.number
        runs = {(uid, str(number)) for number in range(first, status.run.number + 1)}
        holds(runs & self._loaded, "Ready is claimed although no load of this run succeeded")
        ages = [expected(spec, age) for age in range(self._world.age + 1)]
        counted = {found for of, run, found in self._counted if (of, run) in runs and found in ages}
        holds(counted, "Ready is claimed without a count of these inputs in this run")
        shown = (status.file_count, status.ufs_total_bytes)
        fits = shown in {(found.files, found.bytes) for found in counted}
        holds(fits, f"Ready shows {shown}, counted was {counted}")
        accepted = [spec.load.accept_unverified]
        if under_way(status):
            accepted += [(found.get("load") or {}).get("acceptUnverified") for found in self.specs_of(uid)]
        holds(runs & self._proved or any(accepted), "Ready is claimed without proof, and nobody accepted that")
        holds(not status.refresh.suspicious, "Ready is claimed after a suspicious refresh")

    def _created(self, process: "Process", resource: str, made: Obj) -> None:
        uid = made["metadata"]["labels"][DATASET_UID]
        known = self._deleting.get(uid)
        holds(known is None or known > process.began, f"{resource} was created for a Dataset that is being deleted")

    def _dataset(self, child: Obj) -> Obj | None:
        uid = child["metadata"]["labels"][DATASET_UID]
        found = (obj for obj in self._world.datasets() if obj["metadata"]["uid"] == uid)
        return next((obj for obj in found if "deletionTimestamp" not in obj["metadata"]), None)

    def _job_deleted(self, job: Obj) -> None:
        dataset = self._dataset(job)
        if dataset is None:
            return
        status, labels = parse_status(dataset), job["metadata"]["labels"]
        mine = status.load if labels[STEP] == "load" else status.size
        current = (status.run.number, mine.attempt) == (int(labels[RUN]), int(labels[ATTEMPT]))
        holds(not current or mine.completion_time, "the Job of the current attempt was deleted")

    def _volume_deleted(self, resource: str, target: Obj) -> None:
        dataset = self._dataset(target)
        holds(resource != _CLAIMS or dataset is None, "a claim was deleted although its Dataset stays")
        if dataset is not None:
            key = dataset["metadata"]["namespace"], dataset["metadata"]["name"]
            claim = self._world.store.find(_CLAIMS, *key)
            released = target.get("status", {}).get("phase") == "Released"
            free = released or not claim or claim["metadata"]["uid"] in self.foreign
            holds(free, "a volume was deleted under its claim")

    # At the end of a history, when everything is at rest.

    def leftovers(self) -> list[str]:
        """Return the children whose Dataset is gone."""
        uids = {obj["metadata"]["uid"] for obj in self._world.datasets()}
        return [child for child in self.children() if child.rpartition(" ")[2] not in uids]

    def children(self) -> list[str]:
        """Return every child as a text that ends in the uid of its Dataset."""
        found = []
        for resource in (_JOBS, "pods", _CLAIMS, _VOLUMES):
            for obj in self._world.store.page(resource).items:
                uid = obj["metadata"].get("labels", {}).get(DATASET_UID)
                if uid and obj["metadata"]["uid"] not in self.foreign:
                    found.append(f"{resource} {obj['metadata']['name']} of {uid}")
        return found

    def unproved(self, dataset: Obj) -> bool:
        """Whether a count of the last run was one that nothing proves."""
        return (dataset["metadata"]["uid"], str(parse_status(dataset).run.number)) in self._unproved


def cluster_of(masters: tuple[str, ...] | list[str]) -> str:
    """Return the name of the cluster that these addresses belong to."""
    return masters[0].lower()[0] if masters else "a"


def truth(cluster: str, path: str, mounts: tuple[tuple[str, str], ...], age: int) -> Totals:
    """Return what the storage held at that age below these mounts: numbers that differ wherever the inputs differ."""
    digest = hashlib.sha256(repr((cluster, path, sorted(mounts), age)).encode()).digest()
    return Totals(10 + digest[0], 1 + digest[1] % 20, int.from_bytes(digest[2:6], "big"))


def expected(spec: Any, age: int) -> Totals:
    """Return what the storage held for a spec at that age."""
    mounts = tuple((spec.alluxio_path(mount), mount.mount_point) for mount in spec.mounts)
    return truth(cluster_of(spec.alluxio.masters), spec.dataset_path, mounts, age)
