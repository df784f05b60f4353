"""The AlluxioRuntime, in the shape that Fluid 1.0 gives it, so that its objects apply; and what we read of it.

What an object sets beyond what is served is named in its condition `Accepted` (reason `UnservedFields`).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

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
from controllers.api.dataset_status import Conditions, condition_schema
from controllers.api.fluid import MOUNT, OWNER
from controllers.api.model import Count, Model, Text

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
    "observedGeneration": NUMBER,  # Fluid has none
}

#: Alluxio's own names for its tiers; of them, MEM is memory.
MEDIA = ("MEM", "SSD", "HDD")
_UNITS = {unit: 1024**power for power, unit in enumerate(("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))}
_UNITS |= {unit: 1000**power for power, unit in enumerate(("", "k", "M", "G", "T", "P", "E"))}
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)(|[KMGTPE]i|[kMGTPE])B?")


def quantity(text: str | int) -> int:
    """Return the bytes of a Kubernetes quantity, as 2Gi or 500M, a B after it allowed; 0 where it is none."""
    match = _QUANTITY.fullmatch(str(text).strip())
    return int(float(match[1]) * _UNITS[match[2]]) if match else 0


class PodMetadata(Model):
    """Labels and annotations of pods."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Image(Model):
    """An image; empty parts are the controller's (--alluxio-image)."""

    image: str = ""
    image_tag: str = ""
    image_pull_policy: str = "IfNotPresent"


class Owner(Model):
    """Who runs the processes. Never root: its number reads as not set."""

    uid: Annotated[int, Field(gt=0, lt=2**31)] = 65532
    gid: Annotated[int, Field(gt=0, lt=2**31)] = 65532


class Component(Model):
    """What masters and workers have in common."""

    replicas: Annotated[int, Field(ge=0, le=10_000)] | None = None
    jvm_options: tuple[str, ...] = ()
    properties: dict[str, str] = {}
    env: dict[str, str] = {}
    image_pull_secrets: tuple[dict[str, str], ...] = ()
    node_selector: dict[str, str] = {}
    pod_metadata: PodMetadata = PodMetadata()
    resources: dict[str, Any] = {}


class Level(Model):
    """One tier of a worker's cache. It lies in an emptyDir, whatever ``path`` Fluid would have on the node."""

    mediumtype: str = "MEM"
    quota: str | int = ""
    quota_list: str = ""
    high: str = ""
    low: str = ""

    @property
    def bytes(self) -> int:
        """Return its size; 0 where it cannot be read. One quota for each path counts together."""
        parts = self.quota_list.split(",") if self.quota_list else [self.quota]
        sizes = [quantity(part) for part in parts]
        return sum(sizes) if all(sizes) else 0


class TieredStore(Model):
    """The tiers, fastest first."""

    levels: tuple[Level, ...] = ()


class AlluxioRuntimeSpec(Model):
    """What is read of the spec."""

    alluxio_version: Image = Image()
    replicas: Annotated[int, Field(ge=0, le=10_000)] | None = None
    master: Component = Component()
    worker: Component = Component()
    properties: dict[str, str] = {}
    jvm_options: tuple[str, ...] = ()
    tieredstore: TieredStore = TieredStore()
    pod_metadata: PodMetadata = PodMetadata()
    image_pull_secrets: tuple[dict[str, str], ...] = ()
    run_as: Owner = Owner()

    @property
    def workers(self) -> int:
        """Return how many workers are wanted: one where nothing says so."""
        return next((count for count in (self.replicas, self.worker.replicas) if count is not None), 1)


class AlluxioRuntimeStatus(Model):
    """What the controller found and did."""

    conditions: Conditions = ()
    observed_generation: Count = 0
    master_phase: Text = ""
    master_reason: Text = ""
    worker_phase: Text = ""
    worker_reason: Text = ""
    desired_master_number_scheduled: Count | None = None
    current_master_number_scheduled: Count | None = None
    master_number_ready: Count | None = None
    desired_worker_number_scheduled: Count | None = None
    current_worker_number_scheduled: Count | None = None
    worker_number_ready: Count | None = None
    worker_number_available: Count | None = None
    worker_number_unavailable: Count | None = None
    setup_duration: Text = ""
    selector: Text = ""


_READ_COMPONENT: dict[str, Any] = dict.fromkeys(
    ("jvmOptions", "properties", "env", "imagePullSecrets", "nodeSelector", "podMetadata", "resources")
)
#: What of a spec is served; None: with all that is in it.
_SERVED: dict[str, Any] = {
    **dict.fromkeys(("alluxioVersion", "replicas", "properties", "jvmOptions", "podMetadata", "imagePullSecrets")),
    "master": {"replicas": None, **_READ_COMPONENT},
    "worker": {"replicas": None, **_READ_COMPONENT},
    "runAs": dict.fromkeys(("uid", "gid", "user", "group")),  # a name without a number says nothing to Kubernetes
    "tieredstore": {"levels": dict.fromkeys(("mediumtype", "path", "quota", "quotaList", "high", "low"))},
}


def parse_runtime(obj: Mapping[str, Any]) -> AlluxioRuntimeSpec:
    """Read the spec of an AlluxioRuntime. Never raises: a value that does not fit reads as not set."""
    return AlluxioRuntimeSpec.read(obj.get("spec"), lenient=True)


def parse_runtime_status(obj: Mapping[str, Any]) -> AlluxioRuntimeStatus:
    """Read the status. Never raises."""
    return AlluxioRuntimeStatus.read(obj.get("status"), lenient=True)


def unserved_runtime_fields(obj: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths, as `spec.fuse`, of fields that are set and that nothing acts on."""
    spec = obj.get("spec")
    found = tuple(_unserved(spec, _SERVED, "spec"))
    several = (AlluxioRuntimeSpec.read(spec, lenient=True).master.replicas or 1) > 1
    return (*found, "spec.master.replicas (one master runs)") if several else found


def _unserved(value: Any, served: dict[str, Any] | None, where: str) -> Iterator[str]:
    if served is None:
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unserved(item, served, f"{where}[{index}]")
    if isinstance(value, dict):
        for name, item in value.items():
            if name in served:
                yield from _unserved(item, served[name], f"{where}.{name}")
            elif item not in (None, "", False, [], {}):
                yield f"{where}.{name}"


def spec_schema() -> dict[str, Any]:
    """Return the schema of the spec."""
    found = schema(_SPEC, "AlluxioRuntime.spec", "Fluid")
    for part in ("master", "worker"):
        fields = found["properties"][part]["properties"]
        fields["networkMode"]["description"] = "Not served: pods have the network of pods, never that of their node."
    level = found["properties"]["tieredstore"]["properties"]["levels"]["items"]["properties"]
    level["path"]["description"] = "Not used: the cache lies in an emptyDir, never in a directory of the node."
    return found


def status_schema() -> dict[str, Any]:
    """Return the schema of the status."""
    found = schema(_STATUS, "AlluxioRuntime.status", "Fluid")
    found["properties"]["conditions"] = {"description": "The state in detail.", **condition_schema()}
    return found
