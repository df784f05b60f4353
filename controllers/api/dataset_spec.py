"""The spec of a Dataset: what a user asks for. Import it from `controllers.api.dataset`."""

import enum
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from controllers.api.core import Affinity, Reference, Resources, Toleration
from controllers.api.fluid import (
    EncryptOption,
    UnservedDatasetFields,
    UnservedMountFields,
    UnservedRestoreFields,
)
from controllers.api.model import UNSERVED_ELSEWHERE, Model, normal_path, rules

#: Root of a Dataset in an Alluxio of its own (an AlluxioRuntime).
MANAGED_PATH = "/dataset"


class Loader(enum.StrEnum):
    """How metadata is loaded."""

    GRPC = "Grpc"
    ALLUXIO_CLI = "AlluxioCLI"


class Publish(enum.StrEnum):
    """When PV and PVC appear."""

    AFTER_LOAD = "AfterLoad"
    AFTER_VERIFY = "AfterVerify"
    IMMEDIATELY = "Immediately"


class OnRestoreFailure(enum.StrEnum):
    """What follows a restore that did not succeed."""

    FAIL = "Fail"
    LOAD_FROM_UFS = "LoadFromUFS"


class AccessMode(enum.StrEnum):
    """Access modes of a PersistentVolumeClaim."""

    READ_ONLY_MANY = "ReadOnlyMany"
    READ_WRITE_MANY = "ReadWriteMany"
    READ_WRITE_ONCE = "ReadWriteOnce"
    READ_WRITE_ONCE_POD = "ReadWriteOncePod"


_EFFECTIVE_PATH = "(has({0}.path) && {0}.path != '' ? {0}.path : '/' + (has({0}.name) ? {0}.name : ''))"
_ONE_MOUNT_A_PATH = rules(
    (
        f"self.all(m, self.exists_one(n, {_EFFECTIVE_PATH.format('m')} == {_EFFECTIVE_PATH.format('n')}))",
        "two mounts appear at one path: give one of them another path",
    )
)
_IS_URI = rules(("self.contains('://') || self.startsWith('/')", "must be a URI, for example s3://bucket/directory"))
_IS_ADDRESS = rules(
    (
        r"self.matches('^([A-Za-z0-9_.-]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$')",
        "must be host:port without a scheme, for example alluxio-master-0.alluxio:19998",
    )
)
_IS_SCHEDULE = rules(
    (
        r"self == '' || self.matches('^\\s*(\\S+\\s+){4}\\S+\\s*$')",
        "must have five cron fields, for example 0 3 * * *",
    )
)
_FIXED = rules(("self == oldSelf", "cannot change, because a claim keeps it: create another Dataset"))
_SOMETHING_TO_LOAD = (
    "has(self.alluxio) || (has(self.mounts) && size(self.mounts) > 0)",
    "there is nothing to load: add a mount, or name an existing Alluxio in spec.alluxio",
)
_SAME_KIND_OF_ALLUXIO = (
    "has(self.alluxio) == has(oldSelf.alluxio)",
    "a Dataset cannot change between an Alluxio of its own and one that exists: create another Dataset",
)
_ONE_SOURCE = rules(
    (
        "(has(self.path) && self.path != '') != (has(self.backupName) && self.backupName != '')",
        "needs exactly one of path and backupName",
    )
)
_IS_ABSOLUTE = rules(("self.startsWith('/')", "must start with a slash"))


def _text(value: Any, *path: str) -> str:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


