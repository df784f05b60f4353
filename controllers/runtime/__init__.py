"""Decides about an AlluxioRuntime: one master with its journal, n workers, and when each of them may run. Pure."""

from typing import Any

from controllers.api.alluxioruntime import MEDIA
from controllers.api.model import API_VERSION
from controllers.decision import Child, Create, Decision, Delete, Patch, Problem, SetFinalizers
from controllers.runtime import children, names, report
from controllers.runtime.pods import Trouble
from controllers.runtime.properties import MASTER, WORKER
from controllers.runtime.seen import FINALIZER, DatasetView, Seen
from controllers.runtime.view import of_role, serves

__all__ = ["FINALIZER", "DatasetView", "Seen", "decide"]

#: How often to look why pods are missing, which only events say: and nobody watches those.
_LOOK_SECONDS = 15.0
#: Of a pod template, what is a map of keys that others choose: what is no longer wanted there must be named to go.
_MAPS = (("metadata", "labels"), ("metadata", "annotations"), ("spec", "nodeSelector"))
_OTHERS = "kubectl.kubernetes.io/"  # "kubectl rollout restart" writes such an annotation


def decide(seen: Seen) -> Decision:
    """Return the next step. Deciding again once it is carried out, with the same pods, gives no other."""
    if seen.deleting:
        return _deleting(seen)
    wrong, waits = _wrong(seen), _waits(seen)
    status = report.status(seen, wrong, waits)
    return Decision(
        status=status,
        finalizers=SetFinalizers((*seen.finalizers, FINALIZER)) if FINALIZER not in seen.finalizers else None,
        children=_children(seen, wrong),
        events=report.events(seen.status, status),
        requeue_after=None if waits or status.worker_phase == status.master_phase == "Ready" else _LOOK_SECONDS,
    )


def _wrong(seen: Seen) -> Problem | None:
    """Return what only a change of the object can heal."""
    if not names.NAME.fullmatch(seen.name):
        text = "the name must have at most 40 lower-case letters, digits and dashes, with a letter first: rename it"
        return Problem("InvalidName", text)
    media = [level.mediumtype for level in seen.spec.tieredstore.levels]
    if any(medium not in MEDIA for medium in media) or len(set(media)) < len(media):
        return Problem("InvalidSpec", "spec.tieredstore.levels: each must have another mediumtype of MEM, SSD and HDD")
    if not all(level.bytes for level in seen.spec.tieredstore.levels):
        return Problem("InvalidSpec", "spec.tieredstore.levels: each must have a quota, such as 2Gi")
    return None


def _waits(seen: Seen) -> Trouble | None:
    """Return why nothing may run yet."""
    dataset = _dataset(seen)
    if dataset is None:
        text = f"there is no Dataset {seen.name} in this namespace: create one, and Alluxio is started for it"
        return Trouble("WaitingForDataset", text, passing=True)
    if dataset.holds:
        return Trouble("WaitingForRestore", f"Dataset {seen.name} lays a backup beside the journal", passing=True)
    return None


def _dataset(seen: Seen) -> DatasetView | None:
    """Return the Dataset that the runtime belongs to; a new one does not take over the runtime of the one before."""
    owners = {owner.get("uid") for owner in seen.owners if owner.get("kind") == "Dataset"}
    return seen.dataset if seen.dataset and (not owners or seen.dataset.uid in owners) else None


def _children(seen: Seen, wrong: Problem | None) -> tuple[Child, ...]:
    dataset = _dataset(seen)
    run = dataset is not None and not dataset.holds
    if dataset is None or wrong:
        return () if run else (*_scaled(seen.masters, 0), *_scaled(seen.workers, 0))
    return (
        *_owned(seen, dataset),
        *_masters(seen, int(run)),
        *_component(seen, WORKER, seen.workers, seen.spec.workers if run else 0),
    )


def _owned(seen: Seen, dataset: DatasetView) -> tuple[Child, ...]:
    """Let the Dataset take the runtime along when it is deleted, as in Fluid: a journal without it is of no use."""
    if any(owner.get("uid") == dataset.uid for owner in seen.owners):
        return ()
    owner = {"apiVersion": API_VERSION, "kind": "Dataset", "name": seen.name, "uid": dataset.uid}
    body = {"metadata": {"ownerReferences": [*seen.owners, owner]}}
    return (Patch("AlluxioRuntime", seen.name, seen.uid, body),)


