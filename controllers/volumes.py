"""Builders of the PersistentVolume and its claim: pure functions from a Dataset and the administrator's profile.

Nothing that a tenant writes reaches the CSI driver but validated "host:port" and an absolute path: driver,
attributes and mount options come from the controller's own configuration (``VolumeProfile``).
"""

import re
from typing import Any

from controllers.api.dataset import DatasetSpec
from controllers.config import VolumeProfile
from controllers.jobs import child_labels

VOLUME = "PersistentVolume"
CLAIM = "PersistentVolumeClaim"

_PLACEHOLDER = re.compile(r"\{(path|masters)\}")


def volume_name(uid: str) -> str:
    """Return the PV's name and CSI handle. By uid, since "namespace-name" of two Datasets may be one text."""
    return f"dataset-{uid}"


def csi_source(masters: tuple[str, ...], path: str, uid: str, profile: VolumeProfile) -> dict[str, Any]:
    """Return the CSI part of the volume, which Kubernetes never lets change."""
    known = {"path": path, "masters": ",".join(masters)}
    return {
        "driver": profile.driver,
        "volumeHandle": volume_name(uid),
        "volumeAttributes": {
            name: _PLACEHOLDER.sub(lambda match: known[match[1]], value) for name, value in profile.attributes.items()
        },
    }


def persistent_volume(
    namespace: str, dataset: str, uid: str, spec: DatasetSpec, source: dict[str, Any], profile: VolumeProfile
) -> dict[str, Any]:
    """Return the PV, bound in advance to the claim. Retain: deleting it never touches data."""
    return {
        "apiVersion": "v1",
        "kind": VOLUME,
        "metadata": {"name": volume_name(uid), "labels": child_labels(dataset, uid)},
        "spec": {
            "capacity": {"storage": spec.volume.capacity},
            "accessModes": list(spec.access_modes),
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": spec.volume.storage_class_name,
            "volumeMode": "Filesystem",
            "mountOptions": list(profile.mount_options),
            "csi": source,
            "claimRef": {"apiVersion": "v1", "kind": CLAIM, "namespace": namespace, "name": dataset},
        },
    }


def persistent_volume_claim(namespace: str, dataset: str, uid: str, spec: DatasetSpec) -> dict[str, Any]:
    """Return the claim, named like the Dataset. It has no owner reference: our finalizer deletes it in its turn."""
    return {
        "apiVersion": "v1",
        "kind": CLAIM,
        "metadata": {"name": dataset, "namespace": namespace, "labels": child_labels(dataset, uid)},
        "spec": {
            "accessModes": list(spec.access_modes),
            "resources": {"requests": {"storage": spec.volume.capacity}},
            "storageClassName": spec.volume.storage_class_name,
            "volumeMode": "Filesystem",
            "volumeName": volume_name(uid),
        },
    }