class MountSpec(UnservedMountFields):
    """One directory of a storage, and where it appears in the dataset."""

    mount_point: str = Field(
        description="URI of the directory in the storage, for example s3://bucket/imagenet.",
        min_length=5,
        max_length=2048,
        json_schema_extra=_IS_URI,
    )
    name: str = Field(
        default="", description="Name of the mount; the path is /name where none is given.", max_length=255
    )
    path: str = Field(
        default="",
        description="Where the mount appears, seen from the dataset's root (spec.alluxio.datasetPath). Default: /name.",
        max_length=1024,
    )
    options: Annotated[dict[str, str], UNSERVED_ELSEWHERE] = Field(
        default={}, description="Options of the mount, as Alluxio knows them."
    )
    encrypt_options: Annotated[tuple[EncryptOption, ...], UNSERVED_ELSEWHERE] = Field(
        default=(), description="Options whose values are in Secrets.", max_length=64
    )
    read_only: Annotated[bool, UNSERVED_ELSEWHERE] = Field(default=False, description="Whether the mount is read-only.")

    @property
    def dataset_path(self) -> str:
        """Return where the mount appears in the dataset: normal form, starts with "/"."""
        return normal_path(self.path or f"/{self.name}")

    @property
    def secrets(self) -> tuple[tuple[str, str, str], ...]:
        """Return option, Secret and key of every option whose value is in a Secret; what is missing reads as empty."""
        where = ("valueFrom", "secretKeyRef")
        return tuple(
            (_text(each, "name"), _text(each, *where, "name"), _text(each, *where, "key"))
            for each in self.encrypt_options
        )