def _masters(seen: Seen, replicas: int) -> tuple[Child, ...]:
    found = _component(seen, MASTER, seen.masters, replicas)
    if found or not serves(seen.masters, of_role(seen.pods, MASTER)):
        own = (("Secret", children.agent_secret(seen)), ("PersistentVolumeClaim", children.journal_claim(seen)))
        found = (*(Create(kind, body) for kind, body in own), *(found or _needs(seen, MASTER)))
    return found


def _component(seen: Seen, role: str, stateful_set: dict[str, Any] | None, replicas: int) -> tuple[Child, ...]:
    """Return what makes a StatefulSet, or makes it what it should be; first what its pods need."""
    if stateful_set is None:
        return (*_needs(seen, role), Create("StatefulSet", children.stateful_set(seen, role, replicas)))
    wanted, has = children.template(seen, role), stateful_set["spec"].get("template", {})
    if _mark(wanted) == _mark(has):
        return _scaled(stateful_set, replicas)
    spec: dict[str, Any] = {"template": _merged(has, wanted), "replicas": replicas}
    return (*_needs(seen, role), _patch(stateful_set, spec))


def _needs(seen: Seen, role: str) -> tuple[Child, ...]:
    return (
        Create("ConfigMap", children.config_map(seen, role)),
        Create("Service", children.service(seen, role)),
    )


def _scaled(stateful_set: dict[str, Any] | None, replicas: int) -> tuple[Child, ...]:
    if stateful_set is None or stateful_set["spec"].get("replicas", 1) == replicas:
        return ()
    return (_patch(stateful_set, {"replicas": replicas}),)


def _patch(stateful_set: dict[str, Any], spec: dict[str, Any]) -> Patch:
    meta = stateful_set["metadata"]
    return Patch("StatefulSet", meta["name"], meta["uid"], {"spec": spec})


def _mark(template: dict[str, Any]) -> str:
    return str(((template.get("metadata") or {}).get("annotations") or {}).get(children.TEMPLATE, ""))


def _merged(has: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the merge patch from one template to the other: in a map, what is to go is null."""
    patch = {"metadata": {**wanted["metadata"]}, "spec": {**wanted["spec"]}}
    for part, name in _MAPS:
        old = (has.get(part) or {}).get(name) or {}
        patch[part][name] = {key: None for key in old if not key.startswith(_OTHERS)} | wanted[part][name]
    return patch


def _deleting(seen: Seen) -> Decision:
    """Workers first, then masters, each until its last pod is gone; but nothing while the Dataset still needs them."""
    if FINALIZER not in seen.finalizers:
        return Decision()
    if _dataset(seen) is not None:
        text = f"Dataset {seen.name} still needs this Alluxio: delete the Dataset, then both go"
        return _staying(seen, Trouble("WaitingForDatasetDeletion", text, passing=True), ())
    for role, stateful_set in ((WORKER, seen.workers), (MASTER, seen.masters)):
        pods = of_role(seen.pods, role)
        if stateful_set is not None or pods:
            who = ", ".join(pod["metadata"]["name"] for pod in pods[:5]) or "its StatefulSet"
            waits = Trouble("Deleting", f"waits for the end of {who}", passing=True)
            return _staying(seen, waits, _deleted(stateful_set))
    rest = tuple(name for name in seen.finalizers if name != FINALIZER)
    return Decision(finalizers=SetFinalizers(rest), release=True)


def _deleted(stateful_set: dict[str, Any] | None) -> tuple[Child, ...]:
    if stateful_set is None or "deletionTimestamp" in stateful_set["metadata"]:
        return ()
    meta = stateful_set["metadata"]
    return (Delete("StatefulSet", meta["name"], meta["uid"]),)


def _staying(seen: Seen, why: Trouble, todo: tuple[Child, ...]) -> Decision:
    status = report.status(seen, None, why)
    return Decision(status=status, children=todo, events=report.events(seen.status, status))
