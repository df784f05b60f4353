"""The AlluxioRuntime, in the shape that Fluid 1.0 gives it, so that its objects apply. No controller serves it yet."""

from typing import Any

from controllers.api.core import (
    FLAG,
    NODE_AFFINITY,
    NUMBER,
    QUANTITY,
    REFERENCE,
    RESOURCES,
    TEXT,
    TEXTS,
    VOLUME,
    VOLUME_MOUNT,
    VOLUME_SOURCE,
    Shape,
    schema,
    texts,
)
from controllers.api.dataset_status import condition_schema
from controllers.api.fluid import MOUNT, OWNER

KIND = "AlluxioRuntime"
PLURAL = "alluxioruntimes"

_METADATA: Shape = {"labels": TEXTS, "annotations": TEXTS}
_IMAGE = texts("image imageTag imagePullPolicy")
_PROCESS: dict[str, Shape] = {
    "jvmOptions": [TEXT],
    "properties": TEXTS,
    "env": TEXTS,
    "imagePullSecrets": [REFERENCE],
    "nodeSelector": TEXTS,
    "networkMode": TEXT,
    "podMetadata": _METADATA,
    "resources": RESOURCES,
    "volumeMounts": [VOLUME_MOUNT],
}
_COMPONENT: Shape = {"enabled": FLAG, "replicas": NUMBER, "ports": "numbers", **_PROCESS}
_LEVEL = texts("mediumtype volumeType path quotaList high low", volumeSource=VOLUME_SOURCE, quota=QUANTITY)
_SPEC: dict[str, Shape] = {
    "alluxioVersion": _IMAGE,
    "replicas": NUMBER,
    "master": _COMPONENT,
    "jobMaster": _COMPONENT,
    "worker": _COMPONENT,
    "jobWorker": _COMPONENT,
    "apiGateway": _COMPONENT,
    "initUsers": {**_IMAGE, "env": TEXTS, "resources": RESOURCES},
    "fuse": {**_IMAGE, **_PROCESS, "args": [TEXT], "cleanPolicy": TEXT},
    "properties": TEXTS,
    "jvmOptions": [TEXT],
    "tieredstore": {"levels": [_LEVEL]},
    "data": {"replicas": NUMBER, "pin": FLAG},
    "runAs": OWNER,
    "disablePrometheus": FLAG,
    "hadoopConfig": TEXT,
    "volumes": [VOLUME],
    "podMetadata": _METADATA,
    "management": {
        "cleanCachePolicy": {"gracePeriodSeconds": NUMBER, "maxRetryAttempts": NUMBER},
        "metadataSyncPolicy": {"autoSync": FLAG},
    },
    "imagePullSecrets": [REFERENCE],
}
_PARTS = ("master", "worker", "fuse")
_STATUS: dict[str, Shape] = {
    **{f"{part}{what}": TEXT for part in _PARTS for what in ("Phase", "Reason")},
    **{f"{when}{part.title()}NumberScheduled": NUMBER for part in _PARTS for when in ("desired", "current")},
    **{f"{part}NumberReady": NUMBER for part in _PARTS},
    **{f"{part}Number{what}": NUMBER for part in ("worker", "fuse") for what in ("Available", "Unavailable")},
    **texts("valueFile setupDuration selector", mountTime="time", mounts=[MOUNT], cacheStates=TEXTS),
    "cacheAffinity": NODE_AFFINITY,
    "apiGateway": {"endpoint": TEXT},
}


def spec_schema() -> dict[str, Any]:
    """Return the schema of the spec."""
    return schema(_SPEC, "AlluxioRuntime.spec", "Fluid")


def status_schema() -> dict[str, Any]:
    """Return the schema of the status."""
    found = schema(_STATUS, "AlluxioRuntime.status", "Fluid")
    found["properties"]["conditions"] = {"description": "The state in detail.", **condition_schema()}
    return found