class AlluxioSpec(Model):
    """An Alluxio that exists and that somebody else runs."""

    masters: tuple[Annotated[str, Field(max_length=261, json_schema_extra=_IS_ADDRESS)], ...] = Field(
        description="host:port of the RPC port (usually 19998) of every master.",
        min_length=1,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    web_port: int = Field(
        default=19999,
        description="Port of the masters' web server, where the state of the cache is read.",
        ge=1,
        le=65535,
    )
    dataset_path: str = Field(
        default="/",
        description="Directory in Alluxio that is the root of the dataset.",
        min_length=1,
        max_length=1024,
        json_schema_extra=_IS_ABSOLUTE,
    )
    backup_directory: str = Field(
        default="",
        description="Where the masters have the claim of the backups mounted. Empty: this Alluxio is not backed up.",
        max_length=1024,
        pattern=r"^(/.*)?$",
    )


class PodTemplate(Model):
    """What the pods of the dataset's Jobs have beyond what the controller gives them."""

    labels: dict[str, str] = Field(default={}, description="Labels of the pods.")
    annotations: dict[str, str] = Field(default={}, description="Annotations of the pods.")
    node_selector: dict[str, str] = Field(default={}, description="Labels that a node must have.")
    tolerations: tuple[Toleration, ...] = Field(default=(), description="Taints that the pods tolerate.", max_length=64)
    affinity: Affinity = Field(default={}, description="PodSpec.affinity; checked when the Job is created.")
    priority_class_name: str = Field(default="", description="Priority class of the pods.", max_length=253)
    image_pull_secrets: tuple[Reference, ...] = Field(
        default=(), description="Secrets for the image registry.", max_length=16
    )
    service_account_name: str = Field(
        default="", description="Service account of the pods; its token is never mounted.", max_length=253
    )
    resources: Resources = Field(default={}, description="Container.resources; checked when the Job is created.")


class LoadSpec(Model):
    """How the metadata is loaded and counted."""

    loader: Loader = Field(
        default=Loader.GRPC, description="Grpc: our own loader, which proves what it says. AlluxioCLI: Alluxio's shell."
    )
    parallelism: int = Field(default=16, description="How many requests are in flight at the master.", ge=1, le=256)
    max_attempts: int = Field(
        default=4, description="After so many failed attempts in a row the dataset is Failed.", ge=1, le=100
    )
    starting_deadline_seconds: int = Field(
        default=600, description="A Job whose pod does not run by then has used up an attempt.", ge=10, le=86_400
    )
    no_progress_seconds: int = Field(
        default=900, description="A step that stands still for so long is ended and tried again.", ge=30, le=86_400
    )
    active_deadline_seconds: int | None = Field(
        default=None,
        description="A step that takes longer is ended and tried again. Unset: no limit.",
        ge=1,
        le=31_536_000,
    )
    refresh_schedule: str = Field(
        default="",
        description="When to compare with the storage again: five cron fields. Empty: on request only.",
        max_length=255,
        json_schema_extra=_IS_SCHEDULE,
    )
    time_zone: str = Field(default="", description="IANA time zone of refreshSchedule. Empty: UTC.", max_length=64)
    max_removed_fraction: str = Field(
        default="0.1",
        description="A refresh that finds a larger part of all entries gone is suspicious and waits for a person.",
        pattern=r"^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$",
    )
    accept_unverified: bool = Field(
        default=False, description="Whether a count whose completeness cannot be proved is good enough for Ready."
    )
    pod_template: PodTemplate = Field(default=PodTemplate(), description="Additions to the pods of the Jobs.")


class VolumeSpec(Model):
    """The PersistentVolume and claim through which pods see the dataset."""

    enabled: bool = Field(default=True, description="Whether there are any.")
    publish: Publish = Field(default=Publish.AFTER_LOAD, description="When they appear.")
    storage_class_name: str = Field(
        default="fluid",
        description="Storage class of both. It needs no StorageClass object.",
        max_length=253,
        json_schema_extra=_FIXED,
    )
    capacity: str = Field(
        default="100Pi",
        description="Nominal capacity of both; nothing enforces it.",
        max_length=32,
        json_schema_extra=_FIXED,
        pattern=r"^[1-9][0-9]*(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
    )


class RestoreSpec(UnservedRestoreFields):
    """A backup of the metadata from which the dataset starts. Exactly one of path and backupName."""

    model_config = ConfigDict(json_schema_extra=_ONE_SOURCE)

    path: str = Field(default="", description="pvc://claim/directory of the backup.", max_length=1024)
    backup_name: str = Field(default="", description="Name of a DataBackup in the same namespace.", max_length=253)
    checksum: str = Field(
        default="", description="sha256:... that the backup must have.", pattern=r"^(sha256:[0-9a-f]{64})?$"
    )
    on_failure: OnRestoreFailure = Field(
        default=OnRestoreFailure.FAIL, description="Fail, or load everything from the storage where the restore fails."
    )


class DatasetSpec(UnservedDatasetFields):
    """What is loaded, from which Alluxio, and how it is published."""

    model_config = ConfigDict(json_schema_extra=rules(_SOMETHING_TO_LOAD, _SAME_KIND_OF_ALLUXIO))

    mounts: tuple[MountSpec, ...] = Field(
        default=(),
        description="The storages of the dataset. May be empty with spec.alluxio.",
        max_length=64,
        json_schema_extra=_ONE_MOUNT_A_PATH,
    )
    alluxio: AlluxioSpec | None = Field(
        default=None, description="An Alluxio that exists. Absent: the AlluxioRuntime of the same name."
    )
    load: LoadSpec = Field(default=LoadSpec(), description="How the metadata is loaded and counted.")
    volume: VolumeSpec = Field(default=VolumeSpec(), description="How the dataset is published.")
    access_modes: tuple[AccessMode, ...] = Field(
        default=(AccessMode.READ_ONLY_MANY,),
        description="Access modes of PV and PVC.",
        max_length=4,
        json_schema_extra={"x-kubernetes-list-type": "set", **_FIXED},
    )
    data_restore_location: RestoreSpec | None = Field(default=None, description="Start from this backup.")
    suspend: bool = Field(default=False, description="Start nothing new. What runs goes on.")

    @property
    def dataset_path(self) -> str:
        """Return the root of the dataset in Alluxio, in normal form.

        In an Alluxio of its own it is MANAGED_PATH whatever its name, so that a backup fits a Dataset of another name,
        and a mount at "/" is a mount as any other: Alluxio takes its own root from a file of properties alone.
        """
        return normal_path(self.alluxio.dataset_path if self.alluxio else MANAGED_PATH)

    def alluxio_path(self, mount: MountSpec) -> str:
        """Return where a mount is in Alluxio: below the root of the dataset."""
        return normal_path(f"{self.dataset_path}/{mount.dataset_path}")
