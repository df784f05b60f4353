"""When PV and PVC appear, and whether the dataset is usable through them.

Both go only with the Dataset. Neither is ever taken over: a claim of that name which is not ours is said and left
alone.
"""

from collections.abc import Mapping
from typing import Any

from controllers.api.conditions import FALSE, TRUE, UNKNOWN
from controllers.api.dataset import DatasetSpec, DatasetStatus, Phase, Publish
from controllers.dataset import restore
from controllers.dataset.seen import Observed, VolumeView
from controllers.decision import Child, Create, Delete
from controllers.volumes import CLAIM, VOLUME, csi_source, persistent_volume, persistent_volume_claim


def due(status: DatasetStatus, spec: DatasetSpec) -> bool:
    """Whether the volume belongs there at this point of the run. Once published it stays, whatever the run does."""
    if not spec.volume.enabled:
        return False
    if status.phase == Phase.READY:
        return True
    if restore.unfinished(status):  # a master that restored a part serves a part
        return False
    reached = {
        Publish.IMMEDIATELY: True,
        Publish.AFTER_LOAD: bool(status.load.completion_time),
        Publish.AFTER_VERIFY: bool(status.size.completion_time),
    }
    return reached[spec.volume.publish]


def children(seen: Observed, status: DatasetStatus, spec: DatasetSpec) -> tuple[Child, ...]:
    """Return what is to be created. A PV that no longer fits is made anew when nobody claims it.

    So is one whose claim was deleted: it takes no other claim, not even one of the same name.
    """
    if not due(status, spec):
        return ()
    meta, volume, wanted = seen.meta, seen.volume, []
    useless = (volume.released and not seen.claim.bound) or (not volume.fits and not seen.claim.uid)
    if volume.uid and useless and not volume.deleting:
        return (Delete(VOLUME, volume.name, volume.uid),)
    if not volume.uid:
        source = csi_source(seen.masters, seen.path, meta.uid, seen.config.volume)
        body = persistent_volume(meta.namespace, meta.name, meta.uid, spec, source, seen.config.volume)
        wanted.append(Create(VOLUME, body))
    if not seen.claim.uid and not (volume.deleting or volume.claimed or not volume.fits):
        wanted.append(Create(CLAIM, persistent_volume_claim(meta.namespace, meta.name, meta.uid, spec)))
    return tuple(wanted)


def available(seen: Observed, status: DatasetStatus, spec: DatasetSpec) -> tuple[str, str, str]:
    """Return status, reason and message of the condition Available."""
    if not spec.volume.enabled:
        if status.load.completion_time or status.phase == Phase.READY:
            return TRUE, "VolumeDisabled", "the metadata is loaded; spec.volume.enabled is false, so there is no volume"
        return FALSE, "NotLoaded", "the metadata is not loaded yet"
    if seen.claim.deleting:
        return (
            FALSE,
            "ClaimDeleted",
            f"claim {seen.meta.name} was deleted; it is made anew when no pod uses it any more",
        )
    if seen.volume.deleting:
        text = f"volume {seen.volume.name} was deleted: delete claim {seen.meta.name} too, both are made anew"
        return FALSE, "VolumeDeleted", text
    if not seen.volume.uid and not seen.claim.uid and not due(status, spec):
        return FALSE, "NotLoaded", "PV and PVC are published when the metadata is loaded"
    if seen.problem is not None and seen.problem.reason in ("VolumeConflict", "ClaimConflict"):
        return FALSE, seen.problem.reason, seen.problem.message
    if seen.volume.uid and not seen.volume.fits:
        text = f"volume {seen.volume.name} is that of another spec: delete claim {seen.meta.name}, both are made anew"
        return FALSE, "VolumeOutdated", text
    if seen.volume.uid and seen.claim.uid and seen.claim.bound:
        return TRUE, "Published", f"claim {seen.meta.name} is bound to volume {seen.volume.name}"
    return UNKNOWN, "Binding", f"waiting for claim {seen.meta.name} to be bound"


def published(seen: Observed) -> Mapping[str, str]:
    """Return the names for ``status.volume``."""
    return {"persistent_volume": seen.volume.name, "persistent_volume_claim": seen.claim.name}


def view(found: dict[str, Any] | None, wanted: dict[str, Any]) -> VolumeView:
    """Return what a PV or PVC of ours is, held against the manifest that would be created today."""
    if not found:
        return VolumeView()
    meta, spec, asked = found["metadata"], found.get("spec", {}), wanted["spec"]
    fixed = ("csi", "accessModes", "capacity", "storageClassName", "volumeName")
    same = all(_covers(spec.get(name), asked[name]) for name in fixed if name in asked)
    return VolumeView(
        name=meta["name"],
        uid=meta["uid"],
        bound=found.get("status", {}).get("phase") == "Bound",
        claimed="uid" in (spec.get("claimRef") or {}),
        released=found.get("status", {}).get("phase") == "Released",
        fits=same,
        deleting="deletionTimestamp" in meta,
        held_by=tuple(name for name in meta.get("finalizers", ()) if not name.startswith("kubernetes.io/")),
    )


def _covers(found: Any, asked: Any) -> bool:
    """Whether everything asked for is there: the API server may add defaults of its own."""
    if isinstance(asked, dict):
        return isinstance(found, dict) and all(_covers(found.get(name), value) for name, value in asked.items())
    return bool(found == asked)
