"""What makes a new run: the inputs that decide the content of a dataset."""

import hashlib
import json
from typing import Any

from controllers.api.dataset import DatasetSpec, MountSpec

PROJECTION = 1


def inputs_hash(spec: DatasetSpec) -> str:
    """Return 16 hexadecimal digits that change exactly when the content may differ and must be loaded again.

    The projection is explicit and frozen by a test: a field that is added to the spec is not in it, so that an upgrade
    of the controller never loads every dataset anew. How the content is loaded (the loader, its limits) is no input;
    neither is the order in which masters and mounts are written.
    """
    text = json.dumps(_projection(spec), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def mounts_hash(spec: DatasetSpec) -> str:
    """Return 16 hexadecimal digits of what a master must have mounted, and where; not of secrets.

    A backup carries it: into a Dataset with other mounts it is not restored.
    """
    mounts = sorted([spec.alluxio_path(m), m.mount_point, sorted(m.options.items())] for m in spec.mounts)
    text = json.dumps({"v": PROJECTION, "mounts": mounts}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _projection(spec: DatasetSpec) -> dict[str, Any]:
    return {
        "v": PROJECTION,
        "masters": sorted(spec.alluxio.masters) if spec.alluxio else [],
        "datasetPath": spec.dataset_path,
        "mounts": sorted(
            [mount.dataset_path, mount.mount_point, sorted(mount.options.items()), *_managed(spec, mount)]
            for mount in spec.mounts
        ),
    }


def _managed(spec: DatasetSpec, mount: MountSpec) -> list[Any]:
    """Return what else is mounted anew where the Alluxio is the Dataset's own; nothing where it is not set."""
    more = [mount.read_only, sorted(mount.secrets)]
    return [more] if spec.alluxio is None and (mount.read_only or mount.secrets) else []
